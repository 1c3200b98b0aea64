"""Base of the downstream LightningModules: four ways to start, what each trains, when, and at which rate."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, ClassVar, Literal, cast

import torch
from lightning.pytorch import LightningModule
from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable
from lightning.pytorch.utilities import rank_zero_info
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor
from torch_geometric.data import HeteroData

from lightning_modules.sharding import keep_copies
from lightning_modules.sharing import Sharing
from lightning_modules.training import optimizer_and_schedule
from relbench_pretrain.evaluation.metrics import ERRORS, MAIN_METRIC, relbench_metrics
from relbench_pretrain.nn.backbone import Backbone
from relbench_pretrain.nn.heads import MLPHead, TwoTower
from relbench_pretrain.nn.task_network import TaskNetwork, encode_seeds, load_backbone
from relbench_pretrain.nn.time_encoder import TimeEncoder
from relbench_pretrain.pretrained.config import from_config, to_config
from relbench_pretrain.relational.schema import GraphSchema, stored_schema
from relbench_pretrain.relational.specification import TaskSpecification
from relbench_pretrain.relational.tasks import TaskSpec
from relbench_pretrain.trainer.specification import specification

Start = Literal["scratch", "random_frozen", "frozen", "fine_tuned"]


class Downstream(Sharing, LightningModule):
    """A backbone and a head, trained on a task (Peleška and Šír 2025, downstream).

    Args:
        backbone: The network where there is no checkpoint. With one the network is always the checkpoint's, so that
            all starts compare the same one.
        checkpoint: Folder of a pretrained backbone, as ``BackboneCheckpoint`` or ``export`` writes it, or the name of
            one on the Hub, ``owner/name``.
        start: ``"scratch"`` trains everything from fresh weights; ``"random_frozen"`` keeps a fresh backbone fixed;
            ``"frozen"`` keeps the pretrained one fixed; ``"fine_tuned"`` goes on training it.
        head: What sits on the backbone: an :class:`MLPHead`, or :class:`TwoTower` for recommendations.
        time_encoder: Trained from fresh weights with the head if the backbone has none of its own, and added to
            each row's vector before the graph encoder; None for none.
        backbone_lr_scale: The rate of a fine-tuned backbone over that of the head.
        unfreeze_every: Epochs after which a fine-tuned backbone thaws by one more part, the graph encoder before the
            rest; 0 trains all of it from the start. Under DDP it needs the strategy that finds unused parameters.
        extra_tables: Whether a checkpoint is taken that lacks tables of the data at hand. What belongs to these
            starts from fresh weights, which a frozen start keeps; all that both have must be the same.
        optimizer: The optimiser; Adam with rate 5e-3 in the paper.
        lr_scheduler: A schedule stepped after every batch, or None.

    Raises:
        ValueError: If the start needs a checkpoint and there is none, or no network is given.

    Attributes:
        specification: What is known of data and task, for training on loaders without a DataModule.
    """

    network_class: ClassVar[type[TaskNetwork]]
    specification: TaskSpecification | None = None

    def __init__(
        self,
        backbone: Backbone | None = None,
        checkpoint: str | None = None,
        start: Start = "scratch",
        head: MLPHead | TwoTower | None = None,
        time_encoder: TimeEncoder | None = None,
        backbone_lr_scale: float = 1.0,
        unfreeze_every: int = 0,
        extra_tables: bool = False,
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
        if backbone_lr_scale < 0 or unfreeze_every < 0:
            raise ValueError(
                f"backbone_lr_scale and unfreeze_every must be 0 or more, got {backbone_lr_scale} and {unfreeze_every}"
            )
        self.checkpoint = checkpoint
        self.start = start
        self.backbone = backbone if checkpoint is None else None
        self.head = head if head is not None else self.default_head()
        self.time_encoder = time_encoder
        self.backbone_lr_scale = backbone_lr_scale
        self.unfreeze_every = unfreeze_every
        self.extra_tables = extra_tables
        self.optimizer = optimizer
        self.lr_scheduler = lr_scheduler
        self.schema: GraphSchema | None = None
        self.task: TaskSpec | None = None
        self.predicted: dict[str, list[tuple[Tensor, Tensor]]] = {}

    def data(self) -> TaskSpecification:
        """Returns what is known of the data at hand."""
        return specification(self.trainer, TaskSpecification, self)

    @property
    def backbone_is_frozen(self) -> bool:
        """Whether the backbone stays as it is."""
        return self.start in ("random_frozen", "frozen")

    def setup(self, stage: str) -> None:
        """Takes schema and task of the data at hand.

        Raises:
            SchemaError: If the checkpoint was trained on a database of another structure.
        """
        keep_copies(self)
        data = self.data()
        if self.checkpoint is not None and self.schema is None:
            schema = stored_schema(self.checkpoint)
            found = data.schema.restricted(schema) if self.extra_tables else data.schema
            schema.require_same_structure(found, f"checkpoint '{self.checkpoint}'")
        if self.task is not None and (self.task.kind, self.task.entity_table) != (
            data.task.kind,
            data.task.entity_table,
        ):
            raise ValueError(f"the checkpoint was trained for task '{self.task.name}', the data is '{data.task.name}'")
        self.schema, self.task = self.schema or data.schema, self.task or data.task

    def configure_model(self) -> None:
        """Creates or loads the backbone and creates the head; a second call changes nothing.

        Lightning calls it before a checkpoint has told the schema, too; then there is nothing to do yet.
        """
        if self.schema is None:
            return
        if self.backbone is None:
            weights = self.start in ("frozen", "fine_tuned")
            self.backbone = load_backbone(self.checkpoint, weights, self.schema if self.extra_tables else None)
        self.backbone.build(self.schema)
        if self.backbone.time_encoder is None and self.time_encoder is not None:
            self.time_encoder.build(self.schema, self.backbone.channels)
        self.backbone.requires_grad_(not self.backbone_is_frozen)
        self.build_head()

    @abstractmethod
    def default_head(self) -> MLPHead | TwoTower:
        """Returns the head where none is given."""

    @abstractmethod
    def build_head(self) -> None:
        """Creates what sits on the backbone, loss and metrics; a second call changes nothing."""

    def on_train_epoch_start(self) -> None:
        """Keeps what is frozen out of training mode, so that dropout does not blur what it says."""
        if self.backbone_is_frozen:
            self.backbone.eval()
        elif self.start == "fine_tuned" and self.unfreeze_every:
            thawed = self.current_epoch // self.unfreeze_every
            for needed, part in ((1, self.backbone.graph_encoder), (2, self.backbone.table_encoder)):
                part.requires_grad_(thawed >= needed).train(thawed >= needed)
            if self.backbone.time_encoder is not None:
                self.backbone.time_encoder.requires_grad_(thawed >= 2)

    def encode(self, batch: HeteroData, table: str) -> Tensor:
        """Returns the vectors of the seeds of a batch, ``(num_seeds, channels)``."""
        extra = self.time_encoder if self.backbone.time_encoder is None else None
        with torch.set_grad_enabled(torch.is_grad_enabled() and not (self.backbone_is_frozen and extra is None)):
            return encode_seeds(self.backbone, extra, batch, table)

    def num_rows(self, batch: HeteroData) -> int:
        """The number of seeds of a batch."""
        return batch[self.task.entity_table].batch_size

    def log_validation(self, metrics: dict[str, Tensor]) -> None:
        """Logs validation metrics, and as ``val/score`` the task's main one, signed so that more is better."""
        main = MAIN_METRIC[self.task.kind]
        # They are the same on every device, and say so.
        self.log_dict({f"val/{name}": value for name, value in metrics.items()}, prog_bar=True, sync_dist=True)
        self.log("val/score", -metrics[main] if main in ERRORS else metrics[main], sync_dist=True)

    def keep_prediction(self, regime: str, ids: Tensor, prediction: Tensor) -> None:
        """Keeps predictions of test rows until the end of the test.

        Args:
            regime: The time regime.
            ids: The rows' places in the split.
            prediction: Predictions, row by row.
        """
        self.predicted.setdefault(regime, []).append((ids, prediction))

    def on_test_epoch_start(self) -> None:
        """Forgets the predictions of an earlier test."""
        self.predicted = {}

    def on_test_epoch_end(self) -> None:
        """Logs the numbers to report, computed by RelBench over the whole split, under the name of the regime."""
        for regime, parts in self.predicted.items():
            task = self.data().labels
            if len(ordered := self.in_order(parts)) < len(task.get_table("test").df):
                return  # the test was limited to some batches
            metrics = relbench_metrics(task, "test", self.readable(ordered))
            self.log_dict({f"test/{regime}/{name}": value for name, value in metrics.items()}, sync_dist=True)

    def in_order(self, parts: list[tuple[Tensor, Tensor]]) -> Tensor:
        """Joins predictions of all processes in the order of the split.

        Args:
            parts: Places in the split, and the predictions for them.
        """
        ids, prediction = (torch.cat(part) for part in zip(*parts, strict=True))
        if self.trainer.world_size > 1:  # a distributed sampler repeats rows until all processes have as many
            ids, prediction = (cast(Tensor, self.all_gather(part)).flatten(0, 1) for part in (ids, prediction))
        ids, place = torch.unique(ids, return_inverse=True)
        return prediction.new_empty(len(ids), *prediction.shape[1:]).index_copy(0, place, prediction)

    def readable(self, prediction: Tensor) -> Any:
        """Returns predictions as the task's own evaluation wants them."""
        return prediction.cpu().double().numpy()

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """Makes the optimiser of what is trained and, where there is one, the schedule."""
        inside = {id(p) for p in self.backbone.parameters()}
        groups: list[dict[str, Any]] = [{"params": [p for p in self.parameters() if id(p) not in inside]}]
        if not self.backbone_is_frozen:
            groups.append({"params": list(self.backbone.parameters())})
        number = sum(p.numel() for group in groups for p in group["params"])
        rank_zero_info(f"{type(self).__name__}: start '{self.start}', {number:,} trained parameters")
        scale = self.backbone_lr_scale if self.start == "fine_tuned" else 1.0
        return optimizer_and_schedule(groups, self.optimizer, self.lr_scheduler, self.trainer, [1.0, scale])

    def shared_network(self) -> TaskNetwork:
        """Returns backbone and head."""
        network = self.network_class(self.backbone, self.head, self.time_encoder)
        network.task = self.task
        return network

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Stores schema and task, without which the weights could not be read again."""
        super().on_save_checkpoint(checkpoint)
        checkpoint["schema"] = self.schema.to_dict()
        checkpoint["task"] = vars(self.task)
        checkpoint["backbone"] = to_config(self.backbone)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Creates the parameters for the checkpoint's schema and task."""
        schema = GraphSchema.from_dict(checkpoint["schema"])
        if self.schema is not None:
            schema.require_same_structure(self.schema, "this checkpoint was trained on another database")
        task = TaskSpec(**checkpoint["task"])
        if self.task is not None and (self.task.name, self.task.kind, self.task.classes) != (
            task.name,
            task.kind,
            task.classes,
        ):
            raise ValueError(
                f"the checkpoint was trained for task '{task.name}' ({task.kind}), the data is '{self.task.name}' "
                f"({self.task.kind}): give data.task={task.name}"
            )
        self.schema, self.task = schema, task
        if self.backbone is None:
            self.backbone = cast(Backbone, from_config(checkpoint["backbone"]))
        self.configure_model()
