"""The hypergraph: what it checks, what it computes, where it comes from, and its files."""

from __future__ import annotations

import json
from itertools import combinations

import networkx as nx
import numpy as np
import pytest
import xgi

from relbench_pretrain.hypergraph import (
    Arms,
    Chain,
    ConnectedRandomGraph,
    DatabaseHypergraph,
    ErdosRenyi,
    Hypergraph,
    HypergraphError,
    HypergraphFile,
    RandomHypergraph,
    Star,
    dissimilarity,
)
from relbench_pretrain.hypergraph.conversion import (
    from_names,
    from_networkx,
    from_xgi,
    read_hypergraph,
    to_networkx,
    to_xgi,
    write_hypergraph,
)
from relbench_pretrain.hypergraph.rows import find_rows, unique_rows
from relbench_pretrain.relational.database import load_database

MIXED = Hypergraph.from_edges(["a", "b", "c", "d"], [[0, 1], [2, 1, 0], [1, 2], [3, 0, 1]], [1, 2, 3, 2])


def slow_diameter(graph: Hypergraph) -> int:
    """By NetworkX, on hyperedges joined where they differ in one node; the largest over components."""
    sets = [frozenset(row[row >= 0].tolist()) for row in graph.edges]
    near = nx.Graph()
    near.add_nodes_from(range(len(sets)))
    near.add_edges_from(
        (i, j) for i, j in combinations(range(len(sets)), 2)
        if len(sets[i]) == len(sets[j]) and len(sets[i] & sets[j]) == len(sets[i]) - 1
    )  # fmt: skip
    parts = list(nx.connected_components(near))
    assert len(parts) == graph.adjacency.components.max() + 1
    return max(nx.diameter(near.subgraph(part)) for part in parts)


def test_equal_hyperedges_become_one_and_weights_sum_to_one():
    graph = Hypergraph.from_edges(3, [[1, 0], [0, 1], [2, 1]], [1, 2, 1])
    assert graph.edges.tolist() == [[0, 1], [1, 2]]
    assert graph.weights.tolist() == [0.75, 0.25]
    assert graph.kappa == 3 and graph.is_graph and graph.nodes == ["0", "1", "2"]


@pytest.mark.parametrize(
    ("nodes", "edges", "weights", "message"),
    [
        (["a", "a"], [[0, 1]], None, "two nodes 'a'"),
        (2, [[0, 2]], None, "names node 2, and there are 2"),
        (2, [[0, 0]], None, r"\[0, 0\] has a node twice"),
        (2, [], None, "no hyperedge"),
        (2, [[]], None, "hyperedge 0 has no nodes"),
        (2, [[0, 1]], [0], "hyperedge 0 has weight 0"),
        (2, [[0, 1]], [float("nan")], "weight nan"),
        (2, [[0, 1]], [1, 2], "1 hyperedges and 2 weights"),
    ],
)
def test_what_is_wrong_is_named(nodes, edges, weights, message):
    with pytest.raises(HypergraphError, match=message):
        Hypergraph.from_edges(nodes, edges, weights)


def test_matrix_is_symmetric_and_for_graphs_only():
    matrix = Chain(4).make().matrix().toarray()
    assert np.array_equal(matrix, matrix.T) and matrix.sum() == pytest.approx(2)
    with pytest.raises(HypergraphError, match="two nodes; here they have 2 to 3"):
        MIXED.matrix()


def test_contexts_of_other_arity_are_others():
    graph = Hypergraph.from_edges(3, [[0], [0, 1], [2], [1, 2]])
    # {0} and {2} differ in one node; so do {0, 1} and {1, 2}; no other pair
    assert graph.adjacency.components.tolist() == [0, 1, 1, 0]


@pytest.mark.parametrize(("source", "length"), [(Star(10), 1), (Arms(), 9), (Chain(20), 18), (Chain(3), 1)])
def test_diameter_of_the_papers_families(source, length):
    graph = source.make()
    assert graph.diameter() == length == slow_diameter(graph)


@pytest.mark.parametrize("seed", range(3))
def test_diameter_and_components_are_those_of_a_slow_search(seed):
    for source in (
        ConnectedRandomGraph(12, 20, seed=seed),
        ErdosRenyi(15, 0.1, seed=seed),
        RandomHypergraph(9, {2: 8, 3: 20, 4: 6}, connected=False, seed=seed),
    ):
        graph = source.make()
        assert graph.diameter() == slow_diameter(graph)
        assert graph.diameter(sources=2) <= graph.diameter()


def test_renaming_moves_weights_with_nodes():
    order = np.array([2, 0, 3, 1])
    renamed = MIXED.renamed(order, ["w", "x", "y", "z"])
    new = {0: 1, 1: 3, 2: 0, 3: 2}
    for row, weight in zip(MIXED.edges, MIXED.weights, strict=True):
        moved = np.array([[new[i] if i >= 0 else -1 for i in row.tolist()]])
        assert renamed.weights_of(moved)[0] == pytest.approx(weight)
    assert renamed.weights_of(np.array([[0, 3]]))[0] == pytest.approx(3 / 8)


@pytest.mark.parametrize("seed", range(4))
def test_random_graphs_have_the_edges_that_were_asked_for_and_are_connected(seed):
    for nodes, edges in ((10, None), (30, 29), (30, 40), (60, None)):
        graph = ConnectedRandomGraph(nodes, edges, seed=seed).make()
        assert graph.num_edges == (edges or nodes * (nodes - 1) // 2 // 5)
        assert nx.is_connected(to_networkx(graph))
        assert round(graph.kappa, 9) in (1, 3)
    one, other = (ConnectedRandomGraph(20, seed=s).make() for s in (seed, seed + 1))
    assert not np.array_equal(one.edges, other.edges)


@pytest.mark.parametrize("connected", [True, False])
def test_random_hypergraphs_have_so_many_hyperedges_of_each_arity(connected):
    graph = RandomHypergraph(12, {2: 10, 3: 60, 5: 4}, connected, weights=[1, 10], seed=2).make()
    assert {k: int((graph.arity == k).sum()) for k in (2, 3, 5)} == {2: 10, 3: 60, 5: 4}
    assert graph.kappa == pytest.approx(10)
    if connected:
        assert graph.adjacency.components.max() + 1 == 3
    dense = RandomHypergraph(6, {3: 19}, connected=False).make()
    assert dense.num_edges == 19


def test_sources_say_what_they_cannot_make(tmp_path):
    for source, message in (
        (lambda: ConnectedRandomGraph(10, 5), "9 to 45 edges, not 5"),
        (lambda: RandomHypergraph(5, {3: 11}), "10 hyperedges of 3, not 11"),
        (lambda: Star(1), "two nodes or more"),
        (lambda: Arms([3, 0]), "every arm needs an edge"),
        (lambda: ErdosRenyi(5, 0.0), "probability must be above 0"),
        (lambda: Star(4, weights=[0.0]).make(), "weights must be above 0"),
        (lambda: HypergraphFile(str(tmp_path / "no.json")).make(), "there is no file"),
    ):
        with pytest.raises(HypergraphError, match=message):
            source()


@pytest.mark.parametrize("suffix", ["json", "parquet"])
def test_files_keep_everything(tmp_path, suffix):
    lonely = Hypergraph(["lonely", *MIXED.nodes], np.where(MIXED.edges >= 0, MIXED.edges + 1, -1), MIXED.weights)
    read = HypergraphFile(str(write_hypergraph(lonely, tmp_path / f"graph.{suffix}"))).make()
    assert read.nodes == lonely.nodes and np.array_equal(read.edges, lonely.edges)
    assert np.allclose(read.weights, lonely.weights)
    assert [path.name for path in tmp_path.iterdir()] == [f"graph.{suffix}"]


def test_plain_lists_of_names_are_read_and_wrong_files_named(tmp_path):
    path = tmp_path / "graph.json"
    path.write_text(json.dumps({"edges": [["a", "b"], {"nodes": ["b", "c"], "weight": 3}]}))
    assert read_hypergraph(path).weights.tolist() == [0.25, 0.75]
    for text, message in (("{", "no hypergraph"), ('{"nodes": []}', "KeyError"), ('{"nodes": ["a"], "edges": [["b"]]}',
                                                                                "node 'b'")):  # fmt: skip
        path.write_text(text)
        with pytest.raises(HypergraphError, match=message) as error:
            read_hypergraph(path)
        assert "graph.json" in str(error.value)
    with pytest.raises(HypergraphError, match=r"neither \.json nor \.parquet"):
        write_hypergraph(MIXED, tmp_path / "graph.txt")
    (tmp_path / "graph.parquet").write_text("no parquet")
    with pytest.raises(HypergraphError, match=r"graph\.parquet"):
        read_hypergraph(tmp_path / "graph.parquet")


def test_networkx_and_xgi_there_and_back():
    graph = ConnectedRandomGraph(8, seed=1).make()
    back = from_networkx(to_networkx(graph))
    assert dissimilarity(graph, back).error == pytest.approx(0)
    assert dissimilarity(MIXED, from_xgi(to_xgi(MIXED))).error == pytest.approx(0)
    assert xgi.is_connected(to_xgi(MIXED))
    with pytest.raises(HypergraphError, match="use to_xgi"):
        to_networkx(MIXED)
    with pytest.raises(HypergraphError, match="directed"):
        from_networkx(nx.DiGraph([(0, 1)]))


def test_dissimilarity_is_half_the_entrywise_norm_of_matrices():
    rng = np.random.default_rng(0)
    one, other = (ConnectedRandomGraph(9, 15, weights=rng.random(5) + 0.1, seed=s).make() for s in (1, 2))
    found = dissimilarity(one, other)
    first, second = one.matrix().toarray(), other.matrix().toarray()
    assert found.error == pytest.approx(np.abs(first - second).sum() / 2)
    assert found.entrywise == pytest.approx(np.abs(first - second).sum() / np.abs(first).sum())
    assert found.induced == pytest.approx(np.linalg.norm(first - second, 1) / np.linalg.norm(first, 1))
    same = {tuple(e) for e in one.edges.tolist()} & {tuple(e) for e in other.edges.tolist()}
    assert found.wrong_edges == one.num_edges + other.num_edges - 2 * len(same)
    assert found.precision == pytest.approx(len(same) / other.num_edges)
    flat = dissimilarity(one, other, weighted=False)
    assert flat.error == flat.wrong_edges == found.wrong_edges
    assert dissimilarity(one, one).error == 0
    with pytest.raises(HypergraphError, match="different nodes"):
        dissimilarity(one, from_names([["a", "b"]]))


def test_rows_are_told_apart_where_one_number_cannot_hold_them():
    rng = np.random.default_rng(0)
    for largest in (3, 2**40):  # packed into 63 bits, and not
        rows = rng.integers(-1, 2, (50, 5)) * (largest // 2)
        distinct, which = unique_rows(rows)
        assert np.array_equal(distinct[which], rows)
        assert len(distinct) == len(np.unique(rows, axis=0))
    table = np.array([[0, 1], [1, 2]])
    assert find_rows(np.array([[1, 2, -1], [0, 2, -1], [0, 1, 2]]), table).tolist() == [1, -1, -1]


def test_rows_of_a_database_join_the_entities_that_their_keys_name():
    tables = load_database("demo-small").table_dict
    graph = DatabaseHypergraph("demo-small", ["orders"]).make()
    orders = tables["orders"]
    keys = orders.fkey_col_to_pkey_table
    expected: dict[frozenset, int] = {}
    for row in orders.df[list(keys)].astype("float").to_numpy().tolist():
        names = frozenset(f"{p}:{int(key)}" for p, key in zip(keys.values(), row, strict=True) if key == key)
        if len(names) >= 2:
            expected[names] = expected.get(names, 0) + 1
    sets = [frozenset(graph.nodes[i] for i in row if i >= 0) for row in graph.edges]
    found = dict(zip(sets, graph.weights, strict=True))
    total = sum(expected.values())
    assert found.keys() == expected.keys()
    assert all(found[names] == pytest.approx(count / total) for names, count in expected.items())
    heavy = DatabaseHypergraph("demo-small", min_weight=2).make()
    everything = DatabaseHypergraph("demo-small").make()
    assert 0 < heavy.num_edges < everything.num_edges and heavy.num_nodes < everything.num_nodes
    for source, message in (
        (DatabaseHypergraph("demo-small", ["orrders"]), "no tables .'orrders'."),
        (DatabaseHypergraph("demo-small", min_arity=9), "no table has foreign keys to 9"),
        (DatabaseHypergraph("demo-small", min_weight=10**6), "take a lower min_weight"),
    ):
        with pytest.raises(HypergraphError, match=message):
            source.make()
