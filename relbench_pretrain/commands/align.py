"""The command ``align``: matches the nodes of two hypergraphs, and scores the matching against labelled pairs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from relbench_pretrain.evaluation.tables import markdown
from relbench_pretrain.hypergraph.alignment.accuracy import score
from relbench_pretrain.hypergraph.alignment.files import (
    label_pairs,
    pairs_of_names,
    read_pairs,
    read_side,
    true_hypergraph,
    write_alignment,
)
from relbench_pretrain.hypergraph.alignment.matchers import FAQ, Alignment, Matcher
from relbench_pretrain.hypergraph.hypergraph import HypergraphError
from relbench_pretrain.progress import work


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
    """Finds which node of one hypergraph is which of another, and scores the matching where the truth is known.

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
    for side in sides:
        print(f"{side.path}: {side.graph.num_nodes} nodes, {side.graph.num_edges} hyperedges")
    found: dict[float, Alignment] = {}
    metrics: dict[str, float | str] = {}
    for share in shares if true_pairs is not None else [0.0]:
        labelled = known if true_pairs is None else label_pairs(known, true_pairs, share, graphs[0].num_nodes, seed)
        print(f"matching with {len(labelled)} known pairs", flush=True)
        with work(f"matching {graphs[0].num_nodes} nodes with {len(labelled)} known pairs"):
            found[share] = alignment = matcher.align(*graphs, labelled)
            scores = {} if true_pairs is None else score(alignment.order, labelled, true_pairs, hypergraph)
        metrics |= _metrics(f"pairs_{share:g}", alignment, scores)
    print(_table(metrics, list(found)))
    if output_dir is not None:
        folder = Path(output_dir)
        folder.mkdir(parents=True, exist_ok=True)
        write_alignment(folder / "alignment.tsv", *graphs, next(iter(found.values())))
        (folder / "metrics.json").write_text(json.dumps(metrics, indent=1) + "\n")
        print(f"matching: {folder / 'alignment.tsv'}")


def _metrics(name: str, alignment: Alignment, scores: dict[str, float | str]) -> dict[str, float | str]:
    measured: dict[str, float | str] = {
        "pairs": len(alignment.pairs),
        "dissimilarity": alignment.distance,
        "seconds": alignment.seconds,
    }
    return {f"test/{name}/{key}": value for key, value in (scores | measured).items()}


def _table(metrics: dict[str, float | str], shares: Sequence[float]) -> str:
    """Returns a row of metrics for each share of labelled nodes, in Markdown."""
    columns = [key.rpartition("/")[2] for key in metrics if key.startswith(f"test/pairs_{shares[0]:g}/")]
    rows = [[f"{share:g}", *(_cell(metrics[f"test/pairs_{share:g}/{c}"]) for c in columns)] for share in shares]
    return markdown(["labelled", *columns], rows)


def _cell(value: float | str) -> str:
    return f"{value:.3f}" if isinstance(value, float) else str(value)
