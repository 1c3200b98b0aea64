"""Several devices as one: negatives that all share."""

from __future__ import annotations

from lightning.pytorch import Callback, LightningModule, Trainer


class MultiDevice(Callback):
    """Prepares a run for several devices; does nothing on one.

    Datamodules share the rows out themselves, without overlap, and in a batch that cannot be shared out evenly each
    row weighs the same.

    Args:
        gather_negatives: Whether the rows on all devices are candidates for every anchor. The batch a loss sees
            grows with the number of devices; without it every device only sees its own.
    """

    def __init__(self, gather_negatives: bool = True) -> None:
        self.gather_negatives = gather_negatives

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Switches the gathering on in every objective."""
        for objective in pl_module.modules():
            if hasattr(objective, "gather_negatives"):
                objective.gather_negatives = self.gather_negatives and trainer.world_size > 1  # type: ignore[assignment]
