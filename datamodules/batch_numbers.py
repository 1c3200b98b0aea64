"""Which batches a process makes, where a batch is made from its number alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from lightning.pytorch import Trainer
from torch.utils.data import Sampler


class BatchNumbers(Sampler[int]):
    """The numbers of the batches of an epoch, shared out to processes.

    Args:
        number: Batches per epoch and process.
        rank: Number of this process.
        world_size: Number of processes.
        taken: Says how many batches each process has taken before; none by default, in every epoch anew.
    """

    def __init__(self, number: int, rank: int = 0, world_size: int = 1, taken: Callable[[], int] = lambda: 0) -> None:
        self.number, self.rank, self.world_size, self.taken = number, rank, world_size, taken

    def __len__(self) -> int:
        return self.number

    def __iter__(self) -> Iterator[int]:
        first = self.taken()
        places = range(first * self.world_size, (first + self.number) * self.world_size)
        return iter(places[self.rank :: self.world_size])


def training_numbers(number: int, trainer: Trainer | None) -> BatchNumbers:
    """Returns the numbers of a trainer's batches: none comes again in a later epoch, nor after a run is resumed.

    A trainer that goes on in the middle of an epoch asks for batches before it tells a sampler the epoch, and does not
    tell how many it has had; so both are looked up when batches are asked for.

    Args:
        number: Batches per epoch and process.
        trainer: The trainer, None for one process that begins.
    """
    if trainer is None:
        return BatchNumbers(number)

    def taken() -> int:
        epoch = trainer.fit_loop.epoch_progress.current
        under_way = epoch.ready > epoch.processed  # else the count of batches is that of the epoch before
        return epoch.processed * number + under_way * trainer.fit_loop.epoch_loop.batch_progress.current.processed

    return BatchNumbers(number, trainer.global_rank, trainer.world_size, taken)
