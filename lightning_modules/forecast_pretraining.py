"""Pretraining on a relational database by forecasting its next rows."""

from __future__ import annotations

from typing import Any

import torch
from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable
from torch import Tensor
from torch_geometric.data import HeteroData

from lightning_modules.pretraining import Pretraining
from lightning_modules.training import exact
from relbench_pretrain.forecasting.objective import ForecastObjective
from relbench_pretrain.nn.backbone import Backbone
from relbench_pretrain.nn.subgraph import batch_inputs
from relbench_pretrain.relational.specification import ForecastSpecification
from relbench_pretrain.trainer.specification import specification


class ForecastPretraining(Pretraining):
    """Forecasts, for rows at points in time, how many child rows come within some days, and the next one's values.

    Every foreign key to a table with times gives targets, none of them a label: the number of child rows to come, and
    in which of 16 classes, quantiles of numbers or frequent categories, each column of the next one falls (see
    ``datamodules.ForecastDataModule``).

    Args:
        backbone: The network to pretrain.
        optimizer: The optimiser.
        lr_scheduler: A schedule stepped after every batch, or None.
    """

    def __init__(
        self,
        backbone: Backbone,
        optimizer: OptimizerCallable = lambda parameters: torch.optim.Adam(parameters, lr=1e-3),
        lr_scheduler: LRSchedulerCallable | None = None,
    ) -> None:
        super().__init__(backbone, optimizer, lr_scheduler)
        self.save_hyperparameters()
        self.objective = ForecastObjective()
        self.chance: dict[str, Tensor] | None = None

    def setup(self, stage: str) -> None:
        """Takes the schema of the data at hand, and the losses of guessing there."""
        super().setup(stage)
        if self.chance is None:
            self.chance = specification(self.trainer, ForecastSpecification, self).chance

    def build_objective(self) -> None:
        """Creates the objective's parameters."""
        self.objective.build(self.chance, self.backbone.channels)

    def forward(self, batch: HeteroData) -> dict[str, Tensor]:
        """Returns the vectors of the seeds by table, ``(num_seeds, channels)``."""
        seeds = {table: batch[table].batch_size for table in batch.node_types if "batch_size" in batch[table]}
        x = self.backbone(*batch_inputs(batch, seeds))
        return {table: x[table][:number] for table, number in seeds.items() if number}

    def training_step(self, batch: HeteroData, batch_idx: int) -> Tensor:
        """Returns the loss, 1 for guessing."""
        return self._step(batch, "train")

    def validation_step(self, batch: HeteroData, batch_idx: int) -> None:
        """Logs the loss on held-out points in time."""
        self._step(batch, "val")

    def _step(self, batch: HeteroData, stage: str) -> Tensor:
        x = self(batch)
        loss = self.objective(x, {table: batch[table].y for table in x})
        number = sum(len(rows) for rows in x.values())
        self.log(f"{stage}/loss", loss.detach(), prog_bar=True, batch_size=exact(number), sync_dist=stage != "train")
        return loss

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Stores the schema and the chance levels, without which the weights could not be read again."""
        super().on_save_checkpoint(checkpoint)
        checkpoint["chance"] = self.objective.chance

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Creates the parameters for the checkpoint's schema and targets."""
        self.chance = checkpoint["chance"]
        super().on_load_checkpoint(checkpoint)
