"""Shows images, tables and folders in whatever loggers a run has."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from lightning.pytorch import Trainer
from lightning.pytorch.loggers import TensorBoardLogger, WandbLogger

from relbench_pretrain.evaluation.tables import markdown

TABLE_ROWS = 10_000
"""As many rows of a table are uploaded; its file has them all."""
TEXT_ROWS = 50
"""As many rows of a table are shown where a logger has text alone."""


def log_image(trainer: Trainer, key: str, path: Path) -> None:
    """Shows an image in Weights & Biases and TensorBoard.

    Args:
        trainer: Its loggers are used.
        key: The image's name.
        path: A PNG file.
    """
    for logger in trainer.loggers:
        if isinstance(logger, WandbLogger):
            logger.log_image(key, [str(path)])
        elif isinstance(logger, TensorBoardLogger):
            from PIL import Image

            pixels = np.asarray(Image.open(path).convert("RGB"))
            logger.experiment.add_image(key, pixels, trainer.global_step, dataformats="HWC")


def log_table(trainer: Trainer, key: str, table: pd.DataFrame) -> None:
    """Shows the head of a table in Weights & Biases and, shorter and as text, in TensorBoard.

    Args:
        trainer: Its loggers are used.
        key: The table's name.
        table: The whole table.
    """
    for logger in trainer.loggers:
        if isinstance(logger, WandbLogger):
            logger.log_table(key, dataframe=table.head(TABLE_ROWS).astype({c: str for c in _unusual(table)}))
        elif isinstance(logger, TensorBoardLogger):
            rows = [[str(value) for value in row] for row in table.head(TEXT_ROWS).itertuples(index=False)]
            logger.experiment.add_text(key, markdown(list(table.columns), rows), trainer.global_step)


def _unusual(table: pd.DataFrame) -> list[str]:
    """Returns the columns that are neither numbers nor truth values, which Weights & Biases takes as text."""
    return [name for name in table.columns if not (pd.api.types.is_numeric_dtype(table[name]))]


def log_artifact(trainer: Trainer, path: Path, kind: str, aliases: list[str] | None = None) -> None:
    """Uploads a file or folder to Weights & Biases as an artifact of the run, ``KIND-ID``.

    Args:
        trainer: Its loggers are used.
        path: The file or folder.
        kind: What it is: ``"config"``, ``"backbone"``.
        aliases: Further names of this version beside ``latest``.
    """
    for logger in trainer.loggers:
        if isinstance(logger, WandbLogger):
            import wandb

            run = logger.experiment
            artifact = wandb.Artifact(f"{kind}-{run.id}", kind)
            artifact.add_dir(str(path)) if path.is_dir() else artifact.add_file(str(path))
            run.log_artifact(artifact, aliases=["latest", *(aliases or [])])


def uploads_weights(trainer: Trainer) -> bool:
    """Returns whether a logger was asked to upload weights."""
    return any(getattr(logger, "_log_model", False) for logger in trainer.loggers)
