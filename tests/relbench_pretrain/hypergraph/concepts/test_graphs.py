"""Graphs of concepts: from files, and grown around a word."""

from __future__ import annotations

import json

import pytest

from relbench_pretrain.hypergraph import ConceptGraph, ConceptNeighborhood, HypergraphError, read_concept_graphs
from relbench_pretrain.hypergraph.concepts.graphs import neighborhood

CAKE = {"source": "cake", "concepts": ["cake", "dessert"], "edges": [[0, 1]]}
ZOO = {"source": "zoo", "concepts": ["zoo", "animal", "lion"], "edges": [[0, 1], [1, 2]]}
RELATED = {"a": "bcd", "b": "ae", "c": "fg", "e": "gh", "f": "cb", "g": "", "h": "hxa"}


def edges_of(graph):
    return {"".join(sorted(graph.nodes[i] for i in edge)) for edge in graph.edges}


def test_graphs_of_a_file(concept_graphs):
    graphs = read_concept_graphs(concept_graphs)
    assert [entry.name for entry in graphs] == ["cake", "zoo"]
    assert graphs[0].graph.nodes == ["cake", "birthday", "dessert", "party"]
    assert graphs[0].graph.edges.tolist() == [[0, 1], [0, 2], [1, 3]]
    assert graphs[0].graph.kappa == 1
    assert graphs[0].answers["second"] == [("cake", "birthday"), ("cake", "dessert"), ("birthday", "party")]
    assert ConceptGraph(str(concept_graphs), "zoo").make().nodes == ["zoo", "animal", "yo-yo"]


def test_graphs_of_one_word_are_told_apart_by_width(tmp_path):
    narrow = {"seed": "a", "max_width": 2, "concepts": ["a", "b"], "edges": [[0, 1]]}
    wide = {**narrow, "max_width": 3, "concepts": ["a", "b", "c"], "edges": [[0, 1], [0, 2]]}
    empty = {"seed": "e", "max_width": 2, "concepts": ["e"], "edges": []}
    path = tmp_path / "graphs.json"
    path.write_text(json.dumps([narrow, wide, {**narrow, "variant": "again"}, empty]))
    assert [entry.name for entry in read_concept_graphs(path)] == ["a, width 2", "a, width 3"]
    assert ConceptGraph(str(path), "a, width 3").make().num_nodes == 3
    with pytest.raises(HypergraphError, match="no graph of 'a' with edges.*a, width 2"):
        ConceptGraph(str(path), "a").make()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "is no JSON"),
        ('{"a": 1}', "a list of objects"),
        ([CAKE, {"source": "x", "concepts": ["x"]}], "entry 1, 'x': 'edges' is missing"),
        ([{"concepts": ["x", "y"], "edges": [[0, 1]]}], "entry 0, .*'source' is missing"),
        ([CAKE, {**ZOO, "edges": [[0, 3]]}], r"entry 1, 'zoo': edge \[0, 3\] should be two places among the 3"),
        ([{**ZOO, "edges": [[1, 1]]}], "entry 0, 'zoo'.*twice"),
        ([{**ZOO, "edges": [["zoo", "animal"]]}], "entry 0, 'zoo': edge"),
        ([{**ZOO, "edges": 3}], "entry 0, 'zoo'"),
        ([{**ZOO, "concepts": ["a", "a", "b"]}], "entry 0, 'zoo'.*two nodes 'a'"),
        ([ZOO, {**ZOO, "edges": [[0, 1]]}], "entry 1: there is another graph of 'zoo'"),
    ],
)
def test_bad_entries_are_named(tmp_path, content, message):
    path = tmp_path / "graphs.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    with pytest.raises(HypergraphError, match=message):
        read_concept_graphs(path)


def test_growth_is_breadth_first_within_width_and_depth():
    # h is three steps away: it brings no x, but is joined to what is there of its two most related, itself left out.
    found = neighborhood("a", RELATED.__getitem__, width=2, depth=3)
    assert found.nodes == ["a", "b", "c", "e", "f", "g", "h"]
    assert edges_of(found) == {"ab", "ac", "be", "cf", "cg", "eg", "eh", "bf"}
    assert neighborhood("a", RELATED.__getitem__, width=2, depth=1).nodes == ["a", "b", "c"]
    assert edges_of(neighborhood("a", RELATED.__getitem__, width=1, depth=2)) == {"ab"}


def test_growth_needs_a_word_with_relations_and_sizes_of_one_or_more():
    with pytest.raises(HypergraphError, match="'g' is related to nothing"):
        neighborhood("g", RELATED.__getitem__)
    with pytest.raises(HypergraphError, match="width 0 and depth 3"):
        neighborhood("a", RELATED.__getitem__, width=0)


def test_growth_from_assertions(tmp_path):
    rows = ["a\tr\tb", "a\tr\tz", "b\ts\ta", "a\tr\tc", "b\tr\td", "c\tr\td"]
    (tmp_path / "a.tsv").write_text("\n".join(rows))
    path = str(tmp_path / "a.tsv")
    found = ConceptNeighborhood(path, "a", width=2, depth=2).make()
    assert found.nodes == ["a", "b", "c", "d"]  # b by two assertions, c before z by name
    assert edges_of(found) == {"ab", "ac", "bd", "cd"}
    assert found.kappa == 1
    with pytest.raises(HypergraphError, match="no assertion has the concept 'q'"):
        ConceptNeighborhood(path, "q").make()


def test_the_stored_subgraphs_grow_from_the_relations_that_are_stored_with_them(shared_data):
    path = shared_data / "hypergraph" / "conceptnet_subgraphs.json"
    assert len(read_concept_graphs(path)) == 23
    stored = [raw for raw in json.loads(path.read_text()) if raw["edges"]]
    assert len(stored) == 43
    for raw in stored:
        found = neighborhood(raw["seed"], raw["children"].__getitem__, raw["max_width"], raw["max_depth"])
        assert found.nodes == raw["concepts"]
        assert found.edges.tolist() == sorted(sorted(edge) for edge in raw["edges"])
