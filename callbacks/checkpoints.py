"""Pretrained backbones as they come out of training."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, Literal

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_info

from relbench_pretrain.pretrained.folder import save_network
from relbench_pretrain.trainer.media import log_artifact, uploads_weights
from relbench_pretrain.trainer.run_folder import run_folder


class BackboneCheckpoint(Callback):
    """Writes the best and the last backbone as folders of safetensors and JSON, for fine-tuning.

    A Weights & Biases logger with ``log_model`` gets them at the end, as ``backbone-ID:best`` and ``backbone-ID:last``.

    Args:
        dirpath: Where the folders ``best`` and ``last`` go; ``backbone`` within the run's folder by default.
        monitor: The metric that decides which is best.
        mode: Whether less or more of it is better.
    """

    def __init__(
        self, dirpath: str | None = None, monitor: str = "val/loss", mode: Literal["min", "max"] = "min"
    ) -> None:
        if mode not in ("min", "max"):
            raise ValueError(f"mode must be 'min' or 'max', got '{mode}'")
        self.dirpath = dirpath
        self.monitor = monitor
        self.mode = mode
        self.best = math.inf if mode == "min" else -math.inf

    @property
    def state_key(self) -> str:
        return f"BackboneCheckpoint[{self.monitor},{self.mode}]"

    def folder(self, trainer: Trainer) -> Path:
        """Returns the folder that ``best`` and ``last`` are in."""
        return Path(self.dirpath) if self.dirpath else run_folder(trainer) / "backbone"

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Writes ``best`` if the metric is better than ever.

        Raises:
            KeyError: If the metric was not logged.
        """
        if trainer.sanity_checking or trainer.fast_dev_run or trainer.state.fn != "fit":
            return
        if self.monitor not in trainer.callback_metrics:
            raise KeyError(
                f"BackboneCheckpoint monitors '{self.monitor}'; logged are {sorted(trainer.callback_metrics)}"
            )
        value = float(trainer.callback_metrics[self.monitor])
        if (value < self.best) if self.mode == "min" else (value > self.best):
            self.best = value
            self._write(trainer, pl_module, "best")

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Writes ``last``, and ``best`` too if nothing was ever validated, and uploads them if that is wanted."""
        if trainer.fast_dev_run:
            return
        self._write(trainer, pl_module, "last")
        if math.isinf(self.best):
            self._write(trainer, pl_module, "best")
        folder = self.folder(trainer)
        rank_zero_info(f"Pretrained backbones: {folder / 'best'} and {folder / 'last'}")
        if trainer.is_global_zero and uploads_weights(trainer):
            for name in ("last", "best"):
                log_artifact(trainer, folder / name, "backbone", [name])

    def _write(self, trainer: Trainer, pl_module: LightningModule, name: str) -> None:
        folder = self.folder(trainer) / name
        if not trainer.is_global_zero:
            return
        save_network(folder, pl_module.shared_network(), pl_module.training_info())

    def state_dict(self) -> dict[str, Any]:
        return {"best": self.best}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.best = state_dict["best"]
