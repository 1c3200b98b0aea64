"""Several devices as one: shared negatives, and runs that go on with another number of devices."""

from __future__ import annotations

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_info


class MultiDevice(Callback):
    """Prepares a run for several devices, or for fewer than it had before it was stopped.

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

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Counts the steps of an epoch anew that was begun by another number of processes."""
        loader = trainer.train_dataloader
        others = {size for size, _ in getattr(getattr(loader, "order", None), "taken", ())} - {trainer.world_size}
        if not others:
            return
        progress = trainer.fit_loop.epoch_loop.batch_progress.current
        rank_zero_info(
            f"the epoch was begun by {' and '.join(map(str, sorted(others)))} processes and goes on with "
            f"{trainer.world_size}: {len(loader) - loader.steps_taken} of {len(loader)} steps are left"
        )
        progress.ready = progress.started = progress.processed = progress.completed = loader.steps_taken
