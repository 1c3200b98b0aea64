"""The labels of a RelBench entity task, each with the earlier rows around it."""

from __future__ import annotations

import torch
from relbench.base import EntityTask
from torch_geometric.data import HeteroData

from datamodules.task import TaskDataModule
from relbench_pretrain.epochs import BatchOrder, RowBatches
from relbench_pretrain.relational.tasks import Regime, Split, TaskError, TaskTable, task_table
from relbench_pretrain.sampling import RelationalLoader


class Labels:
    """Adds labels and times of the seeds to a batch.

    Args:
        table: The entity table.
        labels: All labels of the split.
    """

    def __init__(self, table: str, labels: TaskTable) -> None:
        self.table = table
        self.labels = labels

    def __call__(self, batch: HeteroData) -> HeteroData:
        store = batch[self.table]
        store.y, store.seed_time = self.labels.target[store.input_id], self.labels.time[store.input_id]
        return batch


class EntityTaskDataModule(TaskDataModule):
    """A classification, regression or autocomplete task; see :class:`TaskDataModule` for the arguments."""

    def check_task(self) -> None:
        """Refuses recommendations."""
        if not isinstance(self.task, EntityTask):
            raise TaskError(
                f"task '{self.hparams.task}' is a {self.task.task_type.value}: use datamodules.RecommendationDataModule"
            )

    def labels(self, split: Split) -> TaskTable:
        """Returns all labels of a split."""
        return task_table(self.task, split, self.task_spec.classes)

    def order(self, split: Split) -> RowBatches:
        """Returns which rows of a split make a batch."""
        hparams, training = self.hparams, split == "train"
        size = hparams.batch_size if training else hparams.eval_batch_size or hparams.batch_size
        number = len(self.training_rows()) if training else len(self.labels(split))
        # Batch normalisation of a single row has nothing to go by.
        return RowBatches(number, size, training, self.seed, 2 if training else 1, *self.process)

    def batches(self, split: Split, order: BatchOrder, regime: Regime) -> RelationalLoader:
        """Makes the batches of a split; ``y`` and ``seed_time`` of the entity table belong to the seeds."""
        labels = self.labels(split)
        used = self.training_rows() if split == "train" else torch.arange(len(labels))
        return RelationalLoader(
            self.graph,
            self.sampler(split, regime),
            (self.task_spec.entity_table, labels.row[used]),
            self.visible_time(labels.time[used]),
            input_id=used,
            transform=Labels(self.task_spec.entity_table, labels),
            batch_sampler=order,
            **self.worker_options(),
        )
