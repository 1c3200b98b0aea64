"""What all datamodules have in common: training batches that go on where a stopped run was."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, cast

from lightning.fabric.utilities.data import AttributeDict
from lightning.pytorch import LightningDataModule

from relbench_pretrain.epochs import BatchOrder, ResumableLoader
from relbench_pretrain.epochs.resumable import Loader


class ResumableDataModule(LightningDataModule):
    """Stores in checkpoints which training batches were taken; a run that goes on gets those after them.

    Lightning asks the loader for the same, and gives it back where an epoch was under way; from a checkpoint of an
    epoch's end it does not.
    """

    _training: ResumableLoader | None = None
    _taken: dict[str, Any] | None = None

    @property
    @abstractmethod
    def specification(self) -> Any:
        """What modules and callbacks may know of the data, once they are set up; see ``Specification``."""

    @property
    def hparams(self) -> AttributeDict:
        """The constructor's arguments by name."""
        return cast(AttributeDict, super().hparams)

    @property
    def process(self) -> tuple[int, int]:
        """The number of this process, and how many there are."""
        return (self.trainer.global_rank, self.trainer.world_size) if self.trainer else (0, 1)

    def resumable(self, loader: Loader, order: BatchOrder) -> ResumableLoader:
        """Returns a loader of training batches that knows which it has given.

        Args:
            loader: Makes the batches.
            order: The sampler or batch sampler that the loader has.
        """
        self._training = ResumableLoader(loader, order)
        if self._taken is not None:
            self._training.load_state_dict(self._taken)
            self._taken = None
        return self._training

    def state_dict(self) -> dict[str, Any]:
        """Returns which training batches were taken."""
        return {} if self._training is None else {"batches": self._training.state_dict()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Keeps which training batches were taken, for when they are asked for."""
        self._taken = state_dict.get("batches")
