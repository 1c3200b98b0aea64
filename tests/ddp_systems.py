"""A script of its own, which each of two processes runs: every system that two processes train as one would."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer, seed_everything
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger
from lightning.pytorch.strategies import DDPStrategy
from systems import SYSTEMS, Losses, trainer_for

ALIKE = ("contrastive", "forecast", "fine_tuning", "episodic", "masked_modeling")
"""The systems whose batches are the union of the processes' batches."""


class Seeds(Callback):
    """Notes the seeds of every batch of this process that count."""

    def __init__(self) -> None:
        self.seen: list[list[int]] = []

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        if hasattr(batch, "node_types") and ("weight" not in batch or batch.weight):
            own = [batch[t].input_id for t in batch.node_types if "input_id" in batch[t]] or [batch.input_id]
            self.seen.append(own[0][: batch.num_real if "num_real" in batch else None].tolist())


def train(
    name: str,
    folder: Path,
    devices: int,
    dropout: float = 0.0,
    checkpoint: Path | None = None,
    same: bool = False,
    **options: Any,
) -> dict[str, Any]:
    """Trains a system, for an epoch by default; returns losses, weights and seeds.

    Args:
        name: The system.
        folder: Where its files go.
        devices: How many processes there are.
        dropout: Its dropout; without it nothing is left to chance.
        checkpoint: What to go on from.
        same: Whether all processes get the same batches.
        **options: Options of the trainer.
    """
    seed_everything(0, verbose=False)
    module, data = SYSTEMS[name](folder, devices, dropout)
    seed_everything(0, verbose=False)  # as Lightning does where there are several processes
    if same:
        data.__class__ = type("SameBatches", (type(data),), {"process": (0, 1)})
    losses, seeds = Losses(), Seeds()
    if devices > 1:
        options["strategy"] = DDPStrategy(process_group_backend="gloo", find_unused_parameters=True)
    elif name == "episodic":  # its batches are numbered, and two of them make a step
        options["accumulate_grad_batches"] = 2
    writer = ModelCheckpoint(every_n_train_steps=2, filename="{step}", save_top_k=-1)
    trainer = trainer_for(
        name, folder, devices=devices, logger=CSVLogger(folder, name=f"{name}-{devices}"),
        callbacks=[losses, seeds, writer], **{"max_epochs": 1} | options,
    )  # fmt: skip
    trainer.fit(module, data, ckpt_path=checkpoint, weights_only=False)
    weights = {key: value.detach().clone() for key, value in module.named_parameters()}
    score = {key: float(value) for key, value in trainer.callback_metrics.items() if key.startswith("val/")}
    return {"losses": losses.seen, "weights": weights, "seeds": seeds.seen, "score": score}


def without_batch_statistics() -> None:
    """Puts layer normalisation in the place of batch normalisation, whose statistics each process has of its own."""
    torch.nn.BatchNorm1d = torch.nn.LayerNorm  # type: ignore[misc, assignment]


if __name__ == "__main__":
    torch.set_num_threads(1)
    without_batch_statistics()
    place = Path(sys.argv[1])
    found = {name: train(name, place, 2) for name in (*ALIKE, "recommendation")}
    found["extrapolation, the same"] = train("extrapolation", place, 2, same=True, max_epochs=4)
    for name, epochs in (("extrapolation", 4), ("fine_tuning", 2)):
        (place / name).mkdir(exist_ok=True)
        if not (place / name / "kg").exists() and torch.distributed.get_rank() == 0:
            (place / name / "kg").symlink_to(place / "kg")
        torch.distributed.barrier()
        found[f"{name}, whole"] = train(name, place / name, 2, 0.2, max_epochs=epochs)
        written = sorted((place / name).glob("*/*/checkpoints/*.ckpt"), key=lambda file: int(file.stem[5:]))
        found[f"{name}, resumed"] = train(name, place / name, 2, 0.2, written[1], max_epochs=epochs)
    torch.save(found, place / f"rank{torch.distributed.get_rank()}.pt")
