"""Episodes: queries for one relation at a time, whose own triples are hidden as those of an unseen relation are."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from relbench_pretrain.knowledge_graph.data.graph import KnowledgeGraph, Role
from relbench_pretrain.knowledge_graph.data.neighborhood import Neighborhood, Paths, find_paths
from relbench_pretrain.knowledge_graph.data.queries import Direction, Queries, draw_candidates
from relbench_pretrain.knowledge_graph.features.pair_features import PairFeatures


@dataclass
class Episode:
    """Queries for one relation, with their candidates.

    Args:
        relation: Number of the relation among all texts of relations.
        anchor: The entity given in each query ``(num_queries,)``.
        candidate: The entities to rank, −1 for none ``(num_queries, num_candidates)``.
        answer: The column of the true one ``(num_queries,)``.
        known: Query and column of other true ones, which are filtered out of the ranking ``(2, num_known)``.
        paths: The edges and paths between anchors and candidates, without the triples of the relation; none in
            training.
        features: Features of the pairs, computed without these triples ``(num_queries, num_candidates,
            num_features)``; None where no ranker reads them.
        num_real: 0 for an episode that another process ranks.
        weight: Factor of its loss.
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
        """Takes some queries of a training episode, and some candidates of each.

        Args:
            rows: The queries ``(num_rows,)``.
            columns: The candidates of each, the true one first ``(num_rows, num_columns)``.
        """
        place = rows.unsqueeze(1), columns
        features = None if self.features is None else self.features[place]
        answer = torch.zeros(len(rows), dtype=torch.long)
        return replace(
            self, anchor=self.anchor[rows], candidate=self.candidate[place], answer=answer, features=features
        )


def no_paths() -> Paths:
    """Returns an empty set of edges and paths."""
    return Paths(torch.zeros(0, 3, dtype=torch.long), torch.zeros(0, 5, dtype=torch.long))


def no_known() -> Tensor:
    """Returns an empty list of other true answers."""
    return torch.zeros(2, 0, dtype=torch.long)


class TrainingEpisodes:
    """A pool of episodes, one of each seen relation, from which training batches are drawn.

    Negatives are drawn uniformly from all entities, never from published lists; true triples are left out. Features of
    pairs take far longer than a step of training, so they are computed once.

    Args:
        graph: The graph.
        pair_features: Computes the features of pairs under a relation; None computes none.
        num_queries: The most queries per relation in the pool.
        num_negatives: Negatives per query in the pool.
        min_triples: Relations with fewer triples have no episode.
        direction: Whether tails or heads are asked for.
        seed: Seeds the pool.

    Raises:
        ValueError: If no seen relation has enough triples.
    """

    def __init__(
        self,
        graph: KnowledgeGraph,
        pair_features: PairFeatures | None = None,
        num_queries: int = 24,
        num_negatives: int = 150,
        min_triples: int = 5,
        direction: Direction = "tail",
        seed: int = 0,
    ) -> None:
        self.pair_features, self.direction = pair_features, direction
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
        """Makes the episode of a relation from its triples."""
        relation, reverse = int(triples[0, 1]), self.direction == "head"
        given, sought = (2, 0) if reverse else (0, 2)
        asked = triples[rng.choice(len(triples), min(self.num_queries, len(triples)), replace=False)]
        negatives = rng.integers(0, self.num_entities, (len(asked), self.num_negatives))
        candidate = np.concatenate([asked[:, [sought]], negatives], axis=1)
        anchor = np.broadcast_to(asked[:, [given]], candidate.shape)
        key = self._key(candidate, relation, anchor) if reverse else self._key(anchor, relation, candidate)
        is_true = self.key[np.searchsorted(self.key, key).clip(max=len(self.key) - 1)] == key
        is_true[:, 0] = False
        anchors = torch.from_numpy(asked[:, given].copy())
        candidates = torch.from_numpy(np.where(is_true, -1, candidate))
        return Episode(
            relation=relation,
            anchor=anchors,
            candidate=candidates,
            answer=torch.zeros(len(asked), dtype=torch.long),
            known=no_known(),
            paths=no_paths(),
            features=self.pair_features(relation, anchors, candidates) if self.pair_features else None,
        )

    def draw(self, number: int, queries: int, negatives: int, rng: np.random.Generator) -> list[Episode]:
        """Draws parts of episodes of different relations.

        Args:
            number: How many episodes.
            queries: The most queries of each.
            negatives: Negatives of each query.
            rng: The random generator.
        """
        chosen = rng.choice(len(self.pool), min(number, len(self.pool)), replace=False)
        return [self._part(self.pool[i], queries, negatives, rng) for i in chosen]

    def _part(self, episode: Episode, queries: int, negatives: int, rng: np.random.Generator) -> Episode:
        rows = rng.choice(len(episode), min(queries, len(episode)), replace=False)
        others = rng.permuted(np.tile(np.arange(1, self.num_negatives + 1), (len(rows), 1)), axis=1)[:, :negatives]
        columns = np.concatenate([np.zeros((len(rows), 1), dtype=np.int64), others], axis=1)
        return episode.part(torch.from_numpy(rows), torch.from_numpy(columns))


class EpisodeBatches(Dataset):
    """Training batches by number, each drawn from its number and the seed alone.

    Args:
        pools: Pools of episodes; a batch is drawn from one of them, chosen at random.
        size: Episodes per batch.
        queries: Queries per episode.
        negatives: Negatives per query.
        seed: The seed.
    """

    def __init__(self, pools: list[TrainingEpisodes], size: int, queries: int, negatives: int, seed: int) -> None:
        self.pools, self.sizes, self.seed = pools, (size, queries, negatives), seed

    def __getitem__(self, number: int) -> list[Episode]:
        rng = np.random.default_rng([self.seed, number])
        return self.pools[rng.integers(len(self.pools))].draw(*self.sizes, rng)


class EpisodeBuilder:
    """Makes the episodes of validation, test and prediction from queries and candidates.

    Args:
        neighborhood: The triples that may be seen, mirrored where heads are asked for.
        pair_features: Computes the features of pairs from the same triples; None computes none.
        with_paths: Whether the edges and paths between anchors and candidates are looked for.
    """

    def __init__(
        self, neighborhood: Neighborhood, pair_features: PairFeatures | None = None, with_paths: bool = True
    ) -> None:
        self.neighborhood, self.pair_features, self.with_paths = neighborhood, pair_features, with_paths

    def __call__(
        self,
        relation: int,
        anchor: Tensor,
        candidate: Tensor,
        answer: Tensor | None = None,
        known: Tensor | None = None,
    ) -> Episode:
        """Makes an episode; see :class:`Episode`.

        Args:
            relation: Number of the relation.
            anchor: The entities given.
            candidate: The entities to rank.
            answer: The columns of the true ones; the first of each row by default.
            known: Query and column of other true ones; none by default.
        """
        if answer is None:
            answer = torch.zeros(len(anchor), dtype=torch.long)
        paths = find_paths(self.neighborhood, anchor, candidate, hidden=relation) if self.with_paths else no_paths()
        features = self.pair_features(relation, anchor, candidate, paths) if self.pair_features else None
        return Episode(relation, anchor, candidate, answer, no_known() if known is None else known, paths, features)


class RankingEpisodes(Dataset):
    """Queries of all relations of a role, so many at a time and of one relation each time.

    Args:
        graph: The graph.
        build: Makes the episodes.
        role: The relations' role.
        direction: Whether tails or heads are asked for.
        num_candidates: Negatives per query; 0 ranks all entities, filtered.
        size: Queries per episode.
        most: The most queries per relation, None for all.
        unique: Whether a triple that comes twice is asked for once.
        seed: Seeds candidates and, where there are too many, the choice of queries.
    """

    def __init__(
        self,
        graph: KnowledgeGraph,
        build: EpisodeBuilder,
        role: Role,
        direction: Direction,
        num_candidates: int,
        size: int,
        most: int | None,
        unique: bool,
        seed: int,
    ) -> None:
        triples = graph.triples_of(role, unique)
        triples = triples[np.argsort(triples[:, 1], kind="stable")]
        if most is not None:
            rng = np.random.default_rng(seed)
            kept = []
            for relation in np.unique(triples[:, 1]):
                rows = np.flatnonzero(triples[:, 1] == relation)
                kept.append(np.sort(rng.choice(rows, min(most, len(rows)), replace=False)))
            triples = triples[np.concatenate(kept)] if kept else triples
        self.build, self.num_entities = build, graph.num_entities
        self.queries = Queries.of_triples(graph, triples, direction)
        self.candidates = draw_candidates(graph, self.queries, num_candidates, seed) if num_candidates else None
        starts = np.flatnonzero(np.diff(triples[:, 1], prepend=-1))
        ends = np.append(starts, len(triples))[1:]
        self.parts = [
            torch.arange(i, min(i + size, end))
            for start, end in zip(starts, ends, strict=True)
            for i in range(start, end, size)
        ]

    def __len__(self) -> int:
        return len(self.parts)

    def __getitem__(self, number: int) -> Episode:
        if number >= len(self.parts):
            raise IndexError(number)
        rows = self.parts[number]
        anchor, relation = self.queries.anchor[rows], int(self.queries.relation[rows[0]])
        if self.candidates is not None:
            return self.build(relation, anchor, self.candidates[rows])
        candidate = torch.arange(self.num_entities).expand(len(rows), -1)
        parts = [self.queries.known_of(int(row), int(row) + 1)[1] for row in rows]
        length = torch.tensor([len(part) for part in parts])
        known = torch.stack([torch.arange(len(rows)).repeat_interleave(length), torch.cat(parts)])
        return self.build(relation, anchor, candidate, self.queries.answer[rows], known)
