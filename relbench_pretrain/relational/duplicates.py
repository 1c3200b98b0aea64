"""Rows that look the same: equal in everything that a network sees of them."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch_frame import TensorFrame
from torch_frame.data import MultiEmbeddingTensor, MultiNestedTensor

_CHUNK_ROWS = 1 << 14
"""Rows that are hashed at a time: few enough to stay in the processor's cache."""


def number_duplicates(frame: TensorFrame, parent: Tensor) -> Tensor:
    """Numbers the groups of rows that agree in all features and foreign keys, in order of their first row.

    Rows are compared by 64-bit hashes: among ten million different rows two get the same number by mistake
    with probability 3e-6.

    Args:
        frame: The encoded features; missing values are equal to each other.
        parent: The parents' row numbers ``(num_rows, num_foreign_keys)``.

    Returns:
        int64 numbers ``(num_rows,)``.
    """
    keys = np.zeros(len(parent), dtype=np.uint64)
    for block in [*map(_as_integers, frame.feat_dict.values()), parent.numpy()]:
        for start in range(0, len(keys), _CHUNK_ROWS):
            key = keys[start : start + _CHUNK_ROWS]
            for column in _bits(block[start : start + _CHUNK_ROWS]):
                key += column
                _mix(key)
    return torch.from_numpy(pd.factorize(keys)[0].astype(np.int64))


def _as_integers(feature: Tensor | MultiNestedTensor | MultiEmbeddingTensor) -> np.ndarray:
    """The cells of all columns of one type ``(num_rows, num_numbers)``."""
    if isinstance(feature, MultiNestedTensor):
        return _list_keys(feature)
    values = feature.values if isinstance(feature, MultiEmbeddingTensor) else feature
    return values.reshape(len(feature), int(np.prod(values.shape[1:]))).numpy()


def _list_keys(lists: MultiNestedTensor) -> np.ndarray:
    """A hash of the elements in each cell, in whatever order ``(num_rows, num_columns)``."""
    values = lists.values.numpy().astype(np.uint64)
    _mix(values)
    total = np.concatenate([np.zeros(1, dtype=np.uint64), np.cumsum(values, dtype=np.uint64)])
    sums = np.diff(total[lists.offset.numpy()])  # wraps around, which sums and differences survive
    return sums.reshape(len(lists), lists.num_cols)


def _bits(block: np.ndarray) -> Iterator[np.ndarray]:
    """The columns of a block as unsigned integers, equal where the numbers are."""
    if block.dtype.kind == "f":
        block = np.where(np.isnan(block), np.nan, block + 0).astype(block.dtype)  # one NaN, and 0 for −0
    yield from np.ascontiguousarray(block.T).view(f"u{block.itemsize}")


def _mix(keys: np.ndarray) -> None:
    """Scrambles the bits in place, one to one (Steele et al. 2014, SplitMix64)."""
    keys += np.uint64(0x9E3779B97F4A7C15)
    keys ^= keys >> np.uint64(30)
    keys *= np.uint64(0xBF58476D1CE4E5B9)
    keys ^= keys >> np.uint64(27)
    keys *= np.uint64(0x94D049BB133111EB)
    keys ^= keys >> np.uint64(31)
