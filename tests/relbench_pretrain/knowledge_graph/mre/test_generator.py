"""Losses of extractor, critic and generator in closed form."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from relbench_pretrain.knowledge_graph.mre.generator import (
    Critic,
    PairExtractor,
    RelationGenerator,
    critic_loss,
    generator_loss,
    gradient_penalty,
    pair_loss,
)


class Straight(nn.Module):
    """A critic whose score is a scalar product."""

    def __init__(self, direction):
        super().__init__()
        self.direction = direction

    def forward(self, x):
        return x @ self.direction, x[:, :2]


def test_gradient_penalty_of_a_straight_critic():
    critic = Straight(torch.tensor([3.0, 4.0, 0.0]))
    assert gradient_penalty(critic, torch.randn(6, 3), torch.randn(6, 3)).item() == pytest.approx((5 - 1) ** 2)


def test_critic_loss_is_the_sum_of_its_terms_and_trains_the_critic_alone():
    critic = Critic(5, 8)
    critic.build(4)
    real, fake, relation = torch.randn(6, 5), torch.randn(6, 5), torch.tensor([0, 1, 2, 3, 0, 1])
    found = critic_loss(critic, real, fake, relation, 10.0, torch.Generator().manual_seed(3))
    (a, x), (b, y) = critic(real), critic(fake)
    penalty = gradient_penalty(critic, real, fake, torch.Generator().manual_seed(3))
    classified = F.cross_entropy(x, relation) / 2 + F.cross_entropy(y, relation) / 2
    torch.testing.assert_close(found, b.mean() - a.mean() + classified + 10 * penalty)
    found.backward()
    assert all(p.grad is not None for name, p in critic.named_parameters() if "bias" not in name)


def test_generator_loss_is_the_sum_of_its_terms():
    critic, fake, pivot = Straight(torch.tensor([1.0, 0.0, 0.0])), torch.randn(2, 4, 3), torch.randn(2, 3)
    relation = torch.tensor([1, 0])
    found = generator_loss(critic, fake, relation, pivot, 3.0)
    expected = -fake[..., 0].mean() + 3 * torch.stack([(fake[i].mean(0) - pivot[i]).norm() for i in (0, 1)]).mean()
    expected = (
        expected + torch.stack([F.cross_entropy(fake[i, j, :2], relation[i]) for i in (0, 1) for j in range(4)]).mean()
    )
    torch.testing.assert_close(found, expected)


def test_vectors_of_a_relation_differ_by_their_noise_and_belong_to_its_text():
    generator = RelationGenerator(6, 10, 3)
    generator.build(4)
    random = torch.Generator().manual_seed(0)
    found = generator(torch.randn(2, 4), 5, random)
    assert found.shape == (2, 5, 6)
    assert found.std(1).min() > 0
    torch.testing.assert_close(found.mean(2), torch.zeros(2, 5), atol=1e-5, rtol=0)  # LayerNorm comes last


def test_extractor_of_shares_is_one_of_pairs():
    extractor = PairExtractor(6).eval()
    head, near, tail, far = torch.randn(4, 3, 6)
    whole = extractor(extractor.share(0, head, near), extractor.share(1, tail, far))
    parts = [
        extractor.neighbors[0](near),
        extractor.entity[0](head),
        extractor.neighbors[1](far),
        extractor.entity[1](tail),
    ]
    weight = torch.cat([extractor.join[0].weight, extractor.join[1].weight], dim=1)
    both = F.leaky_relu(torch.cat(parts, dim=1), 0.2) @ weight.T + extractor.join[0].bias
    torch.testing.assert_close(whole, extractor.norm(both + extractor.residual(both)))
    every = extractor(extractor.share(0, head, near)[:, None], extractor.share(1, tail, far)[None])
    torch.testing.assert_close(every[1, 1], whole[1])


def test_pair_loss_in_closed_form():
    support = torch.tensor([[[1.0, 0.0], [3.0, 0.0]]])
    positive, negative = torch.tensor([[[4.0, 9.0], [1.0, 0.0]]]), torch.tensor([[[1.0, 0.0], [2.0, 0.0]]])
    every = torch.tensor([[True, True]])
    # middle (2, 0): margins are 5 + 2 - 8 and 5 + 4 - 2
    assert pair_loss(support, positive, negative, every).item() == pytest.approx((0 + 7) / 2)
    assert pair_loss(support, positive, negative, torch.tensor([[True, False]])).item() == 0
