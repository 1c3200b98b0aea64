"""Entity alignment: which node of one hypergraph is which of another, as a problem and what solves it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy.optimize import linear_sum_assignment

from relbench_pretrain.hypergraph.alignment.overlap import Overlap
from relbench_pretrain.hypergraph.alignment.relaxation import doubly_stochastic, spectral_similarity, two_section
from relbench_pretrain.hypergraph.hypergraph import Hypergraph, HypergraphError

GUESS = 0.3  # of what a known pair weighs in a similarity
BANDWIDTHS = 5.0  # by what factor random bandwidths differ from the given one at most


@dataclass(frozen=True)
class Problem:
    """Two matrices and what is known of the matching of their rows.

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
            bandwidth: η, see :func:`~relbench_pretrain.hypergraph.alignment.relaxation.spectral_similarity`.
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


class Matcher(ABC):
    """Finds the matching ϕ of the nodes of two hypergraphs that has the least distance d(ϕ(H1), H2).

    Source: Chen et al. 2024, section 6. A subclass proposes matchings from clique expansions; they are compared, and
    brought closer by swaps, by the weights of the hyperedges themselves, whatever their arity. A distance of 0 proves
    an isomorphism and ends the search.

    Args:
        power: Weights are taken to this power in clique expansions, see :func:`two_section`.
        refine: Whether to swap partners as long as that brings the hypergraphs closer.
    """

    def __init__(self, power: float = 0.5, refine: bool = True) -> None:
        self.power, self.refine = power, refine

    @abstractmethod
    def propose(self, problem: Problem) -> Iterator[np.ndarray]:
        """Yields matchings ``(num_nodes,)`` that have the known pairs, the most promising first."""

    def match(self, first: Hypergraph, second: Hypergraph, pairs: np.ndarray | None = None) -> np.ndarray:
        """Matches nodes.

        Args:
            first: The hypergraph whose nodes are matched.
            second: The one that they are matched with; it may have more nodes or fewer.
            pairs: Known pairs, a node of the first and one of the second in each row ``(num_pairs, 2)``.

        Returns:
            For every node of the first which of the second, −1 for none ``(first.num_nodes,)``.

        Raises:
            HypergraphError: If a known pair names a node that does not exist, or a node twice.
        """
        known = _checked(first, second, pairs)
        overlap = Overlap(first, second)
        left, right = (two_section(graph, overlap.num_nodes, self.power) for graph in (first, second))
        problem = Problem(left, right, known)
        best, least = None, np.inf
        proposed = self.propose(problem) if len(known) < overlap.num_nodes else iter([problem.assign(np.zeros((0, 0)))])
        for order in proposed:
            if self.refine:
                order = overlap.improve(order, problem.free[0])
            distance = overlap.distance(order)
            if distance < least:
                best, least = order, distance
            if least == 0:
                break
        return np.where(best < second.num_nodes, best, -1)[: first.num_nodes]


def _checked(first: Hypergraph, second: Hypergraph, pairs: np.ndarray | None) -> np.ndarray:
    """Returns known pairs as an array ``(num_pairs, 2)``."""
    known = np.zeros((0, 2), dtype=np.int64) if pairs is None else np.asarray(pairs, dtype=np.int64).reshape(-1, 2)
    for place, graph in enumerate((first, second)):
        numbers, times = np.unique(known[:, place], return_counts=True)
        if wrong := [i for i in numbers.tolist() if not 0 <= i < graph.num_nodes]:
            which = ("first", "second")[place]
            raise HypergraphError(f"a known pair names node {wrong[0]}, and the {which} has {graph.num_nodes}")
        if (times > 1).any():
            twice = graph.nodes[numbers[times > 1][0]]
            raise HypergraphError(f"known pairs name node '{twice}' {times.max()} times; give every node one partner")
    return known
