"""Distance of a recovered hypergraph from the true one, and the distance that theory leads to expect."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from relbench_pretrain.hypergraph.hypergraph import Hypergraph, HypergraphError
from relbench_pretrain.hypergraph.rows import unique_rows, widened


@dataclass(frozen=True)
class Dissimilarity:
    """Differences of two hypergraphs over the same nodes, by several measures.

    Args:
        error: The sum of absolute differences of weights, 0 to 2: half the entrywise L1 norm of the difference of
            weight matrices for graphs (Chen et al. 2024, section 5).
        entrywise: The entrywise L1 norm of the difference over that of the truth; here weights need not be scaled.
        induced: The same by the induced 1-norm, the largest column sum: of a node's hyperedges, the largest sum of
            absolute differences over the largest sum of weights.
        wrong_edges: Hyperedges that only one of them has.
        precision: Share of the recovered hyperedges that are true.
        recall: Share of the true hyperedges that are recovered.
    """

    error: float
    entrywise: float
    induced: float
    wrong_edges: int
    precision: float
    recall: float


def dissimilarity(truth: Hypergraph, found: Hypergraph, weighted: bool = True) -> Dissimilarity:
    """Compares a recovered hypergraph with the true one, node by node of the same number.

    Args:
        truth: The true one.
        found: The recovered one.
        weighted: Whether weights count; otherwise every hyperedge weighs 1, as in the paper's ConceptNet study, and
            ``error`` is the number of wrong ones.

    Returns:
        The differences.

    Raises:
        HypergraphError: If they have other nodes.
    """
    if truth.nodes != found.nodes:
        raise HypergraphError("the two hypergraphs have different nodes, or the same in another order")
    width = max(truth.largest_arity, found.largest_arity)
    edges, which = unique_rows(
        np.concatenate([widened(graph.edges, width) for graph in (truth, found)]).astype(np.int64)
    )
    weights = np.zeros((2, len(edges)))
    for row, graph, places in zip(weights, (truth, found), np.split(which, [truth.num_edges]), strict=True):
        row[places] = graph.weights if weighted else 1.0
    difference = np.abs(weights[0] - weights[1])
    right = int(((weights[0] > 0) & (weights[1] > 0)).sum())
    return Dissimilarity(
        float(difference.sum()),
        float(difference.sum() / weights[0].sum()),
        float(_column_sums(edges, difference, truth.num_nodes).max()
              / _column_sums(edges, weights[0], truth.num_nodes).max()),
        len(edges) - right,
        right / found.num_edges,
        right / truth.num_edges,
    )  # fmt: skip


def counting_error(weights: np.ndarray, num_samples: int) -> float:
    """Returns the counting limit: the expected error of counting independent samples.

    The sum over hyperedges of the binomial distribution's mean absolute deviation over the number of samples (De
    Moivre's closed form), about the sum of √(2 w (1 − w) / (π N)): Θ(√(m / N)).

    Args:
        weights: The true weights ``(num_edges,)``.
        num_samples: N.
    """
    w = np.asarray(weights, dtype=np.float64)
    v = np.floor(num_samples * w) + 1
    from scipy.stats import binom  # a second of imports, for the one function that needs it

    deviation = 2 * v * (1 - w) * binom.pmf(v, num_samples, w)
    return float(np.where(w < 1, deviation, 0.0).sum() / num_samples)


def recovery_bound(graph: Hypergraph, num_samples: int, diameter: int) -> float:
    """Returns the bound on the error of recovery, √(κ m L² / N), without its constant and logarithms.

    Source: Chen et al. 2024: N = Õ(κ m L² / ε²) samples suffice for an error of ε.

    Args:
        graph: The truth, with κ and m.
        num_samples: N.
        diameter: L.
    """
    return float(np.sqrt(graph.kappa * graph.num_edges * diameter**2 / num_samples))


def _column_sums(edges: np.ndarray, values: np.ndarray, num_nodes: int) -> np.ndarray:
    edge, place = np.nonzero(edges >= 0)
    return np.bincount(edges[edge, place], values[edge], minlength=num_nodes)
