"""The seeds of pretraining: which rows subgraphs start from, and in what order."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from relbench_pretrain.epochs.order import BatchOrder
from relbench_pretrain.sampling.csc import GraphIndex
from relbench_pretrain.unix_time import ALWAYS


@dataclass(frozen=True)
class SeedRows:
    """Candidate seeds: a span of rows per table, numbered over all tables.

    Args:
        first: The first row of each table among all rows ``(num_tables,)``.
        count: How many rows from there on may be seeds ``(num_tables,)``.
        rows: Numbers of all candidate rows over all tables ``(num_candidates,)``.
        time: The time of each candidate ``(num_candidates,)``, that of ``until`` where a table has none.
    """

    first: np.ndarray
    count: np.ndarray
    rows: Tensor
    time: Tensor

    @classmethod
    def between(
        cls,
        index: GraphIndex,
        after: int | None,
        until: int,
        tables: Sequence[str] | None = None,
        own_time: bool = True,
    ) -> SeedRows:
        """Collects the rows later than ``after`` and not later than ``until`` (UNIX seconds).

        Args:
            index: The graph.
            after: Rows must be later than this; None takes rows without times too.
            until: Rows must not be later than this.
            tables: The tables to take seeds from; None takes all.
            own_time: Whether the time of a candidate is its own rather than ``until``.

        Returns:
            The candidates.

        Raises:
            ValueError: If a table is unknown, or no row is left.
        """
        if unknown := set(tables or ()) - set(index.node_types):
            raise ValueError(f"seed tables {sorted(unknown)} are unknown; the database has {index.node_types}")
        stop = index.visible_rows(np.array([until]))[0]
        start = np.zeros_like(stop)
        if after is not None:
            start = index.visible_rows(np.array([after]))[0]  # a table without times is visible whole: none is left
        chosen = np.array([tables is None or table in tables for table in index.node_types])
        count = np.where(chosen, np.maximum(stop - start, 0), 0)
        if count.sum() == 0:
            raise ValueError(
                f"no row of {list(tables) if tables else 'any table'} lies between the times {after} and {until}"
            )
        first = index.flat.offset[:-1] + start
        spans = zip(first, count, strict=True)
        # Every process has numbers of its own of nearly all rows: they are kept as short as can be.
        short = np.int32 if index.flat.offset[-1] <= np.iinfo(np.int32).max else np.int64
        rows = torch.from_numpy(np.concatenate([np.arange(f, f + n, dtype=short) for f, n in spans]))
        if not own_time:
            return cls(first, count, rows, torch.tensor(until).expand(len(rows)))
        time = torch.from_numpy(index.flat.time)[rows]
        return cls(first, count, rows, time.masked_fill_(time == ALWAYS, until))


class SeedSampler(BatchOrder):
    """Draws batches of seeds, over tables as asked for and over the rows of a table one after the other.

    Every epoch puts the rows of each table into a new order and goes round it, so a row comes back only after all
    others of its table. The stream of batches is that of one process: rank ``r`` of ``w`` takes every ``w``-th seed,
    so seeds are shared out without overlap and every rank makes the same number of steps. The order depends on
    ``(seed, epoch)`` alone, and goes on where it was with another number of processes.

    Args:
        seeds: The candidates.
        batch_size: Seeds per batch and rank.
        over: ``"tables"`` gives every table the same share of each batch, as far as it has rows; ``"rows"`` gives
            every row the same chance.
        num_batches: Batches per epoch; by default as many as it takes to draw as many seeds as there are candidates.
        shuffle: Whether every epoch has another order; otherwise all have the first one.
        seed: Seeds the order.
        rank: Number of this process.
        world_size: Number of processes.

    Raises:
        ValueError: If ``over`` or the sizes make no sense, or there are fewer candidates than processes.
    """

    def __init__(
        self,
        seeds: SeedRows,
        batch_size: int,
        over: Literal["tables", "rows"] = "tables",
        num_batches: int | None = None,
        shuffle: bool = True,
        seed: int = 0,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        if over not in ("tables", "rows"):
            raise ValueError(f"over must be 'tables' or 'rows', got '{over}'")
        if batch_size < 1 or (num_batches is not None and num_batches < 1):
            raise ValueError(f"batch_size and num_batches must be positive, got {batch_size} and {num_batches}")
        super().__init__(rank, world_size)
        if len(seeds.rows) < world_size:
            raise ValueError(
                f"{len(seeds.rows)} candidate seeds cannot be shared out to {world_size} processes: "
                "take more seed tables or a longer span of time, or fewer processes"
            )
        self.seeds = seeds
        self.batch_size = batch_size
        self.over = over
        self.num_batches = num_batches
        self.shuffle = shuffle
        self.seed = seed

    def __len__(self) -> int:
        return self.num_batches or max(1, len(self.seeds.rows) // (self.batch_size * self.world_size))

    @property
    def steps_left(self) -> int:
        if self.num_batches is not None or not self.taken:
            return max(0, len(self) - self.steps_taken)
        rows = len(self.seeds.rows) - self.batches_taken * self.batch_size
        return max(0, rows // (self.batch_size * self.world_size))

    def __iter__(self) -> Iterator[list[int]]:
        return self._batches(self.epoch if self.shuffle else 0, list(self.taken), self.steps_left)

    def _batches(self, epoch: int, taken: list[tuple[int, int]], steps: int) -> Iterator[list[int]]:
        rng = np.random.default_rng([self.seed, epoch])
        order = [rng.permutation(np.arange(n, dtype=np.int32)) for n in self.seeds.count]
        start = np.concatenate([[0], np.cumsum(self.seeds.count)[:-1]])
        position = np.zeros(len(order), dtype=np.int64)

        def following(world_size: int) -> np.ndarray:
            share = self._shares(rng, world_size)
            batch = []
            for table, count in enumerate(share):
                places = (position[table] + np.arange(count)) % max(len(order[table]), 1)
                batch.append(start[table] + order[table][places])
            position[:] += share
            return rng.permutation(np.concatenate(batch))

        for world_size, number in taken:
            for _ in range(number):
                following(world_size)
        for _ in range(steps):
            yield following(self.world_size)[self.rank :: self.world_size].tolist()

    def _shares(self, rng: np.random.Generator, world_size: int) -> np.ndarray:
        """Returns how many seeds of each table the next batch of so many processes has ``(num_tables,)``."""
        count = self.seeds.count
        total = min(self.batch_size * world_size, int(count.sum()))
        if self.over == "rows":
            return rng.multivariate_hypergeometric(count, total, method="marginals")
        share, left, order = count.copy(), total, np.argsort(count)
        for place, table in enumerate(order):
            even, rest = divmod(left, len(order) - place)
            if count[table] > even:  # so are all that follow; the tables before it give all they have
                share[order[place:]] = even
                share[rng.permutation(order[place:])[:rest]] += 1
                break
            left -= int(count[table])
        return share
