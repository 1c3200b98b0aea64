"""Plots of a study's experiments: metrics over training steps, and over what is varied."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
from matplotlib.axes import Axes

from relbench_pretrain.evaluation.plots import STYLES, panels_of, save

if TYPE_CHECKING:
    from relbench_pretrain.studies.experiments import ExperimentStudy


@dataclass
class ExperimentPlot:
    """A plot of a study's experiments, a panel for each of theirs.

    Args:
        name: The file's name.
        metrics: What is drawn: over training steps if logged in training, over the experiments' ``x`` if tested.
        x: What the horizontal axis is called; ``steps`` draws metrics over training steps.
        y: What the vertical axis is called; the first metric's name by default.
        log: Which axes are logarithmic, of ``x`` and ``y``.
    """

    name: str
    metrics: list[str]
    x: str = "steps"
    y: str = ""
    log: list[str] = field(default_factory=list)


def draw_experiments(
    table: pd.DataFrame,
    folders: Sequence[Path],
    experiments: Mapping[str, ExperimentStudy],
    plots: Sequence[ExperimentPlot],
    published: Sequence[Mapping[str, Any]],
    folder: Path,
) -> None:
    """Draws all plots, mean and deviation over seeds, with published values as dotted lines or crosses.

    Args:
        table: A row per run, with its experiment, seed and test metrics.
        folders: The folder of each run.
        experiments: The experiments by name.
        plots: What to draw.
        published: Results of others: experiment, metric and value.
        folder: Where the files go.
    """
    for plot in plots:
        steps = plot.x == "steps"
        points = _by_step(table, folders, plot.metrics) if steps else _by_x(table, experiments, plot.metrics)
        if points.empty:
            continue
        for key in ("panel", "line"):
            points[key] = [getattr(experiments[name], key) for name in points["experiment"]]
        points["line"] = points["line"].where(points["line"] != "", points["experiment"] if steps else "")
        panels = list(points.groupby("panel", sort=False))
        figure, axes = panels_of(len(panels), 4.6, 3.8)
        for axis, (title, part) in zip(axes, panels, strict=True):
            _panel(axis, part, plot, [e for e in published if e.get("experiment") in set(part["experiment"])],
                   experiments)  # fmt: skip
            axis.set(title=str(title), xlabel=plot.x, ylabel=plot.y or plot.metrics[0])
            axis.set_xscale("log" if "x" in plot.log else "linear")
            axis.set_yscale("log" if "y" in plot.log else "linear")
            if "x" in plot.log and plot.x != "steps":  # a mark for each value, and none between that would overlap
                values = sorted(part["x"].unique())
                axis.set_xticks(values, [f"{value:,.10g}" for value in values])
                axis.set_xticks([], minor=True)
            axis.legend(fontsize=7)
            axis.grid(alpha=0.3)
        figure.tight_layout()
        save(figure, folder, plot.name)


def _by_x(table: pd.DataFrame, experiments: Mapping[str, ExperimentStudy], metrics: Sequence[str]) -> pd.DataFrame:
    rows = []
    for row in table.to_dict("records"):
        place = experiments[row["experiment"]].x
        if place:
            rows += [{"experiment": row["experiment"], "metric": m, "x": float(place), "value": row[m]}
                     for m in metrics if pd.notna(row.get(m))]  # fmt: skip
    return pd.DataFrame(rows)


def _by_step(table: pd.DataFrame, folders: Sequence[Path], metrics: Sequence[str]) -> pd.DataFrame:
    rows = []
    for experiment, folder in zip(table["experiment"], folders, strict=True):
        for path in (folder / "fit").glob("metrics.csv"):
            with path.open() as file:
                rows += [{"experiment": experiment, "metric": m, "x": int(row["step"]) + 1, "value": float(row[m])}
                         for row in csv.DictReader(file) for m in metrics if row.get(m)]  # fmt: skip
    return pd.DataFrame(rows)


def _panel(
    axis: Axes,
    part: pd.DataFrame,
    plot: ExperimentPlot,
    published: Sequence[Mapping[str, Any]],
    experiments: Mapping[str, ExperimentStudy],
) -> None:
    """Draws a line for each line and metric, the metrics in different styles."""
    colours = {line: f"C{i % 10}" for i, line in enumerate(part["line"].unique())}
    for (line, metric), points in part.groupby(["line", "metric"], sort=False):
        by_x = points.groupby("x")["value"].agg(["mean", "std"]).fillna(0)
        style = STYLES[plot.metrics.index(str(metric)) % len(STYLES)]
        names = [str(line)] * bool(line) + [_readable(str(metric))] * (len(plot.metrics) > 1 or not line)
        colour = colours[line] if len(colours) > 1 else f"C{plot.metrics.index(str(metric)) % 10}"
        marker = "" if plot.x == "steps" else "o"
        axis.errorbar(by_x.index, by_x["mean"], by_x["std"], color=colour, linestyle=style, capsize=2,
                      label=", ".join(names), linewidth=1.2, marker=marker, markersize=3)  # fmt: skip
    for entry in published:
        spec = experiments[entry["experiment"]]
        colour = colours.get(spec.line or entry["experiment"], "black") if len(colours) > 1 else "black"
        if plot.x == "steps":
            axis.axhline(entry["value"], color=colour, linestyle=":", linewidth=1)
        elif spec.x:
            axis.plot(float(spec.x), entry["value"], "x", color=colour)
    if published:
        axis.plot(
            [], [], ":" if plot.x == "steps" else "x", color="black", label=f"published: {published[0]['system']}"
        )


def _readable(metric: str) -> str:
    return metric.removeprefix("test/").removeprefix("val/").replace("/", ", ").replace("_", " ")
