"""Hashes of numbers, rows and lists, the same on every machine."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

GOLDEN = np.uint64(0x9E3779B97F4A7C15)
"""2⁶⁴ over the golden ratio: the step from state to state of SplitMix64 (Steele et al. 2014)."""

_MIX1, _MIX2 = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
_S30, _S27, _S31 = np.uint64(30), np.uint64(27), np.uint64(31)

_CHUNK_ROWS = 8192
"""Rows that are hashed at a time: few enough to stay in the processor's cache."""


def mix(value):
    """Scatters the bits of unsigned 64-bit numbers, one to one (SplitMix64's last steps)."""
    value = (value ^ (value >> _S30)) * _MIX1
    value = (value ^ (value >> _S27)) * _MIX2
    return value ^ (value >> _S31)


def hash_rows(blocks: Sequence[np.ndarray]) -> np.ndarray:
    """Hashes rows that lie in several blocks of columns.

    Two of a million different rows share a hash with probability 3e-8, two of ten million with 3e-6.

    Args:
        blocks: Numbers of any type, each ``(num_rows, width)``. Missing ones are equal to each other, and −0 to 0.

    Returns:
        uint64 hashes ``(num_rows,)``.
    """
    keys = np.zeros(len(blocks[0]), dtype=np.uint64)
    for block in blocks:
        for start in range(0, len(keys), _CHUNK_ROWS):
            key = keys[start : start + _CHUNK_ROWS]
            for column in _bits(block[start : start + _CHUNK_ROWS]):
                key[:] = mix(key + column + GOLDEN)
    return keys


def _bits(block: np.ndarray) -> Iterator[np.ndarray]:
    """The columns of a block as unsigned integers, equal where the numbers are."""
    if block.dtype.kind == "f":
        block = np.where(np.isnan(block), np.nan, block + 0).astype(block.dtype)  # one NaN, and 0 for −0
    yield from np.ascontiguousarray(block.T).view(f"u{block.itemsize}")


def sum_lists(values: np.ndarray, offset: np.ndarray) -> np.ndarray:
    """Adds up what lists hold, after mixing, which tells lists apart whatever the order of their elements.

    Args:
        values: Integers, of all lists one after the other ``(num_values,)``.
        offset: Where each list begins ``(num_lists + 1,)``.

    Returns:
        uint64 sums ``(num_lists,)``.
    """
    mixed = mix(values.astype(np.uint64) + GOLDEN)
    total = np.concatenate([np.zeros(1, dtype=np.uint64), np.cumsum(mixed, dtype=np.uint64)])
    return np.diff(total[offset])  # wraps around, which sums and differences survive
