"""Contexts of hyperedges, and the connected components of hyperedges that differ in one node."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numba
import numpy as np
from scipy import sparse

from relbench_pretrain.hypergraph.rows import unique_rows, widened


@dataclass(frozen=True)
class Adjacency:
    """The contexts of hyperedges: the nodes that are left when one is taken away.

    Two hyperedges that share a context differ in one node, and one-node masks tell the ratio of their weights (Chen
    et al. 2024, section 4).

    Args:
        contexts: Nodes of each context, ascending, filled up with −1 ``(num_contexts, largest_arity − 1)``.
        context: The context of each hyperedge without each of its nodes; −1 where there is none
            ``(num_edges, largest_arity)``.
    """

    contexts: np.ndarray
    context: np.ndarray

    @classmethod
    def of(cls, edges: np.ndarray) -> Adjacency:
        """Finds the contexts of hyperedges ``(num_edges, largest_arity)``, filled up with −1."""
        number, width = edges.shape
        parts = [np.delete(edges, j, axis=1) for j in range(width)]
        rows = np.stack(parts, axis=1).reshape(number * width, width - 1)
        # One column more tells arities apart: {a} of {a, b} is no context of {a} alone, nor the empty one of it.
        marked = np.concatenate([widened(rows, width - 1), np.repeat((edges >= 0).sum(1), width)[:, None]], axis=1)
        there = edges.reshape(-1) >= 0
        distinct, which = unique_rows(marked[there].astype(np.int64))
        context = np.full(number * width, -1)
        context[there] = which
        return cls(distinct[:, :-1].astype(np.int32), context.reshape(number, width))

    @property
    def num_contexts(self) -> int:
        """The number of contexts."""
        return len(self.contexts)

    @cached_property
    def incidence(self) -> sparse.csr_array:
        """A one for each hyperedge and context of it ``(num_edges, num_contexts)``."""
        edge, place = np.nonzero(self.context >= 0)
        shape = (len(self.context), self.num_contexts)
        return sparse.csr_array((np.ones(len(edge)), (edge, self.context[edge, place])), shape=shape)

    @cached_property
    def components(self) -> np.ndarray:
        """The number of the component of each hyperedge ``(num_edges,)``.

        One-node masks determine weights within a component only.
        """
        both = sparse.bmat([[None, self.incidence], [self.incidence.T, None]], format="csr")
        _, label = sparse.csgraph.connected_components(both, directed=False)
        return np.unique(label[: len(self.context)], return_inverse=True)[1]

    def eccentricity(self, starts: np.ndarray) -> int:
        """Returns the most steps that any hyperedge within reach is away from one of some hyperedges."""
        rows, columns = self.incidence, self.incidence.T.tocsr()
        indices = (rows.indptr, rows.indices, columns.indptr, columns.indices)
        return int(_farthest(starts.astype(np.int64), *(a.astype(np.int64) for a in indices)))


@numba.njit(cache=True)
def _farthest(starts, edge_start, edge_context, context_start, context_edge):
    num_edges, num_contexts = len(edge_start) - 1, len(context_start) - 1
    distance = np.empty(num_edges, np.int64)
    met = np.empty(num_contexts, np.bool_)
    queue = np.empty(num_edges, np.int64)
    farthest = 0
    for start in starts:
        distance[:] = -1
        met[:] = False
        distance[start], queue[0], first, last = 0, start, 0, 1
        while first < last:
            edge = queue[first]
            first += 1
            for p in range(edge_start[edge], edge_start[edge + 1]):
                context = edge_context[p]
                if met[context]:
                    continue
                met[context] = True
                for q in range(context_start[context], context_start[context + 1]):
                    other = context_edge[q]
                    if distance[other] < 0:
                        distance[other] = distance[edge] + 1
                        queue[last] = other
                        last += 1
        farthest = max(farthest, distance[queue[last - 1]])
    return farthest
