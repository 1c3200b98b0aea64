"""A loader that a trainer can stop at any batch and go on with."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol

from relbench_pretrain.epochs.order import BatchOrder


class Loader(Protocol):
    """Makes batches in the order of a sampler."""

    def __iter__(self) -> Iterator[Any]: ...


class ResumableLoader:
    """Gives the batches of a loader, and knows which it has given.

    A trainer stores that with its checkpoints, and a run that goes on gets the batches after those that it had, also
    with another number of processes. Each iteration is another epoch; none is repeated in it or between processes.

    A batch that is not shared out evenly says in ``num_real`` how many of its leading seeds count, and in ``weight``
    what its loss is to be multiplied by; see :meth:`BatchOrder.share`.

    Args:
        loader: Makes the batches.
        order: The sampler or batch sampler that the loader has.
    """

    def __init__(self, loader: Loader, order: BatchOrder) -> None:
        self.loader, self.order = loader, order
        self.given = 0

    def __len__(self) -> int:
        return len(self.order)

    def __iter__(self) -> Iterator[Any]:
        if self.given or not self.order.steps_left:
            before = self.order.before + self.order.batches_taken + self.given * self.order.world_size
            self.order.begin(self.order.epoch + 1, (), before)
        self.given = 0
        return self._give(iter(self.loader))  # here, so that workers begin at once

    def _give(self, batches: Iterator[Any]) -> Iterator[Any]:
        for step, batch in enumerate(batches):
            if (share := self.order.share(step)) is not None:
                batch.num_real, batch.weight = share
            self.given = step + 1
            yield batch

    @property
    def steps_taken(self) -> int:
        """The steps of a whole epoch that are not left of this one: what a trainer has to count for it."""
        return len(self.order) - self.order.steps_left + self.given

    def state_dict(self) -> dict[str, Any]:
        """Returns which batches were given, by all processes together."""
        order = self.order
        taken = [*order.taken, (order.world_size, self.given)] if self.given else order.taken
        return {"epoch": order.epoch, "taken": taken, "before": order.before}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Goes on after the batches that were given."""
        self.given = 0
        self.order.begin(**state_dict)

    @property
    def _iterator(self) -> Any:
        """The workers' iterator, through which Lightning sends workers home when a run is over."""
        return getattr(self.loader, "_iterator", None)

    @_iterator.setter
    def _iterator(self, value: Any) -> None:
        self.loader._iterator = value  # type: ignore[attr-defined]
