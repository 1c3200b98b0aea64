"""Questions about one relation at a time, whose own triples are hidden, as those of an unseen relation are."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from relbench_pretrain.knowledge_graph.data.graph import KnowledgeGraph, Role
from relbench_pretrain.knowledge_graph.data.neighborhood import Neighborhood, Paths, find_paths
from relbench_pretrain.knowledge_graph.data.queries import Direction, Queries
from relbench_pretrain.knowledge_graph.features.pair_features import PairFeatures


@dataclass
class Episode:
    """Queries for one relation.

    Args:
        relation: Number of the relation among all texts of relations.
        anchor: The entities given ``(num_queries,)``.
        candidate: The entities to rank, −1 for none ``(num_queries, num_candidates)``.
        answer: The column of the right one ``(num_queries,)``.
        known: Query and column of other right ones, which do not count ``(2, num_known)``.
        paths: What joins anchors and candidates, without the triples of the relation; nothing in training.
        features: What is known of the pairs, without these triples ``(num_queries, num_candidates, num_features)``;
            None where nothing was asked for.
        num_real: 0 for an episode that another process ranks.
        weight: What a loss of it is multiplied by.
    """

    relation: int
    anchor: Tensor
    candidate: Tensor
    answer: Tensor
    known: Tensor
    paths: Paths
    features: Tensor | None = None
    num_real: int = 1
    weight: float = 1.0

    def __len__(self) -> int:
        return len(self.anchor)

    def part(self, rows: Tensor, columns: Tensor) -> Episode:
        """Takes some queries of a training episode, and so many of its candidates.

        Args:
            rows: The queries ``(num_rows,)``.
            columns: The candidates of each, that of the right one first ``(num_rows, num_columns)``.
        """
        place = rows.unsqueeze(1), columns
        features = None if self.features is None else self.features[place]
        answer = torch.zeros(len(rows), dtype=torch.long)
        return replace(
            self, anchor=self.anchor[rows], candidate=self.candidate[place], answer=answer, features=features
        )


def no_paths() -> Paths:
    """Returns what joins nothing."""
    return Paths(torch.zeros(0, 3, dtype=torch.long), torch.zeros(0, 5, dtype=torch.long))


class TrainingEpisodes:
    """A pool of episodes, one of each seen relation, and batches drawn from it.

    Wrong candidates are drawn evenly from all entities, never from published lists; right ones are left out. Features
    of pairs take far longer than a step of training, so they are made once.

    Args:
        graph: The graph.
        describe: Makes the features of pairs of a relation; None makes none.
        num_queries: The most queries per relation in the pool.
        num_negatives: Wrong candidates per query in the pool.
        min_triples: Relations with fewer triples are not asked for.
        direction: What is asked for.
        seed: Seeds the pool.
    """

    def __init__(
        self,
        graph: KnowledgeGraph,
        describe: PairFeatures | None = None,
        num_queries: int = 24,
        num_negatives: int = 150,
        min_triples: int = 5,
        direction: Direction = "tail",
        seed: int = 0,
    ) -> None:
        self.describe, self.direction = describe, direction
        self.num_entities, self.num_relations = graph.num_entities, graph.num_relations
        self.num_queries, self.num_negatives = num_queries, num_negatives
        triples = graph.triples_of(Role.SEEN)
        triples = triples[np.argsort(triples[:, 1], kind="stable")]
        self.key = np.sort(self._key(triples[:, 0], triples[:, 1], triples[:, 2]))
        rows = np.split(triples, np.flatnonzero(np.diff(triples[:, 1])) + 1)
        rng = np.random.default_rng(seed)
        self.pool = [self._episode(part, rng) for part in rows if len(part) >= max(min_triples, 1)]
        if not self.pool:
            raise ValueError(f"no seen relation has {min_triples} triples or more: there is nothing to train on")

    def _key(self, head: np.ndarray, relation: np.ndarray | int, tail: np.ndarray) -> np.ndarray:
        return (head * self.num_relations + relation) * self.num_entities + tail

    def _episode(self, triples: np.ndarray, rng: np.random.Generator) -> Episode:
        """Makes an episode of triples of one relation."""
        relation, reverse = int(triples[0, 1]), self.direction == "head"
        given, sought = (2, 0) if reverse else (0, 2)
        asked = triples[rng.choice(len(triples), min(self.num_queries, len(triples)), replace=False)]
        wrong = rng.integers(0, self.num_entities, (len(asked), self.num_negatives))
        candidate = np.concatenate([asked[:, [sought]], wrong], axis=1)
        anchor = np.broadcast_to(asked[:, [given]], candidate.shape)
        key = self._key(candidate, relation, anchor) if reverse else self._key(anchor, relation, candidate)
        right = self.key[np.searchsorted(self.key, key).clip(max=len(self.key) - 1)] == key
        right[:, 0] = False
        anchors, candidates = torch.from_numpy(asked[:, given].copy()), torch.from_numpy(np.where(right, -1, candidate))
        return Episode(
            relation=relation,
            anchor=anchors,
            candidate=candidates,
            answer=torch.zeros(len(asked), dtype=torch.long),
            known=torch.zeros(2, 0, dtype=torch.long),
            paths=no_paths(),
            features=self.describe(relation, anchors, candidates) if self.describe else None,
        )

    def draw(self, number: int, queries: int, wrong: int, rng: np.random.Generator) -> list[Episode]:
        """Draws parts of episodes of different relations.

        Args:
            number: How many episodes.
            queries: The most queries of each.
            wrong: Wrong candidates of each query.
            rng: What is drawn with.
        """
        chosen = rng.choice(len(self.pool), min(number, len(self.pool)), replace=False)
        return [self._part(self.pool[i], queries, wrong, rng) for i in chosen]

    def _part(self, episode: Episode, queries: int, wrong: int, rng: np.random.Generator) -> Episode:
        rows = rng.choice(len(episode), min(queries, len(episode)), replace=False)
        others = rng.permuted(np.tile(np.arange(1, self.num_negatives + 1), (len(rows), 1)), axis=1)[:, :wrong]
        columns = np.concatenate([np.zeros((len(rows), 1), dtype=np.int64), others], axis=1)
        return episode.part(torch.from_numpy(rows), torch.from_numpy(columns))


def test_episode(
    neighborhood: Neighborhood,
    queries: Queries,
    rows: Tensor,
    candidates: Tensor | None,
    num_entities: int,
    describe: PairFeatures | None,
) -> Episode:
    """Makes an episode of queries for one relation.

    Args:
        neighborhood: The seen triples.
        queries: The queries.
        rows: Which of them, all of one relation ``(num_rows,)``.
        candidates: The candidates of all queries, the answer first; None ranks all entities, filtered.
        num_entities: The number of entities.
        describe: Makes the features of pairs; None makes none.
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
    return ranking_episode(neighborhood, relation, anchor, candidate, answer, known, describe)


def ranking_episode(
    neighborhood: Neighborhood,
    relation: int,
    anchor: Tensor,
    candidate: Tensor,
    answer: Tensor,
    known: Tensor,
    describe: PairFeatures | None,
) -> Episode:
    """Makes an episode with all that joins its pairs.

    Args:
        neighborhood: The seen triples, mirrored where heads are asked for.
        relation: Number of the relation.
        anchor: See :class:`Episode`.
        candidate: See :class:`Episode`.
        answer: See :class:`Episode`.
        known: See :class:`Episode`.
        describe: Makes the features of pairs; None makes none.
    """
    paths = find_paths(neighborhood, anchor, candidate, hidden=relation)
    features = describe(relation, anchor, candidate) if describe else None
    return Episode(relation, anchor, candidate, answer, known, paths, features)
