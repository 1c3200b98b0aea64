"""Base of the LightningModules that pretrain a backbone: its schema, its checkpoints and the optimiser."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

from lightning.pytorch import LightningModule
from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch_geometric.data import HeteroData

from lightning_modules.sharding import keep_copies
from lightning_modules.sharing import Sharing
from lightning_modules.training import optimizer_and_schedule
from relbench_pretrain.nn.backbone import Backbone
from relbench_pretrain.relational.schema import GraphSchema
from relbench_pretrain.relational.specification import DatabaseSpecification
from relbench_pretrain.trainer.specification import specification


class Pretraining(Sharing, LightningModule):
    """A backbone under pretraining; subclasses bring the objective.

    Args:
        backbone: The network to pretrain.
        optimizer: The optimiser.
        lr_scheduler: A schedule stepped after every batch, or None.

    Attributes:
        specification: What is known of the data, for training on loaders without a DataModule.
    """

    shared_prefix = "backbone."
    specification: DatabaseSpecification | None = None

    def __init__(
        self, backbone: Backbone, optimizer: OptimizerCallable, lr_scheduler: LRSchedulerCallable | None
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.optimizer = optimizer
        self.lr_scheduler = lr_scheduler
        self.schema: GraphSchema | None = None

    def data(self) -> DatabaseSpecification:
        """Returns what is known of the data at hand."""
        return specification(self.trainer, DatabaseSpecification, self)

    def setup(self, stage: str) -> None:
        """Takes the schema of the data at hand."""
        keep_copies(self)
        if self.schema is None:
            self.schema = self.data().schema

    def configure_model(self) -> None:
        """Creates the parameters, which depend on the schema; a second call changes nothing.

        Lightning calls it before a checkpoint has told the schema, too; then there is nothing to do yet.
        """
        if self.schema is None:
            return
        self.backbone.build(self.schema)
        self.build_objective()

    @abstractmethod
    def build_objective(self) -> None:
        """Creates the objective's parameters; a second call changes nothing."""

    def num_rows(self, batch: HeteroData) -> int:
        """The number of seeds of a batch."""
        return len(batch.input_id)

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """Makes the optimiser and, where there is one, the schedule."""
        return optimizer_and_schedule(self.parameters(), self.optimizer, self.lr_scheduler, self.trainer)

    def shared_network(self) -> Backbone:
        """Returns the backbone; what the objective has beside it is of no use elsewhere."""
        return self.backbone

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Stores the schema, without which the weights could not be read again."""
        super().on_save_checkpoint(checkpoint)
        checkpoint["schema"] = self.schema.to_dict()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Creates the parameters for the checkpoint's schema."""
        schema = GraphSchema.from_dict(checkpoint["schema"])
        if self.schema is not None:
            schema.require_same_structure(self.schema, "this checkpoint was trained on another database")
        self.schema = schema
        self.configure_model()
