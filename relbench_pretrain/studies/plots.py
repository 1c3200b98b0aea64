"""A study's plots: means over seeds with their deviations, a panel for each task or group of experiments."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from relbench_pretrain.evaluation.plots import panels_of, save
from relbench_pretrain.studies.presets import Plot, Study

COLOURS = {"scratch": "#7f7f7f", "random_frozen": "#bcbd22", "frozen": "#1f77b4", "fine_tuned": "#d62728"}
OTHER = "#2ca02c"
STYLES = ["-", "--", ":", "-."]


def plot_learning_curves(chosen: pd.DataFrame, curves: pd.DataFrame, folder: Path) -> None:
    """Draws the validation metric by epoch with all labels, a panel per task; nothing without the runs.

    Args:
        chosen: The runs that the tables are of, a row for each time regime.
        curves: All that runs logged, with their rows in the table of results.
        folder: Where the files go.
    """
    if curves.empty:
        return
    runs = chosen[chosen["start"] != "baseline"].drop_duplicates("run")
    runs = runs[runs["labels"] == runs["labels"].max()]
    points = runs.assign(metric="val/" + runs["metric"]).merge(curves, on=["run", "metric"])
    points["x"] = points.sort_values(["epoch", "step"]).groupby("run").cumcount() + 1
    figure, panels = _panels(points, ["database", "task", "metric"], 4.2, 3.4)
    for axis, (database, task, metric), part in panels:
        _lines(axis, part, ["network", "start"], _look_of_sides(part), band=True)
        axis.set(title=f"{database}, {task}", xlabel="epoch", ylabel=f"validation {metric.removeprefix('val/')}")
    _legend(figure)
    save(figure, folder, "learning_curves")


def plot_label_efficiency(chosen: pd.DataFrame, folder: Path) -> None:
    """Draws the test metric over the share of the labels, a panel per task and regime; nothing for one share."""
    if chosen["labels"].nunique() < 2:
        return
    points = chosen.assign(x=100 * chosen["labels"], value=chosen["test"])
    figure, panels = _panels(points, ["database", "task", "regime", "metric"], 4.2, 3.4)
    for axis, (database, task, regime, metric), part in panels:
        _lines(axis, part, ["network", "start"], _look_of_sides(part), capsize=3, marker="o")
        axis.set(title=f"{database}, {task}, {regime}", xlabel="labels in %", ylabel=f"test {metric}", xscale="log")
        shares = sorted(part["x"].unique())
        axis.set_xticks(shares, [f"{share:g}" for share in shares])
        axis.minorticks_off()
    _legend(figure)
    save(figure, folder, "label_efficiency")


def plot_sides(chosen: pd.DataFrame, folder: Path) -> None:
    """Draws the test metric with all labels, mean and deviation of every side, a panel per task and regime."""
    chosen = chosen[chosen["labels"] == chosen["labels"].max()]
    height = 1.0 + 0.34 * len(chosen.groupby(["network", "start"]))
    figure, panels = _panels(chosen, ["database", "task", "regime", "metric"], 4.6, height, columns=2)
    for axis, (database, task, regime, metric), part in panels:
        points = part.groupby(["network", "start"], sort=False)["test"].agg(["mean", "std"]).fillna(0)
        starts = points.index.get_level_values("start")
        for place, (start, mean, std) in enumerate(zip(starts, points["mean"], points["std"], strict=True)):
            axis.errorbar(mean, place, xerr=std, fmt="o", color=COLOURS.get(start, OTHER), capsize=3)
            axis.annotate(f"{mean:.3f}", (mean, place), (0, 5), textcoords="offset points", ha="center", fontsize=7)
        names = [str(network) if start == "baseline" else f"{network}, {start}" for network, start in points.index]
        axis.set_yticks(range(len(names)), names, fontsize=8)
        axis.set_ylim(len(names) - 0.5, -0.7)
        axis.grid(axis="x", alpha=0.3)
        axis.locator_params(axis="x", nbins=4)  # four digits of each fit side by side
        axis.set(title=f"{database}, {task}, {regime}", xlabel=f"test {metric}")
    figure.tight_layout()
    save(figure, folder, "sides")


def plot_experiments(table: pd.DataFrame, curves: pd.DataFrame, study: Study, folder: Path) -> None:
    """Draws the plots that a study names, with published values as dotted lines or crosses.

    Args:
        table: The results of experiments.
        curves: All that runs logged, with their rows in the table of results.
        study: The study.
        folder: Where the files go.
    """
    experiments = study.experiments
    for plot in study.plots:
        steps = plot.x == "steps"
        if steps and not curves.empty:
            points = curves[curves["metric"].isin(plot.metrics)].merge(
                table["experiment"], left_on="run", right_index=True
            )
            points["x"] = points["step"] + 1
        elif steps:
            continue  # the runs are not at hand
        else:
            tested = [name for name in plot.metrics if name in table]
            points = table.melt("experiment", tested, "metric", ignore_index=False).sort_index(kind="stable")
            points["x"] = [float(experiments[name].x or "nan") for name in points["experiment"]]
            points = points.dropna()
        if points.empty:
            continue
        for key in ("panel", "line"):
            points[key] = [getattr(experiments[name], key) for name in points["experiment"]]
        points["line"] = points["line"].where(points["line"] != "", points["experiment"] if steps else "")
        figure, panels = _panels(points, ["panel"], 4.6, 3.8)
        for axis, (title,), part in panels:
            _experiment_panel(axis, part, plot, study)
            axis.set(title=str(title), xlabel=plot.x, ylabel=plot.y or plot.metrics[0])
            axis.set_xscale("log" if "x" in plot.log else "linear")
            axis.set_yscale("log" if "y" in plot.log else "linear")
            if "x" in plot.log and not steps:  # a mark for each value, and none between that would overlap
                values = sorted(part["x"].unique())
                axis.set_xticks(values, [f"{value:,.10g}" for value in values])
                axis.set_xticks([], minor=True)
            axis.legend(fontsize=7)
            axis.grid(alpha=0.3)
        figure.tight_layout()
        save(figure, folder, plot.name)


def _experiment_panel(axis: Axes, part: pd.DataFrame, plot: Plot, study: Study) -> None:
    """Draws a line for each line and metric, the metrics in different styles, and what was published."""
    colours = {line: f"C{i % 10}" for i, line in enumerate(part["line"].unique())}

    def look(side: tuple) -> dict[str, Any]:
        line, metric = side
        place = plot.metrics.index(metric)
        names = [line] * bool(line) + [_readable(metric)] * (len(plot.metrics) > 1 or not line)
        colour = colours[line] if len(colours) > 1 else f"C{place % 10}"
        return {"color": colour, "linestyle": STYLES[place % len(STYLES)], "label": ", ".join(names)}

    marker = "" if plot.x == "steps" else "o"
    _lines(axis, part, ["line", "metric"], look, capsize=2, linewidth=1.2, marker=marker, markersize=3)
    published = [entry for entry in study.published if entry.get("experiment") in set(part["experiment"])]
    for entry in published:
        spec = study.experiments[entry["experiment"]]
        colour = colours.get(spec.line or entry["experiment"], "black") if len(colours) > 1 else "black"
        if plot.x == "steps":
            axis.axhline(entry["value"], color=colour, linestyle=":", linewidth=1)
        elif spec.x:
            axis.plot(float(spec.x), entry["value"], "x", color=colour)
    if published:
        mark = ":" if plot.x == "steps" else "x"
        axis.plot([], [], mark, color="black", label=f"published: {published[0]['system']}")


def _readable(metric: str) -> str:
    return metric.removeprefix("test/").removeprefix("val/").replace("/", ", ").replace("_", " ")


def _panels(
    points: pd.DataFrame, keys: Sequence[str], width: float, height: float, columns: int = 3
) -> tuple[Figure, Iterator[tuple[Axes, tuple, pd.DataFrame]]]:
    """Returns a figure and its panels: the axes, the values of the keys, and the points with these values."""
    parts = list(points.groupby(list(keys), sort=False))
    figure, axes = panels_of(len(parts), width, height, columns)
    return figure, ((axis, tuple(values), part) for axis, (values, part) in zip(axes, parts, strict=True))


def _lines(
    axis: Axes,
    points: pd.DataFrame,
    keys: Sequence[str],
    look: Callable[[tuple], Mapping[str, Any]],
    band: bool = False,
    **common: Any,
) -> None:
    """Draws a line for each combination of keys: the mean of ``value`` by ``x``, with deviations as bars or a band."""
    for side, part in points.groupby(list(keys), sort=False):
        by_x = part.groupby("x")["value"].agg(["mean", "std"]).fillna(0)
        own = dict(look(tuple(side)))
        if not band:
            axis.errorbar(by_x.index, by_x["mean"], by_x["std"], **own, **common)
            continue
        axis.plot(by_x.index, by_x["mean"], **own, **common)
        low, high = by_x["mean"] - by_x["std"], by_x["mean"] + by_x["std"]
        axis.fill_between(by_x.index, low, high, color=own["color"], alpha=0.12, linewidth=0)


def _look_of_sides(part: pd.DataFrame) -> Callable[[tuple], dict[str, Any]]:
    """Returns the look of a network and its way to start: a style for each network of a panel, a colour per start."""
    networks = list(part["network"].unique())
    return lambda side: {
        "color": COLOURS.get(side[1], OTHER),
        "linestyle": STYLES[networks.index(side[0]) % len(STYLES)],
        "label": f"{side[0]}, {side[1]}",
    }


def _legend(figure: Figure) -> None:
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="upper center", ncols=min(4, len(labels)), bbox_to_anchor=(0.5, 0.0))
    figure.tight_layout()
