"""Callback that scales learning rates, which are meant for one device, to the global batch."""

from __future__ import annotations

from typing import Any, Literal

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_info
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler


class ScaledLearningRate(Callback):
    """Scales learning rates, which are meant for one device, with the number of batches that make a step.

    With as many as there are devices, times ``accumulate_grad_batches``, the rule ``linear`` multiplies by their
    number (Goyal et al. 2017), ``sqrt`` by its square root (for Adam: Malladi et al. 2022). A run that is resumed on
    another number of devices gets the rate of those.

    Args:
        rule: ``"linear"`` or ``"sqrt"``.
    """

    def __init__(self, rule: Literal["linear", "sqrt"] = "linear") -> None:
        if rule not in ("linear", "sqrt"):
            raise ValueError(f"rule must be 'linear' or 'sqrt', got '{rule}'")
        self.rule = rule
        self.factor = 1.0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Scales what the rates have not been scaled by yet; optimisers are as they will be, or as they were saved."""
        batches = trainer.world_size * trainer.accumulate_grad_batches
        wanted = float(batches) if self.rule == "linear" else batches**0.5
        change, self.factor = wanted / self.factor, wanted
        for optimizer in trainer.optimizers:
            _scale_optimizer(optimizer, change)
        for config in trainer.lr_scheduler_configs:
            if isinstance(config.scheduler, LRScheduler):
                config.scheduler.base_lrs = [rate * change for rate in config.scheduler.base_lrs]
        rank_zero_info(f"learning rates are {wanted:g} times those of one device")

    def state_dict(self) -> dict[str, Any]:
        return {"factor": self.factor}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.factor = state_dict["factor"]


def _scale_optimizer(optimizer: Optimizer, change: float) -> None:
    for group in optimizer.param_groups:
        for name in ("lr", "initial_lr"):
            if name in group:
                group[name] *= change
