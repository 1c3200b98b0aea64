"""The rows of a RelBench recommendation task, with the earlier rows around sources and destinations."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from relbench.base import RecommendationTask
from torch import Tensor
from torch_geometric.data import HeteroData
from torch_geometric.sampler import NodeSamplerInput

from datamodules.task import TaskDataModule
from relbench_pretrain.epochs import BatchOrder, RowBatches
from relbench_pretrain.relational.graph import RelationalGraph
from relbench_pretrain.relational.specification import RecommendationSpecification
from relbench_pretrain.relational.tasks import RecommendationTable, Regime, Split, TaskError, recommendation_table
from relbench_pretrain.sampling import RelationalLoader, TemporalNeighborSampler
from relbench_pretrain.sampling.loader import join_batch


@dataclass
class Destinations:
    """Adds to a batch of sources, as ``candidates``, destinations with the earlier rows around them.

    The candidates are one true destination of each seed, then as many drawn evenly from the whole table; each is
    seen at the time of its seed, and a true one that is not there yet gives way to a drawn one. ``linked`` says which
    candidates are destinations of which seeds.

    Args:
        sampler: Samples around the candidates.
        spec: Source table and destination table.
        labels: All rows of the split.
        seed: With the batch's own seed it determines what is drawn.
    """

    sampler: TemporalNeighborSampler
    spec: tuple[str, str]
    labels: RecommendationTable
    seed: int

    def __call__(self, batch: HeteroData) -> HeteroData:
        source, destination = self.spec
        ids = batch[source].input_id
        generator = torch.Generator().manual_seed(batch.random_seed)
        first, count = self.labels.pointer[ids], self.labels.pointer.diff()[ids]
        chosen = first + (torch.rand(len(ids), generator=generator) * count).long()
        times = batch[source].seed_time.repeat(2)
        there = rows_there(self.sampler.index.graph, destination, times)
        drawn = (torch.rand(len(times), generator=generator) * there).long()
        rows = torch.cat([self.labels.destination[chosen], drawn[len(ids) :]])
        rows = torch.where(rows < there, rows, drawn)
        inputs = NodeSamplerInput(torch.arange(len(rows)) + batch.random_seed % 2**40, rows, times, destination)
        candidates = join_batch(
            self.sampler.index.graph, self.sampler.sample_from_nodes(inputs), destination, self.seed
        )
        batch.candidates = candidates
        batch.linked = linked(self.labels, ids, rows)
        return batch


class SameTimeBatches(BatchOrder):
    """Batches of seeds of one time, in another order every epoch, shared out to the processes.

    The candidates of a seed are seen at the times of the others in its batch. Were these different, a network would
    learn to distinguish times, and not which destinations are sought at one time.

    Args:
        time: The seeds' times ``(num_seeds,)``.
        batch_size: The most seeds of a batch; one alone is left out, as batch normalisation needs two.
        seed: With the number of the epoch it determines the order.
        rank: Number of this process.
        world_size: Number of processes.
    """

    def __init__(self, time: Tensor, batch_size: int, seed: int, rank: int = 0, world_size: int = 1) -> None:
        super().__init__(rank, world_size)
        self.time = time
        self.batch_size = batch_size
        self.seed = seed
        self.number = sum(1 for size in self._sizes() if size > 1)

    def __len__(self) -> int:
        return -(-self.number // self.world_size)

    @property
    def steps_left(self) -> int:
        return max(0, -(-(self.number - self.batches_taken) // self.world_size))

    def _sizes(self) -> list[int]:
        counts = self.time.unique(return_counts=True)[1].tolist()
        return [min(self.batch_size, n - start) for n in counts for start in range(0, n, self.batch_size)]

    def share(self, step: int) -> tuple[int, float]:
        left = min(self.world_size, self.number - self.batches_taken - step * self.world_size)
        return self.batch_size, self.world_size / left if self.rank < left else 0.0

    def __iter__(self) -> Iterator[list[int]]:
        return self._batches(self.epoch, self.batches_taken, self.steps_left)

    def _batches(self, epoch: int, first: int, steps: int) -> Iterator[list[int]]:
        generator = torch.Generator().manual_seed(1_000_003 * self.seed + epoch)
        order = torch.randperm(len(self.time), generator=generator)
        order = order[self.time[order].argsort(stable=True)]
        batches = [batch for batch in order.split(self._sizes()) if len(batch) > 1]
        places = torch.randperm(len(batches), generator=generator).tolist()
        for step in range(steps):
            place = first + step * self.world_size + self.rank
            yield batches[places[place % len(places)]].tolist()  # beyond the last one: of no weight


def rows_there(graph: RelationalGraph, table: str, times: Tensor) -> Tensor:
    """Returns how many leading rows of a table are there at each of some times, at least 1."""
    if graph.schema.tables[table].time_column is None:
        return torch.full_like(times, graph.num_rows[table])
    return torch.searchsorted(graph.time[table], times, right=True).clamp(min=1)


def linked(labels: RecommendationTable, ids: Tensor, rows: Tensor) -> Tensor:
    """Returns which rows are destinations of which seeds, bool, ``(num_seeds, num_rows)``."""
    first, count = labels.pointer[ids], labels.pointer.diff()[ids]
    seed = torch.repeat_interleave(torch.arange(len(ids)), count)
    offset = torch.arange(len(seed)) - torch.repeat_interleave(count.cumsum(0) - count, count)
    true = labels.destination[torch.repeat_interleave(first, count) + offset]
    span = int(max(rows.max(), true.max())) + 1 if len(true) else 1
    keys = np.sort((seed * span + true).numpy())
    asked = (torch.arange(len(ids)).unsqueeze(1) * span + rows).numpy()
    place = np.searchsorted(keys, asked).clip(max=max(len(keys) - 1, 0))
    return torch.from_numpy(keys[place] == asked) if len(keys) else torch.zeros(asked.shape, dtype=torch.bool)


class RecommendationDataModule(TaskDataModule):
    """A recommendation task; see :class:`TaskDataModule` for the arguments.

    Training batches hold ``candidates``, and seeds of one time (:class:`SameTimeBatches`). In validation and test the
    network ranks all rows of the destination table, which :meth:`destination_loader` yields as they were at the time of
    the split. Rows that are later than a seed are neither candidates nor ranked.
    """

    @property
    def specification(self) -> RecommendationSpecification:
        """The description of the database, the task and its destinations."""
        return RecommendationSpecification(**vars(super().specification), destinations=self.destination_loader)

    def check_task(self) -> None:
        """Refuses tasks that are no recommendations."""
        if not isinstance(self.task, RecommendationTask):
            raise TaskError(
                f"task '{self.hparams.task}' is a {self.task.task_type.value}: use datamodules.EntityTaskDataModule"
            )

    def labels(self, split: Split) -> RecommendationTable:
        """Returns all rows of a split."""
        return recommendation_table(self.task, split)

    def order(self, split: Split) -> BatchOrder:
        """Returns which rows of a split make a batch."""
        labels, hparams = self.labels(split), self.hparams
        if split == "train":
            return SameTimeBatches(labels.time[self.training_rows()], hparams.batch_size, self.seed, *self.process)
        rank, world_size = self.process
        size = hparams.eval_batch_size or hparams.batch_size
        return RowBatches(len(labels), size, rank=rank, world_size=world_size)

    def batches(self, split: Split, order: BatchOrder, regime: Regime) -> RelationalLoader:
        """Returns what makes the batches of a split."""
        labels, training = self.labels(split), split == "train"
        used = self.training_rows() if training else torch.arange(len(labels))
        sampler, spec = self.sampler(split, regime), self.task_spec
        tables = (spec.entity_table, spec.destination_table)
        return RelationalLoader(
            self.graph,
            sampler,
            (spec.entity_table, labels.row[used]),
            labels.time[used],
            input_id=used,
            transform=Destinations(self.sampler(split), tables, labels, self.seed) if training else None,
            batch_sampler=order,
            **self.worker_options(),
        )

    def destination_loader(self, split: Split, time: int, regime: Regime = "rolling") -> RelationalLoader:
        """Returns a loader of all destinations that are there at a time in UNIX seconds, in their order."""
        table = self.task_spec.destination_table
        rows = torch.arange(int(rows_there(self.graph, table, torch.tensor([time]))))
        return RelationalLoader(
            self.graph,
            self.sampler(split, regime),
            (table, rows),
            torch.full_like(rows, time),
            batch_size=self.hparams.eval_batch_size or self.hparams.batch_size,
        )
