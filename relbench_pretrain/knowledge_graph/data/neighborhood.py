"""Neighbours of entities, and the edges and paths of two edges between pairs of entities."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

import numba
import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor


@dataclass(frozen=True)
class Neighborhood:
    """The triples of a knowledge graph in both directions, sorted for lookup.

    Relation ``r`` from head to tail is ``r``, from tail to head ``num_relations + r``.

    Args:
        indptr: Where the edges of each entity begin ``(num_entities + 1,)``.
        neighbor: The entity at the other end, ascending for each entity ``(num_edges,)``.
        relation: The directed relation ``(num_edges,)``.
        num_relations: The number of relations.
    """

    indptr: np.ndarray
    neighbor: np.ndarray
    relation: np.ndarray
    num_relations: int

    @classmethod
    def of_triples(cls, triples: np.ndarray, num_entities: int, num_relations: int) -> Neighborhood:
        """Sorts triples ``(num_triples, 3)``, each given once."""
        source = np.concatenate([triples[:, 0], triples[:, 2]])
        neighbor = np.concatenate([triples[:, 2], triples[:, 0]])
        relation = np.concatenate([triples[:, 1], triples[:, 1] + num_relations])
        order = np.lexsort((relation, neighbor, source))
        indptr = np.searchsorted(source[order], np.arange(num_entities + 1))
        return cls(indptr, neighbor[order], relation[order], num_relations)

    @property
    def degree(self) -> np.ndarray:
        """The number of edges of each entity ``(num_entities,)``."""
        return np.diff(self.indptr)

    def counts(self) -> sp.csr_matrix:
        """Counts the edges of each entity under each directed relation.

        ``(num_entities, 2 * num_relations)``, sparse; the first half counts the edges in which the entity is the tail.
        """
        width = 2 * self.num_relations
        arriving = (self.relation + self.num_relations) % width
        source = np.repeat(np.arange(len(self.indptr) - 1), self.degree)
        one = np.ones(len(source), dtype=np.float32)
        return sp.coo_matrix((one, (source, arriving)), shape=(len(self.indptr) - 1, width)).tocsr()

    def triples(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Returns head, relation and tail of the triples, each ``(num_triples,)``, ordered by head."""
        source = np.repeat(np.arange(len(self.indptr) - 1), self.degree)
        forward = self.relation < self.num_relations
        return source[forward], self.relation[forward], self.neighbor[forward]

    def mirrored(self) -> Neighborhood:
        """Exchanges heads and tails."""
        return replace(self, relation=(self.relation + self.num_relations) % (2 * self.num_relations))


class Paths(NamedTuple):
    """Edges and paths between heads and candidates; relations are directed, as they are walked from the head.

    Args:
        edge: Query, column of the candidate and relation of each joining edge ``(num_edges, 3)``.
        path: Query, column, first and second relation, and the entity between, of each path ``(num_paths, 5)``.
    """

    edge: Tensor
    path: Tensor


def find_paths(neighborhood: Neighborhood, head: Tensor, candidate: Tensor, hidden: int = -1) -> Paths:
    """Finds all edges, and all paths over one entity, from each head to each of its candidates.

    The search starts from the candidates and meets the head's neighbours, so its cost is that of the candidates'
    edges.

    Args:
        neighborhood: The graph.
        head: ``(num_queries,)``.
        candidate: ``(num_queries, num_candidates)``, −1 for none.
        hidden: A relation that is not walked, in either direction, as if it had no triples.

    Returns:
        The edges and paths, in the order of queries and candidates.
    """
    n = neighborhood
    arguments = (head.numpy(), candidate.numpy(), n.indptr, n.neighbor, n.relation, n.num_relations, hidden)
    num_edges, num_paths = _walk(*arguments, np.empty((0, 3), np.int64), np.empty((0, 5), np.int64))
    edge, path = np.empty((num_edges, 3), np.int64), np.empty((num_paths, 5), np.int64)
    _walk(*arguments, edge, path)
    return Paths(torch.from_numpy(edge), torch.from_numpy(path))


@numba.njit(cache=True, nogil=True)
def _walk(head, candidate, indptr, neighbor, relation, num_relations, hidden, edge, path):
    """Writes edges and paths as far as there is room, and returns their numbers."""
    num_edges, num_paths = 0, 0
    met = np.full(len(indptr) - 1, -1, dtype=np.int64)  # the first edge from the head to each entity
    for i in range(len(head)):
        begin, end = indptr[head[i]], indptr[head[i] + 1]
        for e in range(end - 1, begin - 1, -1):
            met[neighbor[e]] = e
        for c in range(candidate.shape[1]):
            if candidate[i, c] < 0:
                continue
            for e in range(indptr[candidate[i, c]], indptr[candidate[i, c] + 1]):
                if relation[e] % num_relations == hidden:
                    continue
                last = (relation[e] + num_relations) % (2 * num_relations)
                between = neighbor[e]
                if between == head[i]:
                    if num_edges < len(edge):
                        edge[num_edges, 0], edge[num_edges, 1], edge[num_edges, 2] = i, c, last
                    num_edges += 1
                    continue
                f = met[between]
                while 0 <= f < end and neighbor[f] == between:
                    if relation[f] % num_relations != hidden:
                        if num_paths < len(path):
                            path[num_paths, 0], path[num_paths, 1], path[num_paths, 2] = i, c, relation[f]
                            path[num_paths, 3], path[num_paths, 4] = last, between
                        num_paths += 1
                    f += 1
        for e in range(begin, end):
            met[neighbor[e]] = -1
    return num_edges, num_paths
