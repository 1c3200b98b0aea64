"""Small compiled building blocks of the samplers: random numbers, a hash table, draws without replacement."""

from __future__ import annotations

import numba
import numpy as np

from relbench_pretrain import hashing
from relbench_pretrain.hashing import GOLDEN

EMPTY = np.int64(-1)
_S11 = np.uint64(11)

compiled = numba.njit(cache=True, nogil=True)
mix = compiled(hashing.mix)


@compiled
def batch_state(seed, ids):
    """Returns the random state of one batch, from the seed and the batch's own ids alone.

    It depends on nothing that came before, so a batch is the same with any number of workers and after a resume.
    """
    state = np.empty(1, dtype=np.uint64)
    state[0] = mix(np.uint64(seed) + GOLDEN)
    for i in range(len(ids)):
        state[0] = mix((state[0] ^ np.uint64(ids[i])) + GOLDEN)
    return state


@compiled
def uniform(state):
    """Returns the next random number in [0, 1)."""
    state[0] += GOLDEN
    return (mix(state[0]) >> _S11) * (1.0 / 9007199254740992.0)


@compiled
def _slot(keys, key):
    """Returns where a key is in an open-addressing table of a power of two of entries, or where it would go."""
    mask = np.uint64(len(keys) - 1)
    slot = mix(np.uint64(key)) & mask
    while keys[slot] != EMPTY and keys[slot] != key:
        slot = (slot + np.uint64(1)) & mask
    return slot


@compiled
def find(keys, values, key):
    """Looks a key up in an open-addressing table; −1 if it is not there."""
    slot = _slot(keys, key)
    return values[slot] if keys[slot] == key else EMPTY


@compiled
def find_or_insert(keys, values, key, value):
    """Looks a key up, or adds it with this value where it is not there. Returns the value it has."""
    slot = _slot(keys, key)
    if keys[slot] == key:
        return values[slot]
    keys[slot] = key
    values[slot] = value
    return value


@compiled
def visible_children(flat_rows, begin, end, rows_visible):
    """Counts the visible child rows in ``[begin, end)``, which are in row order, hence in order of time."""
    if begin == end or flat_rows[end - 1] < rows_visible:
        return end - begin
    low, high = begin, end
    while low < high:
        middle = (low + high) // 2
        if flat_rows[middle] < rows_visible:
            low = middle + 1
        else:
            high = middle
    return low - begin


@compiled
def _fenwick(weights, tree):
    """Builds the tree of partial sums. Returns the total."""
    size, total = len(weights), 0.0
    tree[: size + 1] = 0.0
    for i in range(1, size + 1):
        tree[i] += weights[i - 1]
        total += weights[i - 1]
        above = i + (i & -i)
        if above <= size:
            tree[above] += tree[i]
    return total


@compiled
def draw_weighted(weights, count, state, chosen, tree):
    """Draws ``count`` of ``len(weights)`` entries without replacement, each draw in proportion to the weights left.

    Partial sums are kept in a Fenwick tree, so taking an entry out costs as little as finding it, however much
    of the weight the first draws take away.

    Args:
        weights: Positive weights ``(num_entries,)``; taken ones are set to zero.
        count: How many to draw; fewer than there are entries.
        state: The random state.
        chosen: Where the drawn positions are written ``(count,)``.
        tree: Scratch space of at least ``num_entries + 1``.
    """
    size = len(weights)
    total = _fenwick(weights, tree)
    built = total
    top = 1
    while 2 * top <= size:
        top *= 2
    drawn = 0
    while drawn < count:
        if total < 1e-6 * built:  # what is left is small against the rounding of what was taken away
            total = _fenwick(weights, tree)
            built = total
        target = uniform(state) * total
        place, step = 0, top
        while step > 0:
            if place + step <= size and tree[place + step] <= target:
                place += step
                target -= tree[place]
            step //= 2
        if place >= size or weights[place] == 0.0:  # rounding led to an entry that is gone
            total = _fenwick(weights, tree)
            continue
        chosen[drawn] = place
        drawn += 1
        total -= weights[place]
        i = place + 1
        while i <= size:
            tree[i] -= weights[place]
            i += i & -i
        weights[place] = 0.0


@compiled
def draw_uniform(count, size, state, chosen, marks):
    """Draws ``count`` of ``size`` positions uniformly without replacement (Floyd's algorithm).

    Args:
        count: How many to draw; fewer than ``size``.
        size: How many there are.
        state: The random state.
        chosen: Where the positions are written ``(count,)``, in no particular order.
        marks: Scratch space, a power of two of at least ``2 * count`` entries, all ``EMPTY``; it is left so.
    """
    for i in range(count):
        last = size - count + i
        position = np.int64(uniform(state) * (last + 1))
        slot = _slot(marks, position)
        if marks[slot] == position:
            position = last  # which none before could be
            slot = _slot(marks, position)
        marks[slot] = position
        chosen[i] = position
    marks[:] = EMPTY
