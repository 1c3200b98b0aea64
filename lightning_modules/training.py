"""Optimisers and schedules as Lightning wants them, and batch sizes that its means are exact with."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, cast

from lightning.pytorch import Trainer
from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import nn
from torch.optim import Optimizer

from relbench_pretrain.nn.schedules import WarmupCosine


def clippable(optimizer: Optimizer, trainer: Trainer) -> Optimizer:
    """Lets gradients be clipped before a fused optimiser, which Lightning refuses for every mixed precision.

    It does so for the sake of scaled gradients, and bf16-mixed scales none.
    """
    if trainer.precision == "bf16-mixed":
        optimizer._step_supports_amp_scaling = False  # type: ignore[attr-defined]
    return optimizer


def optimizer_and_schedule(
    parameters: Iterable[nn.Parameter] | list[dict[str, Any]],
    optimizer: OptimizerCallable,
    lr_scheduler: LRSchedulerCallable | None,
    trainer: Trainer,
    scales: Sequence[float] = (),
) -> OptimizerLRScheduler:
    """Makes an optimiser and, where there is one, a schedule that is stepped after every batch.

    Args:
        parameters: What is trained, or groups of it.
        optimizer: Makes the optimiser from the parameters.
        lr_scheduler: Makes the schedule from the optimiser, or None.
        trainer: Knows how long the run is.
        scales: The rate of each group over that of the optimiser.

    Returns:
        What ``configure_optimizers`` returns.
    """
    made = clippable(optimizer(parameters), trainer)
    for group, scale in zip(made.param_groups, scales, strict=False):
        group["lr"] *= scale
    if lr_scheduler is None:
        return made
    schedule = lr_scheduler(made)
    if isinstance(schedule, WarmupCosine) and schedule.total_steps is None:
        schedule.total_steps = int(trainer.estimated_stepping_batches)
    return {"optimizer": made, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def exact(number: int) -> int:
    """Returns a ``batch_size`` for ``log`` as floating point.

    Lightning's mean over processes divides whole numbers as such, so that a metric of 21 rows on one process and 20 on
    the other would be divided by 20.

    Args:
        number: The number of rows that a value is the mean of.
    """
    return cast(int, float(number))  # Lightning declares a whole number
