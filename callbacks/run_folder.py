"""The one folder in which a run leaves its files."""

from __future__ import annotations

from pathlib import Path

from lightning.pytorch import Trainer


def run_folder(trainer: Trainer) -> Path:
    """Returns the folder of the run, ``<save_dir>/<name>/<version>`` of its first logger, the same on every process.

    It is the folder in which Lightning keeps its checkpoints too, also under loggers such as Weights & Biases
    whose ``log_dir`` is shared by all runs.
    """
    return Path(trainer.strategy.broadcast(str(logger_folder(trainer))))


def logger_folder(trainer: Trainer) -> Path:
    """Returns what :func:`run_folder` does, as this process alone sees it."""
    if not trainer.loggers:
        return Path(trainer.default_root_dir)
    logger = trainer.loggers[0]
    version = logger.version if isinstance(logger.version, str) else f"version_{logger.version}"
    return Path(logger.save_dir or trainer.default_root_dir) / str(logger.name) / version
