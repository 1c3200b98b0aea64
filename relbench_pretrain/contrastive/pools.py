"""The distinct values of a table's columns, by semantic type, and how cells are replaced by them."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor
from torch_frame import stype
from torch_frame.data import MultiEmbeddingTensor, MultiNestedTensor

from relbench_pretrain.hashing import GOLDEN, hash_rows, mix, sum_lists


class Pool(Protocol):
    """The distinct values of the columns of one semantic type."""

    count: Tensor
    """Number of distinct values by column, int64, ``(num_columns,)``."""

    def replace(self, cells: Any, chosen: Tensor, place: Tensor) -> Any:
        """Returns a copy of the cells, in which the chosen ones are replaced.

        Args:
            cells: ``(num_rows, num_columns, ...)``.
            chosen: Which cells are replaced; none of a column without values, bool, ``(num_rows, num_columns)``.
            place: Which of its column's distinct values each cell would get, int64, ``(num_rows, num_columns)``.
        """


class DensePool:
    """Numbers, categories or timestamps; the columns' values in one tensor, ``(num_values, ...)``."""

    def __init__(self, cells: Tensor, max_values: int) -> None:
        values = [_distinct(column, max_values) for column in cells.unbind(1)]
        self.count = torch.tensor([len(value) for value in values])
        self._first = self.count.cumsum(0) - self.count
        # One value more, never drawn: a place for a column that has none.
        self._values = torch.cat([*values, cells.new_zeros(1, *cells.shape[2:])])

    def replace(self, cells: Tensor, chosen: Tensor, place: Tensor) -> Tensor:
        """See :class:`Pool`."""
        for _ in range(cells.dim() - 2):
            chosen = chosen.unsqueeze(-1)
        return torch.where(chosen, self._values[place + self._first], cells)


class VectorPool:
    """Embeddings; one dense pool per column, since the widths differ."""

    def __init__(self, cells: MultiEmbeddingTensor, max_values: int) -> None:
        self._widths = cells.offset.diff().tolist()
        self._columns = [DensePool(column.unsqueeze(1), max_values) for column in self._split(cells)]
        self.count = torch.cat([column.count for column in self._columns])

    def _split(self, cells: MultiEmbeddingTensor) -> Sequence[Tensor]:
        values = cells.values.view(len(cells), sum(self._widths))  # without rows it comes in one dimension
        return values.split(self._widths, dim=1)

    def replace(self, cells: MultiEmbeddingTensor, chosen: Tensor, place: Tensor) -> MultiEmbeddingTensor:
        """See :class:`Pool`."""
        parts = [
            pool.replace(vectors.unsqueeze(1), chosen[:, k : k + 1], place[:, k : k + 1]).squeeze(1)
            for k, (pool, vectors) in enumerate(zip(self._columns, self._split(cells), strict=True))
        ]
        vectors = parts[0] if len(parts) == 1 else torch.cat(parts, dim=1)
        return MultiEmbeddingTensor(cells.num_rows, cells.num_cols, vectors, cells.offset)


class ListPool:
    """Multicategorical cells; all columns' lists one after the other."""

    def __init__(self, cells: MultiNestedTensor, max_values: int) -> None:
        lists = [_distinct_lists(cells[:, column], max_values) for column in range(cells.num_cols)]
        self.count = torch.tensor([len(column) for column in lists])
        self._first = self.count.cumsum(0) - self.count
        self._values = torch.cat([column.values for column in lists])
        # One list more, an empty one: a place for a column that has none.
        length = torch.cat([*(column.offset.diff() for column in lists), torch.zeros(1, dtype=torch.int64)])
        self._start, self._length = length.cumsum(0) - length, length

    def replace(self, cells: MultiNestedTensor, chosen: Tensor, place: Tensor) -> MultiNestedTensor:
        """See :class:`Pool`."""
        chosen, drawn = chosen.flatten(), (place + self._first).flatten()
        # Take each cell's list from the cells' values or, where chosen, from the pool's behind them.
        length = torch.where(chosen, self._length[drawn], cells.offset.diff())
        start = torch.where(chosen, self._start[drawn] + len(cells.values), cells.offset[:-1])
        offset = torch.cat([length.new_zeros(1), length.cumsum(0)])
        index = torch.arange(int(offset[-1]), device=offset.device) + (start - offset[:-1]).repeat_interleave(length)
        values = torch.cat([cells.values, self._values])[index]
        return MultiNestedTensor(cells.num_rows, cells.num_cols, values, offset)


POOLS: dict[stype, Callable[[Any, int], Pool]] = {
    stype.numerical: DensePool,
    stype.categorical: DensePool,
    stype.timestamp: DensePool,
    stype.embedding: VectorPool,
    stype.multicategorical: ListPool,
}


def moved(pool: Any, device: torch.device) -> Any:
    """Returns a copy of a pool whose tensors are on a device."""
    result = copy.copy(pool)
    for name, value in vars(pool).items():
        if isinstance(value, Tensor):
            setattr(result, name, value.to(device))
        elif isinstance(value, list) and all(isinstance(part, DensePool) for part in value):
            setattr(result, name, [moved(part, device) for part in value])
    return result


def _distinct(cells: Tensor, max_values: int) -> Tensor:
    """Returns the most frequent values of a column, ``(num_values, ...)``, without the missing ones."""
    rows = cells.unsqueeze(-1).flatten(1)
    missing = rows.isnan() if rows.is_floating_point() else rows < 0
    present = (~missing.any(1)).nonzero().squeeze(1)
    rows = rows if len(present) == len(rows) else rows[present]
    keys = hash_rows([(rows.float() if rows.dtype == torch.bfloat16 else rows).numpy()])
    return cells[present[torch.from_numpy(most_frequent(keys, max_values))]]


def _distinct_lists(cells: MultiNestedTensor, max_values: int) -> MultiNestedTensor:
    """Returns the most frequent lists of a column, ``(num_values, 1, any)``; a missing cell is the list of −1."""
    missing = torch.zeros(len(cells), dtype=torch.bool)
    missing[torch.arange(len(cells)).repeat_interleave(cells.offset.diff())[cells.values < 0]] = True
    present = (~missing).nonzero().squeeze(1)
    if not len(present):
        return cells[:0]
    cells = cells[present]
    keys = mix(sum_lists(cells.values.numpy(), cells.offset.numpy()) + GOLDEN)
    return cells[torch.from_numpy(most_frequent(keys, max_values))]


def most_frequent(keys: np.ndarray, max_values: int) -> np.ndarray:
    """Returns where the most frequent keys come first, in ascending order.

    Among keys of one frequency those that come first are taken.

    Args:
        keys: One number per cell, equal for equal values, ``(num_cells,)``.
        max_values: The most places to return.
    """
    _, first, count = np.unique(keys, return_index=True, return_counts=True)
    if len(first) > max_values:
        first = first[np.lexsort((first, -count))[:max_values]]
    return np.sort(first)
