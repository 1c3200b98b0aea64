"""The base of the DataModules of downstream tasks: their rows, splits, time regimes and neighbours."""

from __future__ import annotations

from abc import abstractmethod
from functools import cached_property
from typing import Any, Literal

from relbench.base import EntityTask, RecommendationTask, Table
from torch import Tensor

from datamodules.relational import RelationalDataModule
from relbench_pretrain.epochs import BatchOrder, ResumableLoader
from relbench_pretrain.relational.specification import TaskSpecification
from relbench_pretrain.relational.tasks import (
    Regime,
    Split,
    TaskSpec,
    hidden_columns,
    is_autocomplete,
    load_task,
    past_labels,
    share_of_rows,
    task_spec,
)
from relbench_pretrain.sampling import RelationalLoader, TemporalNeighborSampler
from relbench_pretrain.sampling.neighbors import Fanout
from relbench_pretrain.unix_time import SECONDS_PER_DAY


class TaskDataModule(RelationalDataModule):
    """Training, validation and test rows of a task, each with the earlier rows around it.

    No row is ever later than the seed time of its label. In the *rolling* regime a test row sees everything up to
    its seed time, in the *cutoff* one nothing after the dataset's test time. Training and validation are the same
    in both. The rows of an autocomplete task see nothing of their own time or later either, as the other rows of an
    event can give its labels away, and have no cutoff regime: none of its test rows is in the database that is cut.

    Args:
        task: The task's name.
        dataset: A RelBench name, a Hub address, a local folder, or ``demo``.
        batch_size: Labels per batch and device.
        fanouts: Child rows per row and foreign key, hop by hop; see :class:`TemporalNeighborSampler`.
        strategy: Which child rows: ``"uniform"`` or ``"last"``.
        follow: How many of the most recent child rows lead on; 0 for all.
        regimes: The time regimes in which test rows are scored; all that the task has by default.
        eval_batch_size: Labels per batch in validation, test and prediction; ``batch_size`` by default.
        predict_split: The split that ``predict`` predicts, in the first of the regimes.
        label_fraction: The share of the training labels that are used, drawn by ``seed``; a smaller share is part of
            a larger one.
        max_staleness_days: The view of every other training row ends up to so many days before its seed time, as that
            of a test row does in the cutoff regime; 0 for none.
        see_own_time: Whether the rows of an autocomplete task see other rows of their own time, which often give the
            label away; to measure how much.
        past_labels: Whether labels of training rows are rows of the graph, as a table ``past_labels`` with the target
            as a feature, from the end of their window on, when they are known. They make a table more than a
            checkpoint without them has: see ``extra_tables``.
        extra_tables: Whether a checkpoint may lack tables; the command line takes it from the model.
        **kwargs: See :class:`RelationalDataModule`.

    Raises:
        ValueError: If a regime, or a number, is none.
    """

    task_spec: TaskSpec

    def __init__(
        self,
        task: str,
        dataset: str = "demo",
        batch_size: int = 512,
        fanouts: list[Fanout] = [128, 64],  # noqa: B006  # never changed; a list is what YAML gives
        strategy: Literal["last", "uniform"] = "uniform",
        follow: int = 0,
        regimes: list[Regime] | None = None,
        eval_batch_size: int | None = None,
        predict_split: Split = "test",
        label_fraction: float = 1.0,
        max_staleness_days: float = 0.0,
        see_own_time: bool = False,
        past_labels: bool = False,
        extra_tables: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(dataset, **kwargs)
        if regimes is not None and (not regimes or not set(regimes) <= {"rolling", "cutoff"}):
            raise ValueError(f"regimes must name 'rolling', 'cutoff' or both, got {regimes}")
        if not 0 < label_fraction <= 1:
            raise ValueError(f"label_fraction must be above 0 and at most 1, got {label_fraction}")
        if max_staleness_days < 0:
            raise ValueError(f"max_staleness_days must be 0 or more, got {max_staleness_days}")

    @cached_property
    def task(self) -> EntityTask | RecommendationTask:
        """RelBench's task object."""
        return load_task(self.dataset, self.hparams.task)

    @property
    def regimes(self) -> list[Regime]:
        """The time regimes of the test loaders, in their order."""
        every: list[Regime] = ["rolling"] if is_autocomplete(self.task) else ["rolling", "cutoff"]
        return self.hparams.regimes or every

    @property
    def about(self) -> dict[str, Any]:
        """A description of the data for a model card."""
        share = f"{self.hparams.label_fraction:.2%} of the labels of its training split"
        return super().about | {
            "task": f"{self.hparams.task}, {share}",
            "time regimes of the test": ", ".join(self.regimes),
        }

    @property
    def specification(self) -> TaskSpecification:
        """The description of the database and the task."""
        return TaskSpecification(
            self.about, self.dataset.manifest.name, self.schema, self.task_spec, self.task, tuple(self.regimes),
            self.hparams.predict_split,
        )  # fmt: skip

    def setup(self, stage: str) -> None:
        """Opens the graph and describes the task.

        Raises:
            TaskError: If the dataset has no such task, or one of another kind than this data is for.
        """
        self.check_task()
        super().setup(stage)
        self.task_spec = task_spec(self.task, self.hparams.task, self.training_rows())

    @abstractmethod
    def check_task(self) -> None:
        """Raises a TaskError if the task is not of the kind that this data is for."""

    def hidden_columns(self) -> list[tuple[str, str]]:
        """Returns the columns that labels are made from: an autocomplete task's target is one of the database."""
        return hidden_columns(self.task)

    def further_tables(self) -> dict[str, Table]:
        """Returns the labels of the training rows as a table, if they are wanted."""
        if not self.hparams.past_labels:
            return {}
        return {"past_labels": past_labels(self.task, self.hparams.task, self.training_rows())}

    def fingerprint(self) -> dict[str, str | int]:
        """Identifies the database, and counts the task's training labels."""
        return {**super().fingerprint(), f"labels of {self.hparams.task}": len(self.task.get_table("train").df)}

    def sampler(self, split: Split, regime: Regime = "rolling") -> TemporalNeighborSampler:
        """Returns the sampler of a split's neighbours."""
        hparams = self.hparams
        until = self.test_time if split == "test" and regime == "cutoff" else None
        staleness = int(hparams.max_staleness_days * SECONDS_PER_DAY) if split == "train" else 0
        return TemporalNeighborSampler(
            self.index, hparams.fanouts, hparams.strategy, hparams.follow, until, self.seed, staleness
        )

    def visible_time(self, time: Tensor) -> Tensor:
        """Returns the last second that seeds of these times may see."""
        return time - int(is_autocomplete(self.task) and not self.hparams.see_own_time)

    def training_rows(self) -> Tensor:
        """Returns which training rows are used ``(num_used,)``, in ascending order."""
        return share_of_rows(len(self.task.get_table("train").df), self.hparams.label_fraction, self.seed)

    @abstractmethod
    def order(self, split: Split) -> BatchOrder:
        """Returns which rows of a split make a batch."""

    @abstractmethod
    def batches(self, split: Split, order: BatchOrder, regime: Regime) -> RelationalLoader:
        """Returns what makes the batches of a split."""

    def loader(self, split: Split, regime: Regime = "rolling") -> ResumableLoader:
        """Returns the loader of a split, for the rows that this process has of it."""
        order = self.order(split)
        batches = self.batches(split, order, regime)
        return self.resumable(batches, order) if split == "train" else ResumableLoader(batches, order)

    def train_dataloader(self) -> ResumableLoader:
        """Labels of the training split, in another order every epoch."""
        return self.loader("train")

    def val_dataloader(self) -> ResumableLoader:
        """Labels of the validation split."""
        return self.loader("val")

    def test_dataloader(self) -> list[ResumableLoader]:
        """Labels of the test split, once for each regime."""
        return [self.loader("test", regime) for regime in self.regimes]

    def predict_dataloader(self) -> ResumableLoader:
        """Rows of the split to predict, in the first regime."""
        return self.loader(self.hparams.predict_split, self.regimes[0])
