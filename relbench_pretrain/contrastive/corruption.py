"""Corruption of rows: cells at random get another value of their column."""

from __future__ import annotations

import copy
from collections.abc import Mapping

import torch
from torch import Tensor
from torch_frame import TensorFrame

from relbench_pretrain.contrastive.pools import POOLS, moved


class Corruption:
    """Replaces each cell independently, by a uniform draw from its column's distinct values.

    The corruption of Peleška and Šír (2025). A replacement may equal the original. A missing cell may be
    replaced, but missing is no replacement. Of a timestamp, a vector or a list the whole is replaced.
    A column without any value stays.

    Args:
        probability: Probability that a cell is replaced.
        max_values: The most distinct values per column; of more the most frequent are kept, among
            equally frequent ones those that come first.

    Raises:
        ValueError: If the probability is not between 0 and 1, or no value may be kept.
    """

    def __init__(self, probability: float = 0.4, max_values: int = 10_000) -> None:
        if not 0 <= probability <= 1:
            raise ValueError(f"probability is {probability}; choose one from 0 to 1")
        if max_values < 1:
            raise ValueError(f"max_values is {max_values}; keep at least 1 value per column")
        self.probability = probability
        self.max_values = max_values
        self._tables: dict[str, _Table] = {}
        self._device = torch.device("cpu")

    def __repr__(self) -> str:
        return f"{type(self).__name__}(probability={self.probability}, max_values={self.max_values})"

    def fit(self, frames: Mapping[str, TensorFrame]) -> Corruption:
        """Collects the distinct values of each column.

        Args:
            frames: The training rows by table.

        Returns:
            Itself.

        Raises:
            ValueError: If a column has a type that cannot be corrupted.
        """
        for name, frame in frames.items():
            if unknown := frame.feat_dict.keys() - POOLS.keys():
                columns = [frame.col_names_dict[kind] for kind in unknown]
                raise ValueError(
                    f"Table {name!r}: cannot corrupt the columns {columns} of type {[str(kind) for kind in unknown]}; "
                    f"known are {[str(kind) for kind in POOLS]}"
                )
        self._tables = {name: _Table(frame, self.max_values) for name, frame in frames.items()}
        return self

    def to(self, device: torch.device) -> Corruption:
        """Returns a copy whose values are on a device, for frames that are there; draws are still made on the host."""
        result = copy.copy(self)
        result._tables = {name: table.to(device) for name, table in self._tables.items()}
        result._device = device
        return result

    def __call__(self, frames: Mapping[str, TensorFrame], seed: int | torch.Generator) -> dict[str, TensorFrame]:
        """Returns corrupted copies; the frames stay as they are.

        Args:
            frames: Rows by table, with the columns that were fitted.
            seed: Where the draws start, or the generator that makes them. The same frames and seed
                give the same copies.

        Raises:
            ValueError: If a table or its columns were not fitted.
        """
        self._check(frames)
        if self.probability == 0:
            return {name: copy.copy(frame) for name, frame in frames.items()}
        generator = seed if isinstance(seed, torch.Generator) else torch.Generator().manual_seed(seed)
        names = [name for name in self._tables if name in frames]  # the order of the frames may vary
        sizes = [len(frames[name]) * frames[name].num_cols for name in names]
        uniform = torch.rand(sum(sizes), dtype=torch.float64, generator=generator).to(self._device).split(sizes)
        corrupted = {
            name: self._tables[name].corrupt(frames[name], self.probability, draw)
            for name, draw in zip(names, uniform, strict=True)
        }
        return {name: corrupted[name] for name in frames}

    def _check(self, frames: Mapping[str, TensorFrame]) -> None:
        if unknown := frames.keys() - self._tables.keys():
            raise ValueError(f"The tables {sorted(unknown)} were not fitted: fit() saw {list(self._tables)}")
        for name, frame in frames.items():
            if frame.col_names_dict != self._tables[name].columns:
                raise ValueError(
                    f"Table {name!r} has the columns {frame.col_names_dict}, fit() saw {self._tables[name].columns}; "
                    "fit on frames of the same columns"
                )


class _Table:
    """The distinct values of a table's columns.

    Args:
        frame: The training rows.
        max_values: The most distinct values per column.
    """

    def __init__(self, frame: TensorFrame, max_values: int) -> None:
        self.columns = dict(frame.col_names_dict)
        self._pools = {kind: POOLS[kind](cells, max_values) for kind, cells in frame.feat_dict.items()}
        count = torch.cat([torch.zeros(0), *(pool.count for pool in self._pools.values())]).double()
        self._count, self._last = count, (count - 1).clamp(min=0)

    def to(self, device: torch.device) -> _Table:
        """Returns a copy on a device."""
        result = copy.copy(self)
        result._pools = {kind: moved(pool, device) for kind, pool in self._pools.items()}
        result._count, result._last = self._count.to(device), self._last.to(device)
        return result

    def corrupt(self, frame: TensorFrame, probability: float, uniform: Tensor) -> TensorFrame:
        """Returns a corrupted copy.

        Args:
            frame: The rows.
            probability: Probability that a cell is replaced, above 0.
            uniform: A number from 0 to 1 for each cell, ``(num_rows * num_columns,)``.
        """
        corrupted = copy.copy(frame)
        if not uniform.numel():
            return corrupted
        uniform = uniform.view(len(frame), -1) / probability
        # Below 1, the number is uniform once more: one draw says whether a cell is replaced, and by what.
        chosen = (uniform < 1) & (self._count > 0)
        place = (uniform * self._count).minimum(self._last).long()
        sizes = [len(pool.count) for pool in self._pools.values()]
        parts = zip(self._pools.items(), chosen.split(sizes, 1), place.split(sizes, 1), strict=True)
        for (kind, pool), its_chosen, its_place in parts:
            corrupted.feat_dict[kind] = pool.replace(frame.feat_dict[kind], its_chosen, its_place)
        return corrupted
