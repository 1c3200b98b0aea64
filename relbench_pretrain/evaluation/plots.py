"""Figures without a window, as PNG and SVG, and plots of embeddings."""

from __future__ import annotations

from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure


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
    from sklearn.decomposition import PCA  # half of the time that this module would take to import

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
