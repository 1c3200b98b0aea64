"""Perceptrons that rank candidates by the features of pairs, and the mean of several rankers."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from relbench_pretrain.knowledge_graph.episodes import Episode
from relbench_pretrain.knowledge_graph.features.pair_features import NUM_FEATURES
from relbench_pretrain.knowledge_graph.rankers.pair_scorer import EntityContext, PairScorer, features_of


class PairRanker(PairScorer):
    """Perceptrons on the features of a head and a candidate (:class:`PairFeatures`), whose scores are averaged.

    They have no parameters of single entities, relations or words: there are too few relations to learn from.

    Args:
        num_members: How many perceptrons, which differ in their initial weights and in dropout.
        hidden_channels: Width of their first layer; half of it that of their second.
        dropout: Dropout rate of both.
        input_dropout: Share of the features that are hidden.
    """

    mean: Tensor
    deviation: Tensor
    scale: Tensor

    def __init__(
        self, num_members: int = 4, hidden_channels: int = 128, dropout: float = 0.2, input_dropout: float = 0.1
    ) -> None:
        super().__init__()
        self.num_members, self.hidden_channels = num_members, hidden_channels
        self.dropout, self.input_dropout = dropout, input_dropout
        self.members = nn.ModuleList(
            nn.Sequential(
                nn.Dropout(input_dropout),
                nn.Linear(NUM_FEATURES, hidden_channels),
                nn.GELU(),
                nn.Dropout(dropout),
                nn.Linear(hidden_channels, hidden_channels // 2),
                nn.GELU(),
                nn.Dropout(dropout),
                nn.Linear(hidden_channels // 2, 1),
            )
            for _ in range(num_members)
        )
        self.register_buffer("scale", torch.ones(NUM_FEATURES))
        self.register_buffer("mean", torch.zeros(NUM_FEATURES))
        self.register_buffer("deviation", torch.ones(NUM_FEATURES))

    def prepare(self, episodes: Sequence[Episode]) -> None:
        """Takes from all pairs the scale, mean and deviation of each feature."""
        pairs = torch.cat([features_of(episode)[episode.candidate >= 0] for episode in episodes])
        self.scale.copy_(pairs.square().mean(0).sqrt() + 1e-4)
        # Most features are 0 for almost all pairs, and large for the few that count.
        pairs = (pairs / self.scale.to(pairs.device)).asinh()
        self.mean.copy_(pairs.mean(0))
        self.deviation.copy_(pairs.std(0) + 1e-2)

    def forward(self, episode: Episode, query: Tensor, context: EntityContext) -> Tensor:
        """Scores candidates; see :meth:`PairScorer.forward`."""
        return self._scores(episode).mean(0)

    def loss(self, episode: Episode, query: Tensor, context: EntityContext) -> Tensor:
        """Returns the cross-entropy of each perceptron by itself, in the mean."""
        scores = self._scores(episode).float()  # (num_members, num_queries, num_candidates)
        return F.cross_entropy(scores.flatten(0, 1), episode.answer.repeat(len(scores)))

    def _scores(self, episode: Episode) -> Tensor:
        value = ((features_of(episode) / self.scale).asinh() - self.mean) / self.deviation
        scores = torch.stack([member(value).squeeze(-1) for member in self.members])
        return scores.masked_fill(episode.candidate < 0, -torch.inf)


class MeanRanker(PairScorer):
    """Averages the scores of rankers, each standardised to mean 0 and deviation 1 over the candidates of a query.

    Args:
        rankers: The rankers; all are trained.
    """

    def __init__(self, rankers: list[PairScorer]) -> None:
        super().__init__()
        if not rankers:
            raise ValueError("there is nothing to average: give rankers one member or more")
        self.rankers = nn.ModuleList(rankers)

    def prepare(self, episodes: Sequence[Episode]) -> None:
        """Prepares every ranker."""
        for ranker in self.rankers:
            ranker.prepare(episodes)  # type: ignore[operator]

    def forward(self, episode: Episode, query: Tensor, context: EntityContext) -> Tensor:
        """Scores candidates; see :meth:`PairScorer.forward`."""
        none = episode.candidate < 0
        number = (~none).sum(1, keepdim=True)
        total = torch.zeros(none.shape, device=none.device)
        for ranker in self.rankers:
            score = ranker(episode, query, context).float().masked_fill(none, 0)
            centered = (score - score.sum(1, keepdim=True) / number).masked_fill(none, 0)
            total = total + centered / ((centered.square().sum(1, keepdim=True) / number).sqrt() + 1e-6)
        return (total / len(self.rankers)).masked_fill(none, -torch.inf)

    def loss(self, episode: Episode, query: Tensor, context: EntityContext) -> Tensor:
        """Returns the sum of the losses of those that have parameters."""
        trained = [ranker for ranker in self.rankers if any(p.requires_grad for p in ranker.parameters())]
        losses = [ranker.loss(episode, query, context) for ranker in trained]  # type: ignore[operator]
        return torch.stack(losses).sum() if losses else super().loss(episode, query, context)
