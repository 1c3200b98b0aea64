"""Matchers of the nodes of two hypergraphs: quadratic assignment, eigenvectors, optimal transport."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.optimize import quadratic_assignment

from relbench_pretrain.hypergraph.alignment.overlap import Overlap
from relbench_pretrain.hypergraph.alignment.problem import Problem, two_section
from relbench_pretrain.hypergraph.hypergraph import Hypergraph, HypergraphError

STEPS = 60  # of one solution from one start


@dataclass(frozen=True)
class Alignment:
    """A matching of the nodes of two hypergraphs, and how it was found.

    Args:
        order: For every node of the first which of the second, −1 for none ``(first.num_nodes,)``.
        pairs: The known pairs that the matcher was given ``(num_pairs, 2)``.
        distance: d(ϕ(H1), H2), 0 to 2.
        seconds: How long it took.
    """

    order: np.ndarray
    pairs: np.ndarray
    distance: float
    seconds: float


class Matcher(ABC):
    """Finds which node of one hypergraph is which of another: the matching ϕ of least distance d(ϕ(H1), H2).

    Source: Chen et al. 2024, section 6. Subclasses propose matchings from clique expansions; they are compared, and
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
        best, least = np.full(overlap.num_nodes, overlap.num_nodes), np.inf
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

    def align(self, first: Hypergraph, second: Hypergraph, pairs: np.ndarray) -> Alignment:
        """Matches nodes as :meth:`match` does, and measures distance and time."""
        start = time.perf_counter()
        order = self.match(first, second, pairs)
        seconds = time.perf_counter() - start
        overlap = Overlap(first, second)
        return Alignment(order, pairs, overlap.distance(overlap.permutation(order)), seconds)


class FAQ(Matcher):
    """Fast approximate quadratic assignment (Vogelstein et al. 2015) from several starts, the closest matching kept.

    It starts at the spectral similarity, which lies in the right valley where the barycentre, the method's own start,
    does not once weights are noisy.

    Args:
        restarts: Starts after the first; see :meth:`Problem.starts`.
        bandwidth: η of the spectral similarity, see :func:`spectral_similarity`.
        power: Weights are taken to this power in clique expansions, see :func:`two_section`.
        refine: Whether to swap partners as long as that brings the hypergraphs closer.
        seed: Seeds the random starts.
    """

    def __init__(
        self, restarts: int = 30, bandwidth: float = 0.5, power: float = 0.5, refine: bool = True, seed: int = 0
    ) -> None:
        super().__init__(power, refine)
        self.restarts, self.bandwidth, self.seed = restarts, bandwidth, seed

    def propose(self, problem: Problem) -> Iterator[np.ndarray]:
        for start in problem.starts(self.restarts, self.bandwidth, self.seed):
            options = {"maximize": True, "partial_match": problem.pairs, "P0": start, "maxiter": STEPS, "tol": 1e-3}
            yield quadratic_assignment(problem.first, problem.second, method="faq", options=options).col_ind


class Spectral(Matcher):
    """GRAMPA (Fan, Mao, Wu and Xu 2019): similarity by all pairs of eigenvectors, rounded by an assignment.

    Args:
        bandwidth: η of the similarity, see :func:`spectral_similarity`.
        power: Weights are taken to this power in clique expansions, see :func:`two_section`.
        refine: Whether to swap partners as long as that brings the hypergraphs closer.
    """

    def __init__(self, bandwidth: float = 0.5, power: float = 0.5, refine: bool = True) -> None:
        super().__init__(power, refine)
        self.bandwidth = bandwidth

    def propose(self, problem: Problem) -> Iterator[np.ndarray]:
        yield problem.assign(problem.similarity(self.bandwidth))


class GromovWasserstein(Matcher):
    """Fused Gromov-Wasserstein transport (Vayer et al. 2019; POT) between clique expansions, rounded by an assignment.

    A known pair costs nothing to match and any other partner of its nodes costs 1. Needs the extra ``hypergraph``.

    Args:
        alpha: The share of the structure in the cost, against that of known pairs; 1 where there are none.
        restarts: Starts after the first; the same as those of :class:`FAQ`.
        bandwidth: η of the spectral similarity, see :func:`spectral_similarity`.
        power: Weights are taken to this power in clique expansions, see :func:`two_section`.
        refine: Whether to swap partners as long as that brings the hypergraphs closer.
        seed: Seeds the random starts.

    Raises:
        HypergraphError: If POT is not installed.
    """

    def __init__(
        self,
        alpha: float = 0.5,
        restarts: int = 30,
        bandwidth: float = 0.5,
        power: float = 0.5,
        refine: bool = True,
        seed: int = 0,
    ) -> None:
        super().__init__(power, refine)
        self.alpha, self.restarts, self.bandwidth, self.seed = alpha, restarts, bandwidth, seed

    def propose(self, problem: Problem) -> Iterator[np.ndarray]:
        solve = _pot().gromov.fused_gromov_wasserstein
        number = problem.num_nodes
        first, second = (
            matrix * number / max(np.linalg.norm(matrix), 1e-12) for matrix in (problem.first, problem.second)
        )
        cost = np.zeros((number, number))
        known, partner = problem.pairs.T
        cost[known] = 1
        cost[:, partner] = 1
        cost[known, partner] = 0
        mass = np.full(number, 1 / number)
        free = np.ix_(*problem.free)
        for start in problem.starts(self.restarts, self.bandwidth, self.seed):
            plan = np.zeros((number, number))
            plan[free], plan[known, partner] = start / number, 1 / number
            alpha = self.alpha if len(known) else 1.0
            plan = solve(cost, first, second, mass, mass, alpha=alpha, G0=plan, symmetric=True, max_iter=STEPS)
            yield problem.assign(plan[free])


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


def _pot() -> Any:
    try:
        import ot
    except ImportError as error:
        raise HypergraphError(
            "GromovWasserstein needs POT: pip install relbench-pretrain[hypergraph], or take the matcher FAQ"
        ) from error
    return ot
