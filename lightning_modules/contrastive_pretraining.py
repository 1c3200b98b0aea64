"""Task-agnostic contrastive pretraining of a relational database."""

from __future__ import annotations

from typing import Any, cast

import torch
from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable
from torch import Tensor
from torch_geometric.data import HeteroData

from lightning_modules.pretraining import Pretraining
from lightning_modules.training import exact
from relbench_pretrain.contrastive.context import ContextContrast
from relbench_pretrain.contrastive.link import LinkContrast, linked_parents
from relbench_pretrain.contrastive.normalization import ChanceLevel, Levels, Normalization
from relbench_pretrain.contrastive.objective import ContrastiveObjective
from relbench_pretrain.contrastive.row import RowContrast
from relbench_pretrain.nn.backbone import Backbone
from relbench_pretrain.nn.subgraph import batch_inputs


class ContrastivePretraining(Pretraining):
    """Row, link and context level InfoNCE on subgraphs and their corrupted views (Peleška and Šír 2025).

    The loss is the sum of the levels, each normalised by its chance level (Eq. 6) unless the callback
    ``LossNormalization`` says otherwise. Every level can be left out.

    Args:
        backbone: The network to pretrain.
        row: Row level, or None.
        link: Link level, or None.
        context: Context level, or None.
        optimizer: The optimiser; Adam with rate 1e-3 in the paper.
        lr_scheduler: A schedule stepped after every batch, or None.

    Raises:
        ValueError: If all levels are left out.
    """

    def __init__(
        self,
        backbone: Backbone,
        row: RowContrast | None = None,
        link: LinkContrast | None = None,
        context: ContextContrast | None = None,
        optimizer: OptimizerCallable = lambda parameters: torch.optim.Adam(parameters, lr=1e-3),
        lr_scheduler: LRSchedulerCallable | None = None,
    ) -> None:
        super().__init__(backbone, optimizer, lr_scheduler)
        self.save_hyperparameters()
        levels = {"row": row, "link": link, "context": context}
        self.levels = torch.nn.ModuleDict({name: level for name, level in levels.items() if level is not None})
        if not self.levels:
            raise ValueError("all levels are left out: give at least one of row, link and context")
        self.normalization: Normalization = ChanceLevel()

    def set_normalization(self, rule: Normalization) -> None:
        """Takes the rule that puts the levels on one scale.

        Args:
            rule: The rule.
        """
        self.normalization = rule

    def build_objective(self) -> None:
        """Creates the parameters of the levels."""
        for level in self.levels.values():
            cast(ContrastiveObjective, level).build(self.schema, self.backbone.channels)

    def forward(self, batch: HeteroData) -> dict[str, Tensor]:
        """Encodes the rows of a batch, and their corrupted view if it has one.

        Returns:
            Vectors per table ``(num_rows, num_views, channels)``, the original view first.
        """
        return self.backbone(*batch_inputs(batch, views=("tf", "corrupted_tf")))

    def losses(self, batch: HeteroData, x: dict[str, Tensor]) -> Levels:
        """Computes the anchors' losses of every level.

        Args:
            batch: The batch.
            x: What :meth:`forward` returned for it.

        Returns:
            The losses by level.
        """
        original = {table: views[:, 0] for table, views in x.items()}
        row_id = {table: batch[table].n_id for table in x}
        result: Levels = {}
        if "row" in self.levels:
            corrupted = {table: views[:, 1] for table, views in x.items()}
            duplicate = {table: batch[table].duplicate for table in x}
            result["row"] = self.levels["row"](original, corrupted, row_id, duplicate)
        if "link" in self.levels:
            result["link"] = self.levels["link"](original, row_id, *linked_parents(batch, self.schema))
        if "context" in self.levels:
            edges = {edge_type: batch[edge_type].edge_index for edge_type in batch.edge_types}
            result["context"] = self.levels["context"](original, row_id, edges)
        return result

    def training_step(self, batch: HeteroData, batch_idx: int) -> Tensor:
        """Returns the sum of the normalised levels."""
        return self._step(batch, "train")["loss"]

    def validation_step(self, batch: HeteroData, batch_idx: int) -> dict[str, Any]:
        """Logs the levels on held-out rows. Returns the loss and the rows' vectors, for callbacks."""
        return self._step(batch, "val")

    def _step(self, batch: HeteroData, stage: str) -> dict[str, Any]:
        x = self(batch)
        levels = self.normalization(self.losses(batch, x), update=stage == "train")
        loss = torch.stack(list(levels.values())).sum()
        options: dict[str, Any] = {"batch_size": exact(batch.num_nodes), "sync_dist": stage != "train"}
        self.log(f"{stage}/loss", loss.detach(), prog_bar=True, **options)
        by_level = {f"{stage}/loss_{name}": value.detach() for name, value in levels.items()}
        self.log_dict(by_level, prog_bar=stage != "train", **options)
        return {"loss": loss, "embeddings": {table: views[:, 0].detach() for table, views in x.items()}}
