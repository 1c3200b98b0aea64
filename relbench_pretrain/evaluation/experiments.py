"""Experiments of a study: runs of one configuration each, over seeds, with whatever metrics they test."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

import pandas as pd

from relbench_pretrain.evaluation.tables import interval, markdown


@dataclass
class ExperimentStudy:
    """An experiment of a study.

    Args:
        experiment: The experiment's file.
        args: Further arguments.
        command: ``"fit"``, after which the best checkpoint is tested, or ``"test"`` for what is not trained.
        seeds: Its seeds; those of the study by default.
        against: Names of other experiments with which it is compared seed by seed.
        trained: Name of another experiment whose checkpoint of the same seed is tested, the best one or, where nothing
            is validated, the last, in place of training the same once more; ``command`` is ``"test"`` then.
    """

    experiment: str
    args: list[str] = field(default_factory=list)
    command: Literal["fit", "test"] = "fit"
    seeds: list[int] | None = None
    against: list[str] = field(default_factory=list)
    trained: str | None = None


def experiment_command(spec: ExperimentStudy, seed: int) -> list[str]:
    """Returns the arguments of a run, without those that say where its files go."""
    tested = ["--test_after_fit=true"] if spec.command == "fit" else []
    seeds = [f"--seed_everything={seed}", f"--data.seed={seed}"]
    return [spec.command, f"--config={spec.experiment}", *seeds, *tested, *spec.args]


def write_experiments(
    runs: Sequence[tuple[Mapping[str, Any], Path]],
    folder: Path,
    against: Mapping[str, Sequence[str]] = MappingProxyType({}),
) -> None:
    """Writes the metrics of experiments that are done.

    Args:
        runs: For each run its labels and its folder.
        folder: Where ``experiments.csv``, a row per run, and ``experiments.md`` go, means and deviations over seeds.
        against: Which other experiments each is compared with.
    """
    table = pd.DataFrame([{**_labels(labels, path), **read_tests(path / "fit")} for labels, path in runs])
    table.to_csv(folder / "experiments.csv", index=False, float_format="%.5f")
    metrics = [name for name in table.columns if name.startswith("test/")]
    rows = []
    for name, part in table.groupby("experiment", sort=False):
        cells = [_mean(part[metric].dropna()) for metric in metrics]
        rows.append([str(name), *cells, str(len(part)), f"{part['seconds'].mean():.0f}"])
    header = ["", *(metric.removeprefix("test/") for metric in metrics), "seeds", "seconds"]
    text = [markdown(header, rows)]
    if compared := _comparisons(table, [name for name in metrics if not name.endswith("rank")], against):
        text += ["", "Gain over another one, paired by seed, with its 95 % interval:", "", compared]
    (folder / "experiments.md").write_text("\n".join(text) + "\n")


def _comparisons(table: pd.DataFrame, metrics: Sequence[str], against: Mapping[str, Sequence[str]]) -> str:
    runs = {name: part.set_index("seed") for name, part in table.groupby("experiment")}
    rows = []
    for name, others in against.items():
        for other in others:
            if other not in against:
                raise ValueError(f"'{name}' is compared with '{other}', which is no experiment of the study")
            if name in runs and other in runs:
                gains = [interval((runs[name][m] - runs[other][m]).dropna()) for m in metrics]
                rows.append([f"{name} over {other}", *gains])
    return markdown(["", *(metric.removeprefix("test/") for metric in metrics)], rows) if rows else ""


def _labels(labels: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    seconds = json.loads((folder / "run.json").read_text())["seconds"]
    return {"experiment": labels["network"], "seed": labels["seed"], "config": labels["config"], "seconds": seconds}


def read_tests(folder: Path) -> dict[str, float]:
    """Reads the best validation score of a run, where there is one, and all its test metrics."""
    found: dict[str, float] = {}
    for path in sorted(folder.glob("metrics*.csv")):
        with path.open() as file:
            for row in csv.DictReader(file):
                for name, value in row.items():
                    if value and name == "val/score" and not math.isnan(float(value)):
                        found[name] = max(found.get(name, float(value)), float(value))
                    elif value and name.startswith("test/"):
                        found[name] = float(value)
    return found


def _mean(values: pd.Series) -> str:
    if not len(values):
        return ""
    return f"{values.mean():.3f}" + (f" ± {values.std():.3f}" if len(values) > 1 else "")
