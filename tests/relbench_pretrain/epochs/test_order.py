"""What orders and loaders promise: shared out whole, never twice, and gone on with after a stop."""

from __future__ import annotations

from collections import Counter
from itertools import chain
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from datamodules.recommendation import SameTimeBatches
from relbench_pretrain.epochs import (
    NumberedBatches,
    PassBatches,
    PhaseBatches,
    ResumableLoader,
    RowBatches,
    SharedBatches,
)
from relbench_pretrain.sampling import SeedRows, SeedSampler

COUNT = np.array([60, 3, 37])
SEEDS = SeedRows(np.array([0, 60, 63]), COUNT, torch.arange(100), torch.zeros(100, dtype=torch.long))
TIME = torch.arange(40) // 5

ORDERS = {
    "rows": lambda rank, size: RowBatches(41, 4, True, 3, 1, rank, size),
    "same time": lambda rank, size: SameTimeBatches(TIME, 2, 0, rank, size),
    "numbers": lambda rank, size: NumberedBatches(12 // size, rank, size),
    "phases": lambda rank, size: PhaseBatches(12 // size, rank, size),
    "passes": lambda rank, size: PassBatches(48, 4, rank, size),
    "seeds": lambda rank, size: SeedSampler(SEEDS, 4, "tables", None, True, 1, rank, size),
    "seeds by size": lambda rank, size: SeedSampler(SEEDS, 4, "rows", 25, True, 1, rank, size),
}


class Batches:
    """A loader that hands on what its order says."""

    def __init__(self, order):
        self.order = order

    def __iter__(self):
        return (SimpleNamespace(content=content) for content in iter(self.order))


def loaders(name, size):
    orders = [ORDERS[name](rank, size) for rank in range(size)]
    return [ResumableLoader(Batches(order), order) for order in orders]


def taken(group, steps=None):
    """What the processes take in one epoch, step by step."""
    iterators = [iter(loader) for loader in group]
    found = []
    for _ in range(group[0].order.steps_left if steps is None else steps):
        batches = [next(iterator) for iterator in iterators]
        contents = [b.content[: getattr(b, "num_real", None)] if isinstance(b.content, list) else b for b in batches]
        found.append([c if isinstance(c, list) else c.content for c in contents])
    if steps is None:
        assert all(next(iterator, None) is None for iterator in iterators)
    return found


@pytest.mark.parametrize("name", ORDERS)
@pytest.mark.parametrize("size", [1, 2])
def test_a_run_that_was_stopped_takes_what_the_whole_run_takes(name, size):
    whole = loaders(name, size)
    expected = [taken(whole) for _ in range(3)]
    for stop in (0, 1, len(whole[0]) - 1, len(whole[0])):
        first = loaders(name, size)
        before = [taken(first), taken(first, stop)]
        second = loaders(name, size)
        for loader in second:  # the state of the first process, as in a checkpoint
            loader.load_state_dict(first[0].state_dict())
        if stop < len(whole[0]):
            rest = taken(second)
            assert [before[0], before[1] + rest] == expected[:2]
        assert taken(second) == expected[2]


@pytest.mark.parametrize("sizes", [(2, 1), (1, 2), (2, 3)])
@pytest.mark.parametrize("name", ["rows", "same time", "numbers", "passes"])
def test_on_another_number_of_processes_nothing_comes_twice_and_all_comes(name, sizes):
    stop = 2
    first = loaders(name, sizes[0])
    epoch = Counter(str(i) for step in taken(loaders(name, sizes[0])) for part in step for i in flat(part))
    found = Counter(str(i) for step in taken(first, stop) for part in step for i in flat(part))
    second = loaders(name, sizes[1])
    for loader in second:
        loader.load_state_dict(first[0].state_dict())
    rest = taken(second)
    assert second[0].steps_taken == len(second[0])
    if name == "passes":  # numbers are those of another division
        number = len(second[0]) * sizes[1]
        assert rest[0][0] == round(number * stop * sizes[0] / 12) and rest[-1][-1] - number < sizes[1] - 1
        return
    found += Counter(str(i) for step in rest for part in step for i in flat(part))
    if name == "same time":  # at the end, processes may get batches of no weight
        found = Counter(dict.fromkeys(found, 1))
    if name == "numbers":
        assert max(found.values()) == 1
    else:
        assert found == epoch


def flat(part):
    return part if isinstance(part, list) else [part]


@pytest.mark.parametrize(("number", "size", "batch"), [(41, 2, 4), (9, 4, 2), (7, 3, 2), (1, 2, 5)])
def test_rows_of_a_short_batch_weigh_the_same_on_all_processes(number, size, batch):
    orders = [RowBatches(number, batch, False, 0, 2, rank, size) for rank in range(size)]
    steps = [list(order) for order in orders]
    assert len({len(each) for each in steps}) == 1
    seen = []
    for step in range(len(steps[0])):
        shares = [order.share(step) for order in orders]
        total = sum(own for own, _ in shares)
        for (own, weight), each in zip(shares, steps, strict=True):
            assert len(each[step]) >= 2
            seen += each[step][:own]
            # A process's mean over its own rows, times its weight, over the number of processes: each row 1 / total.
            assert weight / size == pytest.approx(own / total)
    assert sorted(seen) == list(range(number))


@pytest.mark.parametrize(("number", "size"), [(7, 3), (2, 3), (6, 2), (4, 1)])
def test_shared_batches_count_once_and_processes_make_as_many_steps(number, size):
    orders = [SharedBatches(number, rank, size) for rank in range(size)]
    for _ in range(2):  # again in every epoch
        steps = [list(order) for order in orders]
        assert len({len(each) for each in steps}) == 1
        counted = [n for order, each in zip(orders, steps, strict=True)
                   for step, n in enumerate(each) if order.share(step)[0]]  # fmt: skip
        assert sorted(counted) == list(range(number))
        for order in orders:
            order.begin(1, (), 99)


def test_workers_take_over_in_the_middle_and_epochs_differ():
    def loader():
        order = RowBatches(10, 2, True, 0)
        data = torch.utils.data.DataLoader(
            Rows(), batch_sampler=order, num_workers=1, persistent_workers=True, collate_fn=Rows.join
        )
        return ResumableLoader(data, order)

    whole = loader()
    first, second = ([batch.rows for batch in whole] for _ in range(2))
    assert first != second and sorted(chain(*first)) == sorted(chain(*second)) == list(range(10))
    stopped = loader()
    iterator = iter(stopped)
    assert [next(iterator).rows for _ in range(2)] == first[:2]  # the worker is ahead of what was given
    resumed = loader()
    resumed.load_state_dict(stopped.state_dict())
    assert [batch.rows for batch in resumed] == first[2:]
    assert [batch.rows for batch in resumed] == second


class Rows(torch.utils.data.Dataset):
    def __getitem__(self, number):
        return number

    @staticmethod
    def join(rows):
        return SimpleNamespace(rows=rows)
