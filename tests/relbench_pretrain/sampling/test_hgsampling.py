"""HGSampling against the database itself, and its draws against exact probabilities."""

import itertools
import pickle
from collections import Counter

import numpy as np
import pytest
import torch
from torch_geometric.sampler import NodeSamplerInput

from relbench_pretrain.sampling import ANY_TABLE, HGSampler
from relbench_pretrain.sampling import hgsampling as module
from relbench_pretrain.sampling.kernels import batch_state, draw_weighted


def draw(weights, count, state):
    chosen = np.empty(count, dtype=np.int64)
    draw_weighted(np.array(weights, dtype=np.float64), count, state, chosen, np.empty(len(weights) + 1))
    return chosen.tolist()


def exact_sets(weights, count):
    """Probability of every set that successive draws without replacement can give."""
    result = Counter()
    for order in itertools.permutations(range(len(weights)), count):
        chance, left = 1.0, sum(weights)
        for i in order:
            chance *= weights[i] / left
            left -= weights[i]
        result[frozenset(order)] += chance
    return result


def assert_law(counts, expected):
    """Every count is within 4.5 standard deviations of what is expected."""
    number = sum(counts.values())
    assert set(counts) <= set(expected)
    for outcome, chance in expected.items():
        spread = max((number * chance * (1 - chance)) ** 0.5, 1e-9)
        assert abs(counts[outcome] - number * chance) <= 4.5 * spread, (outcome, counts[outcome], number * chance)


@pytest.mark.parametrize(("weights", "count"), [([1, 4, 9], 1), ([1, 4, 9], 2), ([1, 1, 16, 0.25, 2], 3)])
def test_draw_weighted_is_successive_draws_without_replacement(weights, count):
    state = batch_state(3, np.arange(2))
    counts = Counter(frozenset(draw(weights, count, state)) for _ in range(8_000))
    assert_law(counts, exact_sets(weights, count))


def test_draw_weighted_draws_one_after_the_other():
    state = batch_state(4, np.arange(2))
    counts = Counter(draw([1, 4, 9], 2, state)[0] for _ in range(8_000))
    assert_law(counts, {0: 1 / 14, 1: 4 / 14, 2: 9 / 14})


@pytest.mark.parametrize("weight", [1e-12, 1e-18])
def test_draw_weighted_survives_extreme_ratios(weight):
    weights = [weight] * 500 + [1.0] * 3 + [weight] * 500
    state = batch_state(5, np.arange(2))
    light = Counter()
    for _ in range(400):
        chosen = draw(weights, 13, state)
        assert len(set(chosen)) == 13
        assert set(chosen[:3]) == {500, 501, 502}
        light.update(c // 250 for c in chosen[3:])
    assert_law(Counter({0: light[0], 1: light[1], 2: light[2], 3: light[3] + light[4]}), dict.fromkeys(range(4), 0.25))


@pytest.mark.parametrize("size", [2, 3, 7, 8, 9, 64, 65])
def test_draw_weighted_can_take_all_but_one(size):
    state = batch_state(6, np.arange(2))
    left = Counter()
    for _ in range(60 * size):
        chosen = draw(np.ones(size), size - 1, state)
        assert len(set(chosen)) == size - 1
        left.update(set(range(size)) - set(chosen))
    assert_law(left, dict.fromkeys(range(size), 1 / size))


def drawn_rows(sampler, inputs):
    """Rows with their limits, as the compiled sampler returns them: table, row, limit in seconds, position."""
    tables, rows, limits = module.seed_arrays(sampler.index, inputs)
    distinct, limit = np.unique(limits, return_inverse=True)
    ok, nodes, _ = module.sample(
        sampler.index.flat, tables, rows, limit, sampler.index.visible_rows(distinct), sampler.budgets,
        sampler.max_children, batch_state(sampler.seed, inputs.input_id.numpy()), sampler._working_memory(len(rows)),
    )  # fmt: skip
    assert ok
    names = sampler.index.node_types
    return {(names[t], int(row)): (int(distinct[limit]), int(position)) for t, row, limit, position in nodes}


def mixed_seeds(shop, number=12, seed=0, times=(10, 20, 30)):
    """Seeds from all tables, none later than its limit."""
    rng = np.random.default_rng(seed)
    offset, found = shop.index.flat.offset, []
    while len(found) < number:
        row = int(rng.integers(offset[-1]))
        table = np.searchsorted(offset, row, side="right") - 1
        limit = int(rng.choice(times)) * 86_400
        if shop.visible(shop.index.node_types[table], row - int(offset[table]), limit):
            found.append((row, limit))
    return shop.inputs(ANY_TABLE, [row for row, _ in found], [limit for _, limit in found])


def expected_edges(shop, limit_of):
    """All foreign keys among the rows, in the directions that carry no news from a later to an earlier limit."""
    edges = {edge_type: set() for edge_type in shop.index.graph.schema.edge_types}
    for (table, row), limit in limit_of.items():
        for column, parent, number in shop.parents(table, row):
            other = limit_of.get((parent, number))
            if other is not None and limit <= other:
                edges[table, f"f2p_{column}", parent].add((row, number))
            if other is not None and other <= limit:
                edges[parent, f"rev_f2p_{column}", table].add((number, row))
    return edges


@pytest.mark.parametrize("seed", range(4))
def test_induced_edges_are_all_edges_among_the_rows_drawn(shop, read, seed):
    sampler = HGSampler(shop.index, 6, 3, seed=seed)
    inputs = shop.inputs("orders", [3, 50, 149, 20], shop.end)
    limit_of = {place: limit for place, (limit, _) in drawn_rows(sampler, inputs).items()}
    sample = read(sampler.sample_from_nodes(inputs))
    assert {(t, row) for t, rows in sample.rows.items() for row in rows} == set(limit_of)
    expected = expected_edges(shop, limit_of)
    assert sum(map(len, expected.values())) > 20
    for edge_type, pairs in sample.edges.items():
        found = [(sample.rows[edge_type[0]][i], sample.rows[edge_type[2]][j]) for i, j in pairs]
        assert len(found) == len(set(found))
        assert set(found) == expected[edge_type]


@pytest.mark.parametrize("seed", range(8))
def test_nothing_flows_from_a_later_limit_to_an_earlier_one(shop, read, seed):
    sampler = HGSampler(shop.index, 6, 3, seed=seed)
    inputs = mixed_seeds(shop, seed=seed)
    drawn = drawn_rows(sampler, inputs)
    limit_of = {place: limit for place, (limit, _) in drawn.items()}
    assert len(set(limit_of.values())) > 1
    sample = read(sampler.sample_from_nodes(inputs))
    for (table, row), limit in limit_of.items():
        assert shop.visible(table, row, limit)
    for edge_type, pairs in sample.edges.items():
        found = {(sample.rows[edge_type[0]][i], sample.rows[edge_type[2]][j]) for i, j in pairs}
        assert found == expected_edges(shop, limit_of)[edge_type]
        for source, target in found:
            assert limit_of[edge_type[0], source] <= limit_of[edge_type[2], target]


@pytest.mark.parametrize("seed", range(4))
def test_ranks_and_ages_are_true(shop, read, seed):
    sampler = HGSampler(shop.index, 8, 3, seed=seed)
    inputs = mixed_seeds(shop, seed=seed)
    limit_of = {place: limit for place, (limit, _) in drawn_rows(sampler, inputs).items()}
    sample = read(sampler.sample_from_nodes(inputs))
    for table, rows in sample.rows.items():
        for row, age in zip(rows, sample.age[table], strict=True):
            time = shop.time(table, row)
            assert age == (-1 if time is None else limit_of[table, row] - time)
    for (source, name, target), pairs in sample.edges.items():
        rows = [(sample.rows[source][i], sample.rows[target][j]) for i, j in pairs]
        for n, (i, j) in enumerate(rows):
            time = shop.time(source, i)
            age = -1 if time is None else limit_of[target, j] - time
            assert sample.edge_age[source, name, target][n] == age
            newer = sum(other == j and row > i for row, other in rows)  # rows of one table are in order of time
            assert sample.rank[source, name, target][n] == (0 if name.startswith("rev_") else newer)


def test_seeds_come_first_and_budgets_hold(shop, read):
    budget = {"users": 2, "orders": [5, 0], "items": 1, "reviews": 3}
    sampler = HGSampler(shop.index, budget, 2)
    inputs = mixed_seeds(shop, 20)
    offset, names = shop.index.flat.offset, shop.index.node_types
    sample = read(sampler.sample_from_nodes(inputs))
    seeds = {table: [] for table in names}
    for row in dict.fromkeys(inputs.node.tolist()):
        table = int(np.searchsorted(offset, row, side="right") - 1)
        seeds[names[table]].append(row - int(offset[table]))
    for table, rows in sample.rows.items():
        number = np.broadcast_to(budget.get(table, 0), 2).sum()
        assert rows[: len(seeds[table])] == seeds[table]
        assert len(rows) == len(set(rows)) <= len(seeds[table]) + number


@pytest.mark.parametrize("rounds", [1, 2, 3])
def test_every_round_draws_from_the_neighbours_of_the_rounds_before(shop, rounds):
    inputs = shop.inputs("reviews", [5, 17], shop.end)
    before = {("reviews", 5), ("reviews", 17)}
    for number in range(1, rounds + 1):
        drawn = set(drawn_rows(HGSampler(shop.index, 4, number), inputs))
        near = {(parent, other) for place in before for _, parent, other in shop.parents(*place)}
        for place in before:
            near |= {(table, row) for (table, _), rows in shop.children(*place).items() for row in rows}
        assert drawn >= before  # the same seed: fewer rounds are a beginning of more
        assert drawn - before <= near
        counts, room = Counter(t for t, _ in drawn - before), Counter(t for t, _ in near - before)
        assert counts == {table: min(4, room[table]) for table in room if room[table]}
        before = drawn


def test_a_round_draws_in_proportion_to_squared_budgets(make_shop):
    """One round of two, against all sets of rows with their exact probabilities."""
    shop = make_shop(seed=5, sizes={"users": 5, "items": 3, "orders": 12, "reviews": 4, "tags": 0})
    inputs = shop.inputs("orders", [0, 3, 7, 8, 11], shop.end)
    weight = Counter()
    for row in range(12):
        if row in (0, 3, 7, 8, 11):
            for _, parent, other in shop.parents("orders", row):
                weight[parent, other] += 1.0
            for (child, _), rows in shop.children("orders", row).items():
                for other in rows:
                    weight[child, other] += 1 / len(rows)
    users = sorted(row for table, row in weight if table == "users")
    squares = [weight["users", row] ** 2 for row in users]
    assert len(users) > 3
    assert len(set(squares)) > 1
    sampler, counts = HGSampler(shop.index, {"users": 2}, 1), Counter()
    for i in range(4_000):
        inputs.input_id = torch.arange(5) + 5 * i
        counts[frozenset(sampler.sample_from_nodes(inputs).node["users"].tolist())] += 1
    assert_law(counts, {frozenset(users[i] for i in s): p for s, p in exact_sets(squares, 2).items()})


def test_many_child_rows_enter_evenly_spaced_from_a_random_start(make_shop, monkeypatch):
    shop = make_shop(seed=1, sizes={"items": 1, "tags": 60, "orders": 0, "reviews": 0})
    degree = len(shop.children("items", 0)["tags", "item"])
    place = {row: i for i, row in enumerate(shop.children("items", 0)["tags", "item"])}
    sampler, counts, inputs = HGSampler(shop.index, 100, 1, max_children=7), Counter(), shop.inputs("items", [0], 0)
    assert degree > 30
    for i in range(1_000):
        inputs.input_id = torch.tensor([i])
        found = sorted(place[row] for row in sampler.sample_from_nodes(inputs).node["tags"].tolist())
        assert len(found) == 7
        assert set(np.diff(found)) <= {degree // 7, degree // 7 + 1}
        counts.update(found)
    assert_law(counts, dict.fromkeys(range(degree), 1 / degree))


def test_a_batch_follows_from_seed_and_ids_alone(shop, read):
    one, other = shop.inputs("orders", [3, 50], shop.end, [8, 9]), shop.inputs("users", [1, 2, 3], shop.end)
    sampler = HGSampler(shop.index, 5, 3, seed=1)
    first = read(sampler.sample_from_nodes(one))
    sampler.sample_from_nodes(other)
    assert read(sampler.sample_from_nodes(one)) == first
    assert read(pickle.loads(pickle.dumps(sampler)).sample_from_nodes(one)) == first
    assert read(HGSampler(shop.index, 5, 3, seed=2).sample_from_nodes(one)) != first
    assert read(sampler.sample_from_nodes(shop.inputs("orders", [3, 50], shop.end, [8, 10]))) != first


def test_working_memory_is_left_behind_when_pickled(shop):
    sampler = HGSampler(shop.index)
    before = len(pickle.dumps(sampler))
    sampler.sample_from_nodes(shop.inputs("orders", [3], shop.end))
    assert len(pickle.dumps(sampler)) < before + 100


def test_working_memory_grows(shop, read):
    small, large = HGSampler(shop.index, 20, 3), HGSampler(shop.index, 20, 3)
    small._capacity = 2
    inputs = shop.inputs("orders", [3, 50, 99], shop.end)
    assert read(small.sample_from_nodes(inputs)) == read(large.sample_from_nodes(inputs))
    assert small._capacity < large._capacity
    more = shop.inputs("orders", list(range(150)), shop.end)
    assert read(small.sample_from_nodes(more)) == read(large.sample_from_nodes(more))


def test_the_same_seed_twice_is_one_row_under_the_earlier_limit(shop):
    user = 0
    late, early = 30 * 86_400, shop.time("users", user) + 86_400
    drawn = drawn_rows(HGSampler(shop.index, 3, 1), shop.inputs("users", [user, 1, user], [late, late, early]))
    assert drawn["users", user] == (early, 0)
    assert drawn["users", 1] == (late, 1)


def test_a_row_reached_under_two_limits_has_the_earlier_one(make_shop):
    shop = make_shop(seed=2, sizes={"items": 1})
    orders = [r for r in range(150) if ("item", "items", 0) in shop.parents("orders", r)]
    early, late = orders[3], orders[-1]
    times = [shop.time("orders", late), shop.time("orders", early)]
    assert times[0] > times[1]
    sampler = HGSampler(shop.index, 3, 1)
    for seeds, limits in [([late, early], times), ([early, late], times[::-1])]:
        assert drawn_rows(sampler, shop.inputs("orders", seeds, limits))["items", 0][0] == times[1]


def test_subgraphs_are_balanced_over_tables(make_shop, read):
    """Tables of 60 to 1,000 rows give as much as they are asked for, but for the rounds in which none was near."""
    shop = make_shop(seed=3, sizes={"users": 60, "items": 10, "orders": 1_000, "reviews": 900, "tags": 700})
    sample = read(HGSampler(shop.index, 8, 4).sample_from_nodes(shop.inputs("orders", [5, 400, 700, 900], shop.end)))
    sizes = {table: len(rows) for table, rows in sample.rows.items()}
    assert all(24 <= sizes[table] <= 36 for table in ("users", "orders", "reviews", "tags"))
    assert 7 <= sizes["items"] <= 10
    assert sizes["nothing"] == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_per_round": {"user": 3}}, r"unknown tables \['user'\]"),
        ({"num_per_round": [3, 3]}, "needs 3 numbers"),
        ({"num_per_round": {"users": [3, -1, 3]}}, r"got \[3, -1, 3\]"),
        ({"num_rounds": 0}, "at least 1, got 0"),
        ({"max_children": 0}, "got 3 and 0"),
    ],
)
def test_errors_name_what_is_wrong(shop, options, message):
    with pytest.raises(ValueError, match=message):
        HGSampler(shop.index, **options)


def test_seeds_need_a_limit(shop):
    inputs = NodeSamplerInput(input_id=None, node=torch.tensor([1]), time=None, input_type="users")
    with pytest.raises(ValueError, match="give the latest time of the graph for no limit"):
        HGSampler(shop.index).sample_from_nodes(inputs)
