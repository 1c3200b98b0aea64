"""Callback that writes the best and the last backbone of a pretraining run."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, Literal, Protocol, cast, runtime_checkable

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_info

from relbench_pretrain.pretrained import SharedNetwork, save_network, to_config
from relbench_pretrain.trainer.media import log_artifact, uploads_weights
from relbench_pretrain.trainer.run_folder import leaves_files, run_folder


@runtime_checkable
class SharesNetwork(Protocol):
    """A module with a network that is of use without it."""

    def shared_network(self) -> SharedNetwork:
        """Returns the network."""

    def training_info(self) -> dict[str, Any]:
        """Returns what a model card says of the run."""


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

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Looks whether there is a network to write.

        Raises:
            TypeError: If the module has none.
        """
        if not isinstance(pl_module, SharesNetwork):
            raise TypeError(
                f"BackboneCheckpoint writes what shared_network() of a module returns; {type(pl_module).__name__} has "
                "no such method: leave the callback out"
            )

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Looks whether the network can be described, before a step is made.

        Raises:
            DescriptionError: If it cannot.
        """
        to_config(cast(SharesNetwork, pl_module).shared_network())

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Writes ``best`` if the metric is better than ever.

        Raises:
            KeyError: If the metric was not logged.
        """
        if trainer.sanity_checking or not leaves_files(trainer) or trainer.state.fn != "fit":
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
        if not leaves_files(trainer):
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
        module = cast(SharesNetwork, pl_module)
        save_network(folder, module.shared_network(), module.training_info())

    def state_dict(self) -> dict[str, Any]:
        return {"best": self.best}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.best = state_dict["best"]
