"""The data of forecasting: rows at points in time, the earlier rows around them, and targets from what came next."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import torch
from torch_geometric.data import HeteroData

from datamodules.relational import RelationalDataModule
from relbench_pretrain.epochs import ResumableLoader
from relbench_pretrain.forecasting.targets import Forecasts, column_classes, forecasts
from relbench_pretrain.relational.database import DatasetError
from relbench_pretrain.relational.specification import ForecastSpecification
from relbench_pretrain.sampling import ANY_TABLE, RelationalLoader, SeedSampler, TemporalNeighborSampler
from relbench_pretrain.sampling.neighbors import Fanout
from relbench_pretrain.unix_time import SECONDS_PER_DAY


class Targets:
    """Adds the targets of the seeds to a batch, and how many seeds each table has.

    Args:
        tables: All tables.
        known: The seeds and their targets.
    """

    def __init__(self, tables: list[str], known: Forecasts) -> None:
        self.tables = tables
        self.target = known.target
        self.start = torch.from_numpy(np.concatenate([[0], np.cumsum(known.seeds.count)]))

    def __call__(self, batch: HeteroData) -> HeteroData:
        owner = torch.searchsorted(self.start, batch.input_id, right=True) - 1
        for number, table in enumerate(self.tables):
            if table in self.target:
                ids = batch.input_id[owner == number] - self.start[number]  # seeds lead in the rows of their table
                batch[table].y, batch[table].batch_size = self.target[table][ids], len(ids)
        return batch


class ForecastDataModule(RelationalDataModule):
    """Pretraining on what comes next; nothing later than the validation time is seen or forecast.

    The last part of the time before validation is held out: training neither sees nor forecasts a row of it.

    Args:
        dataset: A RelBench name, a Hub address, a local folder, or ``demo``.
        batch_size: Seeds per batch and device.
        seeds_over: ``"rows"`` shares seeds out over tables by their points in time, ``"tables"`` evenly.
        horizons_days: Within how many days the rows to come are counted; the longest also bounds how far ahead the
            next row is looked for. Those of the tasks to come are a good choice.
        fanouts: Child rows per row and foreign key, hop by hop; see :class:`TemporalNeighborSampler`.
        strategy: Which child rows: ``"uniform"`` or ``"last"``.
        follow: How many of the most recent child rows lead on; 0 for all.
        max_staleness_days: Every other view ends up to so many days before its point in time; 0 for none.
        holdout: The share of the time before validation that is held out.
        batches_per_epoch: Training batches per epoch; by default as many as draw every seed once.
        val_batches: Batches per validation.
        **kwargs: See :class:`RelationalDataModule`.

    Raises:
        ValueError: If there is no horizon, or a number is none.
    """

    cut: int
    training: Forecasts
    held_out: Forecasts
    chance: dict[str, torch.Tensor]

    def __init__(
        self,
        dataset: str = "demo",
        batch_size: int = 128,
        seeds_over: Literal["tables", "rows"] = "rows",
        horizons_days: list[int] = [30, 90, 365],  # noqa: B006  # never changed; a list is what YAML gives
        fanouts: list[Fanout] = [24, 0],  # noqa: B006
        strategy: Literal["last", "uniform"] = "last",
        follow: int = 1,
        max_staleness_days: float = 0.0,
        holdout: float = 0.1,
        batches_per_epoch: int | None = None,
        val_batches: int = 20,
        **kwargs: Any,
    ) -> None:
        super().__init__(dataset, **kwargs)
        if not horizons_days or min(horizons_days) < 1 or max(horizons_days) < 2:
            raise ValueError(f"horizons_days needs whole days, the longest of at least 2, got {horizons_days}")
        if not 0 < holdout < 1:
            raise ValueError(f"holdout must be a share between 0 and 1, got {holdout}")
        if max_staleness_days < 0:
            raise ValueError(f"max_staleness_days must be 0 or more, got {max_staleness_days}")

    def setup(self, stage: str) -> None:
        """Opens the graph, and collects the targets.

        Raises:
            DatasetError: If nothing happens in the span that is held out, or the horizons are too short.
        """
        super().setup(stage)
        if hasattr(self, "training"):
            return
        self.cut = self.held_out_from(self.hparams.holdout)
        rows, names, classes = self.graph.rows_until(self.cut), {}, {}
        for table, frame in self.graph.frames.items():
            names[table], classes[table] = column_classes(frame, rows[table])
        horizons = self.hparams.horizons_days
        self.training = forecasts(self.index, classes, names, horizons, None, self.cut, self.seed)
        try:
            self.held_out = forecasts(self.index, classes, names, horizons, self.cut, self.val_time, self.seed)
        except ValueError as error:
            raise DatasetError(
                f"{error}; a larger data.holdout than {self.hparams.holdout} holds out a longer span"
            ) from error
        self.chance = self.training.chance()
        if not any(cost.isfinite().any() for cost in self.chance.values()):
            raise DatasetError(
                f"nothing to forecast: within {horizons} days what comes next hardly ever differs; "
                "set data.horizons_days to longer spans"
            )

    @property
    def specification(self) -> ForecastSpecification:
        """The description of the database and the losses of guessing its targets."""
        return ForecastSpecification(self.about, self.dataset.manifest.name, self.schema, self.chance)

    def train_dataloader(self) -> ResumableLoader:
        """Points in time, in another order every epoch."""
        order = self._order(self.training, self.hparams.batches_per_epoch, True)
        return self.resumable(self._loader(self.training, order, self.hparams.max_staleness_days), order)

    def val_dataloader(self) -> ResumableLoader:
        """Held-out points in time, the same ones every time."""
        order = self._order(self.held_out, self.hparams.val_batches, False)
        return ResumableLoader(self._loader(self.held_out, order, 0.0), order)

    def _order(self, known: Forecasts, num_batches: int | None, shuffle: bool) -> SeedSampler:
        size, over = self.hparams.batch_size, self.hparams.seeds_over
        return SeedSampler(known.seeds, size, over, num_batches, shuffle, self.seed, *self.process)

    def _loader(self, known: Forecasts, order: SeedSampler, staleness_days: float) -> RelationalLoader:
        hparams = self.hparams
        sampler = TemporalNeighborSampler(
            self.index, hparams.fanouts, hparams.strategy, hparams.follow, None, self.seed,
            int(staleness_days * SECONDS_PER_DAY),
        )  # fmt: skip
        return RelationalLoader(
            self.graph,
            sampler,
            (ANY_TABLE, known.seeds.rows),
            known.seeds.time,
            transform=Targets(self.index.node_types, known),
            batch_sampler=order,
            **self.worker_options(),
        )
