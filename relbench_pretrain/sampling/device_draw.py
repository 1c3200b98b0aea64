"""Candidates and links of a batch as tensors of fixed size, so that the host need not know how many there are."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

LAST = torch.iinfo(torch.int64).max
"""Later than everything: the end of a minimum that nothing has entered yet."""


class Pool:
    """The candidates of a batch. Each entry is a way of reaching a row, and a row's first entry stands for the row.

    Args:
        first: The first entry of every row, all ``LAST`` between batches ``(num_rows + 1,)``.
        capacity: For how many entries there is room; one more entry is no row.
        no_row: The number of no row.
        no_limit: The limit of no row.
    """

    def __init__(self, first: Tensor, capacity: int, no_row: int, no_limit: int) -> None:
        self.first = first
        self.size = 0
        self.last = capacity
        self.row = first.new_full((capacity + 1,), no_row)
        self.limit = first.new_full((capacity + 1,), LAST)
        self.limit[-1].fill_(no_limit)
        self.weight = first.new_zeros(capacity + 1)
        self.table = first.new_zeros(capacity + 1)
        self.place = first.new_full((capacity + 1,), -1)

    def add(self, rows: Tensor, limits: Tensor, weights: Tensor, tables: Tensor) -> None:
        """Adds to the budgets of rows, ``no_row`` among them with weight 0 ``(num_entries,)``."""
        added = slice(self.size, self.size + len(rows))
        self.size = added.stop
        self.row[added] = rows
        self.table[added] = tables
        self.first.scatter_reduce_(0, rows, torch.arange(added.start, added.stop, device=rows.device), "amin")
        entry = self.first[rows]
        self.weight.index_add_(0, entry, weights)
        self.limit.scatter_reduce_(0, entry, limits, "amin")

    def draw(self, position: Tensor, num_places: int, num_tables: int, generator: torch.Generator) -> Tensor:
        """Draws without replacement in proportion to the squared budgets, in every table at once.

        It is a race: each candidate arrives after an exponential time whose rate is its squared budget. Those that
        arrive first are distributed as if drawn one after the other.

        Args:
            position: Where each row to draw stands among all entries, sorted by table and arrival; −1 for none.
            num_places: The place of the first row to draw.
            num_tables: The number of tables.
            generator: The source of randomness.

        Returns:
            Rows and limits ``(2, num_drawn)``, of no row where a table had too few candidates.
        """
        time = torch.rand(self.size, dtype=torch.float64, device=position.device, generator=generator)
        time = time.neg_().log1p_().neg_()
        weight = torch.where(self.place[: self.size] < 0, self.weight[: self.size], 0).double()
        arrival = time / weight.square()  # never, where there is no weight: drawn already, or not a first entry
        # Positive floats are in the order of their bits, of which the last few make room for the table.
        room = num_tables.bit_length()
        order = torch.argsort((self.table[: self.size] << (63 - room)) | (arrival.view(torch.int64) >> room))
        entry = order[position.clamp(min=0)]
        entry = torch.where((position >= 0) & (weight[entry] > 0), entry, self.last)
        self.place[entry] = torch.arange(num_places, num_places + len(position), device=position.device)
        self.place[-1].fill_(-1)
        return torch.stack([self.row[entry], self.limit[entry]])

    def places(self, rows: Tensor) -> Tensor:
        """Returns the place of each row, −1 if it was not drawn."""
        return self.place[self.first[rows].clamp(max=self.last)]

    def forget(self) -> None:
        """Leaves everything as it was before the batch."""
        self.first[self.row] = LAST


class Links(NamedTuple):
    """Pairs of a child row and its parent, sorted by foreign key ``(num_pairs,)`` each.

    Args:
        key: The foreign key.
        child: The place of the child row.
        parent: The place of the parent, −1 if it was not drawn.
        rank: The recency rank of the child among the child rows drawn whose edge this way is kept.
        up: Whether the edge from child to parent is kept.
        down: Whether the edge from parent to child is kept.
    """

    key: Tensor
    child: Tensor
    parent: Tensor
    rank: Tensor
    up: Tensor
    down: Tensor

    def num_edges(self, num_keys: int) -> Tensor:
        """Returns the number of edges up of each foreign key, and then those down ``(2 * num_keys,)``."""
        result = self.key.new_zeros(2 * num_keys)
        result.index_add_(0, self.key, self.up.long())
        return result.index_add_(0, self.key + num_keys, self.down.long())

    def directed(self, num_up: int, num_down: int) -> tuple[Tensor, Tensor, Tensor]:
        """Returns source, target and rank of all edges up and then all down ``(num_up + num_down,)``."""
        up, down = front(self.up, num_up), front(self.down, num_down)
        source = torch.cat([self.child[up], self.parent[down]])
        target = torch.cat([self.parent[up], self.child[down]])
        return source, target, torch.cat([self.rank[up], torch.zeros_like(down)])


def front(chosen: Tensor, count: int) -> Tensor:
    """Returns where the chosen entries are, of which the host knows the number ``(count,)``."""
    return torch.argsort((~chosen).byte(), stable=True)[:count]
