"""How batches get to the training device."""

from __future__ import annotations

from lightning.pytorch import Trainer


def pins_memory(trainer: Trainer | None) -> bool:
    """Whether loaders put batches into memory that a GPU copies from while it computes: where it is one that trains.

    Args:
        trainer: The trainer, None for none.
    """
    return trainer is not None and trainer.strategy.root_device.type == "cuda"
