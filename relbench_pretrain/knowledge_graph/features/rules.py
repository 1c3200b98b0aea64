"""Confidence and coverage of rules that conclude a relation from an edge, or from a path of two edges."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
import torch

from relbench_pretrain.knowledge_graph.data.neighborhood import Neighborhood, find_paths

# Added to the number of bodies, so that a rule that was met once is not taken for a certain one.
EDGE_PRIOR, PATH_PRIOR = 5.0, 10.0


class Rules:
    """Counts of the rules *body ⇒ relation*, whose body is an edge, or two edges over an entity between.

    A rule's confidence is the share of its bodies that join a triple of the relation, its coverage the share of the
    relation's triples that its body joins. Those of a body without a hidden relation and of another relation than the
    hidden one do not change when the hidden relation's triples are taken away, so nothing is counted anew.

    Args:
        neighborhood: The triples.
        counts: Edges that arrive at each entity under each directed relation ``(num_entities, 2 * num_relations)``.
    """

    def __init__(self, neighborhood: Neighborhood, counts: sp.csr_matrix) -> None:
        head, relation, tail = neighborhood.triples()
        self.size = 2 * neighborhood.num_relations
        self.number = np.bincount(relation, minlength=neighborhood.num_relations).astype(np.float32)
        found = find_paths(neighborhood, torch.from_numpy(head), torch.from_numpy(tail).unsqueeze(1))
        self.edge_bodies = np.asarray(counts.sum(0)).ravel().astype(np.float32)  # (size,)
        leaving = counts[:, self._backwards(np.arange(self.size))]
        self.path_bodies = np.asarray((counts.T @ leaving).todense(), dtype=np.float32)  # (size, size)
        edge, path = found.edge.numpy(), found.path.numpy()
        self.edges = self._count(relation[edge[:, 0]], edge[:, 2], self._backwards(edge[:, 2]), self.size)
        code = self._code(path[:, 2], path[:, 3])
        # The same paths bridge the reversed relation when they are walked from the other end.
        turned = self._code(self._backwards(path[:, 3]), self._backwards(path[:, 2]))
        self.paths = self._count(relation[path[:, 0]], code, turned, self.size**2)
        once = np.unique(path[:, 0] * self.size**2 + code, return_index=True)[1]
        self.bridged = self._count(relation[path[once, 0]], code[once], turned[once], self.size**2)

    def _backwards(self, directed: np.ndarray) -> np.ndarray:
        return (directed + self.size // 2) % self.size

    def _code(self, first: np.ndarray, second: np.ndarray) -> np.ndarray:
        return first * self.size + second

    def _count(self, relation: np.ndarray, body: np.ndarray, turned: np.ndarray, bodies: int) -> sp.csr_matrix:
        """Counts bodies by directed relation that they bridge ``(bodies, size)``."""
        place = np.concatenate([body, turned]), np.concatenate([relation, self._backwards(relation)])
        return sp.coo_matrix((np.ones(len(place[0]), np.float32), place), shape=(bodies, self.size)).tocsr()

    def of_edges(self, relation: np.ndarray, edge: np.ndarray) -> np.ndarray:
        """Returns confidence and coverage of *edge ⇒ relation*; 0 where both are the same.

        Args:
            relation: Directed relations that are concluded ``(num_concluded,)``.
            edge: Directed relations of edges ``(num_edges,)``.

        Returns:
            ``(num_edges, num_concluded, 2)``.
        """
        count = np.where(edge[:, None] == relation, 0.0, self.edges[edge][:, relation].toarray())
        confidence = count / (self.edge_bodies[edge, None] + EDGE_PRIOR)
        return np.stack([confidence, count / self._triples(relation)], axis=-1).astype(np.float32)

    def of_paths(self, relation: np.ndarray, first: np.ndarray, second: np.ndarray) -> np.ndarray:
        """Returns confidence and coverage of *first, then second ⇒ relation* ``(num_paths, num_concluded, 2)``."""
        code, place = np.unique(self._code(first, second), return_inverse=True)
        bodies = self.path_bodies.reshape(-1)[code, None] + PATH_PRIOR
        confidence = self.paths[code][:, relation].toarray() / bodies
        coverage = self.bridged[code][:, relation].toarray() / self._triples(relation)
        return np.stack([confidence, coverage], axis=-1).astype(np.float32)[place]

    def _triples(self, relation: np.ndarray) -> np.ndarray:
        return np.maximum(self.number[relation % (self.size // 2)], 1)
