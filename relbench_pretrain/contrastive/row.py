"""The row level: a row's corrupted version must find the row among those of its table."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import Linear
from torch_geometric.nn.module_dict import ModuleDict

from relbench_pretrain.contrastive.blocks import blocks, pack
from relbench_pretrain.contrastive.infonce import AnchorLosses
from relbench_pretrain.contrastive.objective import ContrastiveObjective, require_lengths
from relbench_pretrain.relational.schema import GraphSchema


class RowContrast(ContrastiveObjective):
    """Row-level contrast of Peleška and Šír (2025): s_ij = (W_t x̃_i)·(W_t x_j) / τ for rows i, j of table t.

    See :class:`ContrastiveObjective` for the arguments.
    """

    def _build(self, schema: GraphSchema, channels: int) -> None:
        self.projection = ModuleDict()
        for table in schema.node_types:
            self.projection[table] = Linear(channels, channels, bias=False)

    def forward(
        self,
        x: dict[str, Tensor],
        corrupted: dict[str, Tensor],
        row_id: dict[str, Tensor],
        duplicate: dict[str, Tensor] | None = None,
        generator: torch.Generator | None = None,
    ) -> AnchorLosses:
        """Computes the loss of each row.

        Args:
            x: The network's output by table, ``(num_rows, channels)``.
            corrupted: The same where every row was corrupted, ``(num_rows, channels)``.
            row_id: Number of each row in its table, at least 0, ``(num_rows,)``. A row that comes
                twice is no negative of itself.
            duplicate: A number that the identical rows of a table share, any int64, ``(num_rows,)``;
                they are no negatives of each other. Tables may be left out.
            generator: Draws the negatives where there are too many.

        Returns:
            The losses of all tables' rows; those of padding, without negatives, among them.

        Raises:
            ValueError: If a table is not in the schema or the numbers of rows differ.
        """
        rows, row_id = self._rows_and_ids(x, row_id)
        corrupted = self._all_tables("corrupted", corrupted, next(iter(rows.values()))[:0])
        duplicate = self._all_tables("duplicate", row_id | (duplicate or {}), next(iter(row_id.values()))[:0])
        require_lengths("corrupted", corrupted, rows)
        require_lengths("duplicate", duplicate, rows)
        pool, pool_id, pool_duplicate = self._pool(rows), self._pool(row_id), self._pool(duplicate)

        parts = [self._unused([self.projection[t].weight for t in self.tables if not len(rows[t])], pool)]
        for tables in blocks({t: len(pool[t]) if len(rows[t]) else 0 for t in self.tables}):
            weight = torch.stack([self.projection[t].weight for t in tables])  # (tables, channels, channels)
            anchor = pack(*([values[t] for t in tables] for values in (corrupted, row_id, duplicate)))
            candidate = pack(*([values[t] for t in tables] for values in (pool, pool_id, pool_duplicate)))
            anchor = anchor._replace(rows=anchor.rows @ weight.mT)
            candidate = candidate._replace(rows=candidate.rows @ weight.mT)
            parts += self._match(anchor, candidate, generator)
        return AnchorLosses.concatenate(parts)
