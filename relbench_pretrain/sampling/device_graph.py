"""The graph on a device, and the questions that a sampler of tensors asks it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from relbench_pretrain.relational.graph import RelationalGraph
from relbench_pretrain.sampling.csc import FlatGraph, GraphIndex


@dataclass(frozen=True)
class DeviceGraph:
    """A graph whose index and features are tensors on one device.

    Rows are numbered over all tables; the number ``num_rows`` stands for no row. No method waits for the device.

    Args:
        graph: The graph with features, times and parents on the device.
        num_rows: The number of rows of all tables.
        offset: Where each table begins among all rows ``(num_tables + 1,)``.
        time: UNIX seconds of all rows, and one more ``(num_rows + 1,)``.
        parent: Row number of each parent within its table, −1 for none; row by row, key by key; the last is −1.
        parent_base: Where each table begins in ``parent`` ``(num_tables,)``.
        first_key: The number of each table's first foreign key ``(num_tables + 1,)``.
        key_child: The child table of each foreign key ``(num_keys,)``.
        key_parent: The parent table of each foreign key ``(num_keys,)``.
        family_base: Every parent row has one family per foreign key that refers to it; where those of each foreign
            key begin among all ``(num_keys,)``.
        child: All families one after the other, child rows in row order, as ``family * stride + row``; being sorted
            as a whole, it is searched in one step ``(num_edges + 1,)``.
        stride: More than any table has rows.
        max_degree: The size of the largest family.
    """

    graph: RelationalGraph
    num_rows: int
    offset: Tensor
    time: Tensor
    parent: Tensor
    parent_base: Tensor
    first_key: Tensor
    key_child: Tensor
    key_parent: Tensor
    family_base: Tensor
    child: Tensor
    stride: int
    max_degree: int

    @classmethod
    def from_index(cls, index: GraphIndex, device: torch.device) -> DeviceGraph:
        """Copies a graph to a device."""
        flat, graph = index.flat, index.graph
        stride = int(np.diff(flat.offset).max(initial=0)) + 1
        family_base, child, max_degree = _families(flat, stride)
        tensors = {name: torch.from_numpy(value).to(device) for name, value in flat._asdict().items() if name in _SHARED}
        time = torch.cat([torch.from_numpy(flat.time), torch.zeros(1, dtype=torch.int64)]).to(device)
        parent = torch.cat([torch.from_numpy(flat.parent), torch.full((1,), -1)]).to(device)
        moved = replace(
            graph,
            frames={table: frame.to(device) for table, frame in graph.frames.items()},
            time=_views(time, {table: graph.time[table] for table in index.node_types}),
            parent=_views(parent, {table: graph.parent[table] for table in index.node_types}),
            duplicate={table: numbers.to(device) for table, numbers in graph.duplicate.items()},
        )
        return cls(
            graph=moved,
            num_rows=len(flat.time),
            time=time,
            parent=parent,
            family_base=torch.from_numpy(family_base).to(device),
            child=torch.from_numpy(child).to(device),
            stride=stride,
            max_degree=max_degree,
            **tensors,
        )

    @property
    def device(self) -> torch.device:
        """The device that the tensors are on."""
        return self.child.device

    def parents(self, rows: Tensor, keys: Tensor) -> Tensor:
        """Returns the parent of each row under a foreign key, ``num_rows`` for none ``(num_pairs,)``."""
        table = self.key_child[keys]
        width = self.first_key[table + 1] - self.first_key[table]
        place = self.parent_base[table] + (rows - self.offset[table]) * width + keys - self.first_key[table]
        parent = self.parent[torch.where(rows < self.num_rows, place, len(self.parent) - 1)]
        return torch.where(parent >= 0, self.offset[self.key_parent[keys]] + parent, self.num_rows)

    def children(self, rows: Tensor, keys: Tensor, visible: Tensor) -> tuple[Tensor, Tensor]:
        """Finds the visible child rows of each row under a foreign key.

        Args:
            rows: Rows ``(num_pairs,)``.
            keys: Foreign keys ``(num_pairs,)``.
            visible: How many leading rows of the child table are visible ``(num_pairs,)``.

        Returns:
            Where they begin in ``child`` and how many they are ``(num_pairs,)``.
        """
        family = (self.family_base[keys] + rows - self.offset[self.key_parent[keys]]) * self.stride
        bounds = torch.searchsorted(self.child, torch.stack([family, family + visible]))
        return bounds[0], torch.where(rows < self.num_rows, bounds[1] - bounds[0], 0)


_SHARED = ("offset", "parent_base", "first_key", "key_child", "key_parent")


def _families(flat: FlatGraph, stride: int) -> tuple[np.ndarray, np.ndarray, int]:
    """Returns where the families of each foreign key begin, all child rows, and the size of the largest family."""
    num_parents = np.diff(flat.offset)[flat.key_parent]
    bounds = np.concatenate([[0], np.cumsum(num_parents)]).astype(np.int64)
    degrees = [
        np.diff(flat.child_offset[base : base + n + 1])
        for base, n in zip(flat.child_offset_base, num_parents, strict=True)
    ]
    degree = np.concatenate([np.empty(0, dtype=np.int64), *degrees])
    child = np.repeat(np.arange(bounds[-1]) * stride, degree) + flat.child_row
    return bounds[:-1], np.append(child, np.iinfo(np.int64).max), int(degree.max(initial=0))


def _views(flat: Tensor, parts: dict[str, Tensor]) -> dict[str, Tensor]:
    """Cuts a flat tensor into parts of the given shapes."""
    views, start = {}, 0
    for name, part in parts.items():
        views[name] = flat[start : start + part.numel()].view(part.shape)
        start += part.numel()
    return views


def upload(arrays: Sequence[np.ndarray], device: torch.device) -> list[Tensor]:
    """Copies int64 arrays to a device, all in one transfer."""
    flat = torch.from_numpy(np.concatenate([array.reshape(-1) for array in arrays])).to(device, non_blocking=True)
    parts = flat.split([array.size for array in arrays])
    return [part.view(array.shape) for part, array in zip(parts, arrays, strict=True)]


class Frontier(NamedTuple):
    """Rows to go on from, of which only the tables are known yet, paired with all foreign keys to go along.

    Args:
        child_place: Which of the rows each pair is about ``(num_child_pairs,)``.
        child_key: The foreign key along which it may have child rows ``(num_child_pairs,)``.
        parent_place: The same for parents ``(num_parent_pairs,)``.
        parent_key: The foreign key along which it may have a parent ``(num_parent_pairs,)``.
    """

    child_place: np.ndarray
    child_key: np.ndarray
    parent_place: np.ndarray
    parent_key: np.ndarray

    @classmethod
    def of_tables(cls, tables: np.ndarray, flat: FlatGraph) -> Frontier:
        """Pairs rows with their foreign keys, given the table of each row ``(num_rows,)``."""
        own = np.arange(len(flat.key_child))
        return cls(*_pairs(tables, flat.referring_offset, flat.referring_key), *_pairs(tables, flat.first_key, own))

    def num_reached(self, flat: FlatGraph, max_children: int) -> np.ndarray:
        """Returns for how many reached rows of each table there must be room ``(num_tables,)``."""
        num_tables = len(flat.parent_base)
        children = np.bincount(flat.key_child[self.child_key], minlength=num_tables)
        return max_children * children + np.bincount(flat.key_parent[self.parent_key], minlength=num_tables)


def _pairs(tables: np.ndarray, offset: np.ndarray, keys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pairs each row with the foreign keys of its table, which begin at ``offset`` in ``keys``."""
    count = offset[tables + 1] - offset[tables]
    place = np.repeat(np.arange(len(tables)), count)
    within = np.arange(len(place)) - np.repeat(np.cumsum(count) - count, count)
    return place, keys[offset[tables][place] + within]
