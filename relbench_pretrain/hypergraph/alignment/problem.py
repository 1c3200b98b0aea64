"""Alignment as an assignment problem on matrices: clique expansions, and soft matchings to start from."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy.optimize import linear_sum_assignment

from relbench_pretrain.hypergraph.hypergraph import Hypergraph

GUESS = 0.3  # of what a known pair weighs in a similarity
ROUNDS = 100  # of scaling rows and columns
BANDWIDTHS = 5.0  # by what factor random bandwidths differ from the given one at most


@dataclass(frozen=True)
class Problem:
    """The matrices of two hypergraphs, the rows of which are to be matched, and the known pairs.

    Args:
        first: Clique expansion of the first hypergraph ``(num_nodes, num_nodes)``.
        second: That of the second, of the same size.
        pairs: Known pairs ``(num_pairs, 2)``.
    """

    first: np.ndarray
    second: np.ndarray
    pairs: np.ndarray

    @property
    def num_nodes(self) -> int:
        """The number of nodes of the larger hypergraph."""
        return len(self.first)

    @property
    def free(self) -> tuple[np.ndarray, np.ndarray]:
        """The nodes of either that no known pair has, ``(num_free,)`` each."""
        everything = np.arange(self.num_nodes)
        first, second = (np.setdiff1d(everything, known) for known in self.pairs.T)
        return first, second

    def similarity(self, bandwidth: float, guess: tuple[int, int] | None = None) -> np.ndarray:
        """Returns how alike the free nodes are by eigenvectors, doubly stochastic ``(num_free, num_free)``.

        Args:
            bandwidth: η, see :func:`spectral_similarity`.
            guess: A free node of either, by its place among them, that are taken for a pair, less surely than known
                ones.
        """
        prior = np.ones((self.num_nodes, self.num_nodes))
        prior[self.pairs[:, 0], self.pairs[:, 1]] += self.num_nodes
        free = np.ix_(*self.free)
        if guess is not None:
            prior[self.free[0][guess[0]], self.free[1][guess[1]]] += GUESS * self.num_nodes
        return doubly_stochastic(spectral_similarity(self.first, self.second, prior, bandwidth)[free].clip(0))

    def assign(self, similarity: np.ndarray) -> np.ndarray:
        """Returns the matching of the most similarity that has the known pairs ``(num_nodes,)``.

        Args:
            similarity: For the free nodes of either ``(num_free, num_free)``.
        """
        order = np.empty(self.num_nodes, dtype=np.int64)
        order[self.pairs[:, 0]] = self.pairs[:, 1]
        first, second = self.free
        rows, columns = linear_sum_assignment(similarity, maximize=True)
        order[first[rows]] = second[columns]
        return order

    def starts(self, restarts: int, bandwidth: float, seed: int) -> Iterator[np.ndarray]:
        """Yields doubly stochastic matrices of the free nodes ``(num_free, num_free)``.

        The first is the spectral similarity, the second the barycentre. The others are the similarity at a random
        bandwidth once a random node is taken for a pair with one that is like it: where a hypergraph looks the same
        from two ends, its eigenvectors mix both ways to match it, until a pair decides between them.
        """
        rng = np.random.default_rng(seed)
        similarity = self.similarity(bandwidth)
        yield similarity
        number = len(similarity)
        if restarts > 0:
            yield np.full((number, number), 1 / number)
        for _ in range(restarts - 1):
            node = int(rng.integers(number))
            partner = int(rng.choice(number, p=similarity[node] / similarity[node].sum()))
            yield self.similarity(bandwidth * BANDWIDTHS ** rng.uniform(-1, 1), (node, partner))


def two_section(graph: Hypergraph, num_nodes: int, power: float = 0.5) -> np.ndarray:
    """Returns the clique expansion of a hypergraph: of every two nodes the weight of the hyperedges with both.

    A root of it is taken, since sampled hyperedges are noisy: the variance of a count is its mean, that of its square
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
    pulls the nodes near it together, too.

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
