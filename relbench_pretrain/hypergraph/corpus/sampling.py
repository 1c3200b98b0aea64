"""Ways to sample hyperedges by weight: independently, correlated, biased, drifting, with noise."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

import numba
import numpy as np

from relbench_pretrain.hypergraph.hypergraph import Hypergraph, HypergraphError


class AliasTable:
    """Samples numbers by weight in constant time each (Walker 1977, as set up by Vose 1991).

    Args:
        weights: Positive ``(num,)``.
    """

    def __init__(self, weights: np.ndarray) -> None:
        self.keep, self.other = _alias(np.asarray(weights, dtype=np.float64))

    def sample(self, number: int, rng: np.random.Generator) -> np.ndarray:
        """Returns numbers sampled independently ``(number,)``."""
        return _sample(self.keep, self.other, number, rng)


class Sampling(ABC):
    """Samples the hyperedges of a corpus.

    A corpus is sampled in blocks, each from its own random numbers, so that any part of it can be made anywhere.

    Attributes:
        kind: Tells its corpora from others' in their names, which never change: checkpoints and files have them.
    """

    kind: ClassVar[str]

    @abstractmethod
    def begin(self, graph: Hypergraph) -> None:
        """Prepares to sample from a hypergraph."""

    @abstractmethod
    def sample(self, number: int, when: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Samples a block.

        Args:
            number: How many hyperedges.
            when: Where in the corpus each of them is, from 0 to 1 ``(number,)``.
            rng: The block's random numbers.

        Returns:
            The nodes of each, filled up with −1 ``(number, largest_arity)``.
        """


class IndependentSampling(Sampling):
    """Samples each hyperedge with the probability that its weight is, independently (Chen et al. 2024, section 3)."""

    kind = "IndependentDraws"

    def begin(self, graph: Hypergraph) -> None:
        self._edges, self._table = graph.edges, AliasTable(graph.weights)

    def sample(self, number: int, when: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        return self._edges[self._table.sample(number, rng)]


class CorrelatedSampling(Sampling):
    """Samples by a walk: often the next hyperedge differs from the last one in one node, chosen by weight.

    Every hyperedge comes as often as its weight says in the long run, but neighbours come together, so that as many
    samples tell less. Blocks are independent.

    Args:
        correlation: The probability that the next sample is a step of the walk rather than independent.
    """

    kind = "CorrelatedDraws"

    def __init__(self, correlation: float = 0.9) -> None:
        if not 0 <= correlation < 1:
            raise HypergraphError(f"correlation must be at least 0 and below 1, got {correlation}")
        self.correlation = correlation

    def begin(self, graph: Hypergraph) -> None:
        self._edges, self._arity, self._table = graph.edges, graph.arity, AliasTable(graph.weights)
        columns = graph.adjacency.incidence.T.tocsr()
        self._context = graph.adjacency.context
        self._start, self._members = columns.indptr.astype(np.int64), columns.indices.astype(np.int64)
        self._cumulative = np.cumsum(graph.weights[self._members])

    def sample(self, number: int, when: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        fresh = self._table.sample(number, rng)
        walk = (rng.random(number) < self.correlation, rng.random(number), rng.random(number))
        chain = _walk(fresh, *walk, self._arity, self._context, self._start, self._members, self._cumulative)
        return self._edges[chain]


class BiasedSampling(Sampling):
    """Samples each hyperedge by a power of its weight, as where rare facts are reported less often still.

    Args:
        power: Above 1 the rare are sampled too seldom, below 1 too often.
    """

    kind = "BiasedDraws"

    def __init__(self, power: float = 1.5) -> None:
        self.power = power

    def begin(self, graph: Hypergraph) -> None:
        self._edges, self._table = graph.edges, AliasTable(graph.weights**self.power)

    def sample(self, number: int, when: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        return self._edges[self._table.sample(number, rng)]


class DriftingSampling(Sampling):
    """Samples by weights that move: at the beginning of the corpus a share of the mass is elsewhere, at its end none.

    The weights of the beginning are those of the end, in random order, mixed with them. Held-out samples are the last
    ones, so training sees the drift up to where they begin.

    Args:
        amount: Share of the mass that is elsewhere at the beginning, 0 to 1; it falls to 0 evenly.
        seed: Seeds the order.
    """

    kind = "DriftingDraws"

    def __init__(self, amount: float = 0.5, seed: int = 0) -> None:
        if not 0 <= amount <= 1:
            raise HypergraphError(f"amount must be 0 to 1, got {amount}")
        self.amount, self.seed = amount, seed

    def begin(self, graph: Hypergraph) -> None:
        before = np.random.default_rng(self.seed).permutation(graph.weights)
        self._edges, self._now, self._before = graph.edges, AliasTable(graph.weights), AliasTable(before)

    def sample(self, number: int, when: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        early = rng.random(number) < self.amount * (1 - when)
        return self._edges[np.where(early, self._before.sample(number, rng), self._now.sample(number, rng))]


class NoisySampling(Sampling):
    """Replaces one node by any other in some of the samples.

    Args:
        rate: The share of the samples to which this happens.
        sampling: How they are sampled otherwise; independently by default.
    """

    kind = "NoisyDraws"

    def __init__(self, rate: float = 0.1, sampling: Sampling | None = None) -> None:
        if not 0 <= rate <= 1:
            raise HypergraphError(f"rate must be 0 to 1, got {rate}")
        self.rate, self.sampling = rate, sampling or IndependentSampling()

    def begin(self, graph: Hypergraph) -> None:
        if graph.num_nodes <= graph.largest_arity:
            raise HypergraphError("noise needs a node that is not in the hyperedge; take a larger hypergraph")
        self._num_nodes = graph.num_nodes
        self.sampling.begin(graph)

    def sample(self, number: int, when: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        rows = self.sampling.sample(number, when, rng).copy()
        hit = np.flatnonzero(rng.random(number) < self.rate)
        place = (rng.random(len(hit)) * (rows[hit] >= 0).sum(1)).astype(np.int64)
        # A uniform choice among the nodes that are not in the hyperedge: choose again where one is.
        wrong = np.arange(len(hit))
        new = np.zeros(len(hit), dtype=rows.dtype)
        while len(wrong):
            new[wrong] = rng.integers(self._num_nodes, size=len(wrong))
            wrong = wrong[(rows[hit[wrong]] == new[wrong, None]).any(1)]
        rows[hit, place] = new
        return rows


@numba.njit(cache=True)
def _alias(weights):
    number = len(weights)
    keep = weights * (number / weights.sum())
    other = np.arange(number)
    small, large = np.empty(number, np.int64), np.empty(number, np.int64)
    num_small = num_large = 0
    for i in range(number):
        if keep[i] < 1:
            small[num_small] = i
            num_small += 1
        else:
            large[num_large] = i
            num_large += 1
    while num_small and num_large:
        num_small -= 1
        i, j = small[num_small], large[num_large - 1]
        other[i] = j
        keep[j] -= 1 - keep[i]
        if keep[j] < 1:
            num_large -= 1
            small[num_small] = j
            num_small += 1
    for k in range(num_small):  # what is left misses 1 by rounding only
        keep[small[k]] = 1.0
    for k in range(num_large):
        keep[large[k]] = 1.0
    return keep, other


@numba.njit(cache=True)
def _sample(keep, other, number, rng):
    found = np.empty(number, np.int64)
    for k in range(number):
        u = rng.random() * len(keep)
        i = min(int(u), len(keep) - 1)
        found[k] = i if u - i < keep[i] else other[i]
    return found


@numba.njit(cache=True)
def _walk(fresh, step, which, where, arity, context, start, members, cumulative):
    chain = fresh.copy()
    for k in range(1, len(chain)):
        if not step[k]:
            continue
        edge = chain[k - 1]
        c = context[edge, int(which[k] * arity[edge])]
        first, last = start[c], start[c + 1]
        low = cumulative[first - 1] if first > 0 else 0.0
        target = low + where[k] * (cumulative[last - 1] - low)
        place = first + np.searchsorted(cumulative[first:last], target, side="right")
        chain[k] = members[min(place, last - 1)]
    return chain
