"""Questions about one relation at a time, whose own triples are hidden, as those of an unseen relation are."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from relbench_pretrain.knowledge_graph.graph import KnowledgeGraph, Role
from relbench_pretrain.knowledge_graph.neighborhood import Neighborhood, Paths, find_paths
from relbench_pretrain.knowledge_graph.queries import Direction, Queries


@dataclass
class Episode:
    """Queries for one relation.

    Args:
        relation: Number of the relation among all texts of relations.
        reverse: Whether tails are given and heads asked for.
        anchor: The entities given ``(num_queries,)``.
        candidate: The entities to rank, −1 for none ``(num_queries, num_candidates)``.
        answer: The column of the right one ``(num_queries,)``.
        known: Query and column of other right ones, which do not count ``(2, num_known)``.
        paths: What joins anchors and candidates, without the triples of the relation.
    """

    relation: int
    reverse: bool
    anchor: Tensor
    candidate: Tensor
    answer: Tensor
    known: Tensor
    paths: Paths

    def __len__(self) -> int:
        return len(self.anchor)


class TrainingEpisodes:
    """Draws episodes of the seen relations.

    A relation comes with the square root of its number of triples, so that neither the few large nor the many small
    ones are all that is seen. Wrong candidates are drawn evenly from all entities, never from published lists, and a
    few from the relation's other answers, the same ones for all queries of an episode; right ones are left out.

    Args:
        graph: The graph.
        neighborhood: Its seen triples.
        num_queries: The most queries per episode.
        num_random: Wrong candidates from all entities.
        num_answers: Wrong candidates from the answers to other queries.
        min_triples: Relations with fewer triples are not asked for.
        directions: What is asked for; each episode asks for one.
    """

    def __init__(
        self,
        graph: KnowledgeGraph,
        neighborhood: Neighborhood,
        num_queries: int = 16,
        num_random: int = 200,
        num_answers: int = 6,
        min_triples: int = 5,
        directions: tuple[Direction, ...] = ("tail",),
    ) -> None:
        self.neighborhood = neighborhood
        self.num_entities = graph.num_entities
        self.num_relations = graph.num_relations
        self.num_queries, self.num_random, self.num_answers = num_queries, num_random, num_answers
        self.directions = directions
        triples = graph.triples_of(Role.SEEN)
        self.triples = triples[np.argsort(triples[:, 1], kind="stable")]
        self.start = np.searchsorted(self.triples[:, 1], np.arange(graph.num_relations + 1))
        self.key = np.sort(self._key(self.triples[:, 0], self.triples[:, 1], self.triples[:, 2]))
        count = np.diff(self.start)
        self.relations = np.flatnonzero(count >= min_triples)
        if not len(self.relations):
            raise ValueError(f"no seen relation has {min_triples} triples or more: there is nothing to train on")
        weight = np.sqrt(count[self.relations])
        self.probability = weight / weight.sum()

    def _key(self, head: np.ndarray, relation: np.ndarray | int, tail: np.ndarray) -> np.ndarray:
        return (head * self.num_relations + relation) * self.num_entities + tail

    def draw(self, number: int, rng: np.random.Generator) -> list[Episode]:
        """Draws episodes of different relations."""
        number = min(number, len(self.relations))
        chosen = rng.choice(self.relations, number, replace=False, p=self.probability)
        return [self._episode(int(relation), rng) for relation in chosen]

    def _episode(self, relation: int, rng: np.random.Generator) -> Episode:
        rows = self.triples[self.start[relation] : self.start[relation + 1]]
        reverse = self.directions[rng.integers(len(self.directions))] == "head"
        given, sought = (2, 0) if reverse else (0, 2)
        asked = rows[rng.choice(len(rows), min(self.num_queries, len(rows)), replace=False)]
        wrong = np.concatenate(
            [rng.integers(0, self.num_entities, self.num_random), rng.choice(rows[:, sought], self.num_answers)]
        )
        candidate = np.concatenate([asked[:, [sought]], np.broadcast_to(wrong, (len(asked), len(wrong)))], axis=1)
        anchor = np.broadcast_to(asked[:, [given]], candidate.shape)
        key = self._key(candidate, relation, anchor) if reverse else self._key(anchor, relation, candidate)
        right = self.key[np.searchsorted(self.key, key).clip(max=len(self.key) - 1)] == key
        right[:, 0] = False
        anchors, candidates = torch.from_numpy(asked[:, given].copy()), torch.from_numpy(np.where(right, -1, candidate))
        return Episode(
            relation=relation,
            reverse=reverse,
            anchor=anchors,
            candidate=candidates,
            answer=torch.zeros(len(asked), dtype=torch.long),
            known=torch.zeros(2, 0, dtype=torch.long),
            paths=find_paths(self.neighborhood, anchors, candidates, hidden=relation),
        )


def test_episode(
    neighborhood: Neighborhood, queries: Queries, rows: Tensor, candidates: Tensor | None, num_entities: int
) -> Episode:
    """Makes an episode of queries for one relation.

    Args:
        neighborhood: The seen triples.
        queries: The queries.
        rows: Which of them, all of one relation ``(num_rows,)``.
        candidates: The candidates of all queries, the answer first; None ranks all entities, filtered.
        num_entities: The number of entities.
    """
    anchor, relation = queries.anchor[rows], int(queries.relation[rows[0]])
    if candidates is not None:
        candidate, answer = candidates[rows], torch.zeros(len(rows), dtype=torch.long)
        known = torch.zeros(2, 0, dtype=torch.long)
    else:
        candidate = torch.arange(num_entities).expand(len(rows), -1)
        answer = queries.answer[rows]
        parts = [queries.known_of(int(row), int(row) + 1)[1] for row in rows]
        number = torch.tensor([len(part) for part in parts])
        known = torch.stack([torch.arange(len(rows)).repeat_interleave(number), torch.cat(parts)])
    return Episode(
        relation=relation,
        reverse=queries.direction == "head",
        anchor=anchor,
        candidate=candidate,
        answer=answer,
        known=known,
        paths=find_paths(neighborhood, anchor, candidate, hidden=relation),
    )
