"""Draws the picture of the README and the first page: `python docs/overview.py` writes `docs/static/overview.png`.

Data, pretraining, and what it is worth: the error on rel-f1's driver-position by the share of the labels, from
`results/rel-f1-labels`.
"""

from __future__ import annotations

from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.patches import Ellipse, FancyArrowPatch, FancyBboxPatch, Rectangle

ROOT = Path(__file__).parents[1]
BLUE, ORANGE, GREEN, GREY = "#3366aa", "#dd7722", "#338855", "#888888"
LINES = {
    ("scratch", False): ("from scratch", GREY, "--o"),
    ("frozen", True): ("pretrained, kept frozen", BLUE, "-o"),
    ("fine_tuned", True): ("pretrained, fine-tuned", ORANGE, "-o"),
}


def draw_tables(ax: Axes, x: float, y: float) -> None:
    """Three tables whose rows point at each other."""
    places = [(x, y), (x + 1.25, y + 0.42), (x + 1.25, y - 0.62)]
    for left, bottom in places:
        for row in range(4):
            colour = BLUE if row == 3 else "white"
            ax.add_patch(Rectangle((left, bottom + row * 0.16), 0.8, 0.16, facecolor=colour, edgecolor=BLUE, lw=1))
        ax.plot([left + 0.27] * 2, [bottom, bottom + 0.64], color=BLUE, lw=0.8)
    for (left, bottom), row in ((places[1], 0.4), (places[1], 0.08), (places[2], 0.4)):
        arrow = FancyArrowPatch(
            (left, bottom + row), (x + 0.8, y + 0.24), arrowstyle="-|>", mutation_scale=9, color=GREY, lw=1
        )
        ax.add_patch(arrow)


def draw_triples(ax: Axes, x: float, y: float) -> None:
    """Entities, their relations, and one relation that only a sentence tells."""
    nodes = np.array([[0, 0.2], [0.8, 0.7], [1.1, 0.0], [1.9, 0.5]]) + np.array([x, y])
    for a, b, style in ((0, 1, "-"), (0, 2, "-"), (1, 3, "-"), (2, 3, ":")):
        line = FancyArrowPatch(
            nodes[a], nodes[b], arrowstyle="-|>", mutation_scale=10, color=GREEN, ls=style, lw=1.4, shrinkA=5, shrinkB=5
        )
        ax.add_patch(line)
    ax.scatter(*nodes.T, s=90, color=GREEN, zorder=3)
    ax.text(x + 1.68, y + 0.02, "“…”", color=GREEN, fontsize=10)


def draw_hyperedges(ax: Axes, x: float, y: float) -> None:
    """Nodes in weighted hyperedges."""
    nodes = np.array([[0.15, 0.25], [0.6, 0.6], [0.75, 0.1], [1.3, 0.45], [1.8, 0.2]]) + np.array([x, y])
    for cx, cy, width, height, angle, weight in (
        (0.5, 0.32, 1.15, 0.85, 10, 2.6),
        (1.02, 0.35, 1.15, 0.6, 10, 1.2),
        (1.55, 0.32, 0.95, 0.4, -27, 1.8),
    ):
        ellipse = Ellipse(
            (x + cx, y + cy), width, height, angle=angle, facecolor=ORANGE, alpha=0.18, edgecolor=None, lw=weight
        )
        ax.add_patch(ellipse)
        outline = Ellipse((x + cx, y + cy), width, height, angle=angle, fill=False, edgecolor=ORANGE, lw=weight)
        ax.add_patch(outline)
    ax.scatter(*nodes.T, s=45, color=ORANGE, zorder=3)


def draw_method(ax: Axes) -> None:
    """From the three kinds of data to one network and what it is compared with."""
    ax.set_xlim(-0.1, 8.6)
    ax.set_ylim(-0.5, 5.6)
    ax.axis("off")
    for y, words, draw in (
        (4.45, "databases", draw_tables),
        (2.2, "knowledge graphs", draw_triples),
        (0.35, "hypergraphs", draw_hyperedges),
    ):
        draw(ax, 0.1, y)
        ax.text(1.1, y - (0.85 if draw is draw_tables else 0.4), words, ha="center", va="top", fontsize=11)
        start = (2.5, y + 0.25)
        ax.add_patch(FancyArrowPatch(start, (3.45, 2.6), arrowstyle="-|>", mutation_scale=12, color=GREY, lw=1.2))
    box = FancyBboxPatch((3.6, 1.9), 1.75, 1.4, boxstyle="round,pad=0.08", facecolor="#eef2f8", edgecolor=BLUE, lw=1.5)
    ax.add_patch(box)
    ax.text(4.47, 2.6, "pretrain\nwithout\nlabels", ha="center", va="center", fontsize=12, color=BLUE)
    for y, words in ((4.3, "fine-tune"), (3.17, "keep frozen"), (2.03, "zero-shot"), (0.9, "read out, align")):
        ax.add_patch(FancyArrowPatch((5.5, 2.6), (6.3, y), arrowstyle="-|>", mutation_scale=12, color=GREY, lw=1.2))
        ax.text(6.4, y, words, ha="left", va="center", fontsize=12)


def draw_result(ax: Axes) -> None:
    """The error by the share of the labels, mean and deviation over seeds."""
    table = pd.read_csv(ROOT / "results" / "rel-f1-labels" / "results.csv")
    table = table[(table.task == "driver-position") & (table.regime == "rolling")]
    for (start, forecast), (label, colour, style) in LINES.items():
        rows = table[(table.start == start) & (table.network.str.contains("forecast") == forecast)]
        by_share = rows.groupby("labels").test.agg(["mean", "std"])
        x = by_share.index * 100
        ax.plot(x, by_share["mean"], style, color=colour, label=label)
        low, high = by_share["mean"] - by_share["std"], by_share["mean"] + by_share["std"]
        ax.fill_between(x, low, high, color=colour, alpha=0.12, lw=0)
    ax.set_xscale("log")
    ax.set_xticks([1, 10, 100], ["1 %", "10 %", "100 %"])
    ax.minorticks_off()
    ax.set_xlabel("share of the labels")
    ax.set_title("rel-f1, driver-position: test error (rolling)", fontsize=11)
    ax.legend(frameon=False)
    ax.spines[["top", "right"]].set_visible(False)


def main() -> None:
    """Writes the picture."""
    mpl.use("Agg")
    fig, (left, right) = plt.subplots(1, 2, figsize=(11, 3.9), width_ratios=[1.35, 1], layout="constrained")
    draw_method(left)
    draw_result(right)
    fig.savefig(ROOT / "docs" / "static" / "overview.png", dpi=130)


if __name__ == "__main__":
    main()
