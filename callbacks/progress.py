"""Progress of training and tests for output that goes to a file, where Lightning's bars leave nothing or too much."""

from __future__ import annotations

from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from relbench_pretrain.progress import StatusLine, Work


class ProgressLines(Callback):
    """Says in a line now and then which step a run is at, how long it will take, and what it has measured."""

    def __init__(self) -> None:
        self.line = StatusLine()
        self.training = Work("training")

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Counts steps where their number is limited, else batches."""
        self.by_steps = trainer.max_steps > 0
        epochs = trainer.max_epochs if (trainer.max_epochs or -1) > 0 else None
        batches = trainer.num_training_batches
        countable = epochs is not None and batches != float("inf")
        total = trainer.max_steps if self.by_steps else int(epochs * batches) if epochs and countable else None
        self.first = trainer.global_step if self.by_steps else int(trainer.current_epoch * batches) if countable else 0
        self.training = Work("training", total - self.first if total else None)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Tells the step."""
        if not self._is_due(trainer):
            return
        batches = trainer.num_training_batches
        before = int(trainer.current_epoch * batches) if batches != float("inf") else 0
        done = trainer.global_step if self.by_steps else before + batch_idx + 1
        self.training.done = done - self.first
        self.training.what = f"training, epoch {trainer.current_epoch}"
        metrics = trainer.progress_bar_metrics.items()
        found = ", ".join(f"{name} {value:.4g}" for name, value in metrics if isinstance(value, float))
        self.line.show(self.training.told(bar=False) + (f": {found}" if found else ""))

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        sanity = trainer.sanity_checking
        self._begin("validating", trainer.num_sanity_val_batches if sanity else trainer.num_val_batches)

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._begin("testing", trainer.num_test_batches)

    def on_predict_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._begin("predicting", trainer.num_predict_batches)

    def on_validation_batch_end(self, trainer: Trainer, *args: Any) -> None:
        self._tell(trainer)

    def on_test_batch_end(self, trainer: Trainer, *args: Any) -> None:
        self._tell(trainer)

    def on_predict_batch_end(self, trainer: Trainer, *args: Any) -> None:
        self._tell(trainer)

    def _begin(self, what: str, batches: Any) -> None:
        number = sum(batches) if isinstance(batches, list) else batches
        self.scoring = Work(what, int(number) if number != float("inf") else None)

    def _tell(self, trainer: Trainer) -> None:
        self.scoring.done += 1
        if self._is_due(trainer):
            self.line.show(self.scoring.told(bar=False))

    def _is_due(self, trainer: Trainer) -> bool:
        return trainer.is_global_zero and self.line.due()
