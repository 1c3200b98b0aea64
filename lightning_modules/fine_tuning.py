"""Supervised training on a task: from scratch, or on a pretrained backbone."""

from __future__ import annotations

from typing import Any, Literal

import torch
from lightning.pytorch import LightningModule
from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable
from lightning.pytorch.utilities import rank_zero_info
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn
from torch_geometric.data import HeteroData

from lightning_modules.optimizers import optimizer_and_schedule
from relbench_pretrain.checkpoints import load_backbone, read_backbone
from relbench_pretrain.evaluation.task_metrics import task_loss, task_metrics
from relbench_pretrain.nn.backbone import Backbone
from relbench_pretrain.nn.heads import MLPHead
from relbench_pretrain.nn.subgraph import Subgraph
from relbench_pretrain.nn.time_encoder import TimeEncoder
from relbench_pretrain.relational.schema import GraphSchema
from relbench_pretrain.relational.tasks import TaskSpec

Start = Literal["scratch", "random_frozen", "frozen", "fine_tuned"]


class FineTuning(LightningModule):
    """Trains a head, and unless frozen the backbone under it, on a task (Peleška and Šír 2025, downstream).

    Args:
        backbone: The network where there is no checkpoint. With one the network is always the checkpoint's, so that
            all starts compare the same one.
        checkpoint: Folder of a pretrained backbone, as ``BackboneCheckpoint`` writes it.
        start: ``"scratch"`` trains everything from fresh weights; ``"random_frozen"`` keeps a fresh backbone fixed;
            ``"frozen"`` keeps the pretrained one fixed; ``"fine_tuned"`` goes on training it.
        head: The head.
        time_encoder: Trained from fresh weights with the head if the backbone has none of its own, and added to
            each row's vector before the graph encoder; None for none.
        optimizer: The optimiser; Adam with rate 5e-3 in the paper.
        lr_scheduler: A schedule stepped after every batch, or None.

    Raises:
        ValueError: If the start needs a checkpoint and there is none, or no network is given.
    """

    def __init__(
        self,
        backbone: Backbone | None = None,
        checkpoint: str | None = None,
        start: Start = "scratch",
        head: MLPHead | None = None,
        time_encoder: TimeEncoder | None = None,
        optimizer: OptimizerCallable = lambda parameters: torch.optim.Adam(parameters, lr=5e-3),
        lr_scheduler: LRSchedulerCallable | None = None,
    ) -> None:
        super().__init__()
        self.save_hyperparameters()
        if start not in ("scratch", "random_frozen", "frozen", "fine_tuned"):
            raise ValueError(f"start must be scratch, random_frozen, frozen or fine_tuned, got '{start}'")
        if start in ("frozen", "fine_tuned") and checkpoint is None:
            raise ValueError(f"start '{start}' needs a pretrained backbone: give model.checkpoint, the folder of one")
        if backbone is None and checkpoint is None:
            raise ValueError(
                "there is no network: give model.backbone, or model.checkpoint, whose network is then used"
            )
        self.checkpoint = checkpoint
        self.start = start
        self.backbone = backbone if checkpoint is None else None
        self.head = head or MLPHead()
        self.time_encoder = time_encoder
        self.optimizer = optimizer
        self.lr_scheduler = lr_scheduler
        self.schema: GraphSchema | None = None
        self.task: TaskSpec | None = None

    @property
    def backbone_is_frozen(self) -> bool:
        """Whether the backbone stays as it is."""
        return self.start in ("random_frozen", "frozen")

    def setup(self, stage: str) -> None:
        """Takes schema and task of the data at hand.

        Raises:
            SchemaError: If the checkpoint was trained on a database of another structure.
        """
        data = self.trainer.datamodule
        if self.checkpoint is not None and self.schema is None:
            read_backbone(self.checkpoint).schema.require_same_structure(data.schema, f"checkpoint '{self.checkpoint}'")
        if self.task is not None and (self.task.kind, self.task.entity_table) != (
            data.task_spec.kind,
            data.task_spec.entity_table,
        ):
            raise ValueError(
                f"the checkpoint was trained for task '{self.task.name}', the data is '{data.task_spec.name}'"
            )
        self.schema, self.task = self.schema or data.schema, self.task or data.task_spec

    def configure_model(self) -> None:
        """Creates or loads the backbone and creates the head; a second call changes nothing.

        Lightning calls it before a checkpoint has told the schema, too; then there is nothing to do yet.
        """
        if self.schema is None:
            return
        if self.backbone is None:
            self.backbone = load_backbone(self.checkpoint, weights=self.start in ("frozen", "fine_tuned"))
        self.backbone.build(self.schema)
        if self.backbone.time_encoder is None and self.time_encoder is not None:
            self.time_encoder.build(self.schema, self.backbone.channels)
        self.backbone.requires_grad_(not self.backbone_is_frozen)
        self.head.build(self.backbone.channels, 1)
        self.loss = task_loss(self.task)
        if not hasattr(self, "metrics"):
            self.metrics = nn.ModuleDict({stage: task_metrics(self.task) for stage in ("val", "test")})

    def on_train_epoch_start(self) -> None:
        """Keeps a frozen backbone out of training mode, so that dropout does not blur what it says."""
        if self.backbone_is_frozen:
            self.backbone.eval()

    def forward(self, batch: HeteroData) -> Tensor:
        """Predicts for the seeds of a batch.

        Returns:
            Logits of a classification or values of a regression ``(num_seeds,)``.
        """
        seeds = batch[self.task.entity_table].batch_size
        graph = Subgraph.from_batch(batch, {self.task.entity_table: seeds})
        frames = {table: batch[table].tf for table in batch.node_types}
        age = {table: batch[table].age for table in batch.node_types if "time" in batch[table]}
        extra = self.time_encoder if self.backbone.time_encoder is None else None
        x = self.backbone(frames, graph, age, extra)[self.task.entity_table][:seeds]
        out = self.head(x).squeeze(-1).float()
        return out if self.task.kind == "binary_classification" else out * self.task.scale + self.task.median

    def training_step(self, batch: HeteroData, batch_idx: int) -> Tensor:
        """Returns the task's loss."""
        target = batch[self.task.entity_table].y
        loss = self.loss(self(batch), target)
        self.log("train/loss", loss.detach(), prog_bar=True, batch_size=len(target))
        return loss

    def validation_step(self, batch: HeteroData, batch_idx: int) -> None:
        """Logs loss and metrics on the validation rows."""
        self._evaluate(batch, "val", "val")

    def test_step(self, batch: HeteroData, batch_idx: int) -> None:
        """Logs loss and metrics on the test rows, under the name of the time regime."""
        self._evaluate(batch, "test", f"test/{self.trainer.datamodule.regime}")

    def _evaluate(self, batch: HeteroData, stage: str, prefix: str) -> None:
        target = batch[self.task.entity_table].y
        prediction = self(batch)
        metrics = self.metrics[stage]
        metrics.update(prediction, target.long() if self.task.kind == "binary_classification" else target)
        self.log(f"{prefix}/loss", self.loss(prediction, target), batch_size=len(target), sync_dist=True)
        self.log_dict(
            {f"{prefix}/{name}": metric for name, metric in metrics.items()}, prog_bar=True, batch_size=len(target)
        )

    def predict_step(self, batch: HeteroData, batch_idx: int) -> dict[str, Tensor]:
        """Returns entity rows, seed times and predictions (probabilities for a classification)."""
        store = batch[self.task.entity_table]
        prediction = self(batch)
        if self.task.kind == "binary_classification":
            prediction = prediction.sigmoid()
        return {"row": store.n_id[: store.batch_size], "time": store.seed_time, "prediction": prediction}

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """Makes the optimiser of what is trained and, where there is one, the schedule."""
        parameters = [p for p in self.parameters() if p.requires_grad]
        rank_zero_info(f"FineTuning: start '{self.start}', {sum(p.numel() for p in parameters):,} trained parameters")
        return optimizer_and_schedule(parameters, self.optimizer, self.lr_scheduler, self.trainer)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Stores schema and task, without which the weights could not be read again."""
        checkpoint["schema"] = self.schema.to_dict()
        checkpoint["task"] = vars(self.task)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Creates the parameters for the checkpoint's schema and task."""
        schema = GraphSchema.from_dict(checkpoint["schema"])
        if self.schema is not None:
            schema.require_same_structure(self.schema, "this checkpoint was trained on another database")
        self.schema, self.task = schema, TaskSpec(**checkpoint["task"])
        self.configure_model()
