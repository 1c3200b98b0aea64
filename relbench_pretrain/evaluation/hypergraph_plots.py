"""Plots of a hypergraph beside the one that was recovered."""

from __future__ import annotations

from pathlib import Path

import networkx as nx
import numpy as np
from matplotlib.axes import Axes

from relbench_pretrain.evaluation.plots import panels_of, save
from relbench_pretrain.hypergraph.hypergraph import Hypergraph

LARGEST_DRAWN = 30
"""Graphs with more nodes are drawn as matrices."""


def plot_recovery(truth: Hypergraph, found: Hypergraph, path: Path, title: str) -> list[Path]:
    """Plots the true hypergraph, the recovered one, and the weights of one over those of the other.

    Args:
        truth: The true hypergraph.
        found: The recovered one, over the same nodes.
        path: The files without their suffix.
        title: The title of the third panel.

    Returns:
        The files, PNG and SVG.
    """
    figure, (left, middle, right) = panels_of(3, 4.4, 4.2)
    plot = _links if truth.is_graph and found.is_graph and truth.num_nodes <= LARGEST_DRAWN else _matrix
    for axis, graph, other, name in ((left, truth, found, "truth"), (middle, found, truth, "recovered")):
        plot(axis, graph, other)
        axis.set(title=f"{name}, {graph.num_edges} hyperedges")
    weights = np.stack([truth.weights, found.weights_of(truth.edges)])
    extra = found.weights[truth.weights_of(found.edges) == 0]
    many = truth.num_edges > 2_000  # points that would make a large file
    right.scatter(weights[0], weights[1], s=6, linewidths=0, rasterized=many)
    right.scatter(np.zeros(len(extra)), extra, s=6, color="tab:red", linewidths=0, rasterized=many)
    top = float(max(weights.max(), extra.max(initial=0)))
    right.plot([0, top], [0, top], color="grey", linewidth=0.8)
    right.set(title=title, xlabel="true weight", ylabel="recovered weight")
    right.locator_params(nbins=5)
    figure.tight_layout()
    save(figure, path.parent, path.name)
    return [path.with_name(f"{path.name}.{suffix}") for suffix in ("png", "svg")]


def _links(axis: Axes, graph: Hypergraph, other: Hypergraph) -> None:
    """Draws nodes and edges, in the same places for both; red is what the other does not have."""
    both = nx.Graph()
    both.add_nodes_from(range(graph.num_nodes))
    both.add_edges_from(sorted({tuple(edge) for g in (graph, other) for edge in g.edges.tolist()}))
    places = nx.spring_layout(both, seed=0, iterations=300)
    edges = [tuple(edge) for edge in graph.edges.tolist()]
    width = 0.5 + 3 * graph.weights / graph.weights.max()
    colour = np.where(other.weights_of(graph.edges) > 0, "tab:blue", "tab:red").tolist()
    nx.draw_networkx_edges(both, places, edges, width=width, edge_color=colour, alpha=0.7, ax=axis)
    nx.draw_networkx_nodes(both, places, node_size=60, node_color="#dddddd", edgecolors="grey", ax=axis)
    if graph.num_nodes <= 20:
        nx.draw_networkx_labels(both, places, dict(enumerate(graph.nodes)), font_size=6, ax=axis)
    axis.set_axis_off()


def _matrix(axis: Axes, graph: Hypergraph, other: Hypergraph) -> None:
    """Draws how much weight each pair of nodes has in common."""
    shared = np.zeros((graph.num_nodes, graph.num_nodes))
    for i in range(graph.largest_arity):
        for j in range(graph.largest_arity):
            there = (graph.edges[:, i] >= 0) & (graph.edges[:, j] >= 0) & (i != j)
            np.add.at(shared, (graph.edges[there, i], graph.edges[there, j]), graph.weights[there])
    axis.imshow(shared, cmap="magma_r", interpolation="nearest")
    axis.set(xlabel="node", ylabel="node")
