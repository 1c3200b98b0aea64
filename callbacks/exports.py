"""Callbacks that write predictions into files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol, cast

import numpy as np
import pandas as pd
import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import BasePredictionWriter
from lightning.pytorch.utilities import rank_zero_info
from relbench.base import RecommendationTask
from relbench.submit import write_prediction_table
from torch import Tensor

from relbench_pretrain.files import atomic_file
from relbench_pretrain.knowledge_graph.specification import RankingSpecification
from relbench_pretrain.relational.specification import TaskSpecification
from relbench_pretrain.trainer.media import log_table
from relbench_pretrain.trainer.run_folder import run_folder
from relbench_pretrain.trainer.specification import specification


class Predicts(Protocol):
    """A module that predicts the labels of a task."""

    def readable(self, prediction: Tensor) -> np.ndarray:
        """Returns predictions as the task's own evaluation wants them."""


class PredictionWriter(BasePredictionWriter):
    """Writes what ``predict`` predicts, with entity keys and times, to a parquet file.

    The columns are those of the task's own table, with the prediction in place of the target: a probability, a value,
    a class, a list of probabilities, or a list of destinations with the best first.

    Args:
        path: The file; ``predictions_<regime>.parquet`` in the run's folder by default.
        leaderboard: Whether to write RelBench's leaderboard table beside it too, ``DATASET__TASK.csv``. RelBench hands
            out a database that ends at the test time, so it is for the cutoff regime.

    Raises:
        ValueError: If a leaderboard table is wanted for another split than test, or in the rolling regime.
    """

    def __init__(self, path: str | None = None, leaderboard: bool = False) -> None:
        super().__init__("epoch")
        self.path = path
        self.leaderboard = leaderboard

    def write_on_epoch_end(
        self, trainer: Trainer, pl_module: LightningModule, predictions: Sequence[Any], batch_indices: Sequence[Any]
    ) -> None:
        """Joins the batches in the order of the split and writes the files."""
        data = specification(trainer, TaskSpecification, self)
        if self.leaderboard and data.predict_split != "test":
            raise ValueError("the leaderboard has test rows: leave data.predict_split at 'test'")
        regime = data.regimes[0]
        if self.leaderboard and regime != "cutoff":
            raise ValueError("the leaderboard's database ends at the test time: set data.regimes to [cutoff]")
        places, prediction = _joined(trainer, predictions)
        path = Path(self.path) if self.path else run_folder(trainer) / f"predictions_{regime}.parquet"
        if not trainer.is_global_zero:
            return
        task, readable = data.labels, cast(Predicts, pl_module).readable(prediction)
        table = task.get_table(data.predict_split, mask_input_cols=False).df
        recommends = isinstance(task, RecommendationTask)
        entity = task.src_entity_col if recommends else task.entity_col
        target = task.dst_entity_col if recommends else task.target_col
        frame = table[[task.time_col, entity]].iloc[places.numpy()].reset_index(drop=True)
        frame[target] = list(readable) if readable.ndim > 1 else readable
        with atomic_file(path) as part:
            pd.DataFrame(frame).to_parquet(part)
        rank_zero_info(f"predictions: {path}")
        log_table(trainer, f"predictions/{regime}", frame)
        if self.leaderboard:
            name = f"{data.dataset}__{data.task.name}.csv"
            write_prediction_table(task, np.asarray(readable), path.with_name(name))
            rank_zero_info(f"leaderboard table: {path.with_name(name)}")


def _joined(trainer: Trainer, predictions: Sequence[dict[str, Tensor]]) -> tuple[Tensor, Tensor]:
    """Returns places in the split, ascending, and what is predicted for them."""
    places = torch.cat([part["input_id"] for part in predictions]).cpu()
    values = torch.cat([part["prediction"] for part in predictions]).cpu()
    if trainer.world_size > 1:  # a distributed sampler repeats rows until all processes have as many
        gathered: list[Any] = [None] * trainer.world_size
        torch.distributed.all_gather_object(gathered, (places, values))
        places, values = (torch.cat(part) for part in zip(*gathered, strict=True))
    places, inverse = torch.unique(places, return_inverse=True)
    return places, values.new_empty(len(places), *values.shape[1:]).index_copy(0, inverse, values)


class TripleWriter(BasePredictionWriter):
    """Prints the triples that ``predict`` finds for new relations, and writes them to a table.

    Args:
        path: The CSV file; ``triples.csv`` in the run's folder by default.
    """

    def __init__(self, path: str | None = None) -> None:
        super().__init__("epoch")
        self.path = path

    def write_on_epoch_end(
        self, trainer: Trainer, pl_module: LightningModule, predictions: Sequence[Any], batch_indices: Sequence[Any]
    ) -> None:
        """Names entities and relations, prints and writes."""
        if not trainer.is_global_zero:
            return
        data = specification(trainer, RankingSpecification, self)
        heads = data.directions[0] == "head"
        rows = []
        for part in predictions:
            text = data.new_relations[part["relation"] - data.num_relations]
            for anchor, found, scores in zip(part["anchor"], part["entity"], part["score"], strict=True):
                names = [data.names[i] for i in found.tolist()]
                rank_zero_info(f"{data.names[anchor]} | {text} | {', '.join(names)}")
                for rank, (entity, score) in enumerate(zip(found.tolist(), scores.tolist(), strict=True), start=1):
                    pair = (entity, int(anchor)) if heads else (int(anchor), entity)
                    rows.append([data.entities[pair[0]], text, data.entities[pair[1]], rank, score])
        path = Path(self.path) if self.path else run_folder(trainer) / "triples.csv"
        path.parent.mkdir(parents=True, exist_ok=True)
        table = pd.DataFrame(rows, columns=["head", "relation", "tail", "rank", "score"])
        table.to_csv(path, index=False)
        rank_zero_info(f"triples: {path}")
        log_table(trainer, "triples", table)
