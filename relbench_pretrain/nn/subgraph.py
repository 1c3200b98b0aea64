"""A mini-batch as networks take it: features, edges and ages."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from torch import Tensor
from torch_frame import TensorFrame
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


Frames = dict[str, TensorFrame | Sequence[TensorFrame]]


def batch_inputs(
    batch: HeteroData, num_targets: dict[str, int] | None = None, views: Sequence[str] = ()
) -> tuple[Frames, Subgraph, dict[str, Tensor]]:
    """Takes a mini-batch apart into what a backbone is called with.

    Args:
        batch: The batch, see :class:`relbench_pretrain.sampling.RelationalLoader`.
        num_targets: How many leading rows of each table need an output; all rows of all tables by default.
        views: The attributes that hold views of the rows, of which those are taken that the batch has; by default the
            features alone, without a dimension of views.

    Returns:
        Features, edges and ages, see :meth:`Backbone.forward`.
    """
    tables = batch.node_types
    frames: Frames = {t: [batch[t][v] for v in views if v in batch[t]] if views else batch[t].tf for t in tables}
    age = {table: batch[table].age for table in tables if "time" in batch[table]}
    return frames, Subgraph.from_batch(batch, num_targets), age
