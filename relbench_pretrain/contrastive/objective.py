"""The base of the three contrastive objectives."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from relbench_pretrain.contrastive.blocks import Key, Side, similarity_chunks
from relbench_pretrain.contrastive.infonce import AnchorLosses, info_nce
from relbench_pretrain.distributed import gather_tables
from relbench_pretrain.relational.schema import GraphSchema


class ContrastiveObjective(nn.Module):
    """Base of the objectives; it has no parameter until :meth:`build` has seen a schema.

    Args:
        temperature: The similarities are divided by it.
        max_negatives: The most negatives that an anchor has; more are sampled.
        gather_negatives: Also take candidates from the other processes of the default group. Their
            numbers of rows differ, so that each step waits for the device once.

    Raises:
        ValueError: If the temperature or the number of negatives is not positive.
    """

    def __init__(self, temperature: float = 1.0, max_negatives: int = 255, gather_negatives: bool = False) -> None:
        super().__init__()
        if not temperature > 0:
            raise ValueError(f"temperature is {temperature}; it divides the similarities, choose one above 0")
        if max_negatives < 1:
            raise ValueError(f"max_negatives is {max_negatives}; an anchor needs at least 1")
        self.temperature = temperature
        self.max_negatives = max_negatives
        self.gather_negatives = gather_negatives
        self.tables: list[str] = []
        self.channels = 0

    def set_gather_negatives(self, gather: bool) -> None:
        """Says whether candidates come from the other processes too, once it is known how many there are."""
        self.gather_negatives = gather

    def build(self, schema: GraphSchema, channels: int) -> None:
        """Creates the parameters; a second call with the same arguments changes nothing.

        Args:
            schema: The tables and foreign keys.
            channels: Width of the vectors.

        Raises:
            ValueError: If it was built before for other tables or another width.
        """
        if self.channels:
            if (self.tables, self.channels) != (schema.node_types, channels):
                raise ValueError(
                    f"{type(self).__name__} was built for {self.channels} channels and the tables {self.tables}, "
                    f"not for {channels} and {schema.node_types}; make a new one"
                )
            return
        self.tables, self.channels = schema.node_types, channels
        self._build(schema, channels)

    def _build(self, schema: GraphSchema, channels: int) -> None:
        raise NotImplementedError

    def extra_repr(self) -> str:
        """Returns the settings for ``repr``."""
        return f"temperature={self.temperature}, max_negatives={self.max_negatives}"

    def _all_tables(self, name: str, values: Mapping[str, Tensor], empty: Tensor) -> dict[str, Tensor]:
        """Returns the values of all tables in the order of the schema, ``empty`` for those without rows."""
        if not self.channels:
            raise RuntimeError(f"{type(self).__name__} has no parameters yet: call build(schema, channels) first")
        if unknown := values.keys() - set(self.tables):
            raise ValueError(f"{name} has the tables {sorted(unknown)}, which are not in the schema: {self.tables}")
        return {table: values.get(table, empty) for table in self.tables}

    def _rows_and_ids(
        self, x: Mapping[str, Tensor], row_id: Mapping[str, Tensor]
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Returns vectors and row numbers of all tables, after a check that they belong together."""
        reference = next(iter(x.values()), next(self.parameters(), torch.empty(0)))
        rows = self._all_tables("x", x, reference.new_zeros(0, self.channels))
        ids = self._all_tables("row_id", row_id, torch.zeros(0, dtype=torch.int64, device=reference.device))
        require_lengths("row_id", ids, rows)
        return rows, ids

    def _unused(self, parameters: list[Tensor], pool: dict[str, Tensor]) -> AnchorLosses:
        """Returns the losses of no anchor, with a gradient path to what this batch does not use.

        The pool is among it, as each process has to take part in sending the gradients back.
        """
        return AnchorLosses.of_no_anchor(*parameters, next(iter(pool.values())))

    def _pool(self, values: dict[Key, Tensor]) -> dict[Key, Tensor]:
        """Returns the tables with the other processes' rows after the own ones, if they are wanted."""
        if not self.gather_negatives:
            return values
        return dict(zip(values, gather_tables(list(values.values())), strict=True))

    def _match(self, anchor: Side, candidate: Side, generator: torch.Generator | None) -> list[AnchorLosses]:
        """Computes the losses of a block in which each anchor's positive has its own place among the candidates."""
        losses = []
        for rows, similar, is_negative in similarity_chunks(anchor, candidate, self.temperature):
            positive = similar.diagonal(rows.start, dim1=-2, dim2=-1)
            losses.append(info_nce(positive, similar, is_negative, self.max_negatives, generator))
        return losses


def require_lengths(name: str, values: Mapping, rows: Mapping) -> None:
    """Raises a ValueError unless the values of each table are as many as its rows."""
    for key, value in values.items():
        if len(value) != len(rows[key]):
            raise ValueError(f"{name}[{key!r}] has {len(value)} entries for {len(rows[key])} rows")
