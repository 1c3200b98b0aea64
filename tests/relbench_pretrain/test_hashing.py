"""Hashes are those of SplitMix64, and tell rows and lists apart."""

from __future__ import annotations

import numpy as np
import pytest

from relbench_pretrain.contrastive.pools import most_frequent
from relbench_pretrain.hashing import GOLDEN, hash_rows, mix, sum_lists
from relbench_pretrain.sampling import kernels


def test_the_published_sequence():
    """The first numbers of SplitMix64 from the seed 1234567, as its reference implementation prints them."""
    published = [6457827717110365317, 3203168211198807973, 9817491932198370423, 4593380528125082431]
    states = np.uint64(1234567) + np.arange(1, 5, dtype=np.uint64) * GOLDEN
    assert mix(states).tolist() == published
    assert [kernels.mix(state) for state in states] == published


def test_rows_are_told_apart():
    signs = np.array([[1.0 if k & (1 << b) else -1.0 for b in range(8)] for k in range(256)], dtype=np.float32)
    assert len(set(hash_rows([signs]).tolist())) == 256
    assert len(set(hash_rows([np.arange(100_000).reshape(-1, 2)]).tolist())) == 50_000
    assert hash_rows([np.array([[0.0, 1.0]])]) != hash_rows([np.array([[1.0, 0.0]])])
    many = np.random.default_rng(0).integers(0, 3, (20_000, 4))
    _, inverse = np.unique(many, axis=0, return_inverse=True)
    keys = hash_rows([many[:, :1], many[:, 1:]])
    assert keys.tolist() == hash_rows([many]).tolist()
    assert len(set(zip(keys.tolist(), inverse.ravel().tolist(), strict=True))) == 81
    assert len(most_frequent(keys, 1000)) == 81


@pytest.mark.parametrize("kind", [np.float16, np.float32, np.float64])
def test_zeros_are_equal_and_so_are_missing_numbers(kind):
    other = np.array([np.nan]).view(np.int64) + 1
    values = np.array([0.0, -0.0, np.nan, other.view(np.float64)[0], 1.0]).astype(kind)
    keys = hash_rows([values.reshape(-1, 1)])
    assert keys[0] == keys[1] and keys[2] == keys[3] and len(set(keys.tolist())) == 3


def test_lists_are_sets():
    values = np.array([1, 2, 2, 1, 3, 1, 1, 2])
    sums = sum_lists(values, np.array([0, 2, 4, 5, 5, 7, 8]))
    assert sums[0] == sums[1] and sums[3] == 0 and len(set(sums.tolist())) == 5
