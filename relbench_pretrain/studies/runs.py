"""Runs of the command line as subprocesses, and what they left behind."""

from __future__ import annotations

import csv
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple


class Run(NamedTuple):
    """A finished run.

    Args:
        folder: Where it left its files.
        metrics: The last value of everything that it logged.
        seconds: How long it took.
    """

    folder: Path
    metrics: dict[str, float]
    seconds: float


def run_cli(subcommand: str, args: Sequence[str], folder: Path) -> Run:
    """Runs ``relbench-pretrain`` with its output on the terminal and its files in one folder.

    Args:
        subcommand: ``fit``, ``test`` and so on.
        args: Further arguments.
        folder: The folder of the run; a CSV logger writes into it.

    Returns:
        The run.

    Raises:
        RuntimeError: If it fails; its own error is on the terminal.
    """
    logger = {
        "--trainer.logger": "lightning.pytorch.loggers.CSVLogger",
        "--trainer.logger.init_args.save_dir": str(folder.parent),
        "--trainer.logger.init_args.name": folder.name,
        "--trainer.logger.init_args.version": subcommand,
    }
    command = [sys.executable, "-m", "relbench_pretrain", subcommand, *args]
    command += [f"{option}={value}" for option, value in logger.items()]
    start = time.monotonic()
    if code := subprocess.run(command, check=False).returncode:
        raise RuntimeError(f"'{' '.join(command[1:])}' failed with exit code {code}")
    seconds = time.monotonic() - start
    return Run(folder / subcommand, last_metrics(folder / subcommand / "metrics.csv"), seconds)


def last_metrics(path: Path) -> dict[str, float]:
    """Reads the last value of every column of a CSV logger's file."""
    values: dict[str, float] = {}
    with path.open() as file:
        for row in csv.DictReader(file):
            values |= {name: float(value) for name, value in row.items() if value not in ("", None)}
    return values
