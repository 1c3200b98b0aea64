"""The context level: the neighbours of a row must single it out among the rows of its table."""

from __future__ import annotations

from itertools import accumulate

import torch
from torch import Tensor
from torch.nn import Linear
from torch_geometric.nn.module_dict import ModuleDict

from relbench_pretrain.contrastive.blocks import blocks, pack
from relbench_pretrain.contrastive.infonce import AnchorLosses, at_least_float32
from relbench_pretrain.contrastive.objective import ContrastiveObjective
from relbench_pretrain.relational.schema import EdgeType, GraphSchema


class ContextContrast(ContrastiveObjective):
    """Context-level contrast of Peleška and Šír (2025): s_ij = c_i·x_j / τ for rows i, j of one table.

    The context c_i is the mean, over the incoming edge types under which row i has a neighbour, of
    the mean over those neighbours j of U_t x_j + b_t, where t is the table of j. The row itself
    is not in it.

    See :class:`ContrastiveObjective` for the arguments.
    """

    def _build(self, schema: GraphSchema, channels: int) -> None:
        self.message = ModuleDict()
        self.edge_types = set(schema.edge_types)
        self.sources = list(dict.fromkeys(source for source, _, _ in schema.edge_types))
        for table in self.sources:
            self.message[table] = Linear(channels, channels)

    def forward(
        self,
        x: dict[str, Tensor],
        row_id: dict[str, Tensor],
        edge_index: dict[EdgeType, Tensor],
        generator: torch.Generator | None = None,
    ) -> AnchorLosses:
        """Computes the loss of each row that has a neighbour.

        Args:
            x: The network's output by table, ``(num_rows, channels)``.
            row_id: Number of each row in its table, at least 0, ``(num_rows,)``. A row that comes
                twice is no negative of itself.
            edge_index: By edge type the places of sources and targets, ``(2, num_edges)``; each
                edge once.
            generator: Draws the negatives where there are too many.

        Returns:
            The losses of all rows of tables with incoming edges; those of padding and of rows
            without a neighbour, without negatives, among them.

        Raises:
            ValueError: If a table or an edge type is not in the schema or the numbers of rows differ.
        """
        rows, row_id = self._rows_and_ids(x, row_id)
        pool, pool_id = self._pool(rows), self._pool(row_id)
        if unknown := edge_index.keys() - self.edge_types:
            raise ValueError(f"edge_index has the edge types {sorted(unknown)}, which are not in the schema")
        edges = {edge_type: index for edge_type, index in edge_index.items() if index.size(1)}
        parts = [self._unused([] if edges else list(self.message.parameters()), pool)]
        context, anchor_id = self._contexts(rows, row_id, edges) if edges else ({}, {})
        for tables in blocks({table: len(pool[table]) for table in context}):
            anchor = pack([context[t] for t in tables], [anchor_id[t] for t in tables])
            candidate = pack([pool[t] for t in tables], [pool_id[t] for t in tables])
            parts += self._match(anchor, candidate, generator)
        return AnchorLosses.concatenate(parts)

    def _contexts(
        self, rows: dict[str, Tensor], row_id: dict[str, Tensor], edges: dict[EdgeType, Tensor]
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Computes the contexts of the tables with incoming edges.

        Returns:
            The contexts, ``(num_rows, channels)``, and the numbers of their rows, −1 for a row
            without a neighbour, ``(num_rows,)``.
        """
        sizes = {table: len(value) for table, value in rows.items()}
        first, first_message = _offsets(sizes), _offsets({table: sizes[table] for table in self.sources})
        message = torch.cat([self.message[table](rows[table]) for table in self.sources])
        source = torch.cat([index[0] + first_message[s] for (s, _, _), index in edges.items()])
        # One slot for each edge type and row.
        total = sum(sizes.values())
        slot = torch.cat([index[1] + (first[t] + k * total) for k, ((_, _, t), index) in enumerate(edges.items())])
        context, types_met = _mean_of_means(at_least_float32(message), source, slot, len(edges), total)

        ids = torch.cat(list(row_id.values())).where(types_met > 0, -1)
        split = zip(rows, context.split(list(sizes.values())), ids.split(list(sizes.values())), strict=True)
        targets = {t for _, _, t in edges}
        contexts = {table: (c, i) for table, c, i in split if table in targets}
        return {table: c for table, (c, _) in contexts.items()}, {table: i for table, (_, i) in contexts.items()}


def _offsets(sizes: dict[str, int]) -> dict[str, int]:
    """Returns the place of each table's first row when the tables are concatenated."""
    return dict(zip(sizes, accumulate(sizes.values(), initial=0), strict=False))


def _mean_of_means(
    message: Tensor, source: Tensor, slot: Tensor, num_types: int, num_targets: int
) -> tuple[Tensor, Tensor]:
    """Averages over each target's neighbours of a type, then over the types in which it has any.

    Both means are weights of the edges, hence one sum over the edges of all types; its largest
    tensor is ``(num_edges, channels)``.

    Args:
        message: The messages of the sources, ``(num_sources, channels)``.
        source: Source of each edge, ``(num_edges,)``.
        slot: Type · ``num_targets`` + target of each edge, ``(num_edges,)``.
        num_types: The number of edge types.
        num_targets: The number of targets.

    Returns:
        The means, ``(num_targets, channels)``, and in how many types each target has a neighbour, ``(num_targets,)``.
    """
    degree = message.new_zeros(num_types * num_targets).scatter_add_(0, slot, message.new_ones(len(slot)))
    types_met = (degree.view(num_types, num_targets) > 0).sum(0)
    target = slot % num_targets
    weight = 1 / (degree[slot] * types_met[target])
    # Expanded indices: on the CPU far faster than index_select and index_add, forth and back.
    summand = message.gather(0, _expand(source, message)) * weight.unsqueeze(-1)
    mean = message.new_zeros(num_targets, message.size(1)).scatter_add(0, _expand(target, message), summand)
    return mean, types_met


def _expand(index: Tensor, rows: Tensor) -> Tensor:
    return index.unsqueeze(-1).expand(-1, rows.size(1))
