"""Specifications that DataModules of relational databases hand over to networks and callbacks."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, ClassVar

from relbench.base import EntityTask, RecommendationTask
from torch import Tensor
from torch_geometric.data import HeteroData

from relbench_pretrain.relational.schema import GraphSchema
from relbench_pretrain.relational.tasks import Regime, Split, TaskSpec


@dataclass(frozen=True)
class DatabaseSpecification:
    """A database whose rows are to be encoded.

    Args:
        about: The description of the data for a model card.
        dataset: The name of the dataset.
        schema: The schema that the features are encoded under.
    """

    handed_over_by: ClassVar[str] = "datamodules.ContrastiveDataModule"

    about: dict[str, Any]
    dataset: str
    schema: GraphSchema


@dataclass(frozen=True)
class ForecastSpecification(DatabaseSpecification):
    """A database with rows to come as targets.

    Args:
        chance: The losses of guessing, by table and target; see :meth:`Forecasts.chance`.
    """

    handed_over_by = "datamodules.ForecastDataModule"

    chance: dict[str, Tensor]


@dataclass(frozen=True)
class TaskSpecification(DatabaseSpecification):
    """A database with a task on it.

    Args:
        task: The task in plain types, as a network needs it.
        labels: RelBench's task object, which holds the labels and computes the metrics to report.
        regimes: The time regimes of the test loaders, in their order.
        predict_split: The split that is predicted, in the first of the regimes.
    """

    handed_over_by = "datamodules.EntityTaskDataModule or datamodules.RecommendationDataModule"

    task: TaskSpec
    labels: EntityTask | RecommendationTask
    regimes: tuple[Regime, ...]
    predict_split: Split


@dataclass(frozen=True)
class RecommendationSpecification(TaskSpecification):
    """A database with a recommendation task on it.

    Args:
        destinations: Makes batches of all destinations that a split, a time in UNIX seconds and a regime let see,
            in the order of their rows.
    """

    handed_over_by = "datamodules.RecommendationDataModule"

    destinations: Callable[[Split, int, Regime], Iterable[HeteroData]]
