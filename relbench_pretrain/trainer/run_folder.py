"""The one folder in which a run leaves its files."""

from __future__ import annotations

from pathlib import Path

from lightning.pytorch import Trainer
from lightning.pytorch.loggers import Logger

from relbench_pretrain.errors import UserError


class RunError(UserError, ValueError):
    """A run that cannot be begun or gone on with; the message says why and what helps."""


def leaves_files(trainer: Trainer) -> bool:
    """Returns whether a run leaves files; with ``fast_dev_run`` it leaves none."""
    return not getattr(trainer, "fast_dev_run", False)


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
    return folder_of(trainer.loggers[0], trainer.default_root_dir)


def folder_of(logger: Logger, default_root_dir: str) -> Path:
    """Returns the folder of a logger's run.

    Args:
        logger: The first logger of the run.
        default_root_dir: The folder of a logger that has none.
    """
    version = logger.version if isinstance(logger.version, str) else f"version_{logger.version}"
    return Path(logger.save_dir or default_root_dir) / str(logger.name) / version
