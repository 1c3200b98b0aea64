"""Queries of a knowledge graph: an entity and a relation, the tail or head to find, and its candidates."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from relbench_pretrain.knowledge_graph.data.graph import KnowledgeGraph, unique_triples

Direction = Literal["tail", "head"]


@dataclass(frozen=True)
class Queries:
    """Queries for the tail, or the head, of triples.

    Args:
        anchor: The entity that is given ``(num_queries,)``.
        relation: The relation ``(num_queries,)``.
        answer: The entity to find ``(num_queries,)``.
        known: Query and entity of all other true answers, sorted by query ``(2, num_known)``.
        direction: Whether tails or heads are asked for.
    """

    anchor: Tensor
    relation: Tensor
    answer: Tensor
    known: Tensor
    direction: Direction = "tail"

    def __len__(self) -> int:
        return len(self.anchor)

    @classmethod
    def of_triples(cls, graph: KnowledgeGraph, triples: np.ndarray, direction: Direction = "tail") -> Queries:
        """Asks for the tail, or the head, of triples; every other answer in the graph, of any part, is known.

        Args:
            graph: The graph.
            triples: The triples ``(num_triples, 3)``; one that comes twice is asked for twice.
            direction: Whether tails or heads are asked for.
        """
        given, sought = (0, 2) if direction == "tail" else (2, 0)
        key = triples[:, given] * graph.num_relations + triples[:, 1]
        everything = unique_triples(graph.triples)
        all_key = everything[:, given] * graph.num_relations + everything[:, 1]
        order = np.argsort(all_key, kind="stable")
        all_key, found = all_key[order], everything[order, sought]
        first, last = np.searchsorted(all_key, key), np.searchsorted(all_key, key, side="right")
        query = np.repeat(np.arange(len(key)), last - first)
        entity = found[_ranges(first, last)]
        other = entity != triples[query, sought]
        return cls(
            anchor=torch.from_numpy(triples[:, given].copy()),
            relation=torch.from_numpy(triples[:, 1].copy()),
            answer=torch.from_numpy(triples[:, sought].copy()),
            known=torch.from_numpy(np.stack([query[other], entity[other]])),
            direction=direction,
        )

    def known_of(self, start: int, stop: int) -> Tensor:
        """Returns the known answers of the queries from ``start`` to ``stop``, numbered from 0 ``(2, num_known)``."""
        first, last = torch.searchsorted(self.known[0], torch.tensor([start, stop])).tolist()
        return torch.stack([self.known[0, first:last] - start, self.known[1, first:last]])


def _ranges(first: np.ndarray, last: np.ndarray) -> np.ndarray:
    """Returns all numbers of the ranges from ``first`` up to ``last``, one range after the other."""
    length = last - first
    start = np.repeat(first - np.concatenate([[0], np.cumsum(length)[:-1]]), length)
    return start + np.arange(length.sum())


def draw_candidates(graph: KnowledgeGraph, queries: Queries, number: int, seed: int = 0) -> Tensor:
    """Draws the entities that each answer is ranked among, as published for FB15K-237-ZS (Cai et al. 2024).

    They are the true entity and ``number`` negatives, drawn from the relation's list, or from all entities where it has
    none or heads are asked for; other true answers are not among them. The true entity is rarely in its relation's
    published list, so being in the list must never reach a model.

    Args:
        graph: The graph.
        queries: The queries.
        number: How many negatives; fewer where a list is shorter.
        seed: Seeds the draw; that of a query depends on its place and on nothing else.

    Returns:
        Entities, the true one first, −1 where a list was too short ``(num_queries, number + 1)``.
    """
    result = np.full((len(queries), number + 1), -1, dtype=np.int64)
    result[:, 0] = queries.answer.numpy()
    known_start = np.searchsorted(queries.known[0].numpy(), np.arange(len(queries) + 1))
    known, everything = queries.known[1].numpy(), np.arange(graph.num_entities)
    for i, relation in enumerate(queries.relation.tolist()):
        # Lists are of tails; heads are ranked among all entities.
        pool = graph.candidates.get(relation, everything) if queries.direction == "tail" else everything
        rng = np.random.default_rng([seed, i])
        true = np.append(known[known_start[i] : known_start[i + 1]], result[i, 0])
        # A few more than needed, without those that are true; the whole list where that is not enough.
        drawn = pool[rng.choice(len(pool), min(len(pool), number + len(true)), replace=False)]
        drawn = drawn[~np.isin(drawn, true)][:number]
        result[i, 1 : 1 + len(drawn)] = drawn
    return torch.from_numpy(result)
