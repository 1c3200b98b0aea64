"""From the samplers' flat arrays to PyG's sampler output, and on to a mini-batch."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch_geometric.sampler import HeteroSamplerOutput, NodeSamplerInput

from relbench_pretrain.relational.schema import EdgeType
from relbench_pretrain.sampling.csc import GraphIndex
from relbench_pretrain.sampling.kernels import compiled
from relbench_pretrain.unix_time import ALWAYS

NO_AGE = -1.0
"""The age of a row without a time."""


@dataclass(frozen=True)
class SampledTimes:
    """Ages and recency ranks in a sampled subgraph, beside the structure that PyG's output holds.

    Args:
        age: Per table, seconds from each row's time to its time limit ``(num_nodes,)``, −1 without a time.
        edge_rank: Per edge type, the recency rank of the source among the destination's rows under this
            edge type, 0 for the newest ``(num_edges,)``.
        edge_age: Per edge type, seconds from the source's time to the destination's limit ``(num_edges,)``,
            −1 where the source has no time.
    """

    age: dict[str, Tensor]
    edge_rank: dict[EdgeType, Tensor]
    edge_age: dict[EdgeType, Tensor]


def flat_output(
    index: GraphIndex,
    nodes: np.ndarray,
    links: np.ndarray,
    reference: np.ndarray,
    inputs: NodeSamplerInput,
    disjoint: bool = False,
) -> HeteroSamplerOutput:
    """Splits flat arrays of rows and links by table and edge type.

    Args:
        index: The graph.
        nodes: Rows ``(num_nodes, 4)``: table, row, time (a position in ``reference``), position within the table.
        links: Links ``(num_links, 5)``: foreign key, child position, parent position, recency rank of the child,
            directions (1 = child to parent, 2 = parent to child, 3 = both). Each edge type keeps their order.
        reference: The UNIX seconds that ages are counted from ``(num_times,)``.
        inputs: The seeds, kept in ``metadata``.
        disjoint: Whether each seed has a subgraph, and a time, of its own; then ``batch`` has the seed of each row.

    Returns:
        The output; ``metadata`` is ``(input_id, seed_time, SampledTimes)``.
    """
    rows, owners, ages, bounds = _split_nodes(nodes, index.flat.time, index.flat.offset, reference)
    rows, owners, ages = torch.from_numpy(rows), torch.from_numpy(owners), torch.from_numpy(ages)
    spans = {table: slice(int(bounds[i]), int(bounds[i + 1])) for i, table in enumerate(index.node_types)}
    source, target, rank, edge_age = {}, {}, {}, {}
    ends, values, ptr = _split_links(links, rows.numpy(), owners.numpy(), bounds, index.flat, reference)
    ends, values, ptr = torch.from_numpy(ends), torch.from_numpy(values), ptr.tolist()
    for i, edge_type in enumerate(index.edge_types):
        source[edge_type], target[edge_type], rank[edge_type] = ends[:, ptr[i] : ptr[i + 1]].unbind(0)
        edge_age[edge_type] = values[ptr[i] : ptr[i + 1]]
    times = SampledTimes({t: ages[span] for t, span in spans.items()}, rank, edge_age)
    return HeteroSamplerOutput(
        node={t: rows[span] for t, span in spans.items()},
        row=source,
        col=target,
        edge=None,
        batch={t: owners[span] for t, span in spans.items()} if disjoint else None,
        metadata=(inputs.input_id, inputs.time, times),
    )


UP, DOWN = 1, 2
"""Directions of a link: child to parent, parent to child."""


@compiled
def _split_nodes(nodes, time, offset, reference):
    """Sorts rows by table and position. Returns row numbers, owners, ages and where each table begins."""
    bounds = np.zeros(len(offset), dtype=np.int64)
    for i in range(len(nodes)):
        bounds[nodes[i, 0] + 1] += 1
    bounds = np.cumsum(bounds)
    rows = np.empty(len(nodes), dtype=np.int64)
    owners = np.empty(len(nodes), dtype=np.int64)
    ages = np.empty(len(nodes), dtype=np.float32)
    for i in range(len(nodes)):
        place = bounds[nodes[i, 0]] + nodes[i, 3]
        rows[place], owners[place] = nodes[i, 1], nodes[i, 2]
        ages[place] = _age(time[offset[nodes[i, 0]] + nodes[i, 1]], reference[nodes[i, 2]])
    return rows, owners, ages, bounds


@compiled
def _age(time, reference):
    return np.float32(NO_AGE) if time == ALWAYS else np.float32(reference - time)


@compiled
def _split_links(links, rows, owners, bounds, graph, reference):
    """Sorts links by direction and foreign key, in the order given within each.

    Returns:
        Source, target and rank ``(3, num_edges)``, ages ``(num_edges,)``, and where each foreign key begins, first
        all from child to parent, then all the other way round ``(2 * num_keys + 1,)``.
    """
    key_child, key_parent, time, offset = graph.key_child, graph.key_parent, graph.time, graph.offset
    num_keys = len(key_child)
    ptr = np.zeros(2 * num_keys + 1, dtype=np.int64)
    for i in range(len(links)):
        ptr[links[i, 0] + 1] += links[i, 4] & UP
        ptr[num_keys + links[i, 0] + 1] += links[i, 4] >> 1
    ptr = np.cumsum(ptr)
    fill = ptr[:-1].copy()
    ends = np.empty((3, ptr[-1]), dtype=np.int64)
    ages = np.empty(ptr[-1], dtype=np.float32)
    for i in range(len(links)):
        k, child, parent = links[i, 0], links[i, 1], links[i, 2]
        child_base, parent_base = bounds[key_child[k]], bounds[key_parent[k]]
        if links[i, 4] & UP:
            e = fill[k]
            fill[k] += 1
            ends[0, e], ends[1, e], ends[2, e] = child, parent, links[i, 3]
            source_time = time[offset[key_child[k]] + rows[child_base + child]]
            ages[e] = _age(source_time, reference[owners[parent_base + parent]])
        if links[i, 4] & DOWN:
            e = fill[num_keys + k]
            fill[num_keys + k] += 1
            ends[0, e], ends[1, e], ends[2, e] = parent, child, 0
            source_time = time[offset[key_parent[k]] + rows[parent_base + parent]]
            ages[e] = _age(source_time, reference[owners[child_base + child]])
    return ends, ages, ptr
