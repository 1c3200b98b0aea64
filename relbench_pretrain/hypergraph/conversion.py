"""Reads and writes hypergraphs as files, and as the objects of XGI and NetworkX."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from relbench_pretrain.files import atomic_file
from relbench_pretrain.hypergraph.hypergraph import Hypergraph, HypergraphError

if TYPE_CHECKING:
    import networkx
    import xgi


def read_hypergraph(path: str | Path) -> Hypergraph:
    """Reads a hypergraph from a file.

    JSON: ``{"nodes": ["a", …], "edges": [{"nodes": ["a", "b"], "weight": 0.5}, …]}``; ``nodes`` may be left out, and
    an edge may be a plain list of names, with weight 1. Parquet: a row per hyperedge, columns ``nodes`` (list of
    names) and, if wanted, ``weight``; nodes without a hyperedge are kept in the schema's metadata.

    Args:
        path: A file that ends in ``.json`` or ``.parquet``.

    Raises:
        HypergraphError: If there is no such file, it is of another kind, or an entry is wrong.
    """
    path = Path(path)
    if not path.is_file():
        raise HypergraphError(f"there is no file '{path}'")
    if path.suffix == ".json":
        return _read_json(path)
    if path.suffix == ".parquet":
        return _read_parquet(path)
    raise HypergraphError(f"'{path}' is neither .json nor .parquet, which hypergraphs are read from")


def write_hypergraph(graph: Hypergraph, path: str | Path) -> Path:
    """Writes a hypergraph as JSON or parquet, whichever the name ends in; the file appears when it is whole.

    Args:
        graph: The hypergraph.
        path: A file that ends in ``.json`` or ``.parquet``.

    Returns:
        The file.

    Raises:
        HypergraphError: If the name ends in something else.
    """
    path = Path(path)
    if path.suffix not in (".json", ".parquet"):
        raise HypergraphError(f"'{path}' is neither .json nor .parquet, which hypergraphs are written to")
    members = list(edge_names(graph))
    if path.suffix == ".json":
        edges = [{"nodes": names, "weight": float(w)} for names, w in zip(members, graph.weights, strict=True)]
        lines = ",\n".join(json.dumps(edge, ensure_ascii=False) for edge in edges)
        nodes = json.dumps(graph.nodes, ensure_ascii=False)
        with atomic_file(path) as part:
            part.write_text(f'{{"nodes": {nodes},\n"edges": [\n{lines}\n]}}\n')
    else:
        columns = {"nodes": pa.array(members, pa.list_(pa.string())), "weight": pa.array(graph.weights)}
        table = pa.table(columns, metadata={"nodes": json.dumps(graph.nodes)})
        with atomic_file(path) as part:
            pq.write_table(table, part)
    return path


def edge_names(graph: Hypergraph) -> Iterable[list[str]]:
    """Yields the names of the nodes of each hyperedge."""
    for row in graph.edges:
        yield [graph.nodes[i] for i in row if i >= 0]


def from_names(
    edges: Iterable[Iterable[Any]], weights: Iterable[float] | None = None, nodes: Iterable[Any] | None = None
) -> Hypergraph:
    """Makes a hypergraph of hyperedges given by names.

    Args:
        edges: The names of the nodes of each hyperedge.
        weights: A weight for each; 1 by default.
        nodes: All nodes, in order; by default those that come in hyperedges, in the order in which they come.

    Raises:
        HypergraphError: If a hyperedge has a node that is not among the nodes.
    """
    rows = [[str(name) for name in edge] for edge in edges]
    names = list(dict.fromkeys(name for row in rows for name in row)) if nodes is None else [str(n) for n in nodes]
    number = {name: i for i, name in enumerate(names)}
    for place, row in enumerate(rows):
        if unknown := [name for name in row if name not in number]:
            raise HypergraphError(f"hyperedge {place} has node '{unknown[0]}', which is not among the nodes")
    numbered = [[number[name] for name in row] for row in rows]
    return Hypergraph.from_edges(names, numbered, None if weights is None else list(weights))


def from_networkx(graph: networkx.Graph, weight: str = "weight") -> Hypergraph:
    """Takes an undirected NetworkX graph; an edge without the weight attribute weighs 1.

    Raises:
        HypergraphError: If it is directed, or has an edge from a node to itself.
    """
    if graph.is_directed():
        raise HypergraphError("the graph is directed; hyperedges are sets, so take graph.to_undirected()")
    return from_names(graph.edges(), [d.get(weight, 1.0) for *_, d in graph.edges(data=True)], graph.nodes())


def to_networkx(graph: Hypergraph) -> networkx.Graph:
    """Returns a graph of nodes by name with edge attribute ``weight``; for hyperedges of two nodes.

    Raises:
        HypergraphError: If a hyperedge has other than two nodes.
    """
    import networkx

    if not graph.is_graph:
        raise HypergraphError("NetworkX has edges of two nodes only; use to_xgi for hyperedges of other arities")
    found = networkx.Graph()
    found.add_nodes_from(graph.nodes)
    found.add_weighted_edges_from((a, b, float(w)) for (a, b), w in zip(edge_names(graph), graph.weights, strict=True))
    return found


def from_xgi(hypergraph: xgi.Hypergraph, weight: str = "weight") -> Hypergraph:
    """Takes an XGI hypergraph; a hyperedge without the weight attribute weighs 1."""
    numbers = list(hypergraph.edges)
    weights = [hypergraph.edges[e].get(weight, 1.0) for e in numbers]
    return from_names([sorted(hypergraph.edges.members(e), key=str) for e in numbers], weights, hypergraph.nodes)


def to_xgi(graph: Hypergraph) -> xgi.Hypergraph:
    """Returns an XGI hypergraph of nodes by name with edge attribute ``weight``."""
    import xgi

    found = xgi.Hypergraph()
    found.add_nodes_from(graph.nodes)
    for names, weight in zip(edge_names(graph), graph.weights, strict=True):
        found.add_edge(names, weight=float(weight))
    return found


def _read_json(path: Path) -> Hypergraph:
    try:
        content = json.loads(path.read_text())
        edges = [edge["nodes"] if isinstance(edge, dict) else edge for edge in content["edges"]]
        weights = [edge.get("weight", 1.0) if isinstance(edge, dict) else 1.0 for edge in content["edges"]]
        return from_names(edges, weights, content.get("nodes"))
    except (json.JSONDecodeError, KeyError, TypeError) as error:
        raise HypergraphError(f"'{path}' is no hypergraph: {type(error).__name__} {error}") from error
    except HypergraphError as error:
        raise HypergraphError(f"'{path}': {error}") from error


def _read_parquet(path: Path) -> Hypergraph:
    try:
        table = pq.read_table(path)
        edges = table.column("nodes").to_pylist()
    except (pa.ArrowInvalid, KeyError) as error:
        raise HypergraphError(f"'{path}' is no hypergraph: {error}") from error
    weights = table.column("weight").to_pylist() if "weight" in table.column_names else None
    stored = (table.schema.metadata or {}).get(b"nodes")
    try:
        return from_names(edges, weights, json.loads(stored) if stored else None)
    except (HypergraphError, TypeError) as error:
        raise HypergraphError(f"'{path}': {error}") from error
