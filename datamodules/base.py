"""The base of all DataModules: batches that go on where a stopped run was, and data that may not change meanwhile."""

from __future__ import annotations

import hashlib
from abc import abstractmethod
from collections.abc import Iterable
from typing import Any, cast

import numpy as np
from lightning.fabric.utilities.data import AttributeDict
from lightning.pytorch import LightningDataModule

from relbench_pretrain.epochs import BatchOrder, Loader, ResumableLoader
from relbench_pretrain.pretrained import CheckpointError
from relbench_pretrain.renamed import DATA

MOST_NAMED = 5
"""The most differences that an error names."""


class ResumableDataModule(LightningDataModule):
    """Stores in checkpoints what the data are and which training batches were taken.

    A run that goes on gets the batches after those, and fails with other data. Lightning asks the loader for the same,
    and gives it back where an epoch was under way; from a checkpoint of an epoch's end it does not.
    """

    _data: dict[str, str | int] | None = None
    _training: ResumableLoader | None = None
    _taken: dict[str, Any] | None = None

    @abstractmethod
    def fingerprint(self) -> dict[str, str | int]:
        """Identifies the data, once they are open: sizes and hashes, under names that a user understands."""

    @property
    @abstractmethod
    def specification(self) -> Any:
        """The description that modules and callbacks get of the data, once they are set up; see ``Specification``."""

    @property
    def hparams(self) -> AttributeDict:
        """The constructor's arguments by name."""
        return cast(AttributeDict, super().hparams)

    @property
    def process(self) -> tuple[int, int]:
        """The number of this process, and how many there are."""
        return (self.trainer.global_rank, self.trainer.world_size) if self.trainer else (0, 1)

    @property
    def pins_memory(self) -> bool:
        """Whether loaders put batches into memory that a GPU copies from while it computes: where one trains."""
        return self.trainer is not None and self.trainer.strategy.root_device.type == "cuda"

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
        """Returns what the data are and which training batches were taken."""
        batches = {} if self._training is None else {"batches": self._training.state_dict()}
        return {**batches, "data": self._opened()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Keeps which training batches were taken, for when they are asked for.

        Raises:
            CheckpointError: If training is to go on and the data are not those that the run began with.
        """
        if self.trainer is None or self.trainer.training:
            _require_same(state_dict.get("data"), self._opened())
        self._taken = state_dict.get("batches")

    def _opened(self) -> dict[str, str | int]:
        if self._data is None:
            self._data = self.fingerprint()
        return self._data


def digest(parts: Iterable[np.ndarray | str]) -> str:
    """Returns a short hash of arrays and texts."""
    result = hashlib.sha256()
    for part in parts:
        value = part.encode() if isinstance(part, str) else np.ascontiguousarray(part).tobytes()
        result.update(len(value).to_bytes(8, "little") + value)
    return result.hexdigest()[:16]


def _require_same(before: dict[str, str | int] | None, now: dict[str, str | int]) -> None:
    if before is None:  # a checkpoint of an earlier version has none
        return
    before = {DATA.get(name, name): value for name, value in before.items()}
    differing = [name for name in {**before, **now} if name != "dataset" and before.get(name) != now.get(name)]
    if not differing:
        return  # the same data, elsewhere
    named = [f"{name}: {before.get(name, 'none')}, now {now.get(name, 'none')}" for name in differing[:MOST_NAMED]]
    more = f" and {len(differing) - MOST_NAMED} more" if len(differing) > MOST_NAMED else ""
    raise CheckpointError(
        f"the data of '{now['dataset']}' are not those that the run began with ('{before['dataset']}'): "
        f"{'; '.join(named)}{more}. Resume with the data as they were, or begin a new run without ckpt_path"
    )
