"""Plots of studies and of embeddings, as PNG and SVG."""

from __future__ import annotations

from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from sklearn.decomposition import PCA

COLOURS = {"scratch": "#7f7f7f", "random_frozen": "#bcbd22", "frozen": "#1f77b4", "fine_tuned": "#d62728"}
OTHER = "#2ca02c"
STYLES = ["-", "--", ":", "-."]


def panels_of(number: int, width: float, height: float, columns: int = 3) -> tuple[Figure, list[Axes]]:
    """Returns a figure, which needs no window, and its panels, at most three in a row."""
    columns = min(columns, number)
    rows = -(-number // columns)
    figure = Figure(figsize=(width * columns, height * rows))
    FigureCanvasAgg(figure)
    return figure, [figure.add_subplot(rows, columns, i + 1) for i in range(number)]


def save(figure: Figure, folder: Path, name: str) -> None:
    """Writes a figure as PNG and SVG."""
    for suffix in ("png", "svg"):
        # Without a date and with fixed ids the same study gives the same file.
        with matplotlib.rc_context({"svg.hashsalt": name}):
            figure.savefig(folder / f"{name}.{suffix}", bbox_inches="tight", dpi=120,
                           metadata={"Date": None} if suffix == "svg" else None)  # fmt: skip


def plot_learning_curves(curves: pd.DataFrame, folder: Path) -> None:
    """Draws the validation metric by epoch, mean and deviation over seeds, all labels, a panel per task."""
    if curves.empty:
        return
    curves = curves[curves["labels"] == curves["labels"].max()]
    panels = list(curves.groupby(["database", "task", "metric"], sort=False))
    figure, axes = panels_of(len(panels), 4.2, 3.4)
    for axis, ((database, task, metric), part) in zip(axes, panels, strict=True):
        networks = list(part["network"].unique())
        for (network, start), runs in part.groupby(["network", "start"], sort=False):
            by_epoch = runs.groupby("epoch")["value"].agg(["mean", "std"]).fillna(0)
            style = STYLES[networks.index(network) % len(STYLES)]
            colour = COLOURS.get(str(start), OTHER)
            axis.plot(by_epoch.index + 1, by_epoch["mean"], style, color=colour, label=f"{network}, {start}")
            low, high = by_epoch["mean"] - by_epoch["std"], by_epoch["mean"] + by_epoch["std"]
            axis.fill_between(by_epoch.index + 1, low, high, color=colour, alpha=0.12, linewidth=0)
        axis.set(title=f"{database}, {task}", xlabel="epoch", ylabel=f"validation {metric}")
    _legend(figure, axes[0])
    save(figure, folder, "learning_curves")


def plot_label_efficiency(chosen: pd.DataFrame, folder: Path) -> None:
    """Draws the test metric over the share of the labels, a panel per task and regime; nothing for one share."""
    if chosen["labels"].nunique() < 2:
        return
    panels = list(chosen.groupby(["database", "task", "regime", "metric"], sort=False))
    figure, axes = panels_of(len(panels), 4.2, 3.4)
    for axis, ((database, task, regime, metric), part) in zip(axes, panels, strict=True):
        networks = list(part["network"].unique())
        for (network, start), runs in part.groupby(["network", "start"], sort=False):
            by_share = runs.groupby("labels")["test"].agg(["mean", "std"]).fillna(0)
            colour = COLOURS.get(str(start), OTHER)
            axis.errorbar(
                100 * by_share.index, by_share["mean"], by_share["std"], color=colour, capsize=3,
                linestyle=STYLES[networks.index(network) % len(STYLES)], marker="o", label=f"{network}, {start}",
            )  # fmt: skip
        axis.set(title=f"{database}, {task}, {regime}", xlabel="labels in %", ylabel=f"test {metric}", xscale="log")
        shares = sorted(100 * part["labels"].unique())
        axis.set_xticks(shares, [f"{share:g}" for share in shares])
        axis.minorticks_off()
    _legend(figure, axes[0])
    save(figure, folder, "label_efficiency")


def plot_sides(chosen: pd.DataFrame, folder: Path) -> None:
    """Draws the test metric with all labels, mean and deviation of every side, a panel per task and regime."""
    if chosen.empty:
        return
    chosen = chosen[chosen["labels"] == chosen["labels"].max()]
    panels = list(chosen.groupby(["database", "task", "regime", "metric"], sort=False))
    sides = len(chosen.groupby(["network", "start"]))
    figure, axes = panels_of(len(panels), 4.6, 1.0 + 0.34 * sides, columns=2)
    for axis, ((database, task, regime, metric), part) in zip(axes, panels, strict=True):
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


def plot_embeddings(vectors: np.ndarray, colour: pd.Series | None, title: str, path: Path) -> list[Path]:
    """Draws vectors by their first two principal components and, where umap-learn is installed, by UMAP.

    Args:
        vectors: ``(num_rows, channels)``; of more than 20,000 rows an even choice is drawn.
        colour: A value per row, numbers or categories; of these the nine most frequent have a colour.
        title: The title.
        path: The files without their suffix and the name of the method.

    Returns:
        The PNG files.
    """
    chosen = np.linspace(0, len(vectors) - 1, min(len(vectors), 20_000)).astype(int)
    vectors = vectors[chosen]
    if len(vectors) < 3:
        return []
    maps = {"pca": PCA(2, random_state=0)}
    try:
        from umap import UMAP  # ten seconds to import, and an option

        maps["umap"] = UMAP(n_components=2, random_state=0)
    except ImportError:
        pass
    files = []
    for name, method in maps.items():
        points = method.fit_transform(vectors)
        figure, (axis,) = panels_of(1, 6, 5)
        _scatter(figure, axis, points, None if colour is None else colour.iloc[chosen].reset_index(drop=True))
        axis.set(title=f"{title}, {name.upper()}", xticks=[], yticks=[])
        save(figure, path.parent, f"{path.name}_{name}")
        files.append(path.with_name(f"{path.name}_{name}.png"))
    return files


def _scatter(figure: Figure, axis: Axes, points: np.ndarray, colour: pd.Series | None) -> None:
    if colour is None or pd.api.types.is_numeric_dtype(colour):
        cmap = None if colour is None else "viridis"
        drawn = axis.scatter(points[:, 0], points[:, 1], s=4, c=colour, cmap=cmap, linewidths=0)
        if colour is not None:
            figure.colorbar(drawn, label=str(colour.name))
        return
    names = colour.astype(str)
    frequent = list(names.value_counts().index[:9])
    for name in [None, *frequent]:
        these = ~names.isin(frequent) if name is None else names == name
        if these.any():
            x, y = points[these.to_numpy()].T
            grey = "#cccccc" if name is None else None  # None takes the next colour
            axis.scatter(x, y, s=4, color=grey, label="others" if name is None else name, linewidths=0)
    axis.legend(title=str(colour.name), markerscale=3, fontsize=7)


def _legend(figure: Figure, axis: Axes) -> None:
    handles, labels = axis.get_legend_handles_labels()
    figure.legend(handles, labels, loc="upper center", ncols=min(4, len(labels)), bbox_to_anchor=(0.5, 0.0))
    figure.tight_layout()
