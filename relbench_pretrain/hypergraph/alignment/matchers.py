"""Ways to match nodes: quadratic assignment, eigenvectors, optimal transport."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from scipy.optimize import quadratic_assignment

from relbench_pretrain.hypergraph.alignment.problem import Matcher, Problem
from relbench_pretrain.hypergraph.hypergraph import HypergraphError

STEPS = 60


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
        self,
        restarts: int = 30,
        bandwidth: float = 0.5,
        power: float = 0.5,
        refine: bool = True,
        seed: int = 0,
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


def _pot() -> Any:
    try:
        import ot
    except ImportError as error:
        raise HypergraphError(
            "GromovWasserstein needs POT: pip install relbench-pretrain[hypergraph], or take the matcher FAQ"
        ) from error
    return ot
