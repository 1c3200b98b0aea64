"""Callbacks that watch a pretraining run: whether its batches are balanced, and whether its embeddings collapse."""

from __future__ import annotations

import warnings
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from relbench_pretrain.evaluation.metrics import effective_rank, spread


class TypeBalance(Callback):
    """Counts the rows per table and edges per type that training sees, per batch and in total.

    Per batch it logs ``balance/rows_<table>``, ``balance/edges_<type>`` and ``balance/evenness``, the entropy of
    the tables' shares over its maximum: 1 when all tables have the same number of rows. Totals are in ``rows``
    and ``edges``, and in the checkpoint.

    Args:
        every_n_steps: How often to log.
    """

    def __init__(self, every_n_steps: int = 50) -> None:
        if every_n_steps < 1:
            raise ValueError(f"every_n_steps must be at least 1, got {every_n_steps}")
        self.every_n_steps = every_n_steps
        self.rows: dict[str, int] = {}
        self.edges: dict[str, int] = {}

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Counts the batch."""
        rows = {table: batch[table].num_nodes for table in batch.node_types}
        edges = {"__".join(edge_type): batch[edge_type].edge_index.shape[1] for edge_type in batch.edge_types}
        for counts, total in ((rows, self.rows), (edges, self.edges)):
            for name, count in counts.items():
                total[name] = total.get(name, 0) + count
        if trainer.global_step % self.every_n_steps == 0:
            values = {f"balance/rows_{table}": float(n) for table, n in rows.items()}
            values |= {f"balance/edges_{name}": float(n) for name, n in edges.items()}
            pl_module.log_dict(values | {"balance/evenness": evenness(rows)}, batch_size=sum(rows.values()))

    def state_dict(self) -> dict[str, Any]:
        return {"rows": self.rows, "edges": self.edges}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.rows, self.edges = dict(state_dict["rows"]), dict(state_dict["edges"])


def evenness(counts: dict[str, int]) -> float:
    """Returns the entropy of the shares over that of equal shares: 1 for equal ones, 0 when one has everything."""
    values = torch.tensor([float(n) for n in counts.values()])
    if len(values) < 2 or values.sum() == 0:
        return 1.0
    share = values / values.sum()
    return float(torch.special.entr(share).sum() / torch.tensor(float(len(values))).log())


class CollapseMonitor(Callback):
    """Watches the embeddings of the held-out rows for collapse, table by table.

    Logs ``embedding/std_<table>``, the spread of the unit-length vectors over what independent ones would have
    (0 when all are the same, about 1 when they are spread out), and ``embedding/rank_<table>``, their effective
    rank (Roy and Vetterli 2007). Warns once for every table that falls below a threshold.

    Args:
        min_std: Warn below this spread.
        min_rank: Warn below this effective rank.
        max_rows: Rows per table to look at.
    """

    def __init__(self, min_std: float = 0.05, min_rank: float = 2.0, max_rows: int = 2_048) -> None:
        self.min_std = min_std
        self.min_rank = min_rank
        self.max_rows = max_rows
        self._rows: dict[str, list[Tensor]] = {}
        self._warned: set[str] = set()

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Keeps the batch's embeddings."""
        for table, x in outputs["embeddings"].items():
            kept = self._rows.setdefault(table, [])
            if sum(len(part) for part in kept) < self.max_rows:
                kept.append(x.float().cpu())

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Logs and warns."""
        values = {}
        for table, parts in self._rows.items():
            x = torch.cat(parts)[: self.max_rows]
            if len(x) > 1:
                values[f"embedding/std_{table}"] = spread(x)
                values[f"embedding/rank_{table}"] = effective_rank(x)
                self._warn(table, values[f"embedding/std_{table}"], values[f"embedding/rank_{table}"], trainer)
        self._rows.clear()
        pl_module.log_dict(values, sync_dist=trainer.world_size > 1, batch_size=1)

    def _warn(self, table: str, std: float, rank: float, trainer: Trainer) -> None:
        if table in self._warned or trainer.sanity_checking or (std >= self.min_std and rank >= self.min_rank):
            return
        self._warned.add(table)
        warnings.warn(
            f"the embeddings of table '{table}' collapse at step {trainer.global_step}: spread {std:.3f} "
            f"(threshold {self.min_std}), effective rank {rank:.1f} (threshold {self.min_rank}). "
            "A lower learning rate or temperature, or more negatives, can help",
            stacklevel=2,
        )
