"""Base of the modules that rank the tails, or heads, of relations without triples."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, cast

import torch
from lightning.pytorch import LightningModule
from torch import Tensor, nn

from relbench_pretrain.knowledge_graph.data.queries import Direction
from relbench_pretrain.knowledge_graph.episodes import Episode
from relbench_pretrain.knowledge_graph.ranking import RankingMetrics, realistic_ranks
from relbench_pretrain.knowledge_graph.specification import RankingSpecification
from relbench_pretrain.trainer.specification import specification

FORMER = "ZeroShotKGDataModule"
"""The DataModule of all knowledge graphs, before there was one for each system."""


class ZeroShotRanking(LightningModule):
    """Base: validation on held-out relations, test on unseen ones, prediction for new ones.

    A subclass calls :meth:`make_metrics` in ``setup`` and scores candidates in :meth:`scores`.

    Attributes:
        specification: The description of the data, for training on loaders without a DataModule.
    """

    specification: RankingSpecification | None = None

    def __init__(self) -> None:
        super().__init__()
        self.metrics: nn.ModuleDict = nn.ModuleDict()
        self.directions: tuple[Direction, ...] = ()

    def data(self) -> RankingSpecification:
        """Returns the description of the data at hand."""
        return specification(self.trainer, RankingSpecification, self)

    @abstractmethod
    def scores(self, episode: Episode, direction: Direction) -> Tensor:
        """Scores the candidates of an episode.

        Args:
            episode: The episode.
            direction: Whether tails or heads are ranked.

        Returns:
            Higher is better, −inf for no candidate ``(num_queries, num_candidates)``.
        """

    def make_metrics(self, data: RankingSpecification) -> None:
        """Creates the metrics of validation and test, named by direction and candidates."""
        self.directions = data.directions
        self.metrics = nn.ModuleDict(
            {
                f"{stage}_{direction}": RankingMetrics(protocol=f"{direction}/{data.protocol}")
                for stage in ("val", "test")
                for direction in data.directions
            }
        )

    def validation_step(self, batch: Episode, batch_idx: int, dataloader_idx: int = 0) -> None:
        """Ranks the true answers of held-out relations."""
        self._rank(batch, "val", dataloader_idx)

    def test_step(self, batch: Episode, batch_idx: int, dataloader_idx: int = 0) -> None:
        """Ranks the true answers of unseen relations."""
        self._rank(batch, "test", dataloader_idx)

    def predict_step(self, batch: Episode, batch_idx: int) -> dict[str, Any]:
        """Returns the relation, the entities given, and the best others of each with their scores."""
        scores = self.scores(batch, self.directions[0]).float()
        scores.scatter_(1, batch.anchor.unsqueeze(1), -torch.inf)  # no entity is its own answer
        best = scores.topk(min(self.data().predict_top, scores.size(1) - 1))
        return {"relation": batch.relation, "anchor": batch.anchor, "entity": best.indices, "score": best.values}

    def _rank(self, episode: Episode, stage: str, dataloader_idx: int) -> None:
        direction = self.directions[dataloader_idx]
        scores = self.scores(episode, direction).float()
        ranks = realistic_ranks(scores, episode.answer, episode.known, episode.candidate >= 0)
        metric = cast(RankingMetrics, self.metrics[f"{stage}_{direction}"])
        if episode.num_real:
            metric.update(ranks)

    def on_validation_epoch_end(self) -> None:
        """Logs the metrics, and as ``val/score`` the mean reciprocal rank."""
        values = self._log_metrics("val")
        mrr = torch.stack([value for name, value in values.items() if name.endswith("/mrr")]).mean()
        self.log("val/score", self.validation_score(mrr), sync_dist=True, prog_bar=True)

    def validation_score(self, mrr: Tensor) -> Tensor:
        """Returns the score that the best epoch is chosen by."""
        return mrr

    def on_test_epoch_end(self) -> None:
        """Logs the metrics."""
        self._log_metrics("test")

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Renames the DataModule's state in a checkpoint of an earlier version, which Lightning finds by the class."""
        if FORMER in checkpoint:
            for name in ("EpisodicKGDataModule", "MultimodalKGDataModule"):
                checkpoint.setdefault(name, checkpoint[FORMER])

    def _log_metrics(self, stage: str) -> dict[str, Tensor]:
        values: dict[str, Tensor] = {}
        for name, metric in cast(dict[str, RankingMetrics], self.metrics).items():
            if name.startswith(f"{stage}_"):
                values |= {f"{stage}/{key}": value for key, value in metric.compute().items()}
                metric.reset()
        self.log_dict(values, sync_dist=True)
        return values
