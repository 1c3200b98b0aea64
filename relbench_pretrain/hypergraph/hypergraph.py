"""Weighted hypergraphs: nodes, hyperedges of any arity, and their weights."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from scipy import sparse

from relbench_pretrain.errors import UserError
from relbench_pretrain.hypergraph.adjacency import Adjacency
from relbench_pretrain.hypergraph.rows import find_rows, sorted_members, unique_rows, widened


class HypergraphError(UserError, ValueError):
    """A hypergraph that cannot be read, made or used; the message names what is wrong, and the remedy."""


@dataclass(frozen=True, eq=False)
class Hypergraph:
    """Nodes, hyperedges of any arity, and weights that sum to 1.

    Source: Chen et al. 2024, section 3: a hyperedge is sampled with the probability that its weight is. Make one by
    :meth:`from_edges`, which checks what it is given.

    Args:
        nodes: The nodes' names, each once.
        edges: The nodes of each hyperedge by number, ascending, filled up with −1 ``(num_edges, largest_arity)``;
            distinct and in order.
        weights: Positive ``(num_edges,)``.
    """

    nodes: list[str]
    edges: np.ndarray
    weights: np.ndarray

    @classmethod
    def from_edges(
        cls,
        nodes: Sequence[str] | int,
        edges: Sequence[Sequence[int]] | np.ndarray,
        weights: Sequence[float] | np.ndarray | None = None,
    ) -> Hypergraph:
        """Makes a hypergraph; hyperedges of the same nodes become one, with the sum of their weights.

        Args:
            nodes: Names of the nodes, or their number, for names that are numbers.
            edges: Node numbers of each hyperedge in any order; an array may be filled up with −1.
            weights: A number above 0 for each, scaled to sum to 1; all the same by default.

        Raises:
            HypergraphError: If a name comes twice, a node does not exist, a hyperedge is empty or has a node twice,
                or a weight is not above 0.
        """
        names = [str(i) for i in range(nodes)] if isinstance(nodes, int) else [str(name) for name in nodes]
        if len(set(names)) < len(names):
            twice = Counter(names).most_common(1)[0][0]
            raise HypergraphError(f"there are two nodes '{twice}'; names tell nodes apart, so give each its own")
        rows = sorted_members(_as_rows(edges))
        given = np.ones(len(rows)) if weights is None else np.asarray(weights, dtype=np.float64)
        _check(rows, given, len(names))
        distinct, which = unique_rows(rows)
        total = np.bincount(which, given, minlength=len(distinct))
        width = int((distinct >= 0).sum(1).max())
        return cls(names, distinct[:, :width].astype(np.int32), total / total.sum())

    @property
    def num_nodes(self) -> int:
        """The number of nodes."""
        return len(self.nodes)

    @property
    def num_edges(self) -> int:
        """The number of hyperedges, m."""
        return len(self.edges)

    @property
    def largest_arity(self) -> int:
        """The most nodes in a hyperedge."""
        return self.edges.shape[1]

    @cached_property
    def arity(self) -> np.ndarray:
        """The number of nodes of each hyperedge ``(num_edges,)``."""
        return (self.edges >= 0).sum(1)

    @property
    def is_graph(self) -> bool:
        """Whether every hyperedge has two nodes."""
        return bool((self.arity == 2).all())

    @property
    def kappa(self) -> float:
        """κ, the largest weight over the smallest."""
        return float(self.weights.max() / self.weights.min())

    @cached_property
    def adjacency(self) -> Adjacency:
        """The contexts of the hyperedges; those that share one differ in one node."""
        return Adjacency.of(self.edges)

    def diameter(self, sources: int | None = None, seed: int = 0) -> int:
        """Returns L, the most steps between two hyperedges of one component when a step replaces one node.

        Args:
            sources: Hyperedges to start from, chosen by the seed, which makes it a lower bound; all by default.
            seed: Seeds the choice.
        """
        starts = np.arange(self.num_edges)
        if sources is not None and sources < self.num_edges:
            starts = np.random.default_rng(seed).choice(self.num_edges, sources, replace=False)
        return self.adjacency.eccentricity(starts)

    def matrix(self) -> sparse.csr_array:
        """Returns the symmetric weight matrix of a graph ``(num_nodes, num_nodes)``.

        Raises:
            HypergraphError: If a hyperedge has other than two nodes.
        """
        if not self.is_graph:
            raise HypergraphError(
                f"a weight matrix needs hyperedges of two nodes; here they have {self.arity.min()} to "
                f"{self.largest_arity}"
            )
        i, j = self.edges.T
        shape = (self.num_nodes, self.num_nodes)
        return sparse.csr_array((np.tile(self.weights, 2), (np.r_[i, j], np.r_[j, i])), shape=shape)

    def weights_of(self, edges: np.ndarray) -> np.ndarray:
        """Returns the weights of hyperedges given by their nodes, 0 for those that are none ``(num,)``."""
        place = find_rows(sorted_members(edges).astype(np.int64), self.edges.astype(np.int64))
        return np.where(place >= 0, self.weights[place], 0.0)

    def renamed(self, order: np.ndarray, nodes: Sequence[str] | None = None) -> Hypergraph:
        """Returns the same hypergraph with its nodes in another order and, if wanted, with other names.

        Args:
            order: For each new node the number of the old one ``(num_nodes,)``.
            nodes: Names in the new order; the old ones by default.
        """
        new = np.empty(self.num_nodes, dtype=np.int32)
        new[order] = np.arange(self.num_nodes)
        edges = np.where(self.edges >= 0, new[self.edges], -1)
        names = [self.nodes[i] for i in order] if nodes is None else nodes
        return Hypergraph.from_edges(names, edges, self.weights)

    def with_weights(self, weights: np.ndarray) -> Hypergraph:
        """Returns the hypergraph with other weights, scaled to sum to 1; hyperedges of weight 0 are left out."""
        kept = weights > 0
        if not kept.any():
            raise HypergraphError("no weight is above 0: a hypergraph needs at least one hyperedge")
        edges = self.edges[kept]
        width = int((edges >= 0).sum(1).max())
        return replace(self, edges=edges[:, :width], weights=weights[kept] / weights[kept].sum())


def _as_rows(edges: Sequence[Sequence[int]] | np.ndarray) -> np.ndarray:
    if isinstance(edges, np.ndarray):
        return edges.astype(np.int64)
    width = max((len(edge) for edge in edges), default=0)
    rows = [widened(np.asarray([edge], dtype=np.int64).reshape(1, -1), width) for edge in edges]
    return np.concatenate(rows) if rows else np.zeros((0, 0), dtype=np.int64)


def _check(rows: np.ndarray, weights: np.ndarray, num_nodes: int) -> None:
    if not len(rows):
        raise HypergraphError("there is no hyperedge: a hypergraph needs at least one")
    if len(weights) != len(rows):
        raise HypergraphError(f"there are {len(rows)} hyperedges and {len(weights)} weights; give one for each")
    if rows.max(initial=-1) >= num_nodes:
        raise HypergraphError(f"a hyperedge names node {rows.max()}, and there are {num_nodes}, counted from 0")
    if (rows < 0).all(1).any():
        raise HypergraphError(f"hyperedge {np.flatnonzero((rows < 0).all(1))[0]} has no nodes; leave it out")
    twice = ((rows[:, 1:] == rows[:, :-1]) & (rows[:, 1:] >= 0)).any(1)
    if twice.any():
        row = rows[np.flatnonzero(twice)[0]]
        raise HypergraphError(f"hyperedge {row[row >= 0].tolist()} has a node twice; a hyperedge is a set")
    if not (np.isfinite(weights).all() and (weights > 0).all()):
        wrong = np.flatnonzero(~(np.isfinite(weights) & (weights > 0)))[0]
        raise HypergraphError(f"hyperedge {wrong} has weight {weights[wrong]}; weights are above 0")
