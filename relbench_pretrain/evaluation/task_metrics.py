"""Losses and metrics of the task types."""

from __future__ import annotations

from torch import nn
from torchmetrics import MeanAbsoluteError, MetricCollection, R2Score
from torchmetrics.classification import BinaryAUROC, BinaryAveragePrecision

from relbench_pretrain.relational.tasks import TaskSpec


def task_loss(task: TaskSpec) -> nn.Module:
    """Returns cross-entropy on logits for a classification, the absolute error for a regression."""
    return nn.BCEWithLogitsLoss() if task.kind == "binary_classification" else nn.L1Loss()


def task_metrics(task: TaskSpec) -> MetricCollection:
    """Returns the metrics of a task: AUROC and average precision, or MAE and R²."""
    if task.kind == "binary_classification":
        return MetricCollection({"roc_auc": BinaryAUROC(), "average_precision": BinaryAveragePrecision()})
    return MetricCollection({"mae": MeanAbsoluteError(), "r2": R2Score()})
