"""Relation embeddings from text: an extractor of vectors of entity pairs, and a generator that imitates them."""

from __future__ import annotations

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from relbench_pretrain.knowledge_graph.mre.consolidator import SpectralLinear

SLOPE = 0.2


class PairExtractor(nn.Module):
    """E(h, t): computes the vector of a pair of entities (Cai et al. 2024, Section III-C).

    Both entities and the means of their neighbours are projected to half the width, concatenated, and passed through a
    residual layer. All up to the residual layer is a sum of a head's and a tail's share, which are computed once for
    each entity.

    Args:
        channels: Width of the vectors of entities and of the result.
        dropout: Dropout rate.
    """

    def __init__(self, channels: int = 200, dropout: float = 0.0) -> None:
        super().__init__()
        self.channels, self.dropout = channels, dropout
        half = channels // 2
        self.entity = nn.ModuleList(nn.Linear(channels, half) for _ in range(2))
        self.neighbors = nn.ModuleList(nn.Linear(channels, half) for _ in range(2))
        self.join = nn.ModuleList(nn.Linear(2 * half, channels, bias=i == 0) for i in range(2))
        self.residual = nn.Sequential(
            nn.Linear(channels, 2 * channels),
            nn.LeakyReLU(SLOPE),
            nn.Dropout(dropout),
            nn.Linear(2 * channels, channels),
        )
        self.norm = nn.LayerNorm(channels)

    def share(self, side: int, entity: Tensor, neighbors: Tensor) -> Tensor:
        """Returns the summand of each head (side 0) or tail (1) in E.

        Args:
            side: 0 for heads, 1 for tails.
            entity: Vectors of entities ``(num_entities, channels)``.
            neighbors: Means of their neighbours ``(num_entities, channels)``.

        Returns:
            ``(num_entities, channels)``.
        """
        parts = [self.neighbors[side](neighbors), self.entity[side](entity)]
        return self.join[side](F.leaky_relu(torch.cat(parts, dim=-1), SLOPE))

    def forward(self, head: Tensor, tail: Tensor) -> Tensor:
        """Returns E from the summands of heads and tails, which may be broadcast ``(..., channels)``."""
        both = head + tail
        return self.norm(both + self.residual(both))


class RelationGenerator(nn.Module):
    """G(z, text): generates vectors of a relation, each from other noise (Cai et al. 2024, Section III-C).

    Args:
        channels: Width of the result.
        hidden_channels: Width of the first layer.
        noise: Width of the noise.
    """

    def __init__(self, channels: int = 200, hidden_channels: int = 384, noise: int = 15) -> None:
        super().__init__()
        self.channels, self.hidden_channels, self.noise = channels, hidden_channels, noise
        self.layers: nn.Sequential | None = None

    def build(self, text_width: int) -> None:
        """Creates the parameters; a second call changes nothing."""
        if self.layers is None:
            widths = [self.noise + text_width, self.hidden_channels, self.channels, self.channels]
            linear = [SpectralLinear(a, b) for a, b in pairwise(widths)]
            self.layers = nn.Sequential(
                linear[0], nn.LeakyReLU(SLOPE), linear[1], nn.LeakyReLU(SLOPE), linear[2], nn.LayerNorm(self.channels)
            )

    def forward(self, text: Tensor, number: int, generator: torch.Generator | None = None) -> Tensor:
        """Generates vectors of relations.

        Args:
            text: Vectors of the relations' texts ``(num_relations, text_width)``.
            number: How many for each relation.
            generator: Draws the noise.

        Returns:
            ``(num_relations, number, channels)``.
        """
        assert self.layers is not None
        z = torch.randn(len(text), number, self.noise, device=text.device, generator=generator)
        text = F.normalize(text, dim=1) * text.size(1) ** 0.5  # entries of about 1, as those of the noise
        return self.layers(torch.cat([z.to(text.dtype), text.unsqueeze(1).expand(-1, number, -1)], dim=2))


class Critic(nn.Module):
    """Distinguishes vectors of pairs from generated ones, and classifies the relation of both.

    Args:
        channels: Width of the vectors.
        hidden_channels: Width of its hidden layer.
    """

    def __init__(self, channels: int = 200, hidden_channels: int = 200) -> None:
        super().__init__()
        self.channels, self.hidden_channels = channels, hidden_channels
        self.classes: nn.Linear | None = None

    def build(self, num_relations: int) -> None:
        """Creates the parameters; a second call changes nothing."""
        if self.classes is None:
            self.body = nn.Sequential(nn.Linear(self.channels, self.hidden_channels), nn.LeakyReLU(SLOPE))
            self.score = nn.Linear(self.hidden_channels, 1)
            self.classes = nn.Linear(self.hidden_channels, num_relations)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Returns scores ``(n,)`` and logits of the relations ``(n, num_relations)``."""
        assert self.classes is not None
        hidden = self.body(x)
        return self.score(hidden).squeeze(-1), self.classes(hidden)


def critic_loss(
    critic: Critic,
    real: Tensor,
    fake: Tensor,
    relation: Tensor,
    penalty: float = 10.0,
    generator: torch.Generator | None = None,
) -> Tensor:
    """L_D: Wasserstein distance, classification of both, and the gradient penalty (Gulrajani et al. 2017).

    Args:
        critic: The critic.
        real: Pairs ``(n, channels)``.
        fake: Generated vectors of the same relations ``(n, channels)``.
        relation: The relations ``(n,)``.
        penalty: Weight of the gradient penalty.
        generator: Draws the points between real and fake.
    """
    scores, logits = critic(torch.cat([real, fake]))
    of_real, of_fake = scores.chunk(2)
    classified = F.cross_entropy(logits, relation.repeat(2))  # the mean of both halves: ½ L_cls of each
    return of_fake.mean() - of_real.mean() + classified + penalty * gradient_penalty(critic, real, fake, generator)


def gradient_penalty(critic: Critic, real: Tensor, fake: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """Returns E[(‖∇D(x̂)‖₂ − 1)²] at points drawn between real and fake."""
    share = torch.rand(len(real), 1, device=real.device, generator=generator)
    with torch.enable_grad():
        point = (share * real + (1 - share) * fake).detach().requires_grad_()
        (slope,) = torch.autograd.grad(critic(point)[0].sum(), point, create_graph=True)
    return (slope.norm(dim=1) - 1).square().mean()


def generator_loss(critic: Critic, fake: Tensor, relation: Tensor, pivot: Tensor, pivot_weight: float = 3.0) -> Tensor:
    """L_G: the critic's score, classification, and the distance of the mean of a relation's vectors from its pairs'.

    Args:
        critic: The critic.
        fake: Generated vectors ``(num_relations, number, channels)``.
        relation: The relations ``(num_relations,)``.
        pivot: Mean of E over the pairs of each ``(num_relations, channels)``.
        pivot_weight: Weight of the distance to it.
    """
    scores, logits = critic(fake.flatten(0, 1))
    classified = F.cross_entropy(logits, relation.repeat_interleave(fake.size(1)))
    distance = (fake.mean(1) - pivot).norm(dim=1).mean()
    return -scores.mean() + classified + pivot_weight * distance


def pair_loss(support: Tensor, positive: Tensor, negative: Tensor, counts: Tensor, margin: float = 5.0) -> Tensor:
    """Margin loss between queries of a relation and negatives, by their similarity to other pairs of the relation.

    Args:
        support: E of some pairs of each relation ``(num_relations, num_support, channels)``.
        positive: E of other pairs of it ``(num_relations, num_queries, channels)``.
        negative: E of the same heads with other tails ``(num_relations, num_queries, channels)``.
        counts: Which of the negatives are no known triples ``(num_relations, num_queries)``.
        margin: The margin.
    """
    middle = support.mean(1, keepdim=True)
    loss = F.relu(margin + ((negative - positive) * middle).sum(-1))
    return (loss * counts).sum() / counts.sum().clamp(min=1)
