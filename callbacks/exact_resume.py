"""Callback that lets a run go on exactly where it was stopped."""

from __future__ import annotations

import random
from typing import Any, cast

import numpy as np
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.loops.progress import _ProcessedTracker
from lightning.pytorch.utilities import rank_zero_info


class ExactResume(Callback):
    """Lets a run go on as if it had not been stopped.

    It stores the random generators of every process with a checkpoint, and sets them again when the run goes on:
    batches and corruptions are drawn from numbers of their own, dropout and the like are not. A run that goes on with
    another number of processes has new random numbers, other ones in each, and the steps of an epoch that was begun
    are counted anew.
    """

    def __init__(self) -> None:
        self._found: list[dict[str, Any]] | None = None

    def state_dict(self) -> dict[str, Any]:
        """Returns the generators of all processes; all have to ask for it."""
        own = generator_states()
        states: list[Any] = [own]
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            states = [None] * torch.distributed.get_world_size()
            torch.distributed.all_gather_object(states, own)
        return {"processes": states}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Keeps the generators until training begins."""
        self._found = state_dict["processes"]

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Sets the generators and the counts of steps and epochs."""
        if self._found is None:
            return
        _count_epochs(trainer)
        _count_steps(trainer)
        if len(self._found) == trainer.world_size:
            set_generator_states(self._found[trainer.global_rank])
        else:
            seed = np.random.SeedSequence([torch.initial_seed() % 2**32, trainer.global_step, trainer.global_rank])
            value = int(seed.generate_state(1)[0])
            random.seed(value)
            np.random.seed(value)  # noqa: NPY002  # libraries may draw from it
            torch.manual_seed(value)
        self._found = None


def _count_epochs(trainer: Trainer) -> None:
    """Lets Lightning begin the next epoch where a checkpoint was written after the last batch of one.

    It takes that epoch for one under way, does not count the next one as begun, and is an epoch behind from then on.
    """
    loop = trainer.fit_loop
    progress = cast(_ProcessedTracker, loop.epoch_progress.current)
    if loop.restarted_mid_epoch and progress.started == progress.processed:
        loop.reset_restart_stage()


def _count_steps(trainer: Trainer) -> None:
    """Counts the steps of an epoch anew that was begun by another number of processes."""
    loader: Any = trainer.train_dataloader
    others = {size for size, _ in getattr(getattr(loader, "order", None), "taken", ())} - {trainer.world_size}
    if others:
        rank_zero_info(
            f"the epoch was begun by {' and '.join(map(str, sorted(others)))} processes and goes on with "
            f"{trainer.world_size}: {len(loader) - loader.steps_taken} of {len(loader)} steps are left"
        )
        progress = cast(_ProcessedTracker, trainer.fit_loop.epoch_loop.batch_progress.current)
        progress.ready = progress.started = progress.processed = progress.completed = loader.steps_taken


def generator_states() -> dict[str, Any]:
    """Returns the states of Python's, NumPy's and torch's generators, as plain values and tensors."""
    version, internal, gauss = random.getstate()
    name, keys, place, has_gauss, cached = np.random.get_state(legacy=True)  # noqa: NPY002
    return {
        "python": [version, list(internal), gauss],
        "numpy": [
            name,
            torch.from_numpy(cast(np.ndarray, keys).astype(np.int64)),
            int(place),
            int(has_gauss),
            float(cached),
        ],
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state() if torch.cuda.is_available() else None,
    }


def set_generator_states(states: dict[str, Any]) -> None:
    """Sets what :func:`generator_states` returned."""
    version, internal, gauss = states["python"]
    random.setstate((version, tuple(internal), gauss))
    name, keys, place, has_gauss, cached = states["numpy"]
    np.random.set_state((name, keys.numpy().astype(np.uint32), place, has_gauss, cached))  # noqa: NPY002
    torch.set_rng_state(states["torch"].cpu())
    if states["cuda"] is not None and torch.cuda.is_available():
        torch.cuda.set_rng_state(states["cuda"].cpu())
