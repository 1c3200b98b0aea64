"""What a study found: one tidy row per run and regime, tables with intervals, and plots."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from relbench_pretrain.evaluation.metrics import ERRORS
from relbench_pretrain.evaluation.plots import plot_label_efficiency, plot_learning_curves, plot_sides
from relbench_pretrain.evaluation.tables import interval, markdown

COLUMNS = [
    "database", "task", "regime", "network", "start", "labels", "seed", "grid", "metric", "validation", "test",
    "test_low", "test_high",
    "best_epoch", "epochs", "seconds", "config",
]  # fmt: skip
GROUP = ["database", "task", "regime", "metric"]
SIDE = ["network", "start", "labels"]
MAIN = ("roc_auc", "mae", "map", "accuracy")
"""The metrics by which runs are chosen, in the order in which they are looked for."""


def write_results(
    runs: Sequence[tuple[Mapping[str, Any], Path]],
    folder: Path,
    published: Sequence[Mapping],
    scratch: Mapping[str, str],
) -> None:
    """Writes the results of runs that are done.

    Args:
        runs: For each run its labels and its folder.
        folder: Where ``results.csv``, ``pretraining.csv``, ``table.md``, ``summary.md`` and the plots go.
        published: Results of others, printed under the tables of their task and regime.
        scratch: For each network the one whose runs from scratch it is compared with.
    """
    pretraining = [(labels, path) for labels, path in runs if labels["start"] == "pretraining"]
    downstream = [(labels, path) for labels, path in runs if labels["start"] != "pretraining"]
    rows = [row for labels, path in downstream for row in run_rows(labels, path)]
    table = pd.DataFrame(rows, columns=COLUMNS)
    table.to_csv(folder / "results.csv", index=False, float_format="%.5f")
    if pretraining:
        levels = pd.DataFrame([_pretraining_row(labels, path) for labels, path in pretraining])
        levels.to_csv(folder / "pretraining.csv", index=False, float_format="%.4f")
    chosen = choose(table)
    (folder / "table.md").write_text(tables(chosen, published, scratch))
    (folder / "summary.md").write_text(summary(chosen, published, scratch))
    kept = set(chosen["config"])
    curves = pd.DataFrame([row for labels, path in downstream if labels["config"] in kept
                           for row in _curve(labels, path)])  # fmt: skip
    plot_learning_curves(curves, folder)
    plot_label_efficiency(chosen, folder)
    plot_sides(chosen, folder)


def run_rows(labels: Mapping[str, Any], folder: Path) -> list[dict[str, Any]]:
    """Returns a row for each regime and metric family of a run: its main metric on validation and test."""
    seconds = json.loads((folder / "run.json").read_text())["seconds"]
    if labels["start"] == "baseline":
        found = json.loads((folder / "metrics.json").read_text())
        validation, tests = found["val"], {regime: found[regime] for regime in found if regime != "val"}
        best, epochs = 0, 0
    else:
        history, tests = _read_metrics(folder / "fit")
        epochs = int(history[-1]["epoch"]) + 1
        best = int(np.nanargmax([values["score"] for values in history]))
        validation = history[best]
    metric = next(name for name in MAIN if name in validation)
    return [
        {**labels, "regime": regime, "metric": metric, "validation": validation[metric], "test": values[metric],
         "test_low": values.get(f"{metric}_low"), "test_high": values.get(f"{metric}_high"),
         "best_epoch": int(validation.get("epoch", 0)), "epochs": epochs, "seconds": seconds}
        for regime, values in tests.items()
    ]  # fmt: skip


def _read_metrics(folder: Path) -> tuple[list[dict[str, float]], dict[str, dict[str, float]]]:
    """Reads validation metrics, one validation after the other, and test metrics by regime, of a run."""
    history: dict[tuple[int, int], dict[str, float]] = {}
    tests: dict[str, dict[str, float]] = {}
    with (folder / "metrics.csv").open() as file:
        for row in csv.DictReader(file):
            for name, value in row.items():
                stage, *regime, metric = name.split("/") if "/" in name else (name, name)
                if value and stage == "val":
                    place = (int(row["epoch"]), int(row["step"]))
                    history.setdefault(place, {"epoch": float(place[0])})[metric] = float(value)
                elif value and stage == "test":
                    tests.setdefault(regime[0], {})[metric] = float(value)
    return [history[place] for place in sorted(history)], tests


def _curve(labels: Mapping[str, Any], folder: Path) -> list[dict[str, Any]]:
    if labels["start"] == "baseline":
        return []
    history, _ = _read_metrics(folder / "fit")
    metric = next(name for name in MAIN if name in history[0])
    return [{**labels, "metric": metric, "epoch": i, "value": values[metric]} for i, values in enumerate(history)]


def _pretraining_row(labels: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    history, _ = _read_metrics(folder / "fit")
    best = min(history, key=lambda values: values["loss"])  # as BackboneCheckpoint chooses
    levels = {name: value for name, value in best.items() if name.startswith("loss")}
    seconds = json.loads((folder / "run.json").read_text())["seconds"]
    return {key: labels[key] for key in ("database", "network", "seed")} | levels | {"seconds": seconds}


def choose(table: pd.DataFrame) -> pd.DataFrame:
    """Keeps, for each side of a comparison, the point of the grid with the best mean on validation."""
    parts = []
    for (*_, metric, _, _, _), part in table.groupby([*GROUP, *SIDE], sort=False):
        means = part.groupby("grid")["validation"].mean()
        best = means.idxmin() if metric in ERRORS else means.idxmax()
        parts.append(part[part["grid"] == best])
    return pd.concat(parts) if parts else table


def tables(chosen: pd.DataFrame, published: Sequence[Mapping], scratch: Mapping[str, str]) -> str:
    """Writes one Markdown table per database, task and regime.

    Differences are paired by seed, against the same network from scratch with the same labels, and signed so that
    more is better; the interval is Student's, 95 %. What is said of rows is the bootstrap interval over test rows.
    """
    text = []
    for (database, task, regime, metric), part in chosen.groupby(GROUP, sort=False):
        header = ["network", "start", "labels", "validation", "test", "gain over scratch (95 %)", "seeds", "seconds"]
        rows = [_table_row(side, runs, part, scratch) for side, runs in part.groupby(SIDE, sort=False)]
        for entry in published:
            if (entry["task"], entry["regime"], entry.get("database", database)) == (task, regime, database):
                rows.append([str(entry["system"]), "published", "", "", str(entry["value"]), "", "", ""])
        text.append(f"**{database}, {task}, {metric}, {regime} regime**\n\n{markdown(header, rows)}\n")
    return "\n".join(text)


def summary(chosen: pd.DataFrame, published: Sequence[Mapping], scratch: Mapping[str, str]) -> str:
    """Writes per database a Markdown table of test scores, and one of gains over scratch, with a column per task."""
    text = []
    for database, part in chosen.groupby("database", sort=False):
        columns: list[tuple[str, ...]] = [tuple(c) for c in part[GROUP[1:]].drop_duplicates().to_numpy()]
        names = [f"{task}, {metric.replace('roc_auc', 'AUROC').upper()}, {regime}" for task, regime, metric in columns]
        scores: dict[str, list[str]] = {}
        gains: dict[str, list[str]] = {}
        for side, runs in part.groupby(SIDE, sort=False):
            by_column: dict[Any, pd.DataFrame] = dict(list(runs.groupby(GROUP[1:], sort=False)))
            label = _side_name(tuple(side), part["labels"].nunique() > 1)
            scores[label] = [mean_and_deviation(by_column[c]["test"]) if c in by_column else "" for c in columns]
            found = [_gain(tuple(side), by_column[c], part, scratch) if c in by_column else "" for c in columns]
            if any(found):
                gains[label] = found
        for entry in published:
            if entry.get("database", database) != database:
                continue
            row = scores.setdefault(f"published: {entry['system']}", [""] * len(columns))
            for i, (task, regime, _) in enumerate(columns):
                if (entry["task"], entry["regime"]) == (task, regime):
                    row[i] = f"{entry['value']:.3f}"
        seeds = sorted(set(part[part["start"] != "baseline"].groupby([*GROUP, *SIDE]).size()))
        number = "–".join(map(str, dict.fromkeys([seeds[0], seeds[-1]]))) if seeds else "0"
        text.append(f"{database}, test, mean ± standard deviation over {number} seeds:\n")
        text.append(markdown(["", *names], [[label, *cells] for label, cells in scores.items()]) + "\n")
        if gains:
            text.append("Gain over the same network from scratch, paired by seed, with its 95 % interval:\n")
            text.append(markdown(["", *names], [[label, *cells] for label, cells in gains.items()]) + "\n")
    return "\n".join(text)


def _side_name(side: tuple, with_labels: bool) -> str:
    network, start, labels = side
    name = str(network) if start == "baseline" else f"{network}, {start}"
    return f"{name}, {100 * labels:g} % of the labels" if with_labels else name


def _gain(side: tuple, runs: pd.DataFrame, part: pd.DataFrame, scratch: Mapping[str, str]) -> str:
    """Formats the gain of runs of one task and regime over those from scratch among all of a database."""
    network, start, labels = side
    if start in ("scratch", "baseline"):
        return ""
    same = (
        (part["network"] == scratch.get(network, network)) & (part["labels"] == labels) & (part["start"] == "scratch")
    )
    for column in GROUP:
        same &= part[column] == runs[column].iloc[0]
    base = part[same].set_index("seed")["test"]
    return interval((runs.set_index("seed")["test"] - base).dropna(), runs["metric"].iloc[0] in ERRORS)


def _table_row(side: tuple, runs: pd.DataFrame, part: pd.DataFrame, scratch: Mapping[str, str]) -> list[str]:
    network, start, labels = side
    gain = _gain(side, runs, part, scratch)
    test = mean_and_deviation(runs["test"])
    if "test_low" in runs and runs["test_low"].notna().all():  # few rows: how much the choice of rows matters
        test += f" (rows {runs['test_low'].mean():.3f} to {runs['test_high'].mean():.3f})"
    cells = [mean_and_deviation(runs["validation"]), test, gain]
    return [str(network), str(start), f"{100 * labels:g} %", *cells, str(len(runs)), f"{runs['seconds'].mean():.0f}"]


def mean_and_deviation(values: pd.Series) -> str:
    """Formats a mean and the standard deviation over seeds."""
    return f"{values.mean():.3f}" + (f" ± {values.std():.3f}" if len(values) > 1 else "")
