"""Rows of node numbers as keys: sorted, made unique, looked up."""

from __future__ import annotations

import numpy as np


def sorted_members(rows: np.ndarray) -> np.ndarray:
    """Sorts the nodes within each row, with what is no node (−1) at the end ``(num_rows, width)``."""
    high = np.iinfo(rows.dtype).max
    found = np.sort(np.where(rows < 0, high, rows), axis=1)
    return np.where(found == high, -1, found).astype(rows.dtype)


def unique_rows(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns each row once, in order, and for every row which one it is.

    Args:
        rows: Numbers of at least −1 ``(num_rows, width)``.

    Returns:
        ``(num_distinct, width)`` and ``(num_rows,)``.
    """
    if not len(rows) or not rows.shape[1]:
        return rows[: min(len(rows), 1)], np.zeros(len(rows), dtype=np.int64)
    packed = pack(rows, int(rows.max(initial=0)))
    if packed is None:
        found, inverse = np.unique(rows, axis=0, return_inverse=True)
        return found, inverse.reshape(-1)
    _, first, inverse = np.unique(packed, return_index=True, return_inverse=True)
    return rows[first], inverse.reshape(-1)


def find_rows(rows: np.ndarray, table: np.ndarray) -> np.ndarray:
    """Returns where each row stands in a table, or −1.

    Args:
        rows: What to look for ``(num_rows, width)``.
        table: Distinct rows ``(num_table, width)``; of less width than rows, it is filled up with −1, and vice versa.

    Returns:
        ``(num_rows,)``.
    """
    width = max(rows.shape[1], table.shape[1])
    both = np.concatenate([widened(table, width), widened(rows, width)])
    _, key = unique_rows(both)
    place = np.full(key.max(initial=-1) + 1, -1)
    place[key[: len(table)]] = np.arange(len(table))
    return place[key[len(table) :]]


def widened(rows: np.ndarray, width: int) -> np.ndarray:
    """Fills rows up with −1 ``(num_rows, width)``."""
    missing = width - rows.shape[1]
    return np.pad(rows, ((0, 0), (0, missing)), constant_values=-1) if missing else rows


def pack(rows: np.ndarray, largest: int) -> np.ndarray | None:
    """Makes one number of each row that sorts as the row does; None where 63 bits do not hold it."""
    base = largest + 2
    if base ** rows.shape[1] >= 2**63:
        return None
    packed = np.zeros(len(rows), dtype=np.int64)
    for column in rows.T:
        packed = packed * base + (column + 1)
    return packed
