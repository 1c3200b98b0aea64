"""Files of an alignment: hypergraphs, folders of runs, pairs of names, and the matching that is found."""

from __future__ import annotations

import csv
import json
from dataclasses import dataclass
from math import ceil
from pathlib import Path

import numpy as np

from relbench_pretrain.hypergraph.alignment.matchers import Alignment
from relbench_pretrain.hypergraph.alignment.overlap import Overlap
from relbench_pretrain.hypergraph.conversion import read_hypergraph
from relbench_pretrain.hypergraph.hypergraph import Hypergraph, HypergraphError

RECOVERED, TRUTH, NAMES = "recovered.json", "truth.json", "names.json"
HEADER = ["first", "second"]


@dataclass(frozen=True)
class Side:
    """One of two hypergraphs to align.

    Args:
        graph: The hypergraph.
        path: Its file.
        truth: The true one over the same nodes, in their order, where it is known.
        names: What each node is in truth, where that is known, by its name.
    """

    graph: Hypergraph
    path: Path
    truth: Hypergraph | None = None
    names: dict[str, str] | None = None


def read_side(path: str | Path) -> Side:
    """Reads a hypergraph's file, or the newest ``recovered.json`` in the folder of a run or below.

    Beside that file, or above it within the folder, may lie ``truth.json``, the true hypergraph over the same nodes,
    and ``names.json``, an object that gives for a node's name what it is in truth.

    Args:
        path: A ``.json`` or ``.parquet`` file, or a folder.

    Raises:
        HypergraphError: If there is no such file, no recovered hypergraph in the folder, or one cannot be read.
    """
    folder = Path(path)
    if not folder.is_dir():
        return Side(read_hypergraph(folder), folder)
    found = max(folder.rglob(RECOVERED), key=lambda file: file.stat().st_mtime, default=None)
    if found is None:
        raise HypergraphError(f"there is no '{RECOVERED}' in '{folder}' or below; name a hypergraph's file instead")
    graph = read_hypergraph(found)
    truth, names = (_beside(found, folder, name) for name in (TRUTH, NAMES))
    return Side(
        graph,
        found,
        None if truth is None else true_hypergraph(truth, graph),
        None if names is None else _read_names(names, graph),
    )


def true_hypergraph(path: str | Path, graph: Hypergraph) -> Hypergraph:
    """Reads a true hypergraph, and puts its nodes in the order of a recovered one.

    Raises:
        HypergraphError: If it cannot be read, or has other nodes.
    """
    truth = read_hypergraph(path)
    if set(truth.nodes) != set(graph.nodes):
        other = sorted(set(truth.nodes) ^ set(graph.nodes))[0]
        raise HypergraphError(f"'{path}' has other nodes than the recovered hypergraph: only one of them has '{other}'")
    place = {name: i for i, name in enumerate(truth.nodes)}
    return truth.renamed(np.array([place[name] for name in graph.nodes]))


def read_pairs(path: str | Path, first: Hypergraph, second: Hypergraph) -> np.ndarray:
    """Reads pairs of nodes by name: two columns, with commas between them in ``.csv`` and tabs elsewhere.

    Further columns are ignored, and so is a line that begins with ``first`` and ``second``, so that a written
    alignment can be read again. A node without a partner is left out.

    Returns:
        The numbers of the nodes ``(num_pairs, 2)``.

    Raises:
        HypergraphError: If there is no such file, a line has fewer columns, names no node, or one that came before.
    """
    path = Path(path)
    if not path.is_file():
        raise HypergraphError(f"there is no file '{path}' of pairs")
    numbers = [{name: i for i, name in enumerate(graph.nodes)} for graph in (first, second)]
    pairs: list[list[int]] = []
    with path.open(newline="") as file:
        for line, cells in enumerate(csv.reader(file, delimiter="," if path.suffix == ".csv" else "\t"), start=1):
            if not cells or cells[:2] == HEADER:
                continue
            if len(cells) < 2:
                raise HypergraphError(f"'{path}', line {line}: '{cells[0]}' has no partner; give two names, apart by "
                                      f"{'a comma' if path.suffix == '.csv' else 'a tab'}")  # fmt: skip
            if cells[1] == "":
                continue
            for name, known, which in zip(cells, numbers, HEADER, strict=False):
                if name not in known:
                    raise HypergraphError(f"'{path}', line {line}: the {which} hypergraph has no node '{name}'")
            pairs.append([known[name] for name, known in zip(cells, numbers, strict=False)])
    return _once(np.array(pairs, dtype=np.int64).reshape(-1, 2), str(path), first, second)


def pairs_of_names(first: Side, second: Side) -> np.ndarray | None:
    """Returns the pairs of nodes that are the same in truth ``(num_pairs, 2)``; None where that is not known."""
    if first.names is None or second.names is None:
        return None
    of_second = {name: i for i, node in enumerate(second.graph.nodes) if (name := second.names.get(node))}
    rows = [(i, of_second.get(first.names.get(node, ""))) for i, node in enumerate(first.graph.nodes)]
    pairs = np.array([row for row in rows if row[1] is not None], dtype=np.int64).reshape(-1, 2)
    if not len(pairs):
        raise HypergraphError(f"no node of '{first.path}' is in truth, by '{NAMES}', one of '{second.path}'")
    return _once(pairs, NAMES, first.graph, second.graph)


def label_pairs(known: np.ndarray, truth: np.ndarray, share: float, num_nodes: int, seed: int) -> np.ndarray:
    """Labels some nodes: adds true pairs, drawn at random, to the known ones.

    Args:
        known: Known pairs ``(num_known, 2)``.
        truth: True pairs ``(num_pairs, 2)``.
        share: The share of the first hypergraph's nodes to label, rounded up to whole nodes.
        num_nodes: How many nodes it has.
        seed: Which pairs are drawn; those of a smaller share are among those of a larger one.

    Returns:
        ``(num_labelled, 2)``.
    """
    drawn = np.random.default_rng(seed).permutation(truth)[: ceil(share * num_nodes - 1e-9)]
    new = ~(np.isin(drawn[:, 0], known[:, 0]) | np.isin(drawn[:, 1], known[:, 1]))
    return np.concatenate([known, drawn[new]])


def write_alignment(path: Path, first: Hypergraph, second: Hypergraph, alignment: Alignment) -> None:
    """Writes a matching as tab-separated lines, a line for each node of the first hypergraph.

    Columns: the node, its partner (empty for none), the share of the weight at the node that both do not have in
    common, by how much the distance grows at least when it swaps its partner, and whether the pair was known.
    """
    overlap = Overlap(first, second)
    order = overlap.permutation(alignment.order)
    costs, margins = overlap.node_costs(order), overlap.margins(order)
    known = set(alignment.pairs[:, 0].tolist())
    with path.open("w", newline="") as file:
        writer = csv.writer(file, delimiter="\t", lineterminator="\n")
        writer.writerow([*HEADER, "cost", "margin", "known"])
        for i, partner in enumerate(alignment.order.tolist()):
            name = second.nodes[partner] if partner >= 0 else ""
            writer.writerow([first.nodes[i], name, f"{costs[i]:.6f}", f"{margins[i]:.6f}", int(i in known)])


def _once(pairs: np.ndarray, source: str, first: Hypergraph, second: Hypergraph) -> np.ndarray:
    for graph, column in zip((first, second), pairs.T, strict=True):
        numbers, times = np.unique(column, return_counts=True)
        if (times > 1).any():
            raise HypergraphError(f"'{source}' pairs '{graph.nodes[numbers[times > 1][0]]}' more than once")
    return pairs


def _beside(file: Path, folder: Path, name: str) -> Path | None:
    """Finds the nearest file of a name beside a file or above it, not above the folder."""
    for parent in file.parents:
        if (parent / name).is_file():
            return parent / name
        if parent == folder:
            return None
    return None


def _read_names(path: Path, graph: Hypergraph) -> dict[str, str]:
    try:
        names = json.loads(path.read_text())
        found = {str(node): str(name) for node, name in names.items()}
    except (json.JSONDecodeError, AttributeError) as error:
        raise HypergraphError(f"'{path}' is no object of names by node: {error}") from error
    if missing := set(found) - set(graph.nodes):
        raise HypergraphError(f"'{path}' names node '{sorted(missing)[0]}', which the hypergraph does not have")
    if len(set(found.values())) < len(found):
        twice = next(name for name in found.values() if list(found.values()).count(name) > 1)
        raise HypergraphError(f"'{path}' gives several nodes the name '{twice}'")
    return found
