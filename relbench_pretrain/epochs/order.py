"""Which batch each process takes in each step, so that a stopped run goes on with the batch after its last one."""

from __future__ import annotations

import itertools
import math
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from fractions import Fraction
from typing import Any

import numpy as np
from torch.utils.data import Sampler


class BatchOrder(Sampler):
    """The batches of one process, epoch after epoch, as a loader's ``sampler`` or ``batch_sampler``.

    Everything follows from the seed, the number of the epoch and what was taken of it before. Of that it is known how
    many processes took it, so that a run can go on with another number of them.

    Args:
        rank: Number of this process.
        world_size: Number of processes.

    Attributes:
        epoch: The epoch that the next iteration gives.
        taken: The part of that epoch that was taken before: pairs of a number of processes and of their steps.
        before: Batches that all processes took in earlier epochs.

    Raises:
        ValueError: If the rank is none of the processes.
    """

    def __init__(self, rank: int = 0, world_size: int = 1) -> None:
        if not 0 <= rank < world_size:
            raise ValueError(f"rank {rank} is not one of {world_size} processes")
        self.rank, self.world_size = rank, world_size
        self.begin(0)

    def begin(self, epoch: int, taken: Sequence[Sequence[int]] = (), before: int = 0) -> None:
        """Sets what the next iteration gives; see the attributes."""
        self.epoch, self.taken, self.before = epoch, [(int(size), int(steps)) for size, steps in taken], before

    @property
    def batches_taken(self) -> int:
        """Batches that all processes took of the epoch before."""
        return sum(size * steps for size, steps in self.taken)

    @property
    def steps_taken(self) -> int:
        """Steps of the epoch that were taken before."""
        return sum(steps for _, steps in self.taken)

    @abstractmethod
    def __len__(self) -> int:
        """The number of steps of a whole epoch."""

    @property
    @abstractmethod
    def steps_left(self) -> int:
        """How many steps the next iteration gives."""

    @abstractmethod
    def __iter__(self) -> Iterator[Any]:
        """Gives what is left of the epoch."""

    def share(self, step: int) -> tuple[int, float] | None:
        """Returns how many rows of the batch of a step of the next iteration count, and what its loss is multiplied by.

        Processes are averaged over, also where a last batch was too short to be shared out evenly. None where every
        batch counts whole and as much as any other.
        """
        return None


class NumberedBatches(BatchOrder):
    """Numbers of batches that are made from their number alone; none comes twice in a run.

    Args:
        number: Batches per epoch and process.
        rank: Number of this process.
        world_size: Number of processes.
        again: Whether the same numbers come again in every epoch.
    """

    def __init__(self, number: int, rank: int = 0, world_size: int = 1, again: bool = False) -> None:
        super().__init__(rank, world_size)
        self.number, self.again = number, again

    def __len__(self) -> int:
        return self.number

    @property
    def steps_left(self) -> int:
        return max(0, self.number - self.steps_taken)

    def __iter__(self) -> Iterator[Any]:
        return self._numbers((0 if self.again else self.before) + self.batches_taken)

    def _numbers(self, first: int) -> Iterator[int]:
        return iter(range(first, first + self.steps_left * self.world_size)[self.rank :: self.world_size])


class PhaseBatches(NumberedBatches):
    """Pairs of epoch and number of a batch, for training in phases, where the epoch decides what a batch is for."""

    def __iter__(self) -> Iterator[tuple[int, int]]:
        return zip(itertools.repeat(self.epoch), super().__iter__())


class SharedBatches(NumberedBatches):
    """Numbers of a fixed set of batches, the same ones in every epoch, shared out to processes.

    All processes make as many steps. Where the batches cannot be shared out evenly, some processes have one of another
    process at the end, which does not count.

    Args:
        number: The number of batches.
        rank: Number of this process.
        world_size: Number of processes.
    """

    def __init__(self, number: int, rank: int = 0, world_size: int = 1) -> None:
        super().__init__(-(-number // world_size), rank, world_size, again=True)
        self.total = number

    def __iter__(self) -> Iterator[int]:
        return (number % self.total for number in super().__iter__())

    def share(self, step: int) -> tuple[int, float]:
        own = step * self.world_size + self.rank < self.total
        return int(own), float(own)


class PassBatches(NumberedBatches):
    """Numbers of batches that divide the same rows evenly in every epoch.

    With n batches in an epoch, over all processes, number i is part i mod n of the rows in epoch i // n. Where the
    number of processes changes within an epoch, a batch that the new division cuts is taken as had, and where the
    batches left cannot be shared out evenly, the last step has some of the next epoch's.

    Args:
        num_rows: The number of rows.
        batch_size: The most rows per batch and process.
        rank: Number of this process.
        world_size: Number of processes.
    """

    def __init__(self, num_rows: int, batch_size: int, rank: int = 0, world_size: int = 1) -> None:
        self.num_rows, self.batch_size = num_rows, batch_size
        super().__init__(self._steps(world_size), rank, world_size)

    def _steps(self, world_size: int) -> int:
        return -(-self.num_rows // (self.batch_size * world_size))

    @property
    def _first(self) -> int:
        share = sum(Fraction(steps, self._steps(size)) for size, steps in self.taken)
        return min(len(self) * self.world_size, math.ceil(share * len(self) * self.world_size))

    @property
    def steps_left(self) -> int:
        return len(self) - self._first // self.world_size

    def __iter__(self) -> Iterator[int]:
        return self._numbers(self.epoch * len(self) * self.world_size + self._first)


class RowBatches(BatchOrder):
    """Batches of rows, each row once an epoch: a step's rows are shared out evenly, also those of a last short one.

    A process whose share has fewer than ``least`` rows gets others besides; :meth:`share` says how many count.

    Args:
        num_rows: The number of rows.
        batch_size: Rows per batch and process.
        shuffle: Whether every epoch has an order of its own; otherwise rows come as they are.
        seed: Seeds the orders.
        least: The fewest rows of a batch: 2 where batches are normalised by their own spread.
        rank: Number of this process.
        world_size: Number of processes.

    Raises:
        ValueError: If there are no rows, or the batch size is not positive.
    """

    def __init__(
        self,
        num_rows: int,
        batch_size: int,
        shuffle: bool = False,
        seed: int = 0,
        least: int = 1,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        super().__init__(rank, world_size)
        if num_rows < 1 or batch_size < 1:
            raise ValueError(f"there must be rows, and a positive batch_size, got {num_rows} and {batch_size}")
        self.num_rows, self.batch_size = num_rows, batch_size
        self.shuffle, self.seed, self.least = shuffle, seed, least

    @property
    def _step(self) -> int:
        return self.batch_size * self.world_size

    @property
    def _first(self) -> int:
        return min(self.num_rows, self.batches_taken * self.batch_size)

    def __len__(self) -> int:
        return -(-self.num_rows // self._step)

    @property
    def steps_left(self) -> int:
        return -(-(self.num_rows - self._first) // self._step)

    def __iter__(self) -> Iterator[list[int]]:
        order = np.arange(self.num_rows)
        if self.shuffle:
            order = np.random.default_rng([self.seed, self.epoch]).permutation(order)
        return self._batches(order, self._first, self.steps_left)

    def _batches(self, order: np.ndarray, first: int, steps: int) -> Iterator[list[int]]:
        for begin in range(first, first + steps * self._step, self._step):
            batch = order[begin : begin + self._step][self.rank :: self.world_size].tolist()
            yield batch + np.resize(order, max(0, self.least - len(batch))).tolist()

    def share(self, step: int) -> tuple[int, float]:
        rows = min(self._step, self.num_rows - self._first - step * self._step)
        own = len(range(self.rank, rows, self.world_size))
        return own, own * self.world_size / rows
