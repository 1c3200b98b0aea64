"""Results of a study: reads the files of its runs, collects one table, and writes tables and plots from it."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd

from relbench_pretrain.renamed import metric_name
from relbench_pretrain.studies.plan import Run
from relbench_pretrain.studies.plots import plot_experiments, plot_label_efficiency, plot_learning_curves, plot_sides
from relbench_pretrain.studies.presets import Study
from relbench_pretrain.studies.tables import choose, experiment_table, scores, task_summary, task_tables

LABELS = ["experiment", "database", "task", "network", "start", "labels", "grid", "seed"]
"""What runs are called; a study has those of them that its runs have."""


def read_metrics(folder: Path) -> pd.DataFrame:
    """Reads what a run measured: ``epoch``, ``step``, ``metric`` and ``value``, a row for each value as it came.

    Args:
        folder: The run's folder, with what a command wrote into ``metrics.json``, or a Trainer into ``fit``.
    """
    rows: list[tuple[int, int, str, float]] = []
    written, logged = folder / "metrics.json", folder / "fit" / "metrics.csv"
    if written.is_file():
        for name, value in json.loads(written.read_text()).items():
            stage = name if name == "val" else f"test/{name}"  # a baseline has a time regime there
            values = (
                {f"{stage}/{key}": part for key, part in value.items()} if isinstance(value, dict) else {name: value}
            )
            rows += [(0, 0, metric_name(key), float(v)) for key, v in values.items() if isinstance(v, int | float)]
    if logged.is_file():
        with logged.open() as file:
            reader = csv.DictReader(file)
            names = {name: metric_name(name) for name in reader.fieldnames or () if name not in ("epoch", "step")}
            for row in reader:
                place = int(row.get("epoch") or 0), int(row.get("step") or 0)
                rows += [(*place, name, float(row[key])) for key, name in names.items() if row[key]]
    return pd.DataFrame(rows, columns=["epoch", "step", "metric", "value"])


def last_values(metrics: pd.DataFrame, stage: str = "") -> dict[str, float]:
    """Returns the last value of every metric whose name begins with a stage such as ``test/``."""
    found = metrics[metrics["metric"].astype(str).str.startswith(stage)]
    return dict(zip(found["metric"], found["value"], strict=True))


def validations(metrics: pd.DataFrame) -> pd.DataFrame:
    """Returns a row for each validation of a run, by epoch and step, with the metrics as columns."""
    found = metrics[metrics["metric"].astype(str).str.startswith("val/")]
    found = found.drop_duplicates(["epoch", "step", "metric"], keep="last")
    return found.pivot(index=["epoch", "step"], columns="metric", values="value").sort_index()


def run_row(run: Run, folder: Path, seconds: float) -> dict[str, Any]:
    """Returns the row of one run in the table of results; see :func:`collect`."""
    metrics = read_metrics(folder)
    row = {**run.labels, "config": run.hash, "seconds": seconds}
    history = validations(metrics)
    if len(history):
        # The one whose weights are tested: the first of the best score, else of the lowest loss, else the last.
        place: Any = history.index[-1]
        for name, sign in (("val/loss", -1), ("val/score", 1)):
            if name in history and history[name].notna().any():
                place = (sign * history[name]).idxmax()
        if (folder / "fit").is_dir():
            row |= {"best_epoch": place[0], "epochs": max(history.index)[0] + 1}
        row |= last_values(metrics[(metrics["epoch"] == place[0]) & (metrics["step"] == place[1])], "val/")
    return row | last_values(metrics, "test/")


def collect(plan: Sequence[Run], root: Path) -> tuple[pd.DataFrame, list[Path]]:
    """Collects the results of all runs of a plan that are done.

    Args:
        plan: The runs.
        root: The folder of their folders.

    Returns:
        A row for each run: its labels, ``config`` (the hash of its arguments), ``seconds``, of what was trained
        ``best_epoch`` and ``epochs``, the metrics of the validation that was chosen, and the tested ones; and the
        folders of the runs, one for each row.
    """
    records = [(run, root / run.folder, run.record(root)) for run in plan]
    done = [(run, folder, record["seconds"]) for run, folder, record in records if record is not None]
    table = pd.DataFrame([run_row(*entry) for entry in done])
    measured = sorted((name for name in map(str, table) if "/" in name), key=lambda name: not name.startswith("val/"))
    names = [*LABELS, "config", "seconds", "best_epoch", "epochs", *measured]
    table = table.reindex(columns=[name for name in names if name in table])
    whole = {name: "Int64" for name in ("best_epoch", "epochs") if name in table}
    return table.astype(whole), [folder for _, folder, _ in done]


def read_results(path: Path) -> pd.DataFrame:
    """Reads a table of results, a ``results.csv``."""
    texts = {name: str for name in [*LABELS[:5], "grid", "config"]}
    table = pd.read_csv(path, dtype=texts, keep_default_na=False, na_values=[""], float_precision="round_trip")
    return table.assign(grid=table["grid"].fillna("")) if "grid" in table else table


def write_results(study: Study, table: pd.DataFrame, runs: Sequence[Path], folder: Path) -> None:
    """Writes ``study.json``, ``results.csv`` and :func:`write_report`'s tables and plots.

    Args:
        study: The study.
        table: Its results.
        runs: The folders of its runs, one for each row.
        folder: Where the files go.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "study.json").write_text(json.dumps(asdict(study), indent=1) + "\n")
    if table.empty:
        return
    table.to_csv(folder / "results.csv", index=False, float_format="%.5f")
    # Of the numbers as they are stored, so that the same tables come out of them at any time.
    write_report(study, read_results(folder / "results.csv"), folder, runs)
    for name, run in zip(table.get("experiment", ()), runs, strict=False):
        for file in study.experiments[name].files if pd.notna(name) else ():
            shutil.copyfile(run / file, folder / file)


def write_report(study: Study, table: pd.DataFrame, folder: Path, runs: Sequence[Path] = ()) -> None:
    """Writes the tables and plots of a study.

    Of databases these are ``table.md``, ``summary.md``, ``learning_curves``, ``label_efficiency`` and ``sides``, of
    experiments ``experiments.md`` and the plots that the study names.

    Args:
        study: The study.
        table: Its results.
        folder: Where the files go.
        runs: The folders of its runs, one for each row; without them there are no plots over training steps.
    """
    logged = [read_metrics(path).assign(run=row) for row, path in enumerate(runs)]
    curves = pd.concat(logged, ignore_index=True) if logged else pd.DataFrame()
    chosen = choose(scores(table))
    if len(chosen):
        (folder / "table.md").write_text(task_tables(chosen, study))
        (folder / "summary.md").write_text(task_summary(chosen, study))
        plot_learning_curves(chosen, curves, folder)
        plot_label_efficiency(chosen, folder)
        plot_sides(chosen, folder)
    if "experiment" in table:
        experiments = table[table["experiment"].notna()]
        (folder / "experiments.md").write_text(experiment_table(experiments, study))
        plot_experiments(experiments, curves, study, folder)
