"""The messages of each layer of a graph network as sparse matrices: which rows send them, and which receive them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from itertools import accumulate

import torch
from torch import Tensor

from relbench_pretrain.nn.sparse_matrix import SparseMatrix
from relbench_pretrain.nn.subgraph import Subgraph
from relbench_pretrain.relational.schema import EdgeType


@dataclass
class Messages:
    """The messages of one layer: ``scatter @ maps(gather @ x)``, to be added to the maps of ``x[rows]``.

    Every edge type has a slot for each distinct parent among its edges. The messages of children
    are averaged into the slot of their parent before the linear map of the edge type; the message
    of a parent is copied into its slot, and goes to the children after the map. The map is linear, so
    either is the map of the mean, and the map never has more rows than edges or than parents.

    Args:
        rows: ``(num_outputs,)``, the input rows that have an output; None if all have.
        sizes: Number of output rows of each table.
        slots: Number of slots of each edge type.
        gather: The sparse matrix ``(num_slots, num_inputs)``.
        scatter: The sparse matrix ``(num_outputs, num_slots)``.
    """

    rows: Tensor | None
    sizes: list[int]
    slots: list[int]
    gather: SparseMatrix
    scatter: SparseMatrix


@dataclass
class Edges:
    """The edges of all types, their rows numbered through all tables.

    Args:
        source: ``(num_edges,)``.
        target: ``(num_edges,)``.
        kind: ``(num_edges,)``, the number of the edge type.
        from_parent: ``(num_edge_types,)``, whether the source of an edge type is the parent.
    """

    source: Tensor
    target: Tensor
    kind: Tensor
    from_parent: Tensor

    @classmethod
    def number(cls, graph: Subgraph, sizes: dict[str, int], from_parent: dict[EdgeType, bool], like: Tensor) -> Edges:
        """Numbers rows through the tables of ``sizes`` and edge types through ``from_parent``, in their orders."""
        first = dict(zip(sizes, accumulate(sizes.values(), initial=0), strict=False))
        found = [(kind, e, graph.edge_index[e]) for kind, e in enumerate(from_parent) if e in graph.edge_index]
        tensor = partial(torch.tensor, dtype=torch.long, device=like.device)
        # Per edge type a column of its number and of the first rows of its two tables, repeated for each edge.
        columns = tensor([[kind, first[e[0]], first[e[2]]] for kind, e, _ in found]).view(-1, 3).t()
        columns = columns.repeat_interleave(tensor([index.size(1) for *_, index in found]), dim=1)  # (3, num_edges)
        index = torch.cat([index for *_, index in found], dim=1) if found else columns[1:]
        down = torch.tensor(list(from_parent.values()), dtype=torch.bool, device=like.device)
        return cls(index[0] + columns[1], index[1] + columns[2], columns[0], down)

    def renumber(self, keep: Tensor, source: Tensor, target: Tensor) -> Edges:
        """Returns the edges of a mask, with new numbers for their rows."""
        return Edges(source[self.source[keep]], target[self.target[keep]], self.kind[keep], self.from_parent)


def plan_messages(
    edges: Edges, sizes: list[int], targets: list[int] | None, num_layers: int, mean: bool
) -> list[Messages]:
    """Plans the layers, each for no more rows than the layers after it need.

    Args:
        edges: The edges.
        sizes: Number of rows of each table.
        targets: How many leading rows of each table need an output; None if all do.
        num_layers: Number of layers.
        mean: Whether the messages of an edge type to a row are averaged or added.
    """
    num_rows = sum(sizes)
    if targets is None:
        gather, scatter, slots = _matrices(edges, num_rows, num_rows, mean)
        return [Messages(None, sizes, slots, gather, scatter)] * num_layers
    device = edges.source.device
    needed = torch.cat([torch.arange(n, device=device) < t for n, t in zip(sizes, targets, strict=True)])
    plans: list[Messages] = []
    for depth in range(num_layers):
        keep = needed[edges.target]
        inputs = needed.clone()
        # The first layer, planned last, reads the rows where they are.
        inputs[edges.source[keep] if depth < num_layers - 1 else slice(None)] = True
        position, output = inputs.cumsum(0) - 1, needed.cumsum(0) - 1
        used = edges.renumber(keep, position, output)
        counts = torch.stack([part.sum() for part in needed.split(sizes)]).tolist()
        gather, scatter, slots = _matrices(used, int(position[-1]) + 1 if num_rows else 0, sum(counts), mean)
        plans.append(Messages(position[needed], counts, slots, gather, scatter))
        needed = inputs
    return plans[::-1]


def _matrices(
    edges: Edges, num_inputs: int, num_outputs: int, mean: bool
) -> tuple[SparseMatrix, SparseMatrix, list[int]]:
    """Returns ``gather``, ``scatter`` and ``slots`` of :class:`Messages`."""
    span = max(num_inputs, num_outputs, 1)
    down = edges.from_parent[edges.kind]
    parent, child = torch.where(down, edges.source, edges.target), torch.where(down, edges.target, edges.source)
    slots, slot = torch.unique(edges.kind * span + parent, return_inverse=True)
    share = torch.ones_like(slot, dtype=torch.float64)
    if mean:
        receiver = edges.kind * span + edges.target
        share /= torch.bincount(receiver)[receiver]
    # One entry for each edge, between its slot and its child, and one for each slot and its parent.
    entry_slot = torch.cat([slot, torch.arange(len(slots), device=slot.device)])
    entry_row = torch.cat([child, slots % span])
    value = torch.cat([share, share.new_ones(len(slots))])
    gathers = torch.cat([~down, edges.from_parent[slots // span]])
    scatters = ~gathers
    counts = torch.bincount(slots // span, minlength=len(edges.from_parent)).tolist()
    return (
        SparseMatrix(entry_slot[gathers], entry_row[gathers], value[gathers], len(slots), num_inputs),
        SparseMatrix(entry_row[scatters], entry_slot[scatters], value[scatters], num_outputs, len(slots)),
        counts,
    )
