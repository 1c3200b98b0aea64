"""What a graph encoder sees of a mini-batch: its edges and how many rows each table has."""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import Tensor
from torch_geometric.data import HeteroData

from relbench_pretrain.relational.schema import EdgeType


@dataclass
class Subgraph:
    """The sampled edges that a graph encoder sees.

    Args:
        num_nodes: Number of rows per table.
        edge_index: Per edge type ``(2, num_edges)``, first the positions of the source rows, then
            those of the destination rows, each within its own table.
        rank: Per edge type ``(num_edges,)``, the recency rank of the source row among the rows that
            the destination has under this edge type, 0 being the newest; may be empty.
        age: Per edge type ``(num_edges,)``, the seconds from the time of the source row to the time
            limit of the destination row; may be empty.
        num_targets: How many leading rows of each table need an output. If it is empty all rows do;
            otherwise a table that it leaves out needs none.
    """

    num_nodes: dict[str, int]
    edge_index: dict[EdgeType, Tensor]
    rank: dict[EdgeType, Tensor] = field(default_factory=dict)
    age: dict[EdgeType, Tensor] = field(default_factory=dict)
    num_targets: dict[str, int] = field(default_factory=dict)

    @classmethod
    def from_batch(cls, batch: HeteroData, num_targets: dict[str, int] | None = None) -> Subgraph:
        """Reads ``edge_index``, and ``rank`` and ``age`` where there are any, from a mini-batch."""
        stores = {edge_type: batch[edge_type] for edge_type in batch.edge_types}
        return cls(
            num_nodes={table: batch[table].num_nodes for table in batch.node_types},
            edge_index={edge_type: store.edge_index for edge_type, store in stores.items()},
            rank={edge_type: store.rank for edge_type, store in stores.items() if "rank" in store},
            age={edge_type: store.age for edge_type, store in stores.items() if "age" in store},
            num_targets=dict(num_targets or {}),
        )
