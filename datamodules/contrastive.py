"""The data of contrastive pretraining: subgraphs of a relational database and their corrupted views."""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch_geometric.data import HeteroData

from datamodules.relational import RelationalDataModule
from relbench_pretrain.contrastive.corruption import Corruption
from relbench_pretrain.epochs import ResumableLoader
from relbench_pretrain.sampling import (
    ANY_TABLE,
    DeviceHGSampler,
    DeviceLoader,
    HGSampler,
    RelationalLoader,
    SeedRows,
    SeedSampler,
    TemporalNeighborSampler,
)
from relbench_pretrain.sampling.csc import RowSampler
from relbench_pretrain.sampling.hgsampling import Budget
from relbench_pretrain.sampling.neighbors import Fanout


class CorruptedView:
    """Adds the corrupted view of every row to a batch, drawn from the batch's own random seed.

    Args:
        corruption: The fitted corruption.
    """

    def __init__(self, corruption: Corruption) -> None:
        self.corruption = corruption

    def __call__(self, batch: HeteroData) -> HeteroData:
        frames = {table: batch[table].tf for table in batch.node_types}
        for table, frame in self.corruption(frames, batch.random_seed).items():
            batch[table].corrupted_tf = frame
        return batch


class ContrastiveDataModule(RelationalDataModule):
    """Type-balanced subgraphs for pretraining, none with a row later than the validation time.

    The last part of the time before validation is held out: its rows are the seeds of validation, each with what
    is earlier than itself. Training sees what lies before.

    Args:
        dataset: A RelBench name, a Hub address, a local folder, or ``demo``.
        batch_size: Seeds per batch and device.
        num_per_round: Rows that every table draws per round of HGSampling; see :class:`HGSampler`.
        num_rounds: Rounds of HGSampling.
        max_children: Child rows of one row that enter the budgets.
        seed_tables: The tables that seeds come from, all by default; the paper takes one hub table.
        seeds_over: ``"tables"`` shares seeds out evenly over tables, ``"rows"`` by their size.
        time_limit: Whether training subgraphs hold no row later than their seed; validation's never do.
        neighbors: Fan-outs of plain temporal neighbour sampling, one disjoint subgraph per seed, in place of
            HGSampling; for comparison.
        corruption: How views are corrupted; every cell with probability 0.4 by default.
        device_sampling: Whether graph and features live on the training device and batches are drawn there, in
            tensor operations of the same distribution; then no workers are needed, and memory for the whole graph is.
        holdout: The share of the time before validation that is held out.
        batches_per_epoch: Training batches per epoch; by default as many as draw every row once.
        val_batches: Batches per validation.
        **kwargs: See :class:`RelationalDataModule`.
    """

    cut: int
    view: CorruptedView
    train_seeds: SeedRows
    val_seeds: SeedRows

    def __init__(
        self,
        dataset: str = "demo",
        batch_size: int = 64,
        num_per_round: Budget = 64,
        num_rounds: int = 3,
        max_children: int = 50,
        seed_tables: list[str] | None = None,
        seeds_over: Literal["tables", "rows"] = "tables",
        time_limit: bool = False,
        neighbors: list[Fanout] | None = None,
        corruption: Corruption | None = None,
        device_sampling: bool = False,
        holdout: float = 0.1,
        batches_per_epoch: int | None = None,
        val_batches: int = 20,
        **kwargs: Any,
    ) -> None:
        super().__init__(dataset, **kwargs)
        if not 0 < holdout < 1:
            raise ValueError(f"holdout must be a share between 0 and 1, got {holdout}")
        if device_sampling and neighbors is not None:
            raise ValueError("device_sampling draws by HGSampling: leave neighbors out")
        if device_sampling and self.num_workers:
            raise ValueError(
                f"device_sampling makes batches on the device: set num_workers to 0, not {self.num_workers}"
            )
        self.corruption = corruption or Corruption()
        self._device_sampler: DeviceHGSampler | None = None

    def setup(self, stage: str) -> None:
        """Opens the graph, divides its time and fits the corruption on the training rows."""
        super().setup(stage)
        if hasattr(self, "cut"):
            return
        self.cut = self.held_out_from(self.hparams.holdout)
        rows = self.graph.rows_until(self.cut)
        frames = {table: self.graph.frames[table][: rows[table]] for table in self.graph.frames}
        self.view = CorruptedView(self.corruption.fit(frames))
        tables, own_time = self.hparams.seed_tables, self.hparams.time_limit
        self.train_seeds = SeedRows.between(self.index, None, self.cut, tables, own_time)
        self.val_seeds = SeedRows.between(self.index, self.cut, self.val_time, tables)

    def train_dataloader(self) -> ResumableLoader:
        """Training subgraphs, in another order every epoch."""
        order = self._order(self.train_seeds, self.hparams.batches_per_epoch, True)
        return self.resumable(self._loader(self.train_seeds, self.train_seeds.time, order), order)

    def val_dataloader(self) -> ResumableLoader:
        """Subgraphs around held-out rows with what is earlier, the same ones every time."""
        order = self._order(self.val_seeds, self.hparams.val_batches, shuffle=False)
        return ResumableLoader(self._loader(self.val_seeds, self.val_seeds.time, order), order)

    def _order(self, seeds: SeedRows, num_batches: int | None, shuffle: bool) -> SeedSampler:
        size, over = self.hparams.batch_size, self.hparams.seeds_over
        return SeedSampler(seeds, size, over, num_batches, shuffle, self.seed, *self.process)

    def _loader(self, seeds: SeedRows, limit: torch.Tensor, order: SeedSampler) -> RelationalLoader | DeviceLoader:
        hparams, rows = self.hparams, (ANY_TABLE, seeds.rows)
        budget = (hparams.num_per_round, hparams.num_rounds, hparams.max_children, self.seed)
        if not hparams.device_sampling:
            sampler: RowSampler = HGSampler(self.index, *budget)
            if hparams.neighbors is not None:
                sampler = TemporalNeighborSampler(self.index, hparams.neighbors, seed=self.seed)
            options = self.worker_options()
            return RelationalLoader(
                self.graph, sampler, rows, limit, transform=self.view, batch_sampler=order, **options
            )
        if self._device_sampler is None:  # training and validation share the graph on the device
            device = self.trainer.strategy.root_device if self.trainer else torch.device("cpu")
            self._device_sampler = DeviceHGSampler(self.index, *budget, device=device)
            self._device_view = CorruptedView(self.corruption.to(device))
        return DeviceLoader(self._device_sampler, rows, limit, order, transform=self._device_view)
