"""The base of the DataModules of relational databases: a dataset, and its graph under one schema."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import pandas as pd
import torch
from relbench.base import Table
from relbench.load import RelBenchDataset

from datamodules.base import ResumableDataModule
from relbench_pretrain.relational.cache import load_graph
from relbench_pretrain.relational.database import open_dataset
from relbench_pretrain.relational.graph import RelationalGraph
from relbench_pretrain.relational.schema import GraphSchema, stored_schema
from relbench_pretrain.relational.specification import DatabaseSpecification
from relbench_pretrain.relational.text import HashTextEmbedder, TextEmbedder
from relbench_pretrain.sampling import GraphIndex
from relbench_pretrain.unix_time import timestamp_seconds

Stypes = dict[str, dict[str, str | None]]


class RelationalDataModule(ResumableDataModule):
    """Opens a dataset and builds its graph, once for all stages.

    Subclasses take these arguments besides their own.

    Args:
        dataset: A RelBench name, a Hub address, a local folder, or ``demo``.
        stypes: Column types that win over the inferred ones, by table and column; null leaves a column out.
        calendar: Whether points in time may be features: timestamps, and numbers that count on with time, like years.
            Ages of rows do not count as such.
        checkpoint: A pretrained backbone's folder, or its name on the Hub; its schema, with statistics and category
            maps, is applied. Where a model takes one, the command line takes it from there.
        text_embedder: Turns texts into vectors; hashed words by default.
        num_workers: Processes that make batches beside the training process.
        seed: Determines order and content of all batches.
        cache_dir: Where built graphs are kept; ``~/.cache/relbench_pretrain`` by default.
    """

    index: GraphIndex

    def __init__(
        self,
        dataset: str = "demo",
        stypes: Stypes | None = None,
        calendar: bool = True,
        checkpoint: str | None = None,
        text_embedder: TextEmbedder | None = None,
        num_workers: int = 0,
        seed: int = 0,
        cache_dir: str | None = None,
    ) -> None:
        super().__init__()
        self.save_hyperparameters(logger=False)  # with those of the subclass that is made
        if checkpoint is not None and stypes:
            raise ValueError("with data.checkpoint the column types are the checkpoint's: leave data.stypes out")
        self.dataset_name, self.num_workers, self.seed = dataset, num_workers, seed
        self.text_embedder = text_embedder or HashTextEmbedder()

    @cached_property
    def dataset(self) -> RelBenchDataset:
        """RelBench's dataset object."""
        return open_dataset(self.dataset_name)

    @property
    def graph(self) -> RelationalGraph:
        """The graph of the whole database; samplers and limits decide what of it is seen."""
        return self.index.graph

    @property
    def schema(self) -> GraphSchema:
        """The schema that the features are encoded under."""
        return self.graph.schema

    @property
    def val_time(self) -> int:
        """The validation time in UNIX seconds: statistics and pretraining see no later row."""
        return timestamp_seconds(self.dataset.val_timestamp)

    @property
    def test_time(self) -> int:
        """The test time in UNIX seconds."""
        return timestamp_seconds(self.dataset.test_timestamp)

    @property
    def about(self) -> dict[str, Any]:
        """A description of the data for a model card; no path, and none of its rows."""
        until = pd.Timestamp(self.val_time, unit="s").isoformat(sep=" ")
        return {"dataset": self.dataset.manifest.name, "rows seen, held-out ones included": f"up to {until} (UTC)"}

    @property
    def specification(self) -> DatabaseSpecification:
        """The description of the database."""
        return DatabaseSpecification(self.about, self.dataset.manifest.name, self.schema)

    def held_out_from(self, share: float) -> int:
        """Returns the UNIX second from which on the time before validation is held out from pretraining.

        Args:
            share: The share of that time that is held out.

        Raises:
            ValueError: If no row lies before validation.
        """
        times = torch.cat(
            [t for name, t in self.graph.time.items() if self.schema.tables[name].time_column is not None]
            or [torch.empty(0)]
        )
        times = times[times <= self.val_time]
        if len(times) == 0:
            raise ValueError(
                f"no row of '{self.dataset_name}' lies before its validation time: there is nothing to pretrain on"
            )
        return self.val_time - int(share * (self.val_time - int(times.min())))

    def fingerprint(self) -> dict[str, str | int]:
        """Returns the rows of every table, and hashes of its file and of the manifest."""
        rows = {f"rows of {table}": number for table, number in self.graph.num_rows.items()}
        content = {f"content of {name}": value[:16] for name, value in self.graph.content.items()}
        return {"dataset": self.dataset_name, **rows, **content}

    def prepare_data(self) -> None:
        """Builds the graph's cache, so that several processes do not all build it."""
        self._load()

    def setup(self, stage: str) -> None:
        """Opens the graph."""
        if not hasattr(self, "index"):
            self.index = GraphIndex.from_graph(self._load())

    def _load(self) -> RelationalGraph:
        hparams = self.hparams
        schema = stored_schema(hparams.checkpoint) if hparams.checkpoint else None
        return load_graph(
            self.dataset,
            fitted_until=self.val_time,
            stypes=hparams.stypes,
            embedder=self.text_embedder,
            schema=schema,
            cache_dir=hparams.cache_dir,
            calendar=hparams.calendar,
            hidden=self.hidden_columns(),
            further=self.further_tables(),
            extend_schema=hparams.get("extra_tables", False) and schema is not None,
        )

    def hidden_columns(self) -> list[tuple[str, str]]:
        """Returns the tables and columns that must not be features."""
        return []

    def further_tables(self) -> dict[str, Table]:
        """Returns tables that are added to the database."""
        return {}

    def worker_options(self) -> dict[str, Any]:
        """Options of the data loaders that follow from the number of workers and from the device."""
        # Of its own, so that random numbers of the network are the same whether a loader has begun anew or not.
        own = torch.Generator().manual_seed(self.seed)
        workers = {"num_workers": self.num_workers, "persistent_workers": self.num_workers > 0}
        return workers | {"generator": own, "pin_memory": self.pins_memory}
