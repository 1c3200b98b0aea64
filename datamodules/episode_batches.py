"""Batches of episodes: to train on by number, and to rank in order."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np
import torch
from torch.utils.data import Dataset

from relbench_pretrain.epochs import NumberedBatches
from relbench_pretrain.knowledge_graph.data.graph import KnowledgeGraph, Role
from relbench_pretrain.knowledge_graph.data.neighborhood import Neighborhood
from relbench_pretrain.knowledge_graph.data.queries import Direction, Queries, draw_candidates
from relbench_pretrain.knowledge_graph.episodes import Episode, TrainingEpisodes, test_episode
from relbench_pretrain.knowledge_graph.features.pair_features import PairFeatures


class PhaseBatches(NumberedBatches):
    """Batches by epoch and number, where the epoch decides what they are for."""

    def __iter__(self) -> Iterator[tuple[int, int]]:
        return zip(itertools.repeat(self.epoch), super().__iter__())


class SharedEpisodes(NumberedBatches):
    """Numbers of episodes to rank, the same ones every time, shared out to processes that make as many steps.

    Where they cannot be shared out evenly, some processes have one of another at the end, which does not count.

    Args:
        number: The number of episodes.
        rank: Number of this process.
        world_size: Number of processes.
    """

    def __init__(self, number: int, rank: int = 0, world_size: int = 1) -> None:
        super().__init__(-(-number // world_size), rank, world_size, again=True)
        self.episodes = number

    def __iter__(self) -> Iterator[int]:
        return (number % self.episodes for number in super().__iter__())

    def share(self, step: int) -> tuple[int, float]:
        own = step * self.world_size + self.rank < self.episodes
        return int(own), float(own)


class EpisodeBatches(Dataset):
    """Training batches by number, each drawn from its number and the seed alone.

    Args:
        episodes: Draw episodes; one of them, by chance, draws a batch.
        size: Episodes per batch.
        queries: Queries per episode.
        wrong: Wrong candidates per query.
        seed: The seed.
    """

    def __init__(self, episodes: list[TrainingEpisodes], size: int, queries: int, wrong: int, seed: int) -> None:
        self.episodes, self.sizes, self.seed = episodes, (size, queries, wrong), seed

    def __getitem__(self, number: int) -> list[Episode]:
        rng = np.random.default_rng([self.seed, number])
        return self.episodes[rng.integers(len(self.episodes))].draw(*self.sizes, rng)


class TestEpisodes(Dataset):
    """Queries of the relations of a role, so many at a time and of one relation each time.

    Args:
        graph: The graph.
        neighborhood: The triples that may be seen, mirrored where heads are asked for.
        role: The relations' role.
        direction: What is asked for.
        num_candidates: Wrong candidates per query; 0 for all entities.
        size: Queries per batch.
        most: The most queries per relation, None for all.
        unique: Whether a triple that comes twice is asked for once.
        seed: Seeds candidates and, where there are too many, the choice of queries.
        describe: Makes the features of pairs; None makes none.
    """

    __test__ = False  # not for pytest

    def __init__(
        self,
        graph: KnowledgeGraph,
        neighborhood: Neighborhood,
        role: Role,
        direction: Direction,
        num_candidates: int,
        size: int,
        most: int | None,
        unique: bool,
        seed: int,
        describe: PairFeatures | None = None,
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
        self.queries = Queries.of_triples(graph, triples, direction)
        self.candidates = draw_candidates(graph, self.queries, num_candidates, seed) if num_candidates else None
        self.neighborhood, self.num_entities, self.describe = neighborhood, graph.num_entities, describe
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
        return test_episode(self.neighborhood, self.queries, rows, self.candidates, self.num_entities, self.describe)
