"""RelBench tasks as arrays: seeds, seed times and targets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
import torch
from relbench.base import AutoCompleteTask, EntityTask, RecommendationTask, Table
from relbench.load import RelBenchDataset
from torch import Tensor

from relbench_pretrain.errors import UserError
from relbench_pretrain.unix_time import to_unix_seconds

Split = Literal["train", "val", "test"]
Regime = Literal["rolling", "cutoff"]
BINARY, MULTICLASS, MULTILABEL = "binary_classification", "multiclass_classification", "multilabel_classification"
REGRESSION, RECOMMENDATION = "regression", "recommendation"


class TaskError(UserError, ValueError):
    """A task that does not exist or cannot be trained; the message says which ones can."""


@dataclass(frozen=True)
class TaskSpec:
    """A task as networks need to know it, in plain types.

    Args:
        name: The task's name.
        kind: RelBench's name of its type.
        entity_table: The table whose rows are the seeds.
        median: Median of the training targets, where a regression starts from.
        scale: Standard deviation of the training targets, 1 for all but regressions.
        classes: The values of a multiclass target, in the order of the network's outputs.
        num_outputs: Numbers that the network predicts for a seed.
        destination_table: The table whose rows a recommendation names, else empty.
        num_recommended: How many rows it names.
    """

    name: str
    kind: str
    entity_table: str
    median: float = 0.0
    scale: float = 1.0
    classes: tuple[Any, ...] = ()
    num_outputs: int = 1
    destination_table: str = ""
    num_recommended: int = 0


@dataclass(frozen=True)
class TaskTable:
    """The rows of one split of an entity task.

    Args:
        row: Row number of each seed in the entity table ``(num_labels,)``.
        time: Seed times in UNIX seconds ``(num_labels,)``.
        target: Labels ``(num_labels,)``: float32, or the class number, int64, of a multiclass task;
            ``(num_labels, num_outputs)``, float32, of a multilabel task.
    """

    row: Tensor
    time: Tensor
    target: Tensor

    def __len__(self) -> int:
        return len(self.row)


@dataclass(frozen=True)
class RecommendationTable:
    """The rows of one split of a recommendation task; each names one destination or more.

    Args:
        row: Row number of each seed in the source table ``(num_seeds,)``.
        time: Seed times in UNIX seconds ``(num_seeds,)``.
        destination: Row numbers in the destination table, of all seeds one after the other ``(num_pairs,)``.
        pointer: Where each seed's destinations begin ``(num_seeds + 1,)``.
    """

    row: Tensor
    time: Tensor
    destination: Tensor
    pointer: Tensor

    def __len__(self) -> int:
        return len(self.row)


def load_task(dataset: RelBenchDataset, name: str) -> EntityTask | RecommendationTask:
    """Loads a task.

    Raises:
        TaskError: If the dataset has no such task.
    """
    names = dataset.get_task_names()
    if name not in names:
        raise TaskError(f"the dataset has no task '{name}'; it has {names or 'none'}")
    return dataset.load_task(name)


def is_autocomplete(task: EntityTask | RecommendationTask) -> bool:
    """Returns whether the labels are a column of the database."""
    return isinstance(task, AutoCompleteTask)


def share_of_rows(num_rows: int, share: float, seed: int) -> Tensor:
    """Draws which rows of the training split are used, at least one; a smaller share is part of a larger one.

    Returns:
        Row numbers ``(num_used,)``, in ascending order.
    """
    order = torch.randperm(num_rows, generator=torch.Generator().manual_seed(seed))
    return order[: max(1, round(share * num_rows))].sort().values


def hidden_columns(task: EntityTask | RecommendationTask) -> list[tuple[str, str]]:
    """Returns the tables and columns that the task must not see, since its labels are made from them.

    Give them to :func:`relbench_pretrain.relational.cache.load_graph`. An autocomplete task has its target among them.
    """
    return [(table, column) for table, column in task.hidden_columns()]


def task_spec(task: EntityTask | RecommendationTask, name: str, used: Tensor | None = None) -> TaskSpec:
    """Describes a task; medians and scales come from the training labels that are used alone, classes from all.

    Which classes there are belongs to the definition of a task, and says nothing of any row.
    """
    kind = task.task_type.value
    if isinstance(task, RecommendationTask):
        tables = task.src_entity_table, task.dst_entity_table
        return TaskSpec(name, kind, tables[0], destination_table=tables[1], num_recommended=task.eval_k)
    if kind == MULTICLASS:
        values = set().union(*(_labels(task, split)[task.target_col].unique() for split in ("train", "val", "test")))
        classes = tuple(np.array(sorted(values)).tolist())
        return TaskSpec(name, kind, task.entity_table, classes=classes, num_outputs=len(classes))
    if kind == MULTILABEL:
        return TaskSpec(name, kind, task.entity_table, num_outputs=len(_labels(task, "train")[task.target_col].iloc[0]))
    if kind != REGRESSION:
        return TaskSpec(name, kind, task.entity_table)
    target = torch.from_numpy(_labels(task, "train")[task.target_col].to_numpy(dtype=np.float64, copy=True))
    target = target if used is None else target[used]
    scale = float(target.std()) if len(target) > 1 else 0.0
    return TaskSpec(name, kind, task.entity_table, float(target.median()), scale or 1.0)


def task_table(task: EntityTask, split: Split, classes: Sequence[Any] = ()) -> TaskTable:
    """Reads the seeds of a split of an entity task together with their labels.

    Args:
        task: The task.
        split: The split.
        classes: The values of a multiclass target in the order of their numbers, as in its :class:`TaskSpec`.

    Raises:
        TaskError: If a label has no entity, time or target.
    """
    df = _labels(task, split)
    target = df[task.target_col]
    if classes:
        values = target.map({value: i for i, value in enumerate(classes)}).to_numpy(dtype=np.int64)
    elif task.task_type.value == MULTILABEL:
        values = np.stack(target.to_list()).astype(np.float32)
    else:
        values = target.to_numpy(dtype=np.float32, copy=True)
    return TaskTable(*_seeds(df, task.entity_col, task.time_col), torch.from_numpy(values))


def recommendation_table(task: RecommendationTask, split: Split) -> RecommendationTable:
    """Reads the seeds of a split of a recommendation task together with their destinations."""
    df = _labels(task, split)
    lists = df[task.dst_entity_col].to_list()
    pointer = np.cumsum([0, *map(len, lists)], dtype=np.int64)
    destination = np.concatenate([np.asarray(part, dtype=np.int64) for part in [[], *lists]])
    seeds = _seeds(df, task.src_entity_col, task.time_col)
    return RecommendationTable(*seeds, torch.from_numpy(destination), torch.from_numpy(pointer))


def past_labels(task: EntityTask | RecommendationTask, name: str, used: Tensor) -> Table:
    """Returns the training labels as a table of the database, those in the rows ``used`` of the split.

    Each row bears the time at which its label is known, the end of the label's window, so that whoever sees no later
    row than their own time sees no label of a window that goes on beyond it.

    Raises:
        TaskError: If the target is not one value.
    """
    if isinstance(task, RecommendationTask) or task.task_type.value == MULTILABEL:
        raise TaskError(
            f"labels of task '{name}' are no single values, so they cannot be features: set past_labels off"
        )
    df = _labels(task, "train").iloc[used.numpy()]
    known = df[task.time_col] + task.timedelta
    table = pd.DataFrame({"entity": df[task.entity_col], "known_at": known, "label": df[task.target_col]})
    table = table.sort_values("known_at", kind="stable").reset_index(drop=True)
    return Table(table, {"entity": task.entity_table}, None, "known_at")


def _seeds(df: pd.DataFrame, entity: str, time: str) -> tuple[Tensor, Tensor]:
    rows = torch.from_numpy(df[entity].to_numpy(dtype=np.int64, copy=True))
    return rows, torch.from_numpy(to_unix_seconds(df[time]))


def _labels(task: EntityTask | RecommendationTask, split: Split) -> pd.DataFrame:
    df = task.get_table(split, mask_input_cols=False).df
    source = isinstance(task, RecommendationTask)
    columns = (task.src_entity_col, task.dst_entity_col) if source else (task.entity_col, task.target_col)
    for column in (*columns, task.time_col):
        if (missing := df[column].isna().to_numpy()).any():
            raise TaskError(
                f"the {split} labels have no {column} in row {int(np.argmax(missing))}, "
                f"nor in {missing.sum() - 1} others: drop these rows from the task's table"
            )
    return df
