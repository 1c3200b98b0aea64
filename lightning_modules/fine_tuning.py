"""Supervised training on an entity task: classification, regression or autocomplete."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
from torch import Tensor
from torch_geometric.data import HeteroData

from lightning_modules.downstream import Downstream
from lightning_modules.training import exact
from relbench_pretrain.evaluation.metrics import task_loss, task_metrics
from relbench_pretrain.nn.heads import MLPHead
from relbench_pretrain.nn.task_network import EntityNetwork, entity_output
from relbench_pretrain.relational.tasks import BINARY, MULTICLASS, MULTILABEL


class FineTuning(Downstream):
    """Trains a head, and unless frozen the backbone under it, on an entity task; see :class:`Downstream`."""

    network_class = EntityNetwork

    def default_head(self) -> MLPHead:
        """The paper's head."""
        return MLPHead()

    def build_head(self) -> None:
        """Creates head, loss and metrics."""
        cast(MLPHead, self.head).build(self.backbone.channels, self.task.num_outputs)
        self.loss = task_loss(self.task)
        if not hasattr(self, "metrics"):
            self.metrics = task_metrics(self.task)

    def forward(self, batch: HeteroData) -> Tensor:
        """Predicts for the seeds of a batch.

        Returns:
            Logits of a binary classification or values of a regression ``(num_seeds,)``, else logits
            ``(num_seeds, num_outputs)``.
        """
        return entity_output(self.head(self.encode(batch, self.task.entity_table)), self.task)

    def training_step(self, batch: HeteroData, batch_idx: int) -> Tensor:
        """Returns the task's loss."""
        loss, number = self._loss(batch, self(batch))
        self.log("train/loss", loss.detach(), prog_bar=True, batch_size=max(number, 1))
        return loss * batch.weight

    def validation_step(self, batch: HeteroData, batch_idx: int) -> None:
        """Follows loss and metrics on the validation rows."""
        out = self(batch)
        loss, number = self._loss(batch, out)
        self.log("val/loss", loss, batch_size=exact(number), sync_dist=True)
        if number:
            target = batch[self.task.entity_table].y[:number]
            self.metrics.update(out[:number], target.long() if self.task.kind in (BINARY, MULTILABEL) else target)

    def _loss(self, batch: HeteroData, out: Tensor) -> tuple[Tensor, int]:
        """Returns the mean loss of the seeds that count, and their number; 0 where none does."""
        number: int = batch.num_real
        if not number:
            return out.sum() * 0.0, 0
        return self.loss(out[:number], batch[self.task.entity_table].y[:number]), number

    def on_validation_epoch_end(self) -> None:
        """Logs the metrics."""
        self.log_validation(self.metrics.compute())
        self.metrics.reset()

    def test_step(self, batch: HeteroData, batch_idx: int, dataloader_idx: int = 0) -> None:
        """Predicts test rows and logs their loss, under the name of the time regime."""
        store, out = batch[self.task.entity_table], self(batch)
        regime = self.data().regimes[dataloader_idx]
        self.keep_prediction(regime, store.input_id, self.prediction(out))
        loss, number = self._loss(batch, out)
        self.log(f"test/{regime}/loss", loss, batch_size=exact(number), sync_dist=True, add_dataloader_idx=False)

    def prediction(self, out: Tensor) -> Tensor:
        """Turns logits into probabilities, or into class numbers in a multiclass task; values stay."""
        if self.task.kind in (BINARY, MULTILABEL):
            return out.sigmoid()
        return out.argmax(1) if self.task.kind == MULTICLASS else out

    def readable(self, prediction: Tensor) -> Any:
        """Returns predictions as NumPy arrays, classes by their values."""
        if self.task.kind == MULTICLASS:
            return np.array(self.task.classes)[prediction.cpu().numpy()]
        return super().readable(prediction)

    def predict_step(self, batch: HeteroData, batch_idx: int) -> dict[str, Tensor]:
        """Returns entity rows, seed times, places in the split and predictions (see :meth:`prediction`)."""
        store = batch[self.task.entity_table]
        return {
            "row": store.n_id[: store.batch_size],
            "time": store.seed_time,
            "input_id": store.input_id,
            "prediction": self.prediction(self(batch)),
        }
