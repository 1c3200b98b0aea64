"""Hypergraphs of relational databases: rows join the entities that their foreign keys name."""

from __future__ import annotations

import numpy as np

from relbench_pretrain.hypergraph.generators import HypergraphSource
from relbench_pretrain.hypergraph.hypergraph import Hypergraph, HypergraphError
from relbench_pretrain.relational.database import load_database


class DatabaseHypergraph(HypergraphSource):
    """Rows as hyperedges over the entities that their foreign keys name; rows of the same entities add their weight.

    A node is called ``table:key``. All rows count, those after the database's test time too. Missing keys leave a node
    out, and two keys of one row to one entity count once.

    Args:
        dataset: A RelBench name, a Hub address, a folder or ``demo``.
        tables: The tables whose rows are hyperedges; by default all with foreign keys to two entities or more.
        min_arity: Rows that name fewer entities are left out.
        min_weight: Hyperedges of fewer rows are left out.
    """

    def __init__(self, dataset: str, tables: list[str] | None = None, min_arity: int = 2, min_weight: int = 1) -> None:
        if min_arity < 1:
            raise HypergraphError(f"min_arity must be at least 1, got {min_arity}")
        self.dataset, self.tables = dataset, tables
        self.min_arity, self.min_weight = min_arity, min_weight

    def make(self) -> Hypergraph:
        tables = load_database(self.dataset).table_dict
        if unknown := set(self.tables or ()) - set(tables):
            raise HypergraphError(f"there are no tables {sorted(unknown)}; the database has {sorted(tables)}")
        many = [name for name, table in tables.items() if len(table.fkey_col_to_pkey_table) >= self.min_arity]
        chosen = self.tables or many
        if not chosen:
            raise HypergraphError(
                f"no table has foreign keys to {self.min_arity} entities; a lower min_arity, or tables, may help"
            )
        first, offset = {}, 0
        parents = sorted({parent for name in chosen for parent in tables[name].fkey_col_to_pkey_table.values()})
        for parent in parents:
            first[parent] = offset
            offset += len(tables[parent].df)
        width = max(len(tables[name].fkey_col_to_pkey_table) for name in chosen)
        edges = np.concatenate([_members(tables[name], first, width) for name in chosen])
        edges = edges[(edges >= 0).sum(1) >= self.min_arity]
        if not len(edges):
            raise HypergraphError(f"no row of {chosen} names {self.min_arity} entities or more")
        return self._named(edges, first, parents)

    def _named(self, edges: np.ndarray, first: dict[str, int], parents: list[str]) -> Hypergraph:
        """Makes the hypergraph of the entities that come in it, with weights by the number of rows."""
        used, numbered = np.unique(edges, return_inverse=True)
        numbered = numbered.reshape(edges.shape) - int(used[0] < 0)  # −1 stays what it is
        used = used[used >= 0]
        table = np.searchsorted([first[parent] for parent in parents], used, side="right") - 1
        key = used - np.array([first[parent] for parent in parents])[table]
        names = [f"{parents[t]}:{k}" for t, k in zip(table.tolist(), key.tolist(), strict=True)]
        graph = Hypergraph.from_edges(names, numbered)
        rows = graph.weights * len(edges)
        if (kept := rows > self.min_weight - 0.5).all():
            return graph
        if not kept.any():
            raise HypergraphError(f"no entities come together in {self.min_weight} rows; take a lower min_weight")
        fewer = np.where(graph.edges[kept] >= 0, graph.edges[kept], -1)
        left, places = np.unique(fewer[fewer >= 0]), np.full(graph.num_nodes, -1)
        places[left] = np.arange(len(left))
        moved = np.where(fewer >= 0, places[fewer], -1)
        return Hypergraph.from_edges([graph.nodes[i] for i in left], moved, graph.weights[kept])


def _members(table, first: dict[str, int], width: int) -> np.ndarray:
    """Returns the entities of each row by number over all tables, each once ``(num_rows, width)``."""
    rows = np.full((len(table.df), width), -1, dtype=np.int64)
    for place, (column, parent) in enumerate(table.fkey_col_to_pkey_table.items()):
        key = table.df[column].astype("float64").to_numpy(na_value=np.nan)
        rows[:, place] = np.where(np.isnan(key), -1, np.nan_to_num(key) + first[parent])
    rows = -np.sort(-rows, axis=1)  # what is missing goes last
    again = np.zeros_like(rows, dtype=bool)
    again[:, 1:] = (rows[:, 1:] == rows[:, :-1]) & (rows[:, 1:] >= 0)
    return -np.sort(-np.where(again, -1, rows), axis=1)
