"""The distinct values of a column, found by hashing: numbers, vectors and lists alike."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch_frame.data import MultiNestedTensor

_CHUNK_ROWS = 8192
"""Rows that are hashed at a time: few enough to stay in the processor's cache."""

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


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


def row_keys(rows: Tensor) -> np.ndarray:
    """Hashes the rows of a matrix of any type, uint64, ``(num_rows,)``.

    Two of a million different rows share a key with probability 3e-8, and nothing breaks if they do:
    one of them is not drawn.

    Args:
        rows: ``(num_rows, width)``.
    """
    keys = np.zeros(len(rows), dtype=np.uint64)
    for start in range(0, len(rows), _CHUNK_ROWS):
        part = rows[start : start + _CHUNK_ROWS]
        numbers = (part.float() if part.dtype == torch.bfloat16 else part).numpy() + 0  # −0.0 becomes 0.0
        key = keys[start : start + _CHUNK_ROWS]
        for column in np.ascontiguousarray(numbers.T).view(f"u{numbers.itemsize}"):
            key += column
            _mix(key)
    return keys


def cell_keys(cells: MultiNestedTensor) -> np.ndarray:
    """Hashes the lists in the cells of a multicategorical column, uint64, ``(num_rows,)``.

    A list is a set that PyTorch Frame wrote down in any order, so the order does not count.

    Args:
        cells: One column, ``(num_rows, 1, any)``.
    """
    values, offset = cells.values.numpy().astype(np.uint64), cells.offset.numpy()
    _mix(values)
    total = np.concatenate([np.zeros(1, dtype=np.uint64), np.cumsum(values, dtype=np.uint64)])
    keys = total[offset[1:]] - total[offset[:-1]]  # wraps around, which sums and differences survive
    _mix(keys)
    return keys


def _mix(keys: np.ndarray) -> None:
    """Scrambles the bits in place, one to one (Steele et al. 2014, SplitMix64)."""
    keys += _GOLDEN
    keys ^= keys >> np.uint64(30)
    keys *= np.uint64(0xBF58476D1CE4E5B9)
    keys ^= keys >> np.uint64(27)
    keys *= np.uint64(0x94D049BB133111EB)
    keys ^= keys >> np.uint64(31)
