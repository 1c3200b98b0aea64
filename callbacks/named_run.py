"""Callback of a run with a name, which goes on from its newest checkpoint when the same command is given again."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import yaml
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import Logger
from lightning.pytorch.utilities import rank_zero_info

from relbench_pretrain.files import atomic_file
from relbench_pretrain.renamed import RenamedWarning, translated
from relbench_pretrain.trainer.checkpoint_io import newest_checkpoint
from relbench_pretrain.trainer.loggers import CSVLogger, WandbLogger
from relbench_pretrain.trainer.run_folder import RunError, folder_of

SETTINGS = ("seed_everything", "model", "data", "optimizer", "lr_scheduler")
"""The sections of a configuration that a run keeps; the others may change when it goes on."""
FINISHED = "finished.json"


class NamedRun(Callback):
    """A run that is begun, gone on with or left alone, by what is in its folder.

    It goes on from the newest checkpoint, with the metrics up to there and the same id in Weights & Biases. A run that
    has come to its end, with the same ``max_steps`` and ``max_epochs``, is not trained again.

    Args:
        name: The run's name.
        loggers: Its loggers; the first one decides on the folder.
        default_root_dir: The folder where a logger has none.
    """

    def __init__(self, name: str, loggers: list[Logger], default_root_dir: str = ".") -> None:
        self.name = name
        self.folder = folder_of(loggers[0], default_root_dir)
        # What SLURM's signal has Lightning write is beside the folder of the others.
        found = [*self.folder.glob("checkpoints/*.ckpt"), *self.folder.glob("hpc_ckpt_*.ckpt")]
        self.checkpoint = newest_checkpoint(found)
        for logger in loggers:
            if isinstance(logger, WandbLogger):
                logger.keep_id(self.folder)

    def check(self, config: str) -> None:
        """Compares a configuration with that of the run, if the run is to go on.

        Args:
            config: The resolved configuration as YAML.

        Raises:
            RunError: If a setting differs, or if the run has finished and has no checkpoint any more.
        """
        if self.checkpoint is None:
            if (self.folder / FINISHED).is_file():
                raise RunError(f"run '{self.name}' has finished, but has no checkpoint in {self.folder}: "
                               "take another name for --run, or remove that folder")  # fmt: skip
            return
        path = self.folder / "config.yaml"
        before = _stored(path) if path.is_file() else yaml.safe_load(config)
        differences = _differences(before, yaml.safe_load(config))
        if differences:
            more = f" and {len(differences) - 5} more" if len(differences) > 5 else ""
            raise RunError(
                f"run '{self.name}' in {self.folder} was begun with other settings: "
                f"{'; '.join(differences[:5])}{more}. "
                "Take another name for --run, or the settings of its config.yaml"
            )

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Says what is done, and clears away metrics of an attempt that left no checkpoint."""
        if stage != "fit":
            return
        if self.checkpoint is None:
            rank_zero_info(f"run '{self.name}' begins in {self.folder}")
            self._cut(trainer, -1)
        else:
            rank_zero_info(f"run '{self.name}' is taken up from {self.checkpoint}")
            warnings.filterwarnings("ignore", message=".*Checkpoint directory .* exists and is not empty.*")

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Cuts off the metrics of steps that are made again, and stops a run that is at its end."""
        if trainer.state.fn != "fit":
            return
        if "loops" not in checkpoint:
            raise RunError(
                f"run '{self.name}' cannot go on from {self.checkpoint}, which has weights alone: move it away"
            )
        loop = checkpoint["loops"]["fit_loop"]["epoch_loop.state_dict"]
        self._cut(trainer, loop["_batches_that_stepped"])
        if self._end(trainer, checkpoint["global_step"]) == self._written_end():
            trainer.should_stop = True
            rank_zero_info(
                f"run '{self.name}' has finished at step {checkpoint['global_step']}; nothing is trained. It goes on "
                "with a larger trainer.max_steps or trainer.max_epochs; another run takes another name"
            )

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Notes that the run has come to its end."""
        if trainer.is_global_zero:
            with atomic_file(self.folder / FINISHED) as part:
                part.write_text(json.dumps(self._end(trainer, trainer.global_step)))

    def _cut(self, trainer: Trainer, step: int) -> None:
        for logger in trainer.loggers:
            if isinstance(logger, CSVLogger):
                logger.cut(step)

    def _end(self, trainer: Trainer, step: int) -> dict[str, int | None]:
        return {"step": step, "max_steps": trainer.max_steps, "max_epochs": trainer.max_epochs}

    def _written_end(self) -> dict[str, int | None] | None:
        path = self.folder / FINISHED
        return json.loads(path.read_text()) if path.is_file() else None


def _stored(path: Path) -> dict[str, Any]:
    """Reads the configuration that a run was begun with, in the names of today."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RenamedWarning)  # nobody typed these names
        return translated(yaml.safe_load(path.read_text()))


def _differences(before: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """Names the settings that differ, with both values."""
    old, new = ({s: config.get(s) for s in SETTINGS} for config in (before, now))
    flat_old, flat_new = _flat(old), _flat(new)
    missing = "not set"
    return [
        f"{key} is {flat_new.get(key, missing)} and was {flat_old.get(key, missing)}"
        for key in sorted(flat_old | flat_new)
        if flat_old.get(key, missing) != flat_new.get(key, missing)
    ]


def _flat(value: Any, prefix: str = "") -> dict[str, Any]:
    if not isinstance(value, dict) or not value:
        return {prefix: value}
    return {k: v for key, part in value.items() for k, v in _flat(part, f"{prefix}.{key}" if prefix else key).items()}
