"""Several devices as one: shared negatives and a sampler that shares seeds out without overlap."""

from __future__ import annotations

from lightning.pytorch import Callback, LightningModule, Trainer


class MultiDevice(Callback):
    """Prepares a module for several devices; does nothing on one.

    Args:
        gather_negatives: Whether the rows on all devices are candidates for every anchor. The batch a loss sees
            grows with the number of devices; without it every device only sees its own.
    """

    def __init__(self, gather_negatives: bool = True) -> None:
        self.gather_negatives = gather_negatives

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Switches the gathering on in every objective.

        Raises:
            ValueError: If Lightning would put its own sampler over the seeds, which repeats some of them.
        """
        if trainer.world_size > 1 and trainer._accelerator_connector.use_distributed_sampler:
            raise ValueError(
                "seeds are shared out by the datamodule: set trainer.use_distributed_sampler to false "
                "(the shipped trainer files do)"
            )
        for objective in pl_module.modules():
            if hasattr(objective, "gather_negatives"):
                objective.gather_negatives = self.gather_negatives and trainer.world_size > 1  # type: ignore[assignment]
