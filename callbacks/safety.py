"""Callbacks for usable checkpoints: one is written where a run ends or is stopped, and none once its loss is NaN."""

from __future__ import annotations

from typing import Any, cast

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_info
from lightning.pytorch.utilities.exceptions import SIGTERMException
from torch import Tensor

from relbench_pretrain.errors import UserError
from relbench_pretrain.trainer.run_folder import leaves_files, run_folder


class LastCheckpoint(Callback):
    """Writes ``checkpoints/last.ckpt`` where a run ends, if the end has none, and after SIGTERM.

    A run that is told to stop does so after the batch that it is at, and goes on from there.
    """

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Writes the checkpoint; other exceptions may come from the middle of a step, whose state is of no use."""
        if isinstance(exception, SIGTERMException) and trainer.state.fn == "fit":
            self._write(trainer, "stopped by SIGTERM")

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Writes the checkpoint, if the last step has none yet."""
        written = [getattr(callback, "_last_global_step_saved", None) for callback in trainer.checkpoint_callbacks]
        if trainer.global_step not in written:
            self._write(trainer, "ended")

    def _write(self, trainer: Trainer, how: str) -> None:
        if not leaves_files(trainer) or not trainer.checkpoint_callbacks:
            return
        path = run_folder(trainer) / "checkpoints" / "last.ckpt"
        trainer.save_checkpoint(path, weights_only=False)
        rank_zero_info(f"{how} at step {trainer.global_step}; it can go on from {path}")


class NonFiniteError(UserError, RuntimeError):
    """A loss that is no number; the message says when, and what to try."""


class FiniteLoss(Callback):
    """Stops a run whose training loss is NaN or infinite, before its weights are written anywhere.

    Whether a loss is a number is asked of the device when metrics are logged, and before every checkpoint, not in every
    step, for which the device would have to be waited for.
    """

    def __init__(self) -> None:
        self._non_finite: Tensor | None = None
        self._since = 0

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Looks at the loss; under manual optimisation, at the losses that are logged."""
        losses = [outputs["loss"]] if isinstance(outputs, dict) and "loss" in outputs else logged_losses(trainer)
        for loss in losses:
            found = ~torch.isfinite(loss.detach()).all()
            self._non_finite = found if self._non_finite is None else self._non_finite | found
        every = cast(Any, trainer).log_every_n_steps  # Lightning sets it without declaring it
        if every and trainer.global_step % every == 0:
            self._look(trainer)

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Looks before weights are written."""
        self._look(trainer)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Looks before other callbacks write weights at the end of a run."""
        self._look(trainer)

    def _look(self, trainer: Trainer) -> None:
        found = self._non_finite is not None and bool(self._non_finite)
        # All processes stop where one has to: the others would wait for it.
        if trainer.strategy.reduce_boolean_decision(found, all=False):
            self._non_finite = None
            raise NonFiniteError(
                f"the training loss was NaN or infinite between the steps {self._since} and {trainer.global_step}; "
                "nothing was written since. Try a smaller learning rate, trainer.gradient_clip_val, precision 32-true "
                "or bf16-mixed in place of 16-mixed; trainer.detect_anomaly=true names the operation that made it"
            )
        self._non_finite, self._since = None, trainer.global_step


def logged_losses(trainer: Trainer) -> list[Tensor]:
    """Returns the losses of training that were logged last."""
    return [value for name, value in trainer.callback_metrics.items() if name.startswith("train/loss")]
