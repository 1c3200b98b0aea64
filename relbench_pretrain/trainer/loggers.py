"""Loggers that a resumed run goes on with, and checks of the section of a configuration that names them."""

from __future__ import annotations

import csv
import os
import re
import secrets
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

from lightning.fabric.loggers.logger import rank_zero_experiment
from lightning.pytorch import loggers as lightning_loggers
from lightning.pytorch.loggers.csv_logs import ExperimentWriter
from lightning.pytorch.utilities import rank_zero_only, rank_zero_warn

from relbench_pretrain.files import atomic_file
from relbench_pretrain.trainer.run_folder import RunError

ID_FILE = "wandb_id.txt"
APPENDING = {"lightning.pytorch.loggers.CSVLogger": "relbench_pretrain.trainer.CSVLogger"}
"""In place of a logger that deletes what an earlier part of the run has written."""


def check_loggers(logger: Any) -> None:
    """Refuses loggers whose package is not there.

    Args:
        logger: The section ``trainer.logger`` of a configuration.

    Raises:
        RunError: If TensorBoard is wanted and not installed.
    """
    for section in logger if isinstance(logger, list) else [logger]:
        wanted = str(getattr(section, "class_path", "")).endswith(".TensorBoardLogger")
        if wanted and not (find_spec("tensorboard") or find_spec("tensorboardX")):
            raise RunError("TensorBoardLogger needs TensorBoard: pip install relbench-pretrain[tensorboard]")


def name_loggers(logger: Any, name: str, save_dir: str) -> None:
    """Gives the loggers of a configuration the name of a run as their version.

    Args:
        logger: The section ``trainer.logger``, which is changed.
        name: The run's name.
        save_dir: The folder for loggers that have none.

    Raises:
        RunError: If the name cannot be that of a folder, or if there is no logger that can take it.
    """
    if not re.fullmatch(r"\w[\w.-]*", name, re.ASCII):
        raise RunError(f"--run '{name}': a run's name has letters, digits, '_', '-' and '.', and begins with no '.'")
    first, *others = logger if isinstance(logger, list) else [logger]
    if not hasattr(first, "init_args") or "version" not in first.init_args:
        raise RunError("--run needs a logger that has a folder: give --trainer.logger logger/csv.yaml, for example")
    first.init_args.save_dir = first.init_args.save_dir or save_dir
    for section in (first, *others):
        section.class_path = APPENDING.get(section.class_path, section.class_path)
        settings = section.init_args
        if "version" in settings:
            settings.version = name
        if "resume" in settings:  # Lightning's own WandbLogger
            settings.resume = settings.resume or "allow"
        if section is not first and "project" not in settings:  # all files of a run go into one folder
            settings.save_dir = first.init_args.save_dir
            settings.name = first.init_args.get("project") or first.init_args.name


class CSVLogger(lightning_loggers.CSVLogger):
    """Lightning's CSV logger, but that it appends to a ``metrics.csv`` that is there, where that one deletes it."""

    @property
    @rank_zero_experiment
    def experiment(self) -> ExperimentWriter:
        """Returns the writer."""
        if self._experiment is None:
            self._experiment = _AppendingWriter(self.log_dir)
        return self._experiment  # type: ignore[return-value]

    @rank_zero_only
    def cut(self, step: int) -> None:
        """Removes what was logged after a step, because those steps are made again.

        Args:
            step: The last step that is kept, as the column ``step`` counts.
        """
        self.experiment.cut(step)


class _AppendingWriter(ExperimentWriter):
    def _check_log_dir_exists(self) -> None:
        """Goes on with the file that is there; the inherited method deletes it."""
        if Path(self.metrics_file_path).is_file():
            self.metrics_keys = self._read()[0]

    def _rewrite_with_new_header(self, fieldnames: list[str]) -> None:
        self._write(fieldnames, self._read()[1])

    def _read(self) -> tuple[list[str], list[dict[str, Any]]]:
        with Path(self.metrics_file_path).open(newline="") as file:
            reader = csv.DictReader(file)
            # A line without its end was being written when the process was killed; one too long has another header's.
            rows = [row for row in reader if None not in row and None not in row.values()]
            return list(reader.fieldnames or []), rows

    def cut(self, step: int) -> None:
        path = Path(self.metrics_file_path)
        if not path.is_file():
            return
        keys, rows = self._read()
        self._write(keys, [row for row in rows if int(row["step"]) <= step])

    def _write(self, keys: list[str], rows: list[dict[str, Any]]) -> None:
        with atomic_file(self.metrics_file_path) as part, part.open("w", newline="") as file:
            writer = csv.DictWriter(file, fieldnames=keys)
            writer.writeheader()
            writer.writerows(rows)


class WandbLogger(lightning_loggers.WandbLogger):
    """Weights & Biases, or its offline mode where the server does not answer in time.

    Args:
        project: The project, and the name of the folder of its runs' files within ``save_dir``.
        save_dir: Where files go; ``wandb`` within it is that of Weights & Biases itself.
        name: What the run is called there; its version by default.
        version: The name of the run's folder; the id that Weights & Biases gives it by default.
        offline: Whether to leave the server alone; ``wandb sync`` uploads the run later.
        log_model: Whether checkpoints and backbones are uploaded: at the end, or with ``"all"`` each when it is saved.
        entity: The user or team; the user's default one by default.
        group: The group of runs that it is shown with.
        job_type: The kind of run within its group.
        tags: Its tags.
        init_timeout: Seconds to wait for the server.
    """

    def __init__(
        self,
        project: str = "relbench-pretrain",
        save_dir: str = "runs",
        name: str | None = None,
        version: str | None = None,
        offline: bool = False,
        log_model: Literal["all"] | bool = False,
        entity: str | None = None,
        group: str | None = None,
        job_type: str | None = None,
        tags: list[str] | None = None,
        init_timeout: float = 60.0,
    ) -> None:
        if init_timeout <= 0:
            raise ValueError(f"init_timeout must be some seconds, got {init_timeout}")
        shown = name or (None if "WANDB_NAME" in os.environ else version)
        super().__init__(
            shown, save_dir, offline=offline, project=project, log_model=log_model, entity=entity, group=group,
            job_type=job_type, tags=tags,
        )  # fmt: skip
        self._version = version
        self.init_timeout = init_timeout

    @property
    def version(self) -> str | None:
        """The name of the run's folder."""
        return self._version or super().version

    @rank_zero_only
    def keep_id(self, folder: Path) -> None:
        """Lets the run have the id that is written in its folder, so that it is one run however often it is resumed."""
        path = folder / ID_FILE
        if not path.is_file():
            folder.mkdir(parents=True, exist_ok=True)
            path.write_text(os.environ.get("WANDB_RUN_ID") or secrets.token_hex(4))
        self._id = self._wandb_init["id"] = path.read_text().strip()

    @property
    @rank_zero_experiment
    def experiment(self) -> Any:
        """The run of Weights & Biases, which is begun when it is asked for first.

        Raises:
            RunError: If Weights & Biases refuses to begin one, for want of a key for example.
        """
        if self._experiment is None:
            self._begin()
        return super().experiment

    def _begin(self) -> None:
        import wandb

        folder = Path(self.save_dir or ".").absolute()
        folder.mkdir(parents=True, exist_ok=True)
        self._wandb_init["dir"] = str(folder)  # the process that writes may have another working directory
        self._wandb_init["settings"] = wandb.Settings(init_timeout=self.init_timeout)
        self._wandb_init.pop("anonymous", None)  # warned of by versions that know it no more
        try:
            _ = super().experiment
        except wandb.errors.UsageError as error:
            raise RunError(f"Weights & Biases: {error} Or set WANDB_MODE=offline") from error
        except wandb.errors.CommError as error:
            rank_zero_warn(
                f"Weights & Biases did not answer within {self.init_timeout:g} s ({str(error).splitlines()[0]}). "
                f"The run goes on offline; upload it later with `wandb sync` in {self.save_dir}."
            )
            wandb.teardown()  # its service keeps the id of the failed start in use
            self._wandb_init["mode"] = "offline"
