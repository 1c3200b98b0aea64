"""Optimiser and schedule as Lightning wants them."""

from __future__ import annotations

from collections.abc import Iterable

from lightning.pytorch import Trainer
from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import nn

from relbench_pretrain.nn.schedules import WarmupCosine


def optimizer_and_schedule(
    parameters: Iterable[nn.Parameter],
    optimizer: OptimizerCallable,
    lr_scheduler: LRSchedulerCallable | None,
    trainer: Trainer,
) -> OptimizerLRScheduler:
    """Makes an optimiser and, where there is one, a schedule that is stepped after every batch.

    Args:
        parameters: What is trained.
        optimizer: Makes the optimiser from the parameters.
        lr_scheduler: Makes the schedule from the optimiser, or None.
        trainer: Knows how long the run is.

    Returns:
        What ``configure_optimizers`` returns.
    """
    made = optimizer(parameters)
    if lr_scheduler is None:
        return made
    schedule = lr_scheduler(made)
    if isinstance(schedule, WarmupCosine) and schedule.total_steps is None:
        schedule.total_steps = int(trainer.estimated_stepping_batches)
    return {"optimizer": made, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}
