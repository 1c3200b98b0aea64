"""The sampler of tensors against the compiled one: equal where nothing is random, and the same distribution."""

import itertools
from collections import Counter

import numpy as np
import pytest
import torch
from relbench.base import Database, Table

from relbench_pretrain.sampling import (
    ANY_TABLE,
    DeviceHGSampler,
    DeviceLoader,
    HGSampler,
    RelationalLoader,
    SeedRows,
    SeedSampler,
)

CUT = 20 * 86_400


def mixed_inputs(shop, number=10, seed=0, after=5 * 86_400):
    """Rows of all tables, each with its own time as its limit."""
    seeds = SeedRows.between(shop.index, None, CUT)
    places = np.random.default_rng(seed).choice(len(seeds.rows), number, replace=False)
    times = seeds.time[places].clamp(min=after)
    return shop.inputs(ANY_TABLE, seeds.rows[places].tolist(), times.tolist())


@pytest.mark.parametrize("seed", range(6))
def test_without_randomness_both_samplers_agree(shop, read, seed):
    """Budgets take every candidate and max_children every child row: rows, edges, ranks and ages are all determined."""
    inputs = mixed_inputs(shop, seed=seed)
    for rounds in (1, 2, 3):
        settings = {"num_per_round": 400, "num_rounds": rounds, "max_children": 150}
        expected = read(HGSampler(shop.index, **settings).sample_from_nodes(inputs)).sets()
        found = read(DeviceHGSampler(shop.index, **settings, device="cpu").sample_from_nodes(inputs)).sets()
        assert sum(map(len, expected[1].values())) > 10 * rounds
        assert found == expected


def test_seeds_come_first_in_their_order_and_once(shop, read):
    inputs = shop.inputs("users", [7, 3, 7, 1], [CUT, CUT, CUT // 2, CUT])
    sampler, compiled = DeviceHGSampler(shop.index, 3, 2, device="cpu"), HGSampler(shop.index, 3, 2)
    sample = read(sampler.sample_from_nodes(inputs))
    assert sample.rows["users"][:3] == [7, 3, 1] == read(compiled.sample_from_nodes(inputs)).rows["users"][:3]
    assert len(set(sample.rows["users"])) == len(sample.rows["users"])
    assert sample.age["users"][0] == CUT // 2 - shop.time("users", 7)


def test_budgets_hold_per_table_and_round(shop, read):
    budget = {"users": 2, "orders": [5, 0], "items": [0, 3], "nothing": 4}
    sampler = DeviceHGSampler(shop.index, budget, 2, device="cpu")
    sample = read(sampler.sample_from_nodes(shop.inputs("reviews", [70, 20, 50], shop.end)))
    sizes = {table: len(rows) for table, rows in sample.rows.items()}
    assert sizes.pop("items") in (2, 3)  # two of the three orders may be of one item
    assert sizes == {"users": 4, "orders": 3, "reviews": 3, "tags": 0, "nothing": 0}


@pytest.mark.parametrize("seed", range(4))
def test_edges_ranks_and_times_are_true(shop, read, seed):
    sampler = DeviceHGSampler(shop.index, 5, 3, max_children=4, seed=seed, device="cpu")
    sample = read(sampler.sample_from_nodes(mixed_inputs(shop, seed=seed)))
    for table, rows in sample.rows.items():
        assert len(rows) == len(set(rows))
        assert all(age >= 0 or shop.time(table, row) is None for row, age in zip(rows, sample.age[table], strict=True))
    for (source, name, target), pairs in sample.edges.items():
        rows = [(sample.rows[source][i], sample.rows[target][j]) for i, j in pairs]
        for n, (i, j) in enumerate(rows):
            child, parent = ((source, i), (target, j)) if name.startswith("f2p_") else ((target, j), (source, i))
            assert (name.removeprefix("rev_").removeprefix("f2p_"), *parent) in shop.parents(*child)
            newer = sum(other == j and row > i for row, other in rows)
            assert sample.rank[source, name, target][n] == (newer if name.startswith("f2p_") else 0)
            time, place = shop.time(source, i), pairs[n][1]
            if shop.time(target, j) is not None and time is not None:
                limit = shop.time(target, j) + sample.age[target][place]
                assert sample.edge_age[source, name, target][n] == limit - time >= 0


def inclusions(shop, sampler, inputs, number):
    """How often every row, and every edge type, was drawn."""
    rows, edges = Counter(), Counter()
    for i in range(number):
        inputs.input_id = torch.arange(len(inputs.node)) + 1_000 * i
        out = sampler.sample_from_nodes(inputs)
        for table, numbers in out.node.items():
            rows.update((table, row) for row in numbers.tolist())
        for edge_type, ends in out.row.items():
            edges[edge_type] += len(ends)
    return rows, edges


def test_both_samplers_have_the_same_distribution(shop):
    """The share of batches that hold each row, under limits, with few children and several rounds."""
    number, settings = 1_000, {"num_per_round": 4, "num_rounds": 3, "max_children": 3}
    inputs = mixed_inputs(shop, 8)
    one, edges = inclusions(shop, HGSampler(shop.index, **settings), inputs, number)
    two, other_edges = inclusions(shop, DeviceHGSampler(shop.index, **settings, device="cpu"), inputs, number)
    squares = []
    for place in {*one, *two}:
        share = (one[place] + two[place]) / (2 * number)
        if 0 < share < 1:
            squares.append(((one[place] - two[place]) / number) ** 2 / (2 * share * (1 - share) / number))
        else:
            assert one[place] == two[place]
    assert len(squares) > 60
    assert max(squares) < 4.2**2
    # Of independent rows the sum would be a chi-square; rows of one table compete, so it spreads a little less.
    assert abs(sum(squares) - len(squares)) < 4 * (2 * len(squares)) ** 0.5
    for edge_type in edges | other_edges:
        assert abs(edges[edge_type] - other_edges[edge_type]) < 0.03 * (edges[edge_type] + 200)


def test_a_round_draws_in_proportion_to_squared_budgets(make_shop):
    """All sets of two rows, with the probabilities of one draw after the other."""
    shop = make_shop(seed=5, sizes={"users": 5, "items": 3, "orders": 12, "reviews": 4, "tags": 0})
    seeds, weight = [0, 3, 7, 8, 11], Counter()
    for row in seeds:
        for _, parent, other in shop.parents("orders", row):
            weight[other] += parent == "users"
    users = [row for row in weight if weight[row]]
    exact = Counter()
    for first, second in itertools.permutations(users, 2):
        total = sum(weight[row] ** 2 for row in users)
        chance = weight[first] ** 2 / total * weight[second] ** 2 / (total - weight[first] ** 2)
        exact[frozenset((first, second))] += chance
    sampler, counts, number = DeviceHGSampler(shop.index, {"users": 2}, 1, device="cpu"), Counter(), 1_000
    inputs = shop.inputs("orders", seeds, shop.end)
    for i in range(number):
        inputs.input_id = torch.arange(5) + 5 * i
        counts[frozenset(sampler.sample_from_nodes(inputs).node["users"].tolist())] += 1
    assert len(set(weight.values())) > 1
    assert set(counts) <= set(exact)
    for outcome, chance in exact.items():
        assert abs(counts[outcome] - number * chance) < 4.5 * (number * chance * (1 - chance)) ** 0.5


def test_many_child_rows_enter_evenly_spaced_from_a_random_start(make_shop):
    shop = make_shop(seed=1, sizes={"items": 1, "tags": 60, "orders": 0, "reviews": 0})
    tags = shop.children("items", 0)["tags", "item"]
    sampler, counts = DeviceHGSampler(shop.index, 100, 1, max_children=7, device="cpu"), Counter()
    inputs = shop.inputs("items", [0], 0)
    for i in range(400):
        inputs.input_id = torch.tensor([i])
        found = sorted(tags.index(row) for row in sampler.sample_from_nodes(inputs).node["tags"].tolist())
        assert len(found) == 7
        assert set(np.diff(found)) <= {len(tags) // 7, len(tags) // 7 + 1}
        counts.update(found)
    mean = 400 * 7 / len(tags)
    assert all(abs(counts[place] - mean) < 4.5 * mean**0.5 for place in range(len(tags)))


def test_a_batch_follows_from_seed_and_ids_alone(shop, read):
    one, other = shop.inputs("orders", [3, 50], shop.end, [8, 9]), shop.inputs("users", [1, 2, 3], shop.end)
    sampler = DeviceHGSampler(shop.index, 5, 3, seed=1, device="cpu")
    first = read(sampler.sample_from_nodes(one))
    sampler.sample_from_nodes(other)
    assert read(sampler.sample_from_nodes(one)) == first
    assert read(DeviceHGSampler(shop.index, 5, 3, seed=1, device="cpu").sample_from_nodes(one)) == first
    assert read(DeviceHGSampler(shop.index, 5, 3, seed=2, device="cpu").sample_from_nodes(one)) != first
    assert read(sampler.sample_from_nodes(shop.inputs("orders", [3, 50], shop.end, [8, 10]))) != first


def test_an_interrupted_batch_leaves_nothing_behind(shop, read, monkeypatch):
    inputs, sampler = shop.inputs("orders", [3, 50], shop.end), DeviceHGSampler(shop.index, 5, 3, device="cpu")
    first = read(sampler.sample_from_nodes(inputs))
    with monkeypatch.context() as patch:
        patch.setattr(DeviceHGSampler, "_induced_links", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            sampler.sample_from_nodes(shop.inputs("users", [3, 5, 8], shop.end))
    assert read(sampler.sample_from_nodes(inputs)) == first


def test_database_without_foreign_keys(shop, shop_of, read):
    df = shop.db.table_dict["items"].df
    alone = shop_of(Database({"items": Table(df, {}, "id", None)}))
    sample = read(DeviceHGSampler(alone.index, device="cpu").sample_from_nodes(alone.inputs("items", [3, 1], 0)))
    assert sample.rows == {"items": [3, 1]}
    assert sample.edges == {}


def loaders(shop, table=ANY_TABLE, transform=None, **settings):
    """The same seeds for both loaders."""
    seeds = SeedRows.between(shop.index, None, CUT, None if table == ANY_TABLE else [table])
    first = 0 if table == ANY_TABLE else int(shop.index.flat.offset[shop.index.node_types.index(table)])
    order = SeedSampler(seeds, 8, num_batches=3)
    common = {
        "input_nodes": (table, seeds.rows - first),
        "input_time": seeds.time,
        "transform": transform,
        "batch_sampler": order,
    }
    host = RelationalLoader(shop.index.graph, HGSampler(shop.index, **settings), **common)
    return host, DeviceLoader(DeviceHGSampler(shop.index, **settings, device="cpu"), **common)


@pytest.mark.parametrize("table", [ANY_TABLE, "items"])
def test_batches_have_all_that_those_of_the_other_loader_have(shop, table):
    def transform(batch):
        batch["users"].seen = batch["users"].num_nodes
        return batch

    one, two = loaders(shop, table, transform, num_per_round=4)
    assert len(two) == len(one) == 3
    for host, device in zip(one, two, strict=True):
        assert host.random_seed == device.random_seed
        assert host.node_types == device.node_types
        assert host.edge_types == device.edge_types
        for store in [*host.node_types, *host.edge_types]:
            mine, theirs = host[store].to_dict(), device[store].to_dict()
            assert mine.keys() == theirs.keys()
            for name, value in mine.items():
                assert type(value) is type(theirs[name])
                assert not isinstance(value, torch.Tensor) or value.dtype == theirs[name].dtype
        if table != ANY_TABLE:
            assert torch.equal(device[table].input_id, host[table].input_id)
            assert torch.equal(device[table].seed_time, host[table].seed_time)


def test_batches_are_equal_where_nothing_is_random(shop, feature_parts):
    for host, device in zip(*loaders(shop, num_per_round=300, num_rounds=2, max_children=150), strict=True):
        for table in host.node_types:
            order, other = host[table].n_id.argsort(), device[table].n_id.argsort()
            for name in ("n_id", "age", "duplicate", "parent_id", *(["time"] if "time" in host[table] else [])):
                assert torch.equal(host[table][name][order], device[table][name][other])
            for kind, feature in host[table].tf.feat_dict.items():
                theirs = device[table].tf.feat_dict[kind][other]
                assert all(map(torch.equal, feature_parts(feature[order]), feature_parts(theirs)))


def test_loader_begins_anew_and_follows_its_order(shop):
    _, loader = loaders(shop, num_per_round=3)
    first = [batch["users"].n_id.tolist() for batch in loader]
    assert [batch["users"].n_id.tolist() for batch in loader] == first
    loader.batch_sampler.begin(1)
    assert [batch["users"].n_id.tolist() for batch in loader] != first


def test_errors_name_what_is_wrong(shop):
    with pytest.raises(ValueError, match=r"unknown tables \['user'\]"):
        DeviceHGSampler(shop.index, {"user": 3}, device="cpu")
    with pytest.raises(ValueError, match="at least 1, got 3 and 0"):
        DeviceHGSampler(shop.index, max_children=0, device="cpu")


@pytest.mark.gpu
def test_a_batch_waits_for_the_gpu_once(shop, read):
    inputs = mixed_inputs(shop)
    settings = {"num_per_round": 400, "num_rounds": 3, "max_children": 150}
    sampler = DeviceHGSampler(shop.index, **settings, device="cuda")
    found = read(sampler.sample_from_nodes(inputs)).sets()
    assert found == read(HGSampler(shop.index, **settings).sample_from_nodes(inputs)).sets()
    torch.cuda.set_sync_debug_mode("warn")
    try:
        with pytest.warns(UserWarning, match="synchronizing") as waits:
            sampler.sample_from_nodes(inputs)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert len(waits) == 1
