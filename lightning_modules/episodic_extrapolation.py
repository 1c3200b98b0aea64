"""Zero-shot relations learned from episodes in which a seen relation is treated as unseen."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
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

    Args:
        encoder: Scores pairs under a relation.
        optimizer: The optimiser.
        lr_scheduler: A schedule stepped after every batch, or None.
        text_noise: Standard deviation of the noise on the text vector of the relation asked for, against learning the
            few training relations by heart.
    """

    def __init__(
        self,
        encoder: PairScorer,
        optimizer: OptimizerCallable = lambda parameters: torch.optim.AdamW(parameters, lr=1e-3),
        lr_scheduler: LRSchedulerCallable | None = None,
        text_noise: float = 0.0,
    ) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.encoder = encoder
        self.optimizer = optimizer
        self.lr_scheduler = lr_scheduler
        self.text_noise = text_noise
        self.sizes: tuple[int, int] | None = None
        self.metrics: nn.ModuleDict = nn.ModuleDict()

    def setup(self, stage: str) -> None:
        """Takes from the data what may be known of the graph."""
        data = self.trainer.datamodule
        self._take_sizes((data.relation_text.size(1), data.graph.num_relations))
        for kind in ("validation", "test"):
            for name, tensor in data.context("fit" if kind == "validation" else "test")._asdict().items():
                self.register_buffer(f"{kind}_{name}", tensor, persistent=False)
        self.register_buffer("relation_texts", data.relation_text, persistent=False)
        # All devices read the same graph; data parallel training need not send it around in every step.
        self._ddp_params_and_buffers_to_ignore = [name for name, _ in self.named_buffers()]
        self.metrics = nn.ModuleDict(
            {
                f"{kind}_{direction}": RankingMetrics(protocol=f"{direction}/{data.protocol}")
                for kind in ("val", "test")
                for direction in data.directions
            }
        )

    def configure_model(self) -> None:
        """Creates the parameters, which depend on the graph; a second call changes nothing."""
        if self.sizes is not None:
            self.encoder.build(*self.sizes)

    def context(self, kind: str) -> EntityContext:
        """Returns what may be known of the graph in training and ``"validation"``, or in the ``"test"``."""
        return EntityContext(*(getattr(self, f"{kind}_{name}") for name in EntityContext._fields))

    def forward(self, episode: Episode, context: EntityContext) -> Tensor:
        """Scores the candidates of an episode ``(num_queries, num_candidates)``."""
        texts: Tensor = self.relation_texts  # type: ignore[assignment]
        query = texts[episode.relation]
        if self.training and self.text_noise:
            query = F.normalize(query + self.text_noise * torch.randn_like(query) / len(query) ** 0.5, dim=0)
        return self.encoder(
            context, query, episode.anchor, episode.candidate, episode.paths, episode.relation, episode.reverse
        )

    def training_step(self, batch: list[Episode], batch_idx: int) -> Tensor:
        """Returns the mean cross-entropy over episodes."""
        context = self.context("validation")
        loss = torch.stack(
            [F.cross_entropy(self(episode, context).float(), episode.answer) for episode in batch]
        ).mean()
        self.log("train/loss", loss.detach(), prog_bar=True, batch_size=len(batch))
        return loss

    def validation_step(self, batch: Episode, batch_idx: int, dataloader_idx: int = 0) -> None:
        """Ranks the right answers of relations held out."""
        self._rank(batch, "val", dataloader_idx)

    def test_step(self, batch: Episode, batch_idx: int, dataloader_idx: int = 0) -> None:
        """Ranks the right answers of unseen relations."""
        self._rank(batch, "test", dataloader_idx)

    def predict_step(self, batch: Episode, batch_idx: int) -> dict[str, Any]:
        """Returns the relation, the entities given, and the best others of each with their scores."""
        scores = self(batch, self.context("test")).float()
        scores.scatter_(1, batch.anchor.unsqueeze(1), -torch.inf)  # of itself nobody asks
        best = scores.topk(min(self.trainer.datamodule.hparams.predict_top, scores.size(1) - 1))
        return {"relation": batch.relation, "anchor": batch.anchor, "entity": best.indices, "score": best.values}

    def _rank(self, episode: Episode, stage: str, dataloader_idx: int) -> None:
        scores = self(episode, self.context("test" if stage == "test" else "validation")).float()
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
        """Makes the optimiser and, where there is one, the schedule."""
        return optimizer_and_schedule(self.parameters(), self.optimizer, self.lr_scheduler, self.trainer)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Stores the sizes, without which the weights could not be read again."""
        checkpoint["sizes"] = self.sizes

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Creates the parameters for the checkpoint's graph."""
        self._take_sizes(tuple(checkpoint["sizes"]))
        self.configure_model()

    def _take_sizes(self, sizes: tuple[int, int]) -> None:
        """Keeps width of texts and number of relations, and refuses others than it has."""
        if self.sizes is not None and self.sizes != sizes:
            raise ValueError(
                f"checkpoint and data do not belong together: texts of width {self.sizes[0]} and {sizes[0]}, "
                f"{self.sizes[1]} and {sizes[1]} relations"
            )
        self.sizes = sizes
