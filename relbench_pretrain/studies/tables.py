"""A study's results in Markdown: means over seeds, differences paired by seed, and what others published."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

from relbench_pretrain.evaluation.tables import interval, markdown, mean_and_deviation
from relbench_pretrain.studies.presets import Study

GROUP = ["database", "task", "regime", "metric"]
SIDE = ["network", "start", "labels"]
MAIN = ("roc_auc", "mae", "map", "accuracy")
"""The metrics by which runs on tasks are compared, in the order in which they are looked for."""
ERRORS = ("mae",)
"""Those of which less is better."""


def scores(table: pd.DataFrame) -> pd.DataFrame:
    """Returns a row for each run on a task and each time regime: its main metric on validation and on test.

    Args:
        table: The table of results, whose rows the column ``run`` numbers.
    """
    rows = []
    regimes = sorted({name.split("/")[1] for name in map(str, table) if name.startswith("test/")})
    found = table.assign(run=range(len(table)))[table["task"].notna()] if "task" in table else table[:0]
    for run in found.to_dict("records"):
        metric = next(name for name in MAIN if pd.notna(run.get(f"val/{name}")))
        tests = {regime: f"test/{regime}/{metric}" for regime in regimes}
        rows += [
            {**{name: value for name, value in run.items() if "/" not in str(name)}, "regime": regime, "metric": metric,
             "validation": run[f"val/{metric}"], "test": run[name],
             "test_low": run.get(f"{name}_low"), "test_high": run.get(f"{name}_high")}
            for regime, name in tests.items() if pd.notna(run.get(name))
        ]  # fmt: skip
    return pd.DataFrame(rows)


def choose(table: pd.DataFrame) -> pd.DataFrame:
    """Keeps, for each side of a comparison, the point of the grid with the best mean on validation.

    Args:
        table: What :func:`scores` returns.
    """
    parts = []
    for (*_, metric, _, _, _), part in table.groupby([*GROUP, *SIDE], sort=False) if len(table) else ():
        means = part.groupby("grid")["validation"].mean()
        parts.append(part[part["grid"] == (means.idxmin() if metric in ERRORS else means.idxmax())])
    return pd.concat(parts) if parts else table


def task_tables(chosen: pd.DataFrame, study: Study) -> str:
    """Writes a table per database, task and regime.

    Differences are paired by seed, against the same network from scratch with the same labels, and signed so that
    more is better; the interval is Student's, 95 %. The interval over rows is the bootstrap's over test rows.

    Args:
        chosen: What :func:`choose` returns.
        study: The study.
    """
    text = []
    header = ["network", "start", "labels", "validation", "test", "gain over scratch (95 %)", "seeds", "seconds"]
    for (database, task, regime, metric), part in chosen.groupby(GROUP, sort=False):
        rows = []
        sides: Any = part.groupby(SIDE, sort=False)
        for (network, start, labels), runs in sides:
            test = mean_and_deviation(runs["test"])
            if runs["test_low"].notna().all():  # few rows: how much the choice of rows matters
                test += f" (rows {runs['test_low'].mean():.3f} to {runs['test_high'].mean():.3f})"
            gain = _gain((network, start, labels), runs, part, study)
            rows.append([str(network), str(start), f"{100 * labels:g} %", mean_and_deviation(runs["validation"]),
                         test, gain, str(len(runs)), f"{runs['seconds'].mean():.0f}"])  # fmt: skip
        for entry in study.published:
            if (entry.get("task"), entry.get("regime"), entry.get("database", database)) == (task, regime, database):
                rows.append([str(entry["system"]), "published", "", "", str(entry["value"]), "", "", ""])
        text.append(f"**{database}, {task}, {metric}, {regime} regime**\n\n{markdown(header, rows)}\n")
    return "\n".join(text)


def task_summary(chosen: pd.DataFrame, study: Study) -> str:
    """Writes per database a table of test scores, and one of gains over scratch, with a column per task and regime.

    Args:
        chosen: What :func:`choose` returns.
        study: The study.
    """
    text = []
    for database, part in chosen.groupby("database", sort=False):
        columns: list[tuple[str, ...]] = [tuple(c) for c in part[GROUP[1:]].drop_duplicates().to_numpy()]
        names = [f"{task}, {metric.replace('roc_auc', 'AUROC').upper()}, {regime}" for task, regime, metric in columns]
        values: dict[str, list[str]] = {}
        gains: dict[str, list[str]] = {}
        for side, runs in part.groupby(SIDE, sort=False):
            by_column: dict[Any, pd.DataFrame] = dict(list(runs.groupby(GROUP[1:], sort=False)))
            label = _side_name(tuple(side), part["labels"].nunique() > 1)
            values[label] = [mean_and_deviation(by_column[c]["test"]) if c in by_column else "" for c in columns]
            found = [_gain(tuple(side), by_column[c], part, study) if c in by_column else "" for c in columns]
            if any(found):
                gains[label] = found
        for entry in study.published:
            if "task" not in entry or entry.get("database", database) != database:
                continue
            row = values.setdefault(f"published: {entry['system']}", [""] * len(columns))
            for i, (task, regime, _) in enumerate(columns):
                if (entry["task"], entry["regime"]) == (task, regime):
                    row[i] = f"{entry['value']:.3f}"
        seeds = sorted(set(part[part["start"] != "baseline"].groupby([*GROUP, *SIDE]).size()))
        number = "–".join(map(str, dict.fromkeys([seeds[0], seeds[-1]]))) if seeds else "0"
        text.append(f"{database}, test, mean ± standard deviation over {number} seeds:\n")
        text.append(markdown(["", *names], [[label, *cells] for label, cells in values.items()]) + "\n")
        if gains:
            text.append("Gain over the same network from scratch, paired by seed, with its 95 % interval:\n")
            text.append(markdown(["", *names], [[label, *cells] for label, cells in gains.items()]) + "\n")
    return "\n".join(text)


def _side_name(side: tuple, with_labels: bool) -> str:
    network, start, labels = side
    name = str(network) if start == "baseline" else f"{network}, {start}"
    return f"{name}, {100 * labels:g} % of the labels" if with_labels else name


def _gain(side: tuple, runs: pd.DataFrame, part: pd.DataFrame, study: Study) -> str:
    """Formats the gain of runs of one task and regime over those from scratch among all of a database."""
    network, start, labels = side
    if start in ("scratch", "baseline"):
        return ""
    same = (part["network"] == study.scratch.get(network, network)) & (part["labels"] == labels)
    for column, value in [("start", "scratch"), *((column, runs[column].iloc[0]) for column in GROUP)]:
        same &= part[column] == value
    base = part[same].set_index("seed")["test"]
    return interval((runs.set_index("seed")["test"] - base).dropna(), runs["metric"].iloc[0] in ERRORS)


def experiment_table(table: pd.DataFrame, study: Study) -> str:
    """Writes a table with a row per experiment, what others published below it, and one of paired differences.

    Args:
        table: The results of experiments.
        study: The study; some of its experiments may not be done.
    """
    tested = [name for name in map(str, table) if name.startswith("test/")]
    metrics = [name for name in study.columns or tested if name in tested]
    rows = []
    for name, part in table.groupby("experiment", sort=False):
        cells = [mean_and_deviation(part[metric].dropna()) for metric in metrics]
        rows.append([str(name), *cells, str(len(part)), f"{part['seconds'].mean():.0f}"])
        of_others = [entry for entry in study.published if entry.get("experiment") == name]
        for system in dict.fromkeys(entry["system"] for entry in of_others):
            values = {entry["metric"]: f"{entry['value']:g}" for entry in of_others if entry["system"] == system}
            rows.append([f"published: {system}, {name}", *(values.get(metric, "") for metric in metrics), "", ""])
    text = markdown(["", *_short(metrics), "seeds", "seconds"], rows) + "\n"
    compared = [name for name in metrics if not name.endswith("rank")]
    runs = {name: part.set_index("seed") for name, part in table.groupby("experiment")}
    rows = [
        [f"{name} over {other}", *(interval((runs[name][m] - runs[other][m]).dropna()) for m in compared)]
        for name, spec in study.experiments.items() for other in spec.against if {name, other} <= set(runs)
    ]  # fmt: skip
    if rows:
        title = "Gain over another one, paired by seed, with its 95 % interval:"
        text += f"\n{title}\n\n{markdown(['', *_short(compared)], rows)}\n"
    return text


def _short(metrics: Sequence[str]) -> list[str]:
    return [metric.removeprefix("test/") for metric in metrics]
