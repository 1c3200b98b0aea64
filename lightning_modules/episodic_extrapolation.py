"""Zero-shot relations learned from episodes in which a seen relation is treated as unseen."""

from __future__ import annotations

import torch
from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn

from lightning_modules.sharding import keep_copies
from lightning_modules.sharing import Sharing
from lightning_modules.training import optimizer_and_schedule
from lightning_modules.zero_shot_ranking import ZeroShotRanking
from relbench_pretrain.knowledge_graph.data.queries import Direction
from relbench_pretrain.knowledge_graph.episodes import Episode
from relbench_pretrain.knowledge_graph.rankers.pair_scorer import EntityContext, PairScorer
from relbench_pretrain.knowledge_graph.specification import EpisodicSpecification
from relbench_pretrain.trainer.specification import specification


class EpisodicExtrapolation(Sharing, ZeroShotRanking):
    """Ranks the tails, or heads, of relations that are known by their text alone.

    In every training episode a seen relation stands for an unseen one: its triples are hidden, and the ranker has to
    find them again from the others and the texts (cross-entropy of the true candidate). Rankers that are trained on all
    episodes at once, as boosted trees are, are trained before the first step.

    Args:
        encoder: Scores pairs under a relation.
        optimizer: The optimiser.
        lr_scheduler: A schedule stepped after every batch, or None.
    """

    shared_prefix = "encoder."
    relation_texts: Tensor

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

    def data(self) -> EpisodicSpecification:
        """Returns the description of the data at hand."""
        return specification(self.trainer, EpisodicSpecification, self)

    def setup(self, stage: str) -> None:
        """Takes the parts of the graph that may be known in this stage."""
        keep_copies(self)
        data = self.data()
        for name, tensor in data.context(stage)._asdict().items():
            self.register_buffer(f"context_{name}", tensor, persistent=False)
        self.register_buffer("relation_texts", data.relation_text, persistent=False)
        # All devices read the same graph; data parallel training need not send it around in every step.
        self._ddp_params_and_buffers_to_ignore = ["relation_texts", *(f"context_{n}" for n in EntityContext._fields)]
        self.make_metrics(data)

    def shared_network(self) -> PairScorer:
        """Returns the ranker of pairs."""
        return self.encoder

    def on_fit_start(self) -> None:
        """Prepares the ranker on all training episodes."""
        self.encoder.prepare(self.data().training_episodes())

    def forward(self, episode: Episode) -> Tensor:
        """Scores the candidates of an episode ``(num_queries, num_candidates)``."""
        return self.encoder(*self._given(episode))

    def scores(self, episode: Episode, direction: Direction) -> Tensor:
        """Scores candidates; where heads are ranked, the episodes' graph is mirrored already."""
        return self(episode)

    def _given(self, episode: Episode) -> tuple[Episode, Tensor, EntityContext]:
        context = EntityContext(*(getattr(self, f"context_{name}") for name in EntityContext._fields))
        return episode, self.relation_texts[episode.relation], context

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

    def num_rows(self, batch: list[Episode]) -> int:
        """The number of queries of a batch."""
        return sum(len(episode) for episode in batch)

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """Makes the optimiser and, where there is one, the schedule; none where there are no parameters."""
        if not self._trained:
            return None
        return optimizer_and_schedule(self._trained, self.optimizer, self.lr_scheduler, self.trainer)
