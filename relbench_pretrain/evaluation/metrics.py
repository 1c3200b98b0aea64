"""Losses and metrics of the task types, and measures of embeddings."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import sklearn.metrics as skm
import torch
from relbench.base import EntityTask, RecommendationTask
from torch import Tensor, nn

from relbench_pretrain.relational.tasks import BINARY, MULTICLASS, MULTILABEL, Split, TaskSpec

if TYPE_CHECKING:
    from torchmetrics import MetricCollection

MAIN_METRIC = {
    "binary_classification": "roc_auc",
    "multiclass_classification": "accuracy",
    "multilabel_classification": "roc_auc",
    "regression": "mae",
    "recommendation": "map",
}
"""By task type the metric by which epochs are chosen and ways to start are compared."""

ERRORS = ("mae", "nmae")
"""The metrics of which less is better."""


def task_loss(task: TaskSpec) -> nn.Module:
    """Returns cross-entropy on logits for classifications, the absolute error for a regression."""
    if task.kind in (BINARY, MULTILABEL):
        return nn.BCEWithLogitsLoss()
    return nn.CrossEntropyLoss() if task.kind == MULTICLASS else nn.L1Loss()


def task_metrics(task: TaskSpec) -> MetricCollection:
    """Returns the metrics that follow training; they are computed over all devices."""
    # Imported when they are wanted: it takes a second, and what scores predictions alone does without.
    from torchmetrics import MeanAbsoluteError, MetricCollection, R2Score
    from torchmetrics.classification import (
        BinaryAUROC,
        BinaryAveragePrecision,
        MulticlassAccuracy,
        MulticlassF1Score,
        MultilabelAUROC,
        MultilabelF1Score,
    )

    n = task.num_outputs
    if task.kind == BINARY:
        return MetricCollection({"roc_auc": BinaryAUROC(), "average_precision": BinaryAveragePrecision()})
    if task.kind == MULTICLASS:
        return MetricCollection(
            {"accuracy": MulticlassAccuracy(n, average="micro"), "f1_macro": MulticlassF1Score(n, average="macro")}
        )
    if task.kind == MULTILABEL:
        return MetricCollection({"roc_auc": MultilabelAUROC(n), "f1_macro": MultilabelF1Score(n)})
    return MetricCollection({"mae": MeanAbsoluteError(), "r2": R2Score()})


def relbench_metrics(task: EntityTask | RecommendationTask, split: Split, prediction: np.ndarray) -> dict[str, float]:
    """Computes the numbers to report, with RelBench's own ``task.evaluate``.

    RelBench has AUROC, NMAE (the MAE over the standard deviation of the training targets) and MAP@k, but nothing for
    multiclass and multilabel tasks; there, and for the MAE, its evaluator is given scikit-learn's metrics.

    Args:
        task: RelBench's task.
        split: The split that was predicted.
        prediction: In the order of the split: probabilities or values ``(num_labels,)``, the chosen class values
            ``(num_labels,)`` of a multiclass task, probabilities ``(num_labels, num_outputs)`` of a multilabel task,
            destinations ``(num_labels, num_recommended)`` of a recommendation.

    Returns:
        The metrics by name. Beside the MAP of the test split stand ``map_low`` and ``map_high``, its 95 % bootstrap
        interval over rows.
    """
    target = task.get_table(split, mask_input_cols=False)
    kind = task.task_type.value
    further: dict[str, list[Callable]] = {"regression": [mae], MULTICLASS: [accuracy, f1_macro], MULTILABEL: [roc_auc]}
    if kind == MULTILABEL:  # scikit-learn wants a matrix, not an array of arrays
        return {"roc_auc": roc_auc(np.stack(target.df[task.target_col].to_list()), prediction)}
    metrics = task.evaluate(prediction, target, [*task.metrics, *further.get(kind, [])])
    if isinstance(task, RecommendationTask) and split == "test":
        low, high = bootstrap_interval(average_precisions(prediction, target.df[task.dst_entity_col].to_list()))
        metrics |= {"map_low": low, "map_high": high}
    return metrics


def average_precisions(prediction: np.ndarray, true: Sequence[Sequence[int]]) -> np.ndarray:
    """Computes the average precision at k of each row, whose mean is RelBench's MAP@k.

    Args:
        prediction: Destinations ``(num_rows, k)``, the best first.
        true: The true destinations of each row, at least one.

    Returns:
        ``(num_rows,)``.
    """
    k = prediction.shape[1]
    hit = np.stack([np.isin(row, named) for row, named in zip(prediction, true, strict=True)])
    precision = hit.cumsum(1) / np.arange(1, k + 1)
    return (precision * hit).sum(1) / np.minimum([len(named) for named in true], k)


def bootstrap_interval(values: np.ndarray, num_resamples: int = 2000) -> tuple[float, float]:
    """Returns the 95 % percentile interval of the mean over rows, by bootstrap with a fixed seed."""
    rng = np.random.default_rng(0)
    means = [values[rng.integers(0, len(values), len(values))].mean() for _ in range(num_resamples)]
    low, high = np.quantile(means, [0.025, 0.975])
    return float(low), float(high)


def mae(true: np.ndarray, predicted: np.ndarray) -> float:
    """Computes the mean absolute error, in the unit of the target."""
    return float(skm.mean_absolute_error(true, predicted))


def accuracy(true: np.ndarray, predicted: np.ndarray) -> float:
    """Computes the share of right classes."""
    return float(skm.accuracy_score(true, predicted))


def f1_macro(true: np.ndarray, predicted: np.ndarray) -> float:
    """Computes the F1 score, averaged over classes."""
    return float(skm.f1_score(true, predicted, average="macro"))


def roc_auc(true: np.ndarray, predicted: np.ndarray) -> float:
    """Computes the area under the ROC curve, averaged over labels that have both values."""
    mixed = (true.min(0) == 0) & (true.max(0) == 1)
    if not mixed.any():
        return float("nan")
    return float(skm.roc_auc_score(true[:, mixed], predicted[:, mixed], average="macro"))


def spread(x: Tensor) -> float:
    """Measures how far apart directions are: 0 when all are the same, 1 when they point everywhere alike.

    It is the root of the mean squared distance of the unit-length vectors from their mean, which for directions
    that cancel out is 1.

    Args:
        x: Embeddings ``(num_rows, channels)``.

    Returns:
        The spread.
    """
    unit = torch.nn.functional.normalize(x.float(), dim=1)
    return float((unit - unit.mean(0)).square().sum(1).mean().sqrt())


def effective_rank(x: Tensor) -> float:
    """Computes the effective rank of centred embeddings, exp of the entropy of the singular values' shares.

    Source: Roy and Vetterli 2007, The effective rank: a measure of effective dimensionality.

    Args:
        x: Embeddings ``(num_rows, channels)``.

    Returns:
        Between 1, all on a line, and ``min(num_rows - 1, channels)``; 0 for rows that are all the same.
    """
    values = torch.linalg.svdvals((x - x.mean(0)).double())
    if values.sum() < 1e-12 * max(x.abs().max().item(), 1e-30) * len(x):
        return 0.0
    return float(torch.special.entr(values / values.sum()).sum().exp())
