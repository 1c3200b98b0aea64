"""Learning rate schedules that adapt to the length of a run."""

from __future__ import annotations

import math

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR


class WarmupCosine(LambdaLR):
    """A linear rise to the full rate, then half a cosine down to zero (Loshchilov and Hutter 2017, without restarts).

    Args:
        optimizer: The optimiser.
        warmup: The share of the run over which the rate rises.
        total_steps: Steps of the run; where it is left out the LightningModule fills it in.

    Raises:
        ValueError: If the share is not from 0 to below 1.
    """

    def __init__(self, optimizer: Optimizer, warmup: float = 0.2, total_steps: int | None = None) -> None:
        if not 0 <= warmup < 1:
            raise ValueError(f"warmup must be a share from 0 to below 1, got {warmup}")
        self.warmup = warmup
        self.total_steps = total_steps
        super().__init__(optimizer, self._factor)

    def _factor(self, step: int) -> float:
        if self.total_steps is None:
            return 1.0 / 25 if self.warmup else 1.0  # before the length of the run is known
        rise = self.warmup * self.total_steps
        if step < rise:
            return max(step / rise, 1.0 / 25)
        share = min((step - rise) / max(self.total_steps - rise, 1), 1.0)
        return 0.5 * (1 + math.cos(math.pi * share))
