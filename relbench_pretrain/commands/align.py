"""Entity alignment of two hypergraphs: a matching, and its accuracy against labelled pairs."""

from __future__ import annotations

import csv
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from pathlib import Path

import numpy as np

from relbench_pretrain.evaluation.tables import markdown
from relbench_pretrain.hypergraph.alignment.automorphisms import agreement
from relbench_pretrain.hypergraph.alignment.files import (
    HEADER,
    Side,
    pairs_of_names,
    read_pairs,
    read_side,
    true_hypergraph,
)
from relbench_pretrain.hypergraph.alignment.matchers import FAQ
from relbench_pretrain.hypergraph.alignment.overlap import Overlap
from relbench_pretrain.hypergraph.alignment.problem import Matcher
from relbench_pretrain.hypergraph.hypergraph import Hypergraph, HypergraphError


@dataclass(frozen=True)
class Alignment:
    """A matching and how it was found.

    Args:
        order: For every node of the first which of the second, −1 for none ``(first.num_nodes,)``.
        pairs: The known pairs that the matcher was given ``(num_pairs, 2)``.
        distance: d(ϕ(H1), H2), 0 to 2.
        seconds: How long it took.
    """

    order: np.ndarray
    pairs: np.ndarray
    distance: float
    seconds: float


def align(
    first: str,
    second: str,
    pairs: str | None = None,
    truth: str | None = None,
    truth_hypergraph: str | None = None,
    shares: list[float] = [0.0, 0.01, 0.02, 0.05, 0.1],  # noqa: B006
    matcher: Matcher | None = None,
    seed: int = 0,
    output_dir: str | None = None,
) -> None:
    """Finds which node of one hypergraph is which of another, and scores that where the truth is known.

    Accuracies count a node as right also where an automorphism of the true hypergraph, one that leaves the labelled
    nodes where they are, takes its partner to the true one. Runs tell the truth by ``names.json`` and ``truth.json``
    beside their ``recovered.json``.

    Args:
        first: A hypergraph's file (.json or .parquet), or the folder of a run with a ``recovered.json`` in it.
        second: Another one, of other names.
        pairs: A file of known pairs, a name of the first and one of the second in each line, apart by a tab, or by
            a comma in ``.csv``.
        truth: A file like it of all true pairs, to score by and to draw labelled pairs from.
        truth_hypergraph: A file of the true hypergraph, of the first one's names, for automorphisms.
        shares: Shares of the first one's nodes of which the true partner is labelled, beside the known pairs;
            rounded up to whole nodes, the smaller among the larger. Without the truth there is nothing to label.
        matcher: How to match; FAQ by default.
        seed: Which pairs are labelled.
        output_dir: Where ``alignment.tsv``, the matching of the first share, and ``metrics.json`` are written;
            nowhere by default.

    Raises:
        HypergraphError: If a hypergraph or a pair cannot be read, or a share is not one.
    """
    sides = read_side(first), read_side(second)
    graphs = sides[0].graph, sides[1].graph
    known = np.zeros((0, 2), dtype=np.int64) if pairs is None else read_pairs(pairs, *graphs)
    true_pairs = pairs_of_names(*sides) if truth is None else read_pairs(truth, *graphs)
    hypergraph = sides[0].truth if truth_hypergraph is None else true_hypergraph(truth_hypergraph, graphs[0])
    matcher = FAQ() if matcher is None else matcher
    if not shares or not all(0 <= share <= 1 for share in shares):
        raise HypergraphError(f"shares of labelled nodes are from 0 to 1, not {shares}")
    found: dict[float, Alignment] = {}
    for share in shares if true_pairs is not None else [0.0]:
        labelled = known if true_pairs is None else _label(known, true_pairs, share, graphs[0].num_nodes, seed)
        found[share] = _match(matcher, *graphs, labelled)
    metrics: dict[str, float | str] = {}
    for share, alignment in found.items():
        scores = {} if true_pairs is None else score(alignment.order, alignment.pairs, true_pairs, hypergraph)
        metrics |= _metrics(f"pairs_{share:g}", alignment, scores)
    _print(sides, metrics, list(found))
    if output_dir is not None:
        _write(Path(output_dir), graphs, next(iter(found.values())), metrics)


def score(
    order: np.ndarray, labelled: np.ndarray, truth: np.ndarray, hypergraph: Hypergraph | None
) -> dict[str, float | str]:
    """Scores a matching up to the automorphisms of the true hypergraph that leave labelled nodes where they are.

    Args:
        order: For every node of the first which of the second, −1 for none ``(num_nodes,)``.
        labelled: Known pairs ``(num_labelled, 2)``.
        truth: True pairs ``(num_pairs, 2)``; nodes without one are not counted.
        hypergraph: The true hypergraph in the first one's nodes; without it nodes have to be right by name.

    Returns:
        ``accuracy`` over all nodes; ``accuracy_unlabelled`` over those that are not labelled, 1 if all are;
        ``accuracy_at_most``, larger than the first only where the best automorphism was not found; and
        ``automorphisms``, how they were treated, see
        :class:`~relbench_pretrain.hypergraph.alignment.automorphisms.Agreement`, ``unknown`` without the hypergraph.
    """
    counted = np.zeros(len(order), dtype=bool)
    counted[truth[:, 0]] = True
    moved = np.full(len(order), -1)
    back = dict(zip(truth[:, 1].tolist(), truth[:, 0].tolist(), strict=True))
    moved[counted] = [back.get(partner, -1) for partner in order[counted].tolist()]
    right, most, method = moved == np.arange(len(order)), int((moved == np.arange(len(order))).sum()), "unknown"
    if hypergraph is not None:
        found = agreement(hypergraph, moved, labelled[:, 0])
        right, most, method = found.right, found.most, found.method
    unlabelled = counted & ~np.isin(np.arange(len(order)), labelled[:, 0])
    return {
        "accuracy": float(right[counted].mean()),
        "accuracy_unlabelled": float(right[unlabelled].mean()) if unlabelled.any() else 1.0,
        "accuracy_at_most": most / int(counted.sum()),
        "automorphisms": method,
    }


def _match(matcher: Matcher, first: Hypergraph, second: Hypergraph, pairs: np.ndarray) -> Alignment:
    start = time.perf_counter()
    order = matcher.match(first, second, pairs)
    seconds = time.perf_counter() - start
    overlap = Overlap(first, second)
    return Alignment(order, pairs, overlap.distance(overlap.permutation(order)), seconds)


def _label(known: np.ndarray, truth: np.ndarray, share: float, num_nodes: int, seed: int) -> np.ndarray:
    """Adds true pairs, drawn at random, to the known ones ``(num_labelled, 2)``."""
    drawn = np.random.default_rng(seed).permutation(truth)[: ceil(share * num_nodes - 1e-9)]
    new = ~(np.isin(drawn[:, 0], known[:, 0]) | np.isin(drawn[:, 1], known[:, 1]))
    return np.concatenate([known, drawn[new]])


def _metrics(name: str, alignment: Alignment, scores: dict[str, float | str]) -> dict[str, float | str]:
    measured: dict[str, float | str] = {
        "pairs": len(alignment.pairs),
        "dissimilarity": alignment.distance,
        "seconds": alignment.seconds,
    }
    return {f"test/{name}/{key}": value for key, value in (scores | measured).items()}


def _print(sides: Sequence[Side], metrics: dict[str, float | str], shares: Sequence[float]) -> None:
    for side in sides:
        print(f"{side.path}: {side.graph.num_nodes} nodes, {side.graph.num_edges} hyperedges")
    columns = [key.rpartition("/")[2] for key in metrics if key.startswith(f"test/pairs_{shares[0]:g}/")]
    rows = [[f"{share:g}", *(_cell(metrics[f"test/pairs_{share:g}/{c}"]) for c in columns)] for share in shares]
    print(markdown(["labelled", *columns], rows))


def _cell(value: float | str) -> str:
    return f"{value:.3f}" if isinstance(value, float) else str(value)


def _write(
    folder: Path, graphs: tuple[Hypergraph, Hypergraph], alignment: Alignment, metrics: dict[str, float | str]
) -> None:
    first, second = graphs
    overlap = Overlap(first, second)
    order = overlap.permutation(alignment.order)
    costs, margins = overlap.node_costs(order), overlap.margins(order)
    known = set(alignment.pairs[:, 0].tolist())
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "alignment.tsv").open("w", newline="") as file:
        writer = csv.writer(file, delimiter="\t", lineterminator="\n")
        writer.writerow([*HEADER, "cost", "margin", "known"])
        for i, partner in enumerate(alignment.order.tolist()):
            name = second.nodes[partner] if partner >= 0 else ""
            writer.writerow([first.nodes[i], name, f"{costs[i]:.6f}", f"{margins[i]:.6f}", int(i in known)])
    (folder / "metrics.json").write_text(json.dumps(metrics, indent=1) + "\n")
    print(f"matching: {folder / 'alignment.tsv'}")
