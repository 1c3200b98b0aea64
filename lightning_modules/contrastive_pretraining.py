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
from relbench_pretrain.contrastive.link import LinkContrast
from relbench_pretrain.contrastive.normalization import ChanceLevel, Levels, Normalization
from relbench_pretrain.contrastive.objective import ContrastiveObjective
from relbench_pretrain.contrastive.row import RowContrast
from relbench_pretrain.nn.backbone import Backbone
from relbench_pretrain.nn.subgraph import Subgraph
from relbench_pretrain.relational.schema import EdgeType


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
        tables = batch.node_types
        frames = {
            t: [batch[t].tf, batch[t].corrupted_tf] if "corrupted_tf" in batch[t] else [batch[t].tf] for t in tables
        }
        age = {t: batch[t].age for t in tables if "time" in batch[t]}
        return self.backbone(frames, Subgraph.from_batch(batch), age)

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
            index, number = self._parents(batch)
            result["link"] = self.levels["link"](original, row_id, index, number)
        if "context" in self.levels:
            edges = {edge_type: batch[edge_type].edge_index for edge_type in batch.edge_types}
            result["context"] = self.levels["context"](original, row_id, edges)
        return result

    def _parents(self, batch: HeteroData) -> tuple[dict[EdgeType, Tensor], dict[EdgeType, Tensor]]:
        """The place in the batch, and the row number, of each row's parent under each foreign key; −1 for none."""
        index, number = {}, {}
        for table, spec in self.schema.tables.items():
            for position, (column, parent) in enumerate(spec.foreign_keys.items()):
                forward, backward = (table, f"f2p_{column}", parent), (parent, f"rev_f2p_{column}", table)
                place = torch.full((batch[table].num_nodes,), -1, device=self.device)
                # A time limit may leave only one direction of a link; together they have all links.
                child, owner = batch[forward].edge_index
                place[child] = owner
                owner, child = batch[backward].edge_index
                place[child] = owner
                index[forward], number[forward] = place, batch[table].parent_id[:, position]
        return index, number

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
