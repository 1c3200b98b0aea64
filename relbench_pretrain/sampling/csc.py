"""The graph as flat arrays, the form in which compiled samplers walk it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from torch_geometric.sampler import BaseSampler, EdgeSamplerInput

from relbench_pretrain.relational.flat import flatten
from relbench_pretrain.relational.graph import RelationalGraph
from relbench_pretrain.relational.schema import EdgeType


class FlatGraph(NamedTuple):
    """A graph in flat arrays, all tables one after the other; tables, foreign keys and rows are in schema order.

    Args:
        offset: Where each table's rows begin among all rows ``(num_tables + 1,)``.
        time: UNIX seconds of all rows ``(num_rows,)``.
        parent: Row number of each parent within its table, −1 for none; row by row, key by key.
        parent_base: Where each table begins in ``parent`` ``(num_tables,)``.
        first_key: The number of each table's first foreign key ``(num_tables + 1,)``.
        key_child: The child table of each foreign key ``(num_keys,)``.
        key_parent: The parent table of each foreign key ``(num_keys,)``.
        child_offset: Where the child rows of each parent row begin, key after key.
        child_offset_base: Where each foreign key begins in ``child_offset`` ``(num_keys,)``.
        child_row: Child rows within their table, in order of row number, key after key.
        child_row_base: Where each foreign key begins in ``child_row`` ``(num_keys,)``.
        referring_offset: Where each table's referring keys begin in ``referring_key`` ``(num_tables + 1,)``.
        referring_key: The foreign keys that refer to each table.
    """

    offset: np.ndarray
    time: np.ndarray
    parent: np.ndarray
    parent_base: np.ndarray
    first_key: np.ndarray
    key_child: np.ndarray
    key_parent: np.ndarray
    child_offset: np.ndarray
    child_offset_base: np.ndarray
    child_row: np.ndarray
    child_row_base: np.ndarray
    referring_offset: np.ndarray
    referring_key: np.ndarray


@dataclass(frozen=True)
class GraphIndex:
    """A :class:`FlatGraph` together with the graph that it flattens."""

    graph: RelationalGraph
    flat: FlatGraph

    @classmethod
    def from_graph(cls, graph: RelationalGraph) -> GraphIndex:
        """Flattens a graph.

        Afterwards the graph's own tensors are views of the flat ones, so nothing is held twice. A graph from the cache
        lies flat in its file: its arrays are the file's pages, which all processes of a host share.
        """
        tables, keys = graph.schema.node_types, graph.schema.foreign_keys
        number = {table: i for i, table in enumerate(tables)}
        time = flatten(graph.time, tables).numpy()
        parent = flatten(graph.parent, tables).numpy()
        child_offset = flatten(graph.child_offset, keys).numpy()
        child_row = flatten(graph.child_row, keys).numpy()
        referring = [[k for k, fk in enumerate(keys) if fk.parent == table] for table in tables]
        flat = FlatGraph(
            offset=_bounds([len(graph.time[t]) for t in tables]),
            time=time,
            parent=parent,
            parent_base=_bounds([graph.parent[t].numel() for t in tables])[:-1],
            first_key=_bounds([len(graph.schema.tables[t].foreign_keys) for t in tables]),
            key_child=np.array([number[fk.child] for fk in keys], dtype=np.int64),
            key_parent=np.array([number[fk.parent] for fk in keys], dtype=np.int64),
            child_offset=child_offset,
            child_offset_base=_bounds([len(graph.child_offset[fk]) for fk in keys])[:-1],
            child_row=child_row,
            child_row_base=_bounds([len(graph.child_row[fk]) for fk in keys])[:-1],
            referring_offset=_bounds([len(r) for r in referring]),
            referring_key=np.array([k for r in referring for k in r], dtype=np.int64),
        )
        return cls(graph, flat)

    @property
    def node_types(self) -> list[str]:
        """The table names in the order of their numbers."""
        return self.graph.schema.node_types

    @property
    def edge_types(self) -> list[EdgeType]:
        """The edge types in the order of samplers: first all from child to parent, then all the other way round."""
        forward_and_reverse = self.graph.schema.edge_types
        return forward_and_reverse[::2] + forward_and_reverse[1::2]

    def visible_rows(self, limits: np.ndarray) -> np.ndarray:
        """Returns how many leading rows of each table are not later than each limit ``(num_limits, num_tables)``."""
        bounds = self.flat.offset
        columns = [
            np.searchsorted(self.flat.time[bounds[t] : bounds[t + 1]], limits, side="right")
            for t in range(len(bounds) - 1)
        ]
        return np.stack(columns, axis=1).astype(np.int64)


class RowSampler(BaseSampler):
    """A sampler whose seeds are rows.

    Args:
        index: The graph.
        seed: Together with the ids of a batch's seeds it determines the batch, on any worker, in any order.
    """

    def __init__(self, index: GraphIndex, seed: int = 0) -> None:
        self.index = index
        self.seed = seed

    def sample_from_edges(self, index: EdgeSamplerInput, neg_sampling=None):
        """Refuses edges as seeds."""
        raise TypeError(f"{type(self).__name__} starts from rows: use it in a node loader, not in a link loader")

    @property
    def edge_permutation(self) -> None:
        """Edges have no attributes of their own, so there is nothing to permute."""
        return None


def _bounds(sizes: list[int]) -> np.ndarray:
    return np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
