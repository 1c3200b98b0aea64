"""Read-outs, from conditionals to weights: chaining, the stationary distribution, least squares."""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod

import numba
import numpy as np
from scipy import sparse
from scipy.sparse.linalg import LinearOperator, cg

from relbench_pretrain.hypergraph.recovery.conditionals import Conditionals


class ReadOut(ABC):
    """Reads the weights of hyperedges out of conditionals, which determine them within each connected component."""

    def __call__(self, conditionals: Conditionals) -> np.ndarray:
        """Returns the weight of each hyperedge within its component, where they sum to 1 ``(num_edges,)``."""
        weights = self.weights(conditionals)
        component = conditionals.adjacency.components
        return weights / np.bincount(component, weights)[component]

    @abstractmethod
    def weights(self, conditionals: Conditionals) -> np.ndarray:
        """Returns weights up to a factor for each component ``(num_edges,)``."""


class Chaining(ReadOut):
    """Chains the ratios of two hyperedges that share a context, from one to the next, breadth first (the paper's).

    Each weight hangs on one path of ratios, whose errors add up. A component's first hyperedge is the start.
    """

    def weights(self, conditionals: Conditionals) -> np.ndarray:
        adjacency = conditionals.adjacency
        rows = adjacency.incidence.T.tocsr()
        start, members = rows.indptr.astype(np.int64), rows.indices.astype(np.int64)
        return _from_logarithms(_chain(conditionals.log_p, adjacency.context, start, members), adjacency.components)


class Stationary(ReadOut):
    """Takes the stationary distribution of resampling one node at a time, each with the same chance.

    For graphs it is w_ij ∝ ½(π_i P_ij + π_j P_ji) with π the stationary distribution of the walk on nodes. The walk
    sometimes stays where it is, so it settles on bipartite graphs too.

    Args:
        max_steps: Steps of the walk before it is taken as settled.
        tolerance: Change of the contexts' shares, summed, at which it is settled.
        direct: Up to so many contexts the equations are solved in place of walking.
    """

    def __init__(self, max_steps: int = 20_000, tolerance: float = 1e-10, direct: int = 2_000) -> None:
        self.max_steps, self.tolerance, self.direct = max_steps, tolerance, direct

    def weights(self, conditionals: Conditionals) -> np.ndarray:
        context = conditionals.adjacency.context
        there = context >= 0
        place = np.where(there, context, 0)
        arity = there.sum(1)
        # Of the mass of a context the part that goes to a hyperedge by this place.
        share = conditionals.probability / arity[:, None]
        mass = self._solved(conditionals, share) if conditionals.adjacency.num_contexts <= self.direct else None
        if mass is None:
            mass = self._walked(conditionals, share)
        return np.maximum((share * np.where(there, mass[place], 0.0)).sum(1), 1e-300)

    def _walked(self, conditionals: Conditionals, share: np.ndarray) -> np.ndarray:
        context = conditionals.adjacency.context
        there = context >= 0
        place = np.where(there, context, 0)
        mass = conditionals.per_context(there.astype(np.float64))
        mass /= mass.sum()
        for _ in range(self.max_steps):
            weights = (share * np.where(there, mass[place], 0.0)).sum(1)
            new = conditionals.per_context(np.repeat(weights[:, None], context.shape[1], 1))
            new /= new.sum()
            change, mass = np.abs(new - mass).sum(), new
            if change < self.tolerance:
                return mass
        warnings.warn(
            f"the stationary distribution has not settled after {self.max_steps} steps (change {change:.1e}): "
            "the hypergraph hangs together loosely; take LeastSquares, or more steps",
            stacklevel=3,
        )
        return mass

    def _solved(self, conditionals: Conditionals, share: np.ndarray) -> np.ndarray | None:
        adjacency = conditionals.adjacency
        edge, place = np.nonzero(adjacency.context >= 0)
        context = adjacency.context[edge, place]
        # What each hyperedge gets from each context (num_edges, num_contexts), and each context from each other.
        given = sparse.csr_array((share[edge, place], (edge, context)), shape=adjacency.incidence.shape)
        flow = (adjacency.incidence.T @ given).toarray()
        # Within a component the equations leave the scale open; that the shares sum to 1 closes it.
        label = np.zeros(adjacency.num_contexts, dtype=np.int64)
        label[context] = adjacency.components[edge]
        together = (label[:, None] == label).astype(np.float64)
        try:
            return np.maximum(np.linalg.solve(np.eye(len(flow)) - flow + together, np.ones(len(flow))), 0)
        except np.linalg.LinAlgError:  # two parts that are only left: walking finds one of the answers
            return None


class LeastSquares(ReadOut):
    """Solves weighted least squares on all log-ratios: log P(u|c) ≈ log w(c∪u) − y(c), for hyperedges of any size.

    Each equation weighs as much as its hyperedge does, since the variance of a counted log-probability is about one
    over the count. The unknown y of contexts are solved for by conjugate gradients, with nothing but sums over places.

    Args:
        first: Gives the weights of the equations.
        tolerance: Relative error of the solution.
    """

    def __init__(self, first: ReadOut | None = None, tolerance: float = 1e-10) -> None:
        self.first, self.tolerance = first or Stationary(), tolerance

    def weights(self, conditionals: Conditionals) -> np.ndarray:
        context = conditionals.adjacency.context
        known = np.isfinite(conditionals.log_p) & (context >= 0)
        place = np.where(context >= 0, context, 0)
        precision = np.where(known, np.maximum(self.first(conditionals), 1e-12)[:, None], 0.0)
        log_p = np.where(known, conditionals.log_p, 0.0)
        total = np.maximum(precision.sum(1), 1e-300)

        def smooth(values: np.ndarray) -> np.ndarray:
            """Replaces the value of each place by what the hyperedge's mean leaves of it, summed over contexts."""
            return conditionals.per_context(precision * (values - ((precision * values).sum(1) / total)[:, None]))

        size = conditionals.adjacency.num_contexts
        diagonal = np.maximum(conditionals.per_context(precision * (1 - precision / total[:, None])), 1e-300)
        solve = LinearOperator((size, size), matvec=lambda y: smooth(y.reshape(-1)[place]), dtype=np.float64)
        scale = LinearOperator((size, size), matvec=lambda r: r.reshape(-1) / diagonal, dtype=np.float64)
        y, failed = cg(solve, -smooth(log_p), rtol=self.tolerance, maxiter=20 * size + 100, M=scale)
        if failed:
            warnings.warn("least squares has not settled: weights may be off; train longer", stacklevel=3)
        found = (precision * (log_p + y[place])).sum(1) / total
        return _from_logarithms(found, conditionals.adjacency.components)


def _from_logarithms(log_weights: np.ndarray, component: np.ndarray) -> np.ndarray:
    """Returns weights of which the largest of each component is 1, so that none overflows."""
    top = np.full(component.max() + 1, -np.inf)
    np.maximum.at(top, component, log_weights)
    return np.exp(log_weights - top[component])


@numba.njit(cache=True)
def _chain(log_p, context, start, members):
    num_edges, width = log_p.shape
    found = np.full(num_edges, -np.inf)
    seen = np.zeros(num_edges, np.bool_)
    met = np.zeros(len(start) - 1, np.bool_)
    queue = np.empty(num_edges, np.int64)
    for first_edge in range(num_edges):
        if seen[first_edge]:
            continue
        seen[first_edge], found[first_edge], queue[0], first, last = True, 0.0, first_edge, 0, 1
        while first < last:
            edge = queue[first]
            first += 1
            for j in range(width):
                c = context[edge, j]
                if c < 0 or met[c] or not np.isfinite(log_p[edge, j]):
                    continue
                met[c] = True
                for q in range(start[c], start[c + 1]):
                    other = members[q]
                    if seen[other]:
                        continue
                    for k in range(width):
                        if context[other, k] == c and np.isfinite(log_p[other, k]):
                            seen[other] = True
                            found[other] = found[edge] + log_p[other, k] - log_p[edge, j]
                            queue[last] = other
                            last += 1
    return found
