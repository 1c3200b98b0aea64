"""The graph on a device, and lookups in it for rows that are not sampled yet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from relbench_pretrain.relational.graph import RelationalGraph
from relbench_pretrain.sampling.csc import FlatGraph, GraphIndex
from relbench_pretrain.sampling.output import NO_AGE
from relbench_pretrain.unix_time import ALWAYS


@dataclass(frozen=True)
class DeviceGraph:
    """A graph whose index and features are tensors on one device.

    Rows are numbered over all tables; ``num_rows`` stands for no row. Every parent row has a *family* of child rows
    per foreign key that refers to it; families are numbered foreign key by foreign key, parent by parent.

    Args:
        graph: The graph with features, times and parents on the device.
        num_rows: The number of rows of all tables.
        offset: Where each table begins among all rows ``(num_tables + 1,)``.
        time: UNIX seconds of all rows ``(num_rows,)``.
        parent: Row number of each parent within its table, −1 for none; row by row, key by key; one more −1 at the end.
        child: The child rows of all families, in row order, as ``family * stride + row``: so they are sorted as a
            whole and are searched in one step. One more at the end ``(num_edges + 1,)``.
        stride: More than any table has rows.
        keys: The lookup constants of all foreign keys, on the host.
        max_degree: The size of the largest family.
    """

    graph: RelationalGraph
    num_rows: int
    offset: Tensor
    time: Tensor
    parent: Tensor
    child: Tensor
    stride: int
    keys: KeyConstants
    max_degree: int

    @classmethod
    def from_index(cls, index: GraphIndex, device: torch.device) -> DeviceGraph:
        """Copies a graph to a device."""
        flat, graph, tables = index.flat, index.graph, index.node_types
        keys = KeyConstants.of_graph(flat)
        stride = int(np.diff(flat.offset).max(initial=0)) + 1
        degree = _degrees(flat)
        child = np.repeat(np.arange(len(degree)) * stride, degree) + flat.child_row
        time = torch.from_numpy(flat.time).to(device)
        parent = torch.cat([torch.from_numpy(flat.parent), torch.full((1,), -1)]).to(device)
        moved = replace(
            graph,
            frames={table: graph.frames[table].to(device) for table in tables},
            time=_views(time, {table: graph.time[table] for table in tables}),
            parent=_views(parent, {table: graph.parent[table] for table in tables}),
            duplicate={table: graph.duplicate[table].to(device) for table in tables},
        )
        return cls(
            graph=moved,
            num_rows=len(time),
            offset=torch.from_numpy(flat.offset).to(device),
            time=time,
            parent=parent,
            child=torch.from_numpy(np.append(child, np.iinfo(np.int64).max)).to(device),
            stride=stride,
            keys=keys,
            max_degree=int(degree.max(initial=0)),
        )

    @property
    def device(self) -> torch.device:
        """The device that the tensors are on."""
        return self.child.device

    def parents(self, frontier: Frontier, rows: Tensor) -> Tensor:
        """Returns each parent's row number within its table, −1 for none; anything where the row itself is none.

        Args:
            frontier: The rows and foreign keys to look up, on the device.
            rows: The rows of the pairs ``(num_parent_pairs,)``.
        """
        place = rows * frontier.parent_width + frontier.parent_shift
        return self.parent[place.clamp(max=len(self.parent) - 1)]

    def families(self, frontier: Frontier, rows: Tensor, visible: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Finds the visible child rows of each row under a foreign key.

        Args:
            frontier: The rows and foreign keys to look up, on the device.
            rows: The rows of the pairs ``(num_child_pairs,)``.
            visible: Leading rows of the child table that are visible, 0 where the row is none ``(num_child_pairs,)``.

        Returns:
            What to take from ``child`` to have row numbers, where in ``child`` they begin, and how many there are.
        """
        family = (rows + frontier.child_shift) * self.stride
        bounds = torch.searchsorted(self.child, torch.stack([family, family + visible]))
        return family, bounds[0], bounds[1] - bounds[0]

    def age(self, rows: Tensor, times: Tensor) -> Tensor:
        """Returns the seconds from each row's time to the given ones, −1 for a row without a time ``(num_rows,)``."""
        time = self.time[rows]
        return torch.where(time == ALWAYS, NO_AGE, (times - time).float())


class KeyConstants(NamedTuple):
    """Constants that lead from row numbers to parents and families, for every foreign key ``(num_keys,)`` each.

    Args:
        width: The number of foreign keys of the child table.
        shift: The parent of row ``r`` is at ``width * r + shift`` in ``parent``.
        family: The family of row ``r`` is ``r + family``.
    """

    width: np.ndarray
    shift: np.ndarray
    family: np.ndarray

    @classmethod
    def of_graph(cls, flat: FlatGraph) -> KeyConstants:
        """Computes the constants of a graph."""
        child, parent = flat.key_child, flat.key_parent
        width = np.diff(flat.first_key)[child]
        column = np.arange(len(child)) - flat.first_key[child]
        num_families = np.diff(flat.offset)[parent]
        begin = np.cumsum(num_families) - num_families
        return cls(width, flat.parent_base[child] - flat.offset[child] * width + column, begin - flat.offset[parent])


class Frontier(NamedTuple):
    """Rows to go on from, of which only the tables are known yet, paired with all foreign keys to go along.

    Args:
        child_place: Which of the rows each pair is about ``(num_child_pairs,)``.
        child_table: The table of its child rows.
        child_first: Where this table begins among all rows.
        child_shift: :attr:`KeyConstants.family`.
        parent_place: Which of the rows each pair is about ``(num_parent_pairs,)``.
        parent_key: The foreign key.
        parent_table: The table of its parent.
        parent_first: Where this table begins among all rows.
        parent_width: :attr:`KeyConstants.width`.
        parent_shift: :attr:`KeyConstants.shift`.
    """

    child_place: Tensor
    child_table: Tensor
    child_first: Tensor
    child_shift: Tensor
    parent_place: Tensor
    parent_key: Tensor
    parent_table: Tensor
    parent_first: Tensor
    parent_width: Tensor
    parent_shift: Tensor

    @classmethod
    def of_tables(cls, tables: np.ndarray, flat: FlatGraph, keys: KeyConstants) -> Frontier:
        """Pairs rows with the foreign keys of their tables ``(num_rows,)``, on the host."""
        child_place, down = _pairs(tables, flat.referring_offset, flat.referring_key)
        parent_place, up = _pairs(tables, flat.first_key, np.arange(len(flat.key_child)))
        child, parent = flat.key_child[down], flat.key_parent[up]
        children = (child_place, child, flat.offset[child], keys.family[down])
        parents = (parent_place, up, parent, flat.offset[parent], keys.width[up], keys.shift[up])
        return cls(*(torch.from_numpy(part) for part in (*children, *parents)))

    def num_reached(self, num_tables: int, max_children: int) -> Tensor:
        """Returns for how many reached rows of each table there must be room ``(num_tables,)``."""
        children = torch.bincount(self.child_table, minlength=num_tables)
        return max_children * children + torch.bincount(self.parent_table, minlength=num_tables)

    def to(self, device: torch.device) -> Frontier:
        """Copies it to a device."""
        return Frontier(*upload(self, device))


def upload(parts: Sequence[Tensor], device: torch.device) -> list[Tensor]:
    """Copies int64 tensors to a device, all in one transfer."""
    flat = torch.cat([part.reshape(-1) for part in parts]).to(device, non_blocking=True)
    pieces = flat.split([part.numel() for part in parts])
    return [piece.view(part.shape) for piece, part in zip(pieces, parts, strict=True)]


def _pairs(tables: np.ndarray, offset: np.ndarray, keys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pairs each row with the foreign keys of its table, which begin at ``offset`` in ``keys``."""
    count = offset[tables + 1] - offset[tables]
    place = np.repeat(np.arange(len(tables)), count)
    within = np.arange(len(place)) - np.repeat(np.cumsum(count) - count, count)
    return place, keys[offset[tables][place] + within]


def _degrees(flat: FlatGraph) -> np.ndarray:
    """Returns the number of child rows of every family ``(num_families,)``."""
    num_parents = np.diff(flat.offset)[flat.key_parent]
    spans = zip(flat.child_offset_base, num_parents, strict=True)
    return np.concatenate([np.empty(0, np.int64), *(np.diff(flat.child_offset[b : b + n + 1]) for b, n in spans)])


def _views(flat: Tensor, parts: dict[str, Tensor]) -> dict[str, Tensor]:
    """Cuts a flat tensor into parts of the given shapes."""
    views, start = {}, 0
    for name, part in parts.items():
        views[name] = flat[start : start + part.numel()].view(part.shape)
        start += part.numel()
    return views
