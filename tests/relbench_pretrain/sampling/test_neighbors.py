"""Temporal neighbour sampling against a slow walk through the database."""

import itertools
import pickle
from collections import Counter

import numpy as np
import pytest
import torch

from relbench_pretrain.sampling import TemporalNeighborSampler
from relbench_pretrain.sampling.kernels import EMPTY, batch_state, draw_uniform

SEEDS, TIMES = [0, 3, 3, 17, 39], [864_000, 2_592_000, 1_728_000, 3_456_000, 0]


def fanout_of(fanout, child, column):
    if isinstance(fanout, int):
        return fanout
    return fanout.get(f"{child}.{column}", fanout.get("*", 0))


def walk(shop, table, row, limit, fanouts, follow=0):
    """The subgraph of one seed under strategy "last": rows, and edges with the recency rank of their source."""
    leads, parents_only, ends = 0, 1, 2
    mode, edges, frontier = {(table, row): leads}, set(), [(table, row)]
    for fanout in fanouts:
        fresh = {}
        for place in frontier:
            if mode[place] == ends:
                continue
            reached = []
            for column, parent, number in shop.parents(*place):
                if shop.visible(parent, number, limit):
                    reached.append(((parent, number), leads if mode[place] == leads else ends))
                    edges.add(((parent, number), f"rev_f2p_{column}", place, 0))
            if mode[place] == leads:
                for (child, column), rows in shop.children(*place, limit).items():
                    number = fanout_of(fanout, child, column)
                    for rank, other in enumerate(rows[::-1][: number if number >= 0 else None]):
                        reached.append(((child, other), leads if follow == 0 or rank < follow else parents_only))
                        edges.add(((child, other), f"f2p_{column}", place, rank))
            for other, way in reached:
                if other not in mode:
                    fresh[other] = min(way, fresh.get(other, ends))
        mode |= fresh
        frontier = list(fresh)
    return set(mode), edges


def by_seed(sample):
    """Rows and edges of every seed; nothing may lead from one seed's subgraph to another's."""
    rows, edges = {}, {}
    for table, numbers in sample.rows.items():
        for row, seed in zip(numbers, sample.owner[table], strict=True):
            assert (table, row) not in rows.setdefault(seed, set())
            rows[seed].add((table, row))
    for (source, name, target), pairs in sample.edges.items():
        for n, (i, j) in enumerate(pairs):
            seed = sample.owner[source][i]
            assert seed == sample.owner[target][j]
            rank = sample.rank[source, name, target][n]
            edge = ((source, sample.rows[source][i]), name, (target, sample.rows[target][j]), rank)
            assert edge not in edges.setdefault(seed, set())
            edges[seed].add(edge)
    return rows, edges


@pytest.fixture(scope="module")
def crowd(make_shop):
    """Few users and items, and the rows of a few days."""
    return make_shop(seed=8, sizes={"users": 4, "items": 2, "orders": 40, "reviews": 60, "tags": 4})


@pytest.mark.parametrize("follow", [0, 1, 2])
@pytest.mark.parametrize(
    "fanouts",
    [
        [2],
        [-1, -1],
        [3, 0, 2],
        [2, 2, 2, 2],
        [{"orders.buyer": 4, "*": 1}, {"reviews.order": -1}, {"*": 2, "tags.item": 0}],
    ],
)
@pytest.mark.parametrize("table", ["users", "orders", "few users"])
def test_last_rows_are_those_of_the_slow_walk(shop, crowd, read, table, fanouts, follow):
    if table == "few users":  # who pay for each other: many rows are reached in several ways
        shop, table = crowd, "users"
    sampler = TemporalNeighborSampler(shop.index, fanouts, "last", follow)
    seeds = [row % shop.num_rows(table) for row in SEEDS]
    rows, edges = by_seed(read(sampler.sample_from_nodes(shop.inputs(table, seeds, TIMES))))
    for seed, (row, time) in enumerate(zip(seeds, TIMES, strict=True)):
        expected_rows, expected_edges = walk(shop, table, row, time, fanouts, follow)
        assert rows[seed] == expected_rows
        assert edges.get(seed, set()) == expected_edges


def test_uniform_rows_are_all_rows_where_there_are_few(shop, read):
    inputs = shop.inputs("users", SEEDS, TIMES)
    every = read(TemporalNeighborSampler(shop.index, [-1, -1], "last").sample_from_nodes(inputs))
    many = read(TemporalNeighborSampler(shop.index, [150, 150], "uniform").sample_from_nodes(inputs))
    assert many.sets() == every.sets()


@pytest.mark.parametrize("seed", range(3))
def test_uniform_rows_keep_to_fanouts_and_time(shop, read, seed):
    inputs = shop.inputs("users", SEEDS, TIMES)
    _, every = by_seed(read(TemporalNeighborSampler(shop.index, [-1, -1, -1], "last").sample_from_nodes(inputs)))
    sampler = TemporalNeighborSampler(shop.index, [3, 2, {"reviews.user": 1}], "uniform", seed=seed)
    rows, edges = by_seed(read(sampler.sample_from_nodes(inputs)))
    for b, time in enumerate(TIMES):
        # The seed of the fifth place is later than its own time: only itself may be.
        assert all(shop.visible(*place, time) for place in rows[b] - {("users", SEEDS[b])})
        assert edges.get(b, set()) <= every.get(b, set())
        down = Counter((edge[1], edge[0][0], edge[2]) for edge in edges.get(b, set()) if edge[1].startswith("f2p_"))
        assert not down or max(down.values()) <= 3


def test_uniform_rows_are_uniform(make_shop):
    shop = make_shop(seed=4, sizes={"items": 1, "orders": 0, "reviews": 0, "tags": 14})
    tags = shop.children("items", 0)["tags", "item"]
    sampler, counts, inputs = TemporalNeighborSampler(shop.index, [4]), Counter(), shop.inputs("items", [0], 0)
    assert len(tags) > 8
    for i in range(3_000):
        inputs.input_id = torch.tensor([i])
        found = sampler.sample_from_nodes(inputs).node["tags"].tolist()
        assert len(set(found)) == 4
        counts.update(found)
    share = 4 / len(tags)
    assert set(counts) == set(tags)
    assert all(abs(n - 3_000 * share) < 4.5 * (3_000 * share * (1 - share)) ** 0.5 for n in counts.values())


@pytest.mark.parametrize(("count", "size"), [(1, 2), (2, 4), (3, 5), (4, 5)])
def test_draw_uniform_draws_all_sets_alike(count, size):
    marks, chosen = np.full(16, EMPTY), np.empty(count, dtype=np.int64)
    state, counts, number = batch_state(1, np.arange(3)), Counter(), 6_000
    for _ in range(number):
        draw_uniform(count, size, state, chosen, marks)
        assert (marks == EMPTY).all()
        counts[frozenset(chosen.tolist())] += 1
    sets = [frozenset(s) for s in itertools.combinations(range(size), count)]
    assert set(counts) <= set(sets)
    share = 1 / len(sets)
    assert all(abs(counts[s] - number * share) < 4.5 * (number * share * (1 - share)) ** 0.5 for s in sets)


def test_draw_uniform_fills_its_scratch_to_half(shop):
    marks, chosen = np.full(256, EMPTY), np.empty(128, dtype=np.int64)
    for size in (129, 130, 1_000, 10**12):
        draw_uniform(128, size, batch_state(2, np.arange(3)), chosen, marks)
        assert len(set(chosen.tolist())) == 128
        assert 0 <= chosen.min() <= chosen.max() < size


def test_seeds_are_the_first_rows_in_their_order(shop, read):
    sample = read(TemporalNeighborSampler(shop.index, [2, 2]).sample_from_nodes(shop.inputs("users", SEEDS, TIMES)))
    assert sample.rows["users"][:5] == SEEDS
    assert sample.owner["users"][:5] == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("strategy", ["last", "uniform"])
@pytest.mark.parametrize("until", [None, 1_296_000])
def test_ages_count_from_the_seed_time(shop, read, strategy, until):
    sampler = TemporalNeighborSampler(shop.index, [4, 3], strategy, visible_until=until)
    sample = read(sampler.sample_from_nodes(shop.inputs("users", SEEDS, TIMES)))

    def age(table, row, seed):
        time = shop.time(table, row)
        return -1 if time is None else TIMES[seed] - time

    for table, rows in sample.rows.items():
        assert sample.age[table] == [age(table, r, b) for r, b in zip(rows, sample.owner[table], strict=True)]
    for (source, name, target), pairs in sample.edges.items():
        expected = [age(source, sample.rows[source][i], sample.owner[source][i]) for i, _ in pairs]
        assert sample.edge_age[source, name, target] == expected


@pytest.mark.parametrize("strategy", ["last", "uniform"])
def test_ranks_are_those_among_the_visible_rows(shop, read, strategy):
    sample = read(
        TemporalNeighborSampler(shop.index, [3, 3], strategy).sample_from_nodes(shop.inputs("users", SEEDS, TIMES))
    )
    checked = 0
    for (source, name, target), pairs in sample.edges.items():
        for (i, j), rank in zip(pairs, sample.rank[source, name, target], strict=True):
            if name.startswith("f2p_"):
                row, limit = sample.rows[target][j], TIMES[sample.owner[target][j]]
                visible = shop.children(target, row, limit)[source, name.removeprefix("f2p_")]
                assert visible[len(visible) - 1 - rank] == sample.rows[source][i]
                checked += 1
    assert checked > 20


def test_visible_until_is_the_earlier_of_two_limits(shop, read):
    until = 1_296_000
    cut = [min(time, until) for time in TIMES]
    frozen = TemporalNeighborSampler(shop.index, [3, 3], "last", visible_until=until)
    rolling = TemporalNeighborSampler(shop.index, [3, 3], "last")
    one = by_seed(read(frozen.sample_from_nodes(shop.inputs("users", SEEDS, TIMES))))
    assert one == by_seed(read(rolling.sample_from_nodes(shop.inputs("users", SEEDS, cut))))
    assert one != by_seed(read(rolling.sample_from_nodes(shop.inputs("users", SEEDS, TIMES))))


def test_a_row_reached_twice_is_there_once_with_all_its_edges(make_db, shop_of, read):
    """An order whose buyer pays, and whose review is the buyer's own: a diamond."""
    db = make_db(sizes={"users": 1, "items": 1, "orders": 1, "reviews": 1, "tags": 0}, days=1)
    for table, column in [("orders", "buyer"), ("orders", "payer"), ("reviews", "order"), ("reviews", "user")]:
        db.table_dict[table].df[column] = db.table_dict[table].df[column].fillna(0)
    db.table_dict["users"].df["referrer"] = db.table_dict["users"].df["referrer"].fillna(0)  # of itself
    shop = shop_of(db)
    sample = read(TemporalNeighborSampler(shop.index, [1, 1]).sample_from_nodes(shop.inputs("users", [0], 0)))
    assert {t: len(rows) for t, rows in sample.rows.items() if t != "items"} == {
        "users": 1, "orders": 1, "reviews": 1, "tags": 0, "nothing": 0
    }  # fmt: skip
    for edge_type in shop.index.graph.schema.edge_types:
        if not {"items", "tags", "nothing"} & set(edge_type):
            # The last edges come from a row that is only reached in the last hop.
            assert sample.edges[edge_type] == [(0, 0)]


def test_a_seed_follows_from_seed_and_ids_alone(shop, read):
    one, other = shop.inputs("users", SEEDS, TIMES, [5, 6, 7, 8, 9]), shop.inputs("users", [1, 2], shop.end)
    sampler = TemporalNeighborSampler(shop.index, [2, 2], seed=1)
    first = read(sampler.sample_from_nodes(one))
    sampler.sample_from_nodes(other)
    assert read(sampler.sample_from_nodes(one)) == first
    assert read(pickle.loads(pickle.dumps(sampler)).sample_from_nodes(one)) == first
    assert read(TemporalNeighborSampler(shop.index, [2, 2], seed=2).sample_from_nodes(one)) != first


def test_working_memory_grows(make_shop, read):
    """Subgraphs of more rows than memory was taken for, and than a hash table begins with."""
    shop = make_shop(seed=6, sizes={"users": 3, "items": 2, "orders": 9_000, "reviews": 9_000}, days=2)
    sampler = TemporalNeighborSampler(shop.index, [-1, -1, -1], "last")
    inputs = shop.inputs("users", [0, 1, 0], shop.end)
    sample = read(sampler.sample_from_nodes(inputs))
    assert len(sampler._work.nodes) > 1 << 14
    rows, _ = by_seed(sample)  # no row is there twice
    assert all(len(found) > 10_000 for found in rows.values())
    assert read(sampler.sample_from_nodes(inputs)) == sample
    few = read(sampler.sample_from_nodes(shop.inputs("users", [2], 0)))
    fresh = TemporalNeighborSampler(shop.index, [-1, -1, -1], "last")
    assert few == read(fresh.sample_from_nodes(shop.inputs("users", [2], 0)))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"strategy": "first"}, "got 'first'"),
        ({"follow": -1}, "got -1"),
        ({"fanouts": []}, "one entry per hop"),
        ({"fanouts": [3, -2]}, "got -2"),
        ({"fanouts": [{"orders.seller": 3}]}, r"unknown foreign keys \['orders.seller'\].*'orders.buyer'"),
    ],
)
def test_errors_name_what_is_wrong(shop, options, message):
    with pytest.raises(ValueError, match=message):
        TemporalNeighborSampler(shop.index, **options)
