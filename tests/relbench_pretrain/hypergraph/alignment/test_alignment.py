"""Matchings against hypergraphs whose true one is known, and distances and accuracies against slow obvious ones."""

from __future__ import annotations

import builtins
from itertools import combinations, permutations

import numpy as np
import pytest

from relbench_pretrain.hypergraph import (
    FAQ,
    Arms,
    Chain,
    ConnectedRandomGraph,
    GromovWasserstein,
    Hypergraph,
    HypergraphError,
    RandomHypergraph,
    Spectral,
    Star,
    agreement,
    dissimilarity,
)
from relbench_pretrain.hypergraph.alignment.accuracy import score
from relbench_pretrain.hypergraph.alignment.files import label_pairs
from relbench_pretrain.hypergraph.alignment.overlap import Overlap
from relbench_pretrain.hypergraph.alignment.problem import doubly_stochastic, two_section

MATCHERS = [FAQ(restarts=4), Spectral(), GromovWasserstein(restarts=4)]
MIXED = RandomHypergraph(8, {1: 3, 2: 6, 3: 7}, connected=False, weights=(1.0, 2.0, 5.0))


def hidden(graph: Hypergraph, seed: int = 0) -> tuple[Hypergraph, np.ndarray]:
    """The same hypergraph under other names, and for each node its true partner."""
    shuffled = np.random.default_rng(seed).permutation(graph.num_nodes)
    return graph.renamed(shuffled, [f"b{i}" for i in range(graph.num_nodes)]), np.argsort(shuffled)


def sampled(graph: Hypergraph, number: int, seed: int) -> Hypergraph:
    counts = np.random.default_rng(seed).multinomial(number, graph.weights)
    return graph.with_weights(counts.astype(np.float64))


@pytest.mark.parametrize("num_nodes", [20, 50])
def test_faq_matches_asymmetric_graphs_of_exact_weights_without_any_pair(num_nodes):
    asymmetric = 0
    for seed in range(5):
        first = ConnectedRandomGraph(num_nodes, seed=seed).make()
        second, true = hidden(first, seed)
        order = FAQ().match(first, second)
        found = agreement(first, np.argsort(true)[order])
        assert Overlap(first, second).distance(order) == 0
        assert found.right.all()
        asymmetric += found.method == "asymmetric" and bool((order == true).all())
    assert asymmetric >= 4


@pytest.mark.parametrize("source", [Chain(20), Arms(), Star(20)])
@pytest.mark.parametrize("matcher", [FAQ(), GromovWasserstein()], ids=lambda matcher: type(matcher).__name__)
def test_restarts_decide_between_ends_that_look_alike(matcher, source):
    first = source.make()
    second, _ = hidden(first)
    assert Overlap(first, second).distance(matcher.match(first, second)) == 0


@pytest.mark.parametrize("matcher", MATCHERS, ids=lambda matcher: type(matcher).__name__)
def test_hyperedges_of_any_arity_are_matched(matcher):
    first = RandomHypergraph(20, {2: 15, 3: 30, 4: 10}).make()
    second, true = hidden(first)
    assert matcher.match(first, second).tolist() == true.tolist()


@pytest.mark.parametrize("matcher", MATCHERS, ids=lambda matcher: type(matcher).__name__)
def test_known_pairs_are_kept_and_help_where_weights_are_noisy(matcher):
    truth = ConnectedRandomGraph(40).make()
    other, true = hidden(truth)
    first, second = sampled(truth, 250, 1), sampled(other, 250, 2)  # fewer than two samples for an edge
    known = np.stack([np.arange(9), true[:9]], axis=1)
    order = matcher.match(first, second, known)
    assert (order[:9] == true[:9]).all()
    assert (order == true)[9:].mean() > (matcher.match(first, second) == true)[9:].mean() + 0.3
    wrong = np.array([[0, true[1]], [1, true[0]]])
    assert matcher.match(first, second, wrong)[:2].tolist() == wrong[:, 1].tolist()
    everything = np.stack([np.arange(40), true], axis=1)
    for number in (39, 40):
        assert matcher.match(first, second, everything[:number]).tolist() == true.tolist()


@pytest.mark.parametrize("matcher", [FAQ(), GromovWasserstein()], ids=lambda matcher: type(matcher).__name__)
def test_a_node_too_many_on_either_side_is_left_without_a_partner(matcher):
    larger = ConnectedRandomGraph(21, 60).make()
    kept = larger.edges[(larger.edges < 20).all(1)]
    smaller = Hypergraph.from_edges(20, kept, larger.weights_of(kept))
    second, true = hidden(larger)
    assert matcher.match(smaller, second).tolist() == true[:20].tolist()
    back = matcher.match(second, smaller)
    assert back[true].tolist() == [*range(20), -1]


@pytest.mark.parametrize(
    ("pairs", "message"),
    [([[0, 25]], "names node 25, and the second has 20"), ([[1, 2], [1, 3]], "'1' 2 times"), ([[-1, 0]], "node -1")],
)
def test_wrong_pairs_are_named(pairs, message):
    graph = ConnectedRandomGraph(20).make()
    with pytest.raises(HypergraphError, match=message):
        FAQ().match(graph, graph, np.array(pairs))


def test_without_pot_the_extra_is_named(monkeypatch):
    imported = builtins.__import__

    def refuse(name, *args):
        if name == "ot":
            raise ImportError(name)
        return imported(name, *args)

    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(HypergraphError, match=r"relbench-pretrain\[hypergraph\]"):
        GromovWasserstein().match(Star(5).make(), Star(5).make())


def test_the_distance_is_the_dissimilarity_of_the_renamed_hypergraph():
    first, second = MIXED.make(), RandomHypergraph(8, {2: 9, 4: 6}, seed=1).make()
    overlap = Overlap(first, second)
    for seed in range(5):
        order = np.random.default_rng(seed).permutation(8)
        renamed = first.renamed(np.argsort(order), second.nodes)
        assert overlap.distance(order) == pytest.approx(dissimilarity(second, renamed).error)
        for node, cost in enumerate(overlap.node_costs(order)):
            at = [graph.weights @ (graph.edges == order[node]).any(1) for graph in (renamed, second)]
            edges = renamed.edges[(renamed.edges == order[node]).any(1)]
            common = np.minimum(renamed.weights_of(edges), second.weights_of(edges)).sum()
            assert cost == pytest.approx(1 - 2 * common / sum(at))


def test_swaps_end_where_none_brings_the_hypergraphs_closer_and_margins_say_by_how_much():
    first, second = sampled(MIXED.make(), 60, 0), hidden(MIXED.make())[0]
    overlap = Overlap(first, second)
    order = np.array([0, 1, 2, 7, 6, 5, 4, 3])
    better = overlap.improve(order, np.arange(1, 8))
    assert better[0] == 0
    assert overlap.distance(better) < overlap.distance(order)
    growth = np.full(8, np.inf)
    for i, j in combinations(range(8), 2):
        swapped = better.copy()
        swapped[[i, j]] = better[[j, i]]
        growth[[i, j]] = np.minimum(growth[[i, j]], overlap.distance(swapped) - overlap.distance(better))
        assert i == 0 or overlap.distance(swapped) >= overlap.distance(better) - 1e-9
    assert overlap.margins(better) == pytest.approx(growth)


def test_clique_expansion_and_scaling():
    graph = Hypergraph.from_edges(4, [(0, 1, 2), (1, 2), (3,)], [0.5, 0.25, 0.25])
    expected = np.array([[0, 0.5, 0.5, 0], [0.5, 0, 0.75, 0], [0.5, 0.75, 0, 0], [0, 0, 0, 0.25]])
    assert two_section(graph, 4, power=1.0) == pytest.approx(expected)
    assert two_section(graph, 5)[:4, :4] == pytest.approx(np.sqrt(expected))
    assert two_section(graph, 4, power=0.0) == pytest.approx(np.sign(expected))
    scaled = doubly_stochastic(np.eye(6) + np.random.default_rng(0).random((6, 6)) ** 9)
    assert (scaled >= 0).all()
    assert [scaled.sum(0), scaled.sum(1)] == pytest.approx(np.ones((2, 6)))


def automorphisms(graph: Hypergraph) -> list[np.ndarray]:
    weight = {tuple(row[row >= 0]): w for row, w in zip(graph.edges, graph.weights, strict=True)}
    moved = (np.array(p) for p in permutations(range(graph.num_nodes)))
    return [p for p in moved if all(np.isclose(weight.get(tuple(sorted(p[[*e]])), 0), w) for e, w in weight.items())]


@pytest.mark.parametrize(
    "graph",
    [
        Star(6).make(),
        Star(6, weights=(1.0, 3.0)).make(),
        Chain(6).make(),
        Arms((2, 2, 1)).make(),
        Hypergraph.from_edges(6, [(0, 1, 2), (3, 4, 5)]),
        Hypergraph.from_edges(6, [(0, 1), (1, 2), (0, 2), (3, 4), (4, 5), (3, 5)]),
        Hypergraph.from_edges(6, [(i, (i + 1) % 6) for i in range(6)]),
    ],
)
def test_the_best_automorphism_is_that_of_a_search_through_all(graph):
    allowed = automorphisms(graph)
    rng = np.random.default_rng(0)
    for known in ([], [1], [0, 3]):
        for _ in range(6):
            moved = np.where(rng.random(6) < 0.8, rng.permutation(6), -1)
            best = max(int((p == moved).sum()) for p in allowed if all(p[i] == i for i in known))
            found = agreement(graph, moved, np.array(known, dtype=np.int64))
            assert (found.right.sum(), found.most) == (best, best)
            assert found.method != "bounds"


def test_leaves_are_alike_until_weights_or_known_pairs_tell_them_apart():
    leaves = np.r_[0, 2:200, 1]
    assert agreement(Star(200).make(), leaves).right.all()
    turned = np.arange(200)[::-1]
    assert agreement(Chain(200).make(), turned).right.all()
    known = agreement(Chain(200).make(), turned, np.array([0]))
    assert (known.method, known.right.sum()) == ("asymmetric", 0)
    assert agreement(Chain(200, weights=(1.0, 3.0)).make(), turned).method == "asymmetric"


def test_beyond_the_tries_bounds_are_given_and_named():
    corners = [(a, b) for a, b in combinations(range(32), 2) if (a ^ b).bit_count() == 1]
    cube, moved = Hypergraph.from_edges(32, corners), np.random.default_rng(0).permutation(32)
    few, many = agreement(cube, moved, tries=3), agreement(cube, moved)
    assert few.method == "bounds"
    assert many.method == "exact"
    assert few.right.sum() <= many.right.sum() == many.most < few.most


def test_labelled_pairs_count_apart():
    truth = np.stack([np.arange(30), np.arange(30)], axis=1)
    order = np.r_[:10, np.roll(np.arange(10, 30), 1)]
    graph = ConnectedRandomGraph(30).make()
    found = score(order, truth[:5], truth, graph)
    assert (found["accuracy"], found["accuracy_unlabelled"]) == pytest.approx((10 / 30, 5 / 25))
    some = score(np.where(order == 4, -1, order), truth[:0], truth[:20], graph)
    assert some["accuracy"] == pytest.approx(9 / 20)


def test_labels_are_shares_of_the_true_pairs_beside_the_known_ones():
    truth, none = np.stack([np.arange(30), np.arange(30)[::-1]], axis=1), np.zeros((0, 2), dtype=np.int64)
    few, more = (label_pairs(none, truth, share, 30, seed=0) for share in (0.1, 0.11))
    assert (len(few), len(more)) == (3, 4) and np.array_equal(more[:3], few)
    known = np.array([[4, 25], [5, 3]])  # a true and a wrong pair: they take the true ones of 4, of 5 and of 26
    everything = label_pairs(known, truth, 1.0, 30, seed=0)
    assert np.array_equal(everything[:2], known)
    assert set(everything[2:, 0]) == set(range(30)) - {4, 5, 26}
    assert np.array_equal(label_pairs(known, truth, 0.0, 30, seed=0), known)
