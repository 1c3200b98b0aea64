"""TemporalTransformer and its paths, against slow obvious versions."""

from __future__ import annotations

import pytest
import torch

from relbench_pretrain.nn import Subgraph, TemporalTransformer
from relbench_pretrain.nn.paths import PathVocabulary, walk_paths
from relbench_pretrain.relational.schema import ColumnSchema, GraphSchema, TableSchema

NUMBER = {"x": ColumnSchema("numerical", {"MEAN": 0.0, "STD": 1.0, "QUANTILES": [0.0] * 5})}


@pytest.fixture
def schema():
    """Customers, their orders, products with a parent product, and a table called ``items`` between them."""
    return GraphSchema(
        {
            "customers": TableSchema(NUMBER, "id"),
            "products": TableSchema(NUMBER, "id", None, {"parent": "products"}),
            "orders": TableSchema(NUMBER, "id", "time", {"customer": "customers"}),
            "items": TableSchema(NUMBER, None, "time", {"order": "orders", "product": "products"}),
        }
    )


def random_graph(schema, sizes, seed=0):
    """Every child row has a parent; ranks count from the last child row, as samplers do."""
    generator = torch.Generator().manual_seed(seed)
    edge_index, rank, age = {}, {}, {}
    for key in schema.foreign_keys:
        child = torch.arange(sizes[key.child])
        parent = torch.randint(sizes[key.parent], (len(child),), generator=generator)
        edge_index[key.edge_type] = torch.stack([child, parent])
        edge_index[key.reverse_edge_type] = torch.stack([parent, child])
        rank[key.edge_type] = torch.tensor([int((parent[j + 1 :] == parent[j]).sum()) for j in range(len(child))])
        rank[key.reverse_edge_type] = torch.zeros(len(child), dtype=torch.int64)
        age[key.edge_type] = (100.0 * (len(child) - child)).float()
        age[key.reverse_edge_type] = torch.full((len(child),), -1.0)
    return Subgraph(dict(sizes), edge_index, rank, age)


SIZES = {"customers": 3, "products": 4, "orders": 12, "items": 30}


def slow_walk(schema, graph, table, row, rows_per_hop, follow):
    """Breadth first from one row. Returns {(table, row): (rank, age)} in the order in which they are reached."""
    met = {(table, row): (0, -1.0)}
    frontier = [(table, row)]
    for limit in rows_per_hop:
        found, following = [], []
        for at in frontier:
            for edge_type in schema.edge_types:
                if edge_type[2] != at[0]:
                    continue
                source, target = graph.edge_index[edge_type]
                for e in (target == at[1]).nonzero().flatten().tolist():
                    rank, age = int(graph.rank[edge_type][e]), float(graph.age[edge_type][e])
                    from_child = not edge_type[1].startswith("rev_")
                    if from_child and rank >= limit:
                        continue
                    found.append(((edge_type[0], int(source[e])), (rank, age)))
                    if not from_child or rank < follow:
                        following.append((edge_type[0], int(source[e])))
        for node, facts in found:
            met.setdefault(node, facts)
        frontier = following
    return met


@pytest.mark.parametrize(("rows_per_hop", "follow"), [([2], 1), ([3, 2], 2), ([4, 0, 2], 1)])
def test_walks_meet_what_a_slow_walk_meets(schema, rows_per_hop, follow):
    graph = random_graph(schema, SIZES)
    paths = PathVocabulary(schema, len(rows_per_hop))
    tokens = walk_paths(paths, graph, SIZES, rows_per_hop, follow, 1000)
    tables = schema.node_types
    starts = dict(zip(tables, torch.tensor([0, *SIZES.values()]).cumsum(0).tolist(), strict=False))
    targets = [(table, row) for table in tables for row in range(SIZES[table])]
    for number, (table, row) in enumerate(targets):
        expected = slow_walk(schema, graph, table, row, rows_per_hop, follow)
        mine = tokens.target == number
        nodes = tokens.node[mine].tolist()
        assert nodes[0] == starts[table] + row
        assert set(nodes) == {starts[t] + r for t, r in expected}
        assert len(nodes) == len(set(nodes))


def test_each_target_is_in_one_group_and_its_tokens_are_all_there(schema):
    graph = random_graph(schema, SIZES)
    tokens = walk_paths(PathVocabulary(schema, 2), graph, SIZES, [5, 5], 2, 1000)
    targets = torch.cat([group.target for group in tokens.groups])
    assert sorted(targets.tolist()) == list(range(sum(SIZES.values())))
    present = torch.cat([group.token[~group.padding] for group in tokens.groups])
    assert sorted(present.tolist()) == list(range(len(tokens.node)))
    for group in tokens.groups:
        counts = (~group.padding).sum(1)
        assert counts.max() == group.token.shape[1]
        assert counts.min() * 2 >= counts.max() - 1 or counts.max() <= 2


def test_too_many_tokens_lose_the_last_hops(schema):
    graph = random_graph(schema, SIZES)
    tokens = walk_paths(PathVocabulary(schema, 2), graph, SIZES, [5, 5], 2, 3)
    assert torch.bincount(tokens.target).max() == 3
    assert (tokens.place[tokens.first] == 0).all()


def built(schema, **kwargs):
    torch.manual_seed(0)
    encoder = TemporalTransformer(rows_per_hop=[4, 2], num_layers=2, num_heads=2, dropout=0.0, **kwargs)
    encoder.build(schema, 8)
    return encoder.eval()


def features(views=()):
    torch.manual_seed(1)
    return {table: torch.randn(n, *views, 8) for table, n in SIZES.items()}


def test_views_do_not_see_each_other(schema):
    encoder, graph, x = built(schema), random_graph(schema, SIZES), features((2,))
    both = encoder(x, graph)
    for view in (0, 1):
        alone = encoder({table: v[:, view] for table, v in x.items()}, graph)
        for table in SIZES:
            assert torch.allclose(both[table][:, view], alone[table], atol=1e-5)


def test_targets_alone_are_what_they_are_among_all(schema):
    encoder, graph, x = built(schema), random_graph(schema, SIZES), features()
    everything = encoder(x, graph)
    graph.num_targets = {"customers": 2}
    some = encoder(x, graph)
    assert set(some) == {"customers"}
    assert torch.allclose(some["customers"], everything["customers"][:2], atol=1e-5)


def test_rows_out_of_reach_do_not_matter_and_rows_within_do(schema):
    encoder, graph = built(schema, follow=1), random_graph(schema, SIZES)
    x = {table: v.requires_grad_() for table, v in features().items()}
    encoder(x, graph)["customers"][0].square().sum().backward()
    reach = slow_walk(schema, graph, "customers", 0, [4, 2], 1)
    reached = {row for table, row in reach if table == "orders"}
    for row in range(SIZES["orders"]):
        touched = bool(x["orders"].grad[row].abs().sum() > 0)
        assert touched == (row in reached)


def test_static_features_can_be_left_out(schema):
    encoder, graph, x = built(schema, static_features=False), random_graph(schema, SIZES), features()
    before = encoder(x, graph)["customers"]
    x["customers"] = x["customers"] + 1
    x["products"] = x["products"] + 1
    assert torch.equal(encoder(x, graph)["customers"], before)
    x["orders"] = torch.randn_like(x["orders"])
    assert not torch.allclose(encoder(x, graph)["customers"], before, atol=1e-4)


def test_order_and_age_matter(schema):
    encoder, graph, x = built(schema), random_graph(schema, SIZES), features()
    before = encoder(x, graph)["customers"]
    key = schema.foreign_keys[1].edge_type
    graph.age[key] = graph.age[key] + 86_400.0 * 40
    older = encoder(x, graph)["customers"]
    assert not torch.allclose(before, older, atol=1e-4)
    graph = random_graph(schema, SIZES)
    graph.rank[key] = (graph.rank[key] + 1) % 3
    assert not torch.allclose(before, encoder(x, graph)["customers"], atol=1e-4)


def test_rows_without_any_neighbour_and_empty_tables_work(schema):
    sizes = {"customers": 2, "products": 0, "orders": 0, "items": 0}
    empty = torch.empty(2, 0, dtype=torch.int64)
    edges = {edge_type: empty for edge_type in schema.edge_types}
    nothing = {edge_type: torch.empty(0) for edge_type in schema.edge_types}
    graph = Subgraph(sizes, edges, {e: v.long() for e, v in nothing.items()}, nothing)
    out = built(schema)({t: torch.randn(n, 8) for t, n in sizes.items()}, graph)
    assert out["customers"].shape == (2, 8)
    assert out["items"].shape == (0, 8)
    assert out["customers"].isfinite().all()


def test_bf16_runs_and_stays_close(schema):
    encoder, graph, x = built(schema), random_graph(schema, SIZES), features()
    exact = encoder(x, graph)["customers"]
    with torch.autocast("cpu", torch.bfloat16):
        rough = encoder(x, graph)["customers"]
    assert torch.allclose(exact, rough.float(), atol=0.1)


def test_parameters_come_with_the_schema_once(schema):
    encoder = TemporalTransformer()
    assert not list(encoder.parameters())
    encoder.build(schema, 8)
    before = {name: p.clone() for name, p in encoder.named_parameters()}
    encoder.build(schema, 8)
    assert all(torch.equal(before[name], p) for name, p in encoder.named_parameters())


def test_bad_arguments_are_named(schema):
    with pytest.raises(ValueError, match="rows_per_hop"):
        TemporalTransformer(rows_per_hop=[])
    with pytest.raises(ValueError, match="channels.*10.*4"):
        TemporalTransformer(num_heads=4).build(schema, 10)
