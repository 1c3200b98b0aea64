"""Mini-batches: a PyG ``NodeLoader`` that joins sampled rows with their features, keys and times."""

from __future__ import annotations

import copy
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor
from torch_frame import TensorFrame
from torch_frame.data.multi_embedding_tensor import MultiEmbeddingTensor
from torch_geometric.data import HeteroData
from torch_geometric.loader import NodeLoader
from torch_geometric.sampler import BaseSampler, HeteroSamplerOutput

from relbench_pretrain.relational.graph import RelationalGraph
from relbench_pretrain.sampling.hgsampling import ANY_TABLE
from relbench_pretrain.sampling.kernels import batch_state


class RelationalLoader(NodeLoader):
    """Loads sampled subgraphs as ``HeteroData``.

    A batch has, per table, ``tf`` (features), ``n_id`` (row numbers), ``time`` and ``age`` (seconds to the row's
    time limit, −1 without a time), ``parent_id`` (row numbers of all parents, sampled or not), ``duplicate`` and,
    where subgraphs are disjoint, ``batch``; per edge type ``edge_index``, ``rank`` and ``age``. Where all seeds are
    of one table, this table has ``input_id``, ``seed_time`` and ``batch_size``; otherwise the batch has ``input_id``.
    ``random_seed`` is the batch's own.

    Args:
        graph: The graph, already indexed by the sampler.
        node_sampler: The sampler.
        input_nodes: Table and row numbers of the seeds; the table is ``ANY_TABLE`` if rows are numbered over all.
        input_time: Time limit of each seed in UNIX seconds ``(num_seeds,)``.
        input_id: A number for each seed that the batch's randomness is derived from; its place by default.
        transform: Applied to each batch, in the worker.
        **kwargs: Arguments of :class:`torch.utils.data.DataLoader`.
    """

    def __init__(
        self,
        graph: RelationalGraph,
        node_sampler: BaseSampler,
        input_nodes: tuple[str, Tensor],
        input_time: Tensor,
        input_id: Tensor | None = None,
        transform: Callable[[HeteroData], HeteroData] | None = None,
        **kwargs,
    ) -> None:
        self.graph = graph
        super().__init__(
            HeteroData(),
            node_sampler,
            input_nodes=input_nodes,
            input_time=input_time,
            input_id=input_id,
            transform=transform,
            filter_per_worker=True,
            **kwargs,
        )

    def filter_fn(self, out: HeteroSamplerOutput) -> HeteroData:
        """Joins a sampled subgraph with everything that is known of its rows."""
        data = join_batch(self.graph, out, self.input_data.input_type, self.node_sampler.seed)
        return data if self.transform is None else self.transform(data)


def join_batch(graph: RelationalGraph, out: HeteroSamplerOutput, input_type: str, seed: int) -> HeteroData:
    """Joins a sampled subgraph with everything that is known of its rows.

    Args:
        graph: The graph, on the device of the sampler's output.
        out: The sampled rows and edges.
        input_type: The table of the seeds, or ``ANY_TABLE``.
        seed: The sampler's seed.

    Returns:
        The batch, as :class:`RelationalLoader` describes it.
    """
    data, (input_id, seed_time, times) = HeteroData(), out.metadata
    for table, rows in out.node.items():
        store = data[table]
        store.tf = _take(graph.frames[table], rows)
        store.num_nodes = rows.numel()
        store.n_id = rows
        store.age = times.age[table]
        store.duplicate = graph.duplicate[table][rows]
        store.parent_id = graph.parent[table][rows]
        if graph.schema.tables[table].time_column is not None:
            store.time = graph.time[table][rows]
        if out.batch is not None:
            store.batch = out.batch[table]
    for edge_type, source in out.row.items():
        store = data[edge_type]
        store.edge_index = torch.stack([source, out.col[edge_type]])
        store.rank = times.edge_rank[edge_type]
        store.age = times.edge_age[edge_type]
    if input_type != ANY_TABLE:
        store = data[input_type]
        store.input_id, store.seed_time, store.batch_size = input_id, seed_time, len(seed_time)
    else:
        data.input_id = input_id
    data.random_seed = _random_seed(input_id, seed_time, seed)
    return data


def _take(frame: TensorFrame, rows: Tensor) -> TensorFrame:
    """Takes rows of a frame. Its own indexing also checks bounds, and for that would wait for a device."""
    taken = copy.copy(frame)
    for kind, cells in frame.feat_dict.items():
        if isinstance(cells, MultiEmbeddingTensor):
            taken.feat_dict[kind] = MultiEmbeddingTensor(len(rows), cells.num_cols, cells.values[rows], cells.offset)
        else:
            taken.feat_dict[kind] = cells[rows]
    return taken


def _random_seed(input_id: Tensor | None, seed_time: Tensor, seed: int) -> int:
    """Returns a seed for whatever else is random about the batch, different from the sampler's own stream."""
    ids = input_id if input_id is not None else seed_time
    return int(batch_state(seed + 1, ids.numpy())[0] >> np.uint64(1))
