"""Data that may not change between a run and its resume."""

from __future__ import annotations

import hashlib
from abc import abstractmethod
from collections.abc import Iterable
from typing import Any

import numpy as np

from datamodules.resumable import ResumableDataModule
from relbench_pretrain.pretrained import CheckpointError
from relbench_pretrain.renamed import DATA

MOST_NAMED = 5
"""The most differences that an error names."""


class SameData(ResumableDataModule):
    """Stores in checkpoints what the data are; a run that goes on with other ones fails."""

    _data: dict[str, str | int] | None = None

    @abstractmethod
    def fingerprint(self) -> dict[str, str | int]:
        """Returns what tells the data, once they are open, from others, by what a user would call it."""

    def state_dict(self) -> dict[str, Any]:
        """Returns what the data are."""
        return {**super().state_dict(), "data": self._opened()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Compares the data with those that the run began with, where training goes on.

        Raises:
            CheckpointError: If they differ.
        """
        if self.trainer is None or self.trainer.training:
            _require_same(state_dict.get("data"), self._opened())
        super().load_state_dict(state_dict)

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
