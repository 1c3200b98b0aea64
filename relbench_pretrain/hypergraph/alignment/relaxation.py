"""Matching as an assignment problem on matrices: the clique expansion, and soft matchings to start from."""

from __future__ import annotations

import numpy as np

from relbench_pretrain.hypergraph.hypergraph import Hypergraph

ROUNDS = 100


def two_section(graph: Hypergraph, num_nodes: int, power: float = 0.5) -> np.ndarray:
    """Returns the clique expansion of a hypergraph: of every two nodes the weight of the hyperedges with both.

    A root of it is taken, since drawn hyperedges are noisy: the variance of a count is its mean, that of its square
    root is the same for all (Bartlett 1936), so that heavy hyperedges do not drown the others. For graphs the product
    of two such matrices under a matching is then the Bhattacharyya coefficient Σ √(w1(e) w2(ϕ(e))).

    Args:
        graph: The hypergraph; the weight of a hyperedge of one node goes to the diagonal.
        num_nodes: The number of rows, at least that of the nodes; further ones are empty.
        power: 1 for the weights themselves, 0 for whether there is a hyperedge.

    Returns:
        ``(num_nodes, num_nodes)``, symmetric.
    """
    found = np.zeros((num_nodes, num_nodes))
    for i in range(graph.largest_arity):
        for j in range(i):
            both = graph.edges[:, i] >= 0
            np.add.at(found, (graph.edges[both, i], graph.edges[both, j]), graph.weights[both])
    found += found.T
    single = graph.arity == 1
    np.add.at(found, (graph.edges[single, 0], graph.edges[single, 0]), graph.weights[single])
    return np.power(found, power, where=found > 0, out=np.zeros_like(found))


def spectral_similarity(first: np.ndarray, second: np.ndarray, prior: np.ndarray, bandwidth: float) -> np.ndarray:
    """Returns how alike nodes are by all pairs of eigenvectors (GRAMPA: Fan, Mao, Wu and Xu 2019, equation 3).

    It minimises ‖AX − XB‖² + η²‖X‖² − 2⟨X, J⟩ over matrices X. The authors have ones in J; more where a pair is known
    draws the nodes near it to each other, too.

    Args:
        first: A ``(num_nodes, num_nodes)``, symmetric.
        second: B, of the same size.
        prior: J ``(num_nodes, num_nodes)``.
        bandwidth: η, for matrices scaled to eigenvalues of order 1.

    Returns:
        ``(num_nodes, num_nodes)``, larger for nodes that are more alike.
    """
    values, left = np.linalg.eigh(_standardised(first))
    others, right = np.linalg.eigh(_standardised(second))
    kernel = 1 / ((values[:, None] - others[None, :]) ** 2 + bandwidth**2)
    return left @ (kernel * (left.T @ prior @ right)) @ right.T


def doubly_stochastic(matrix: np.ndarray) -> np.ndarray:
    """Scales a matrix without negative numbers until rows and columns sum to 1 (Sinkhorn and Knopp 1967).

    What is missing after some rounds is added as a product of margins (Altschuler, Weed and Rigollet 2017, algorithm
    2), so that the sums are exact.
    """
    scaled = matrix + 1e-9 * max(float(matrix.max(initial=0.0)), 1e-9)
    for _ in range(ROUNDS):
        scaled = scaled / scaled.sum(0, keepdims=True)
        scaled = scaled / scaled.sum(1, keepdims=True)
    scaled = scaled / np.maximum(scaled.sum(0, keepdims=True), 1)
    rows, columns = 1 - scaled.sum(1), 1 - scaled.sum(0)
    return scaled + np.outer(rows, columns) / max(float(rows.sum()), 1e-12)


def _standardised(matrix: np.ndarray) -> np.ndarray:
    """Takes the mean away, and scales rows to a mean square sum of 1, so that eigenvalues are of order 1."""
    centred = matrix - matrix.mean()
    return centred / max(float(np.sqrt((centred**2).sum() / len(matrix))), 1e-12)
