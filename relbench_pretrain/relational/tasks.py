"""RelBench tasks as arrays: seeds, seed times and targets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from relbench.base import EntityTask, TaskType
from relbench.load import RelBenchDataset
from torch import Tensor

from relbench_pretrain.relational.time import to_unix_seconds

Split = Literal["train", "val", "test"]
SUPPORTED = (TaskType.BINARY_CLASSIFICATION, TaskType.REGRESSION)


class TaskError(ValueError):
    """A task that does not exist or cannot be trained; the message says which ones can."""


@dataclass(frozen=True)
class TaskSpec:
    """What a network must know of a task, in plain types.

    Args:
        name: The task's name.
        kind: ``"binary_classification"`` or ``"regression"``.
        entity_table: The table whose rows are the seeds.
        median: Median of the training targets, where a regression starts from.
        scale: Standard deviation of the training targets, 1 for classification.
    """

    name: str
    kind: str
    entity_table: str
    median: float = 0.0
    scale: float = 1.0


@dataclass(frozen=True)
class TaskTable:
    """The rows of one split.

    Args:
        row: Row number of each seed in the entity table ``(num_labels,)``.
        time: Seed times in UNIX seconds ``(num_labels,)``.
        target: Labels ``(num_labels,)``, float32.
    """

    row: Tensor
    time: Tensor
    target: Tensor

    def __len__(self) -> int:
        return len(self.row)


def load_task(dataset: RelBenchDataset, name: str) -> EntityTask:
    """Loads an entity task.

    Raises:
        TaskError: If the dataset has no such task, or its type cannot be trained.
    """
    names = dataset.get_task_names()
    if name not in names:
        raise TaskError(f"the dataset has no task '{name}'; it has {names}")
    task = dataset.load_task(name)
    if task.task_type not in SUPPORTED or not isinstance(task, EntityTask):
        known = [kind.value for kind in SUPPORTED]
        raise TaskError(f"task '{name}' is {task.task_type.value}; fine-tuning does {known}")
    return task


def hidden_columns(task: EntityTask) -> list[tuple[str, str]]:
    """Returns the tables and columns that the task must not see, since its labels are made from them.

    Give them to :func:`relbench_pretrain.relational.cache.load_graph`. An autocomplete task has its target among them.
    """
    return [(table, column) for table, column in task.hidden_columns()]


def task_table(task: EntityTask, split: Split) -> TaskTable:
    """Reads the seeds of a split together with their labels.

    Raises:
        TaskError: If a label has no entity, time or target.
    """
    df = task.get_table(split, mask_input_cols=False).df
    for column in (task.entity_col, task.time_col, task.target_col):
        if (missing := df[column].isna().to_numpy()).any():
            raise TaskError(
                f"the {split} labels have no {column} in row {int(np.argmax(missing))}, "
                f"nor in {missing.sum() - 1} others: drop these rows from the task's table"
            )
    return TaskTable(
        row=torch.from_numpy(df[task.entity_col].to_numpy(dtype=np.int64, copy=True)),
        time=torch.from_numpy(to_unix_seconds(df[task.time_col])),
        target=torch.from_numpy(df[task.target_col].to_numpy(dtype=np.float32, copy=True)),
    )


def task_spec(task: EntityTask, name: str) -> TaskSpec:
    """Describes a task; medians and scales come from the training labels alone."""
    kind = task.task_type.value
    if task.task_type is not TaskType.REGRESSION:
        return TaskSpec(name, kind, task.entity_table)
    target = task_table(task, "train").target.double()
    scale = float(target.std()) if len(target) > 1 else 0.0
    return TaskSpec(name, kind, task.entity_table, float(target.median()), scale or 1.0)
