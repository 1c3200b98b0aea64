"""Recovery: exact from exact conditionals, as noisy as the method's theory says from counted ones."""

from __future__ import annotations

import numpy as np
import pytest

from relbench_pretrain.hypergraph import (
    Arms,
    Chain,
    Chaining,
    ConnectedRandomGraph,
    CorpusMass,
    ErdosRenyi,
    Hypergraph,
    HypergraphError,
    IndependentSampling,
    LeastSquares,
    OneNode,
    RandomHypergraph,
    Star,
    Stationary,
    WiderMasks,
    dissimilarity,
    recover,
)
from relbench_pretrain.hypergraph.corpus.corpus import Corpus, counted
from relbench_pretrain.hypergraph.recovery.conditionals import (
    conditionals_of,
    counted_conditionals,
    exact_conditionals,
    observed_contexts,
    read_conditionals,
)
from relbench_pretrain.hypergraph.recovery.dissimilarity import counting_error, recovery_bound
from relbench_pretrain.hypergraph.recovery.recover import without_bridges

READ_OUTS = [Chaining(), Stationary(), Stationary(direct=0), LeastSquares()]


class Oracle:
    """A masked model that knows a hypergraph, one context after the other, in the obvious way."""

    def __init__(self, graph: Hypergraph) -> None:
        self.graph = graph
        self.sets = {frozenset(row[row >= 0].tolist()): w for row, w in zip(graph.edges, graph.weights, strict=True)}

    def log_conditionals(self, contexts: np.ndarray, masked: int = 1) -> np.ndarray:
        found = np.zeros((len(contexts), self.graph.num_nodes))
        for i, row in enumerate(contexts):
            context = frozenset(row[row >= 0].tolist())
            for edge, weight in self.sets.items():
                if context <= edge and len(edge) == len(context) + masked:
                    found[i, list(edge - context)] += weight / masked
        with np.errstate(divide="ignore"):
            return np.log(found / found.sum(1, keepdims=True))


@pytest.mark.parametrize("read_out", READ_OUTS, ids=lambda r: type(r).__name__)
@pytest.mark.parametrize(
    "source",
    [
        Star(weights=[1, 100]),
        Arms(),
        Chain(weights=[1, 5]),
        ConnectedRandomGraph(30),
        RandomHypergraph(15, {3: 80}),
        RandomHypergraph(15, {2: 20, 3: 60, 4: 40}, connected=False),
        ErdosRenyi(20, 0.06, weights=[1, 10]),
    ],
    ids=lambda s: type(s).__name__,
)
def test_exact_conditionals_give_the_hypergraph_back(source, read_out):
    graph = source.make()
    conditionals = read_conditionals(Oracle(graph), observed_contexts(graph), graph.num_nodes, threshold=1e-4)
    assert np.array_equal(conditionals.edges, graph.edges)
    for given in (conditionals, exact_conditionals(graph)):
        found = recover(given, read_out, graph, Oracle(graph), CorpusMass())
        assert dissimilarity(graph, found).error < 1e-6


def test_one_node_masks_leave_the_masses_of_components_open_and_wider_ones_tell_them():
    one = RandomHypergraph(10, {3: 20}, seed=1).make()
    both = Hypergraph.from_edges(
        16, [*one.edges.tolist(), [11, 12, 13], [11, 12, 14], [12, 14, 15]], [*(0.7 * one.weights), 0.1, 0.05, 0.15]
    )
    assert both.adjacency.components.max() == 1
    wrong = both.with_weights(np.where(both.adjacency.components == 0, 0.2, 1.0) * both.weights)
    conditionals = exact_conditionals(both)
    assert np.allclose(conditionals.log_p, exact_conditionals(wrong).log_p), "other masses, same conditionals"
    # the corpus has the masses wrong, the model's marginals right
    from_corpus = recover(conditionals, LeastSquares(), wrong, Oracle(both), CorpusMass())
    from_masks = recover(conditionals, LeastSquares(), wrong, Oracle(both), WiderMasks())
    assert dissimilarity(wrong, from_corpus).error < 1e-6 and dissimilarity(both, from_corpus).error > 0.3
    assert dissimilarity(both, from_masks).error < 1e-6


def test_a_hyperedge_that_was_never_sampled_does_not_join_components():
    one, other = (ConnectedRandomGraph(12, seed=s).make() for s in (1, 2))
    both = Hypergraph.from_edges(
        24, np.concatenate([one.edges, other.edges + 12]), np.concatenate([0.8 * one.weights, 0.2 * other.weights])
    )

    class Bridging(Oracle):
        def log_conditionals(self, contexts, masked=1):
            found = np.exp(super().log_conditionals(contexts, masked))
            found[(contexts == 3).any(1), 15] = 0.05  # from one side only, so that the masses hang on it
            found[(contexts == 15).any(1), 3] = 0.0005
            with np.errstate(divide="ignore"):
                return np.log(found / found.sum(1, keepdims=True))

    conditionals = read_conditionals(Bridging(both), observed_contexts(both), 24)
    assert len(conditionals.edges) == both.num_edges + 1
    for read_out in READ_OUTS:
        assert dissimilarity(both, recover(conditionals, read_out, both, Bridging(both), CorpusMass())).error < 0.02
    joined = Hypergraph.from_edges(24, [*both.edges.tolist(), [3, 15]], [*both.weights, 1e-4])
    assert len(without_bridges(conditionals, joined).edges) == len(conditionals.edges), "what was sampled stays"


@pytest.mark.parametrize("edges_by_arity", [{2: 6, 3: 8}, {3: 12}, {2: 5, 4: 20}])
def test_wider_masks_tell_masses_of_many_components_and_the_corpus_those_of_arities(edges_by_arity):
    graph = RandomHypergraph(12, edges_by_arity, connected=False, weights=[1, 2, 5], seed=5).make()
    assert graph.adjacency.components.max() > 1
    found = recover(exact_conditionals(graph), Stationary(), graph, Oracle(graph), WiderMasks())
    assert dissimilarity(graph, found).error < 1e-6


@pytest.mark.parametrize(("nodes", "chaining", "stationary"), [(20, 0.043, 0.023), (50, 0.155, 0.049)])
def test_counted_conditionals_have_the_errors_that_simulation_found(nodes, chaining, stationary):
    errors = []
    for seed in range(5):
        graph = ConnectedRandomGraph(nodes, seed=seed).make()
        rows = Corpus(graph, IndependentSampling(), 80_000, seed).rows()
        conditionals = counted_conditionals(rows, OneNode(fixed=True).mask(rows, np.arange(80_000), None)[1])
        counts = counted(rows, nodes)[0]
        found = [recover(conditionals, r, counts, Oracle(graph), CorpusMass()) for r in (Chaining(), Stationary())]
        every = [recover(exact_conditionals(counts), r, counts, Oracle(graph), CorpusMass()) for r in READ_OUTS]
        limit = dissimilarity(graph, counts).error
        assert [dissimilarity(graph, f).error for f in every] == pytest.approx([limit] * 4, abs=1e-6)
        errors.append([dissimilarity(graph, f).error for f in found])
    assert np.mean(errors, axis=0) == pytest.approx([chaining, stationary], rel=0.2)


def test_counted_conditionals_are_the_shares_of_what_was_masked():
    rows = np.array([[0, 1], [1, 0], [0, 1], [0, 2]])
    masked = np.array([[True, False], [True, False], [False, True], [False, True]])
    conditionals = counted_conditionals(rows, masked)
    assert conditionals.edges.tolist() == [[0, 1], [0, 2]]
    # masked 0 beside 1: once; masked 1 beside 0: twice; masked 2 beside 0: once; masked 0 beside 2: never
    assert np.exp(conditionals.log_p) == pytest.approx(np.array([[1.0, 2 / 3], [0.0, 1 / 3]]))
    assert conditionals.probability == pytest.approx(np.array([[1.0, 2 / 3], [1.0, 1 / 3]])), (
        "what is not known is even"
    )


def test_least_squares_is_the_dense_solution():
    graph = RandomHypergraph(8, {3: 20}, seed=3).make()
    conditionals = exact_conditionals(graph)
    rng = np.random.default_rng(0)
    noisy = type(conditionals)(conditionals.edges, conditionals.log_p + 0.2 * rng.normal(size=conditionals.log_p.shape))
    precision = Stationary()(noisy)
    size = (graph.num_edges, graph.adjacency.num_contexts)
    rows, right = [], []
    for e in range(size[0]):
        for j in range(3):
            row = np.zeros(sum(size))
            row[e], row[size[0] + graph.adjacency.context[e, j]] = 1, -1
            rows.append(row * np.sqrt(precision[e]))
            right.append(noisy.log_p[e, j] * np.sqrt(precision[e]))
    x = np.exp(np.linalg.lstsq(np.array(rows), np.array(right), rcond=None)[0][: size[0]])
    assert LeastSquares()(noisy) == pytest.approx(x / x.sum(), rel=1e-5)


def test_threshold_is_relative_and_one_context_is_enough():
    graph = Star(30, weights=[1, 100], seed=2).make()
    conditionals = read_conditionals(Oracle(graph), observed_contexts(graph), 30, threshold=0.1)
    assert np.array_equal(conditionals.edges, graph.edges), "rare from the centre, certain from the leaf"
    assert np.allclose(conditionals.log_p, conditionals_of(Oracle(graph), graph.edges, 30).log_p)


def test_models_that_know_nothing_are_refused():
    class Broken(Oracle):
        def log_conditionals(self, contexts, masked=1):
            return np.full((len(contexts), self.graph.num_nodes), np.nan)

    graph = Star(5).make()
    with pytest.raises(HypergraphError, match="no finite probabilities"):
        read_conditionals(Broken(graph), observed_contexts(graph), 5)
    elsewhere = Hypergraph.from_edges(9, [[5, 6], [7, 8]])
    far = exact_conditionals(Hypergraph.from_edges(9, [[0, 1], [2, 3]]))
    with pytest.raises(HypergraphError, match="no component that was recovered has any mass"):
        recover(far, Stationary(), elsewhere, Oracle(elsewhere), CorpusMass())


def test_expected_error_of_counting_is_that_of_simulation():
    graph = ConnectedRandomGraph(30).make()
    rng = np.random.default_rng(0)
    counts = rng.multinomial(5_000, graph.weights, size=400) / 5_000
    simulated = np.abs(counts - graph.weights).sum(1).mean()
    assert counting_error(graph.weights, 5_000) == pytest.approx(simulated, rel=0.01)
    assert counting_error(np.array([1.0]), 100) == 0


def test_bound_grows_as_the_theorem_says():
    graph = Chain(20).make()
    base = recovery_bound(graph, 1_000, 18)
    assert base == pytest.approx(np.sqrt(1 * 19 * 18**2 / 1_000))
    assert recovery_bound(graph, 4_000, 18) == pytest.approx(base / 2)
    assert recovery_bound(Chain(20, weights=[1, 4]).make(), 1_000, 18) == pytest.approx(2 * base)


def test_a_walk_that_does_not_settle_says_so_and_least_squares_settles():
    graph = Chain(400, weights=[1, 5]).make()
    with pytest.warns(UserWarning, match="has not settled"):
        Stationary(direct=0, max_steps=50)(exact_conditionals(graph))
    found = recover(exact_conditionals(graph), LeastSquares(Stationary(direct=500)), graph, Oracle(graph), CorpusMass())
    assert dissimilarity(graph, found).error < 1e-6


def test_where_two_parts_are_only_left_the_read_out_still_answers():
    rows = np.array([[0, 1], [1, 0], [2, 3], [3, 2], [4, 0], [4, 2]])
    masked = np.array([[True, False]] * 4 + [[True, False]] * 2)
    weights = Stationary()(counted_conditionals(rows, masked))
    assert np.isfinite(weights).all() and weights.sum() == pytest.approx(1)


def test_only_the_likeliest_nodes_are_kept_where_everything_seems_possible():
    class Ignorant(Oracle):
        def log_conditionals(self, contexts, masked=1):
            found = np.random.default_rng(0).random((len(contexts), self.graph.num_nodes)) + 1.0
            return np.log(found / found.sum(1, keepdims=True))

    graph = ConnectedRandomGraph(30).make()
    assert len(read_conditionals(Ignorant(graph), observed_contexts(graph), 30).edges) > 400
    assert len(read_conditionals(Ignorant(graph), observed_contexts(graph), 30, most=3).edges) <= 90
