"""Zero-shot relations learned from episodes in which a seen relation is treated as unseen."""

from __future__ import annotations

from typing import Any

import torch
from lightning.pytorch import LightningModule
from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn

from lightning_modules.optimizers import optimizer_and_schedule
from relbench_pretrain.knowledge_graph.episodes import Episode
from relbench_pretrain.knowledge_graph.pair_scorer import EntityContext, PairScorer
from relbench_pretrain.knowledge_graph.ranking import RankingMetrics, realistic_ranks


class EpisodicExtrapolation(LightningModule):
    """Ranks the tails, or heads, of relations that are known by their text alone.

    In every training episode a seen relation stands for an unseen one: its triples are hidden, and the network has to
    find them again from what the others and the texts say (cross-entropy of the right candidate).
    What looks at all episodes at once, as boosted trees do, is trained before the first step.

    Args:
        encoder: Scores pairs under a relation.
        optimizer: The optimiser.
        lr_scheduler: A schedule stepped after every batch, or None.
    """

    def __init__(
        self,
        encoder: PairScorer,
        optimizer: OptimizerCallable = lambda parameters: torch.optim.AdamW(parameters, lr=1e-3),
        lr_scheduler: LRSchedulerCallable | None = None,
    ) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.encoder = encoder
        self.optimizer = optimizer
        self.lr_scheduler = lr_scheduler
        self.metrics: nn.ModuleDict = nn.ModuleDict()

    def setup(self, stage: str) -> None:
        """Takes from the data what may be known of the graph in this stage."""
        data = self.trainer.datamodule
        for name, tensor in data.context(stage)._asdict().items():
            self.register_buffer(f"context_{name}", tensor, persistent=False)
        self.register_buffer("relation_texts", data.relation_text, persistent=False)
        # All devices read the same graph; data parallel training need not send it around in every step.
        self._ddp_params_and_buffers_to_ignore = ["relation_texts", *(f"context_{n}" for n in EntityContext._fields)]
        self.metrics = nn.ModuleDict(
            {
                f"{kind}_{direction}": RankingMetrics(protocol=f"{direction}/{data.protocol}")
                for kind in ("val", "test")
                for direction in data.directions
            }
        )

    def on_fit_start(self) -> None:
        """Shows the encoder all training episodes."""
        pools = self.trainer.datamodule.training_episodes()
        self.encoder.prepare([episode for pool in pools for episode in pool.pool])

    def forward(self, episode: Episode) -> Tensor:
        """Scores the candidates of an episode ``(num_queries, num_candidates)``."""
        return self.encoder(*self._given(episode))

    def _given(self, episode: Episode) -> tuple[Episode, Tensor, EntityContext]:
        context = EntityContext(*(getattr(self, f"context_{name}") for name in EntityContext._fields))
        texts: Tensor = self.relation_texts  # type: ignore[assignment]
        return episode, texts[episode.relation], context

    def training_step(self, batch: list[Episode], batch_idx: int) -> Tensor | None:
        """Returns the mean loss over episodes; None where there is nothing to train step by step."""
        if not self._trained:
            return None
        loss = torch.stack([self.encoder.loss(*self._given(episode)) for episode in batch]).mean()
        self.log("train/loss", loss.detach(), prog_bar=True, batch_size=len(batch))
        return loss

    @property
    def _trained(self) -> list[nn.Parameter]:
        return [parameter for parameter in self.parameters() if parameter.requires_grad]

    def validation_step(self, batch: Episode, batch_idx: int, dataloader_idx: int = 0) -> None:
        """Ranks the right answers of relations held out."""
        self._rank(batch, "val", dataloader_idx)

    def test_step(self, batch: Episode, batch_idx: int, dataloader_idx: int = 0) -> None:
        """Ranks the right answers of unseen relations."""
        self._rank(batch, "test", dataloader_idx)

    def predict_step(self, batch: Episode, batch_idx: int) -> dict[str, Any]:
        """Returns the relation, the entities given, and the best others of each with their scores."""
        scores = self(batch).float()
        scores.scatter_(1, batch.anchor.unsqueeze(1), -torch.inf)  # of itself nobody asks
        best = scores.topk(min(self.trainer.datamodule.hparams.predict_top, scores.size(1) - 1))
        return {"relation": batch.relation, "anchor": batch.anchor, "entity": best.indices, "score": best.values}

    def _rank(self, episode: Episode, stage: str, dataloader_idx: int) -> None:
        scores = self(episode).float()
        ranks = realistic_ranks(scores, episode.answer, episode.known, episode.candidate >= 0)
        metric: RankingMetrics = self.metrics[f"{stage}_{self.trainer.datamodule.directions[dataloader_idx]}"]  # type: ignore[assignment]
        metric.update(ranks)

    def on_validation_epoch_end(self) -> None:
        """Logs the metrics, and as ``val/score`` the mean reciprocal rank."""
        values = self._log_metrics("val")
        mrr = [value for name, value in values.items() if name.endswith("/mrr")]
        self.log("val/score", torch.stack(mrr).mean(), sync_dist=True, prog_bar=True)

    def on_test_epoch_end(self) -> None:
        """Logs the metrics."""
        self._log_metrics("test")

    def _log_metrics(self, stage: str) -> dict[str, Tensor]:
        values: dict[str, Tensor] = {}
        for name, metric in self.metrics.items():
            if name.startswith(f"{stage}_"):
                values |= {f"{stage}/{key}": value for key, value in metric.compute().items()}
                metric.reset()
        self.log_dict(values, sync_dist=True)
        return values

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """Makes the optimiser and, where there is one, the schedule; none where there are no parameters."""
        if not self._trained:
            return None
        return optimizer_and_schedule(self._trained, self.optimizer, self.lr_scheduler, self.trainer)
