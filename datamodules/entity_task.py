"""The labels of a RelBench entity task, each with the earlier rows around it."""

from __future__ import annotations

from functools import cached_property
from typing import Literal

from relbench.base import AutoCompleteTask, EntityTask
from torch_geometric.data import HeteroData

from datamodules.relational import RelationalDataModule, Stypes
from relbench_pretrain.relational.tasks import Split, TaskTable, hidden_columns, load_task, task_spec, task_table
from relbench_pretrain.relational.text import TextEmbedder
from relbench_pretrain.sampling import RelationalLoader, TemporalNeighborSampler
from relbench_pretrain.sampling.neighbors import Fanout


class Labels:
    """Adds labels and times of the seeds to a batch.

    Args:
        table: The entity table.
        labels: All labels of the split.
    """

    def __init__(self, table: str, labels: TaskTable) -> None:
        self.table = table
        self.labels = labels

    def __call__(self, batch: HeteroData) -> HeteroData:
        store = batch[self.table]
        store.y, store.seed_time = self.labels.target[store.input_id], self.labels.time[store.input_id]
        return batch


class EntityTaskDataModule(RelationalDataModule):
    """Training, validation and test rows of a task with temporal neighbours.

    No row is ever later than the seed time of its label. In the *rolling* regime a test row sees everything up to
    its seed time, in the *frozen* one nothing after the dataset's test time. Training and validation are the same
    in both.

    Args:
        dataset: A RelBench name, a Hub address, a local folder, or ``demo``.
        task: The task's name.
        batch_size: Labels per batch and device.
        fanouts: Child rows per row and foreign key, hop by hop; see :class:`TemporalNeighborSampler`.
        strategy: Which child rows: ``"uniform"`` or ``"last"``.
        follow: How many of the most recent child rows lead on; 0 for all.
        regime: The time regime of the test rows.
        eval_batch_size: Labels per batch in validation, test and prediction; ``batch_size`` by default.
        predict_split: The split that ``predict`` predicts.
        stypes: Column types that win over the inferred ones, by table and column; null leaves a column out.
        calendar: Whether points in time may be features: timestamps, and numbers that count on with time, like years.
            Ages of rows do not count as such.
        checkpoint: A pretrained backbone's folder; its schema is applied. The command line takes it from the model.
        text_embedder: Turns texts into vectors; hashed words by default.
        num_workers: Processes that make batches beside the training process.
        seed: Determines order and content of all batches.
        cache_dir: Where built graphs are kept; ``~/.cache/relbench_pretrain`` by default.
    """

    def __init__(
        self,
        task: str,
        dataset: str = "demo",
        batch_size: int = 512,
        fanouts: list[Fanout] = [128, 64],  # noqa: B006  # never changed; a list is what YAML gives
        strategy: Literal["last", "uniform"] = "uniform",
        follow: int = 0,
        regime: Literal["rolling", "frozen"] = "rolling",
        eval_batch_size: int | None = None,
        predict_split: Split = "test",
        stypes: Stypes | None = None,
        calendar: bool = True,
        checkpoint: str | None = None,
        text_embedder: TextEmbedder | None = None,
        num_workers: int = 0,
        seed: int = 0,
        cache_dir: str | None = None,
    ) -> None:
        super().__init__(dataset, stypes, calendar, checkpoint, text_embedder, num_workers, seed, cache_dir)
        if regime not in ("rolling", "frozen"):
            raise ValueError(f"regime must be 'rolling' or 'frozen', got '{regime}'")
        self.save_hyperparameters(logger=False)
        self.regime = regime
        self.tables: dict[str, TaskTable] = {}

    @cached_property
    def task(self) -> EntityTask:
        """RelBench's task object."""
        return load_task(self.dataset, self.hparams.task)

    def setup(self, stage: str) -> None:
        """Opens the graph and reads the task's labels."""
        super().setup(stage)
        self.task_spec = task_spec(self.task, self.hparams.task)

    def hidden_columns(self) -> list[tuple[str, str]]:
        """Returns what the labels are made from: an autocomplete task's target is a column of the database."""
        return hidden_columns(self.task)

    def train_dataloader(self) -> RelationalLoader:
        """Labels of the training split, in another order every epoch."""
        return self._loader("train", shuffle=True)

    def val_dataloader(self) -> RelationalLoader:
        """Labels of the validation split."""
        return self._loader("val")

    def test_dataloader(self) -> RelationalLoader:
        """Labels of the test split under the regime."""
        return self._loader("test")

    def predict_dataloader(self) -> RelationalLoader:
        """Rows of the split to predict."""
        return self._loader(self.hparams.predict_split)

    def _loader(self, split: Split, shuffle: bool = False) -> RelationalLoader:
        hparams = self.hparams
        if split not in self.tables:
            self.tables[split] = task_table(self.task, split)
        table = self.tables[split]
        until = self.test_time if split == "test" and self.regime == "frozen" else None
        sampler = TemporalNeighborSampler(
            self.index, hparams.fanouts, hparams.strategy, hparams.follow, until, self.seed
        )
        return RelationalLoader(
            self.graph,
            sampler,
            (self.task_spec.entity_table, table.row),
            # The other rows of an autocomplete label's own event bear its time and can give the label away.
            table.time - int(isinstance(self.task, AutoCompleteTask)),
            transform=Labels(self.task_spec.entity_table, table),
            batch_size=hparams.batch_size if shuffle else hparams.eval_batch_size or hparams.batch_size,
            shuffle=shuffle,
            # A last batch of one label would break batch normalisation.
            drop_last=shuffle and len(table) % hparams.batch_size == 1,
            **self.worker_options(),
        )
