"""InfoNCE: closed forms, extremes, gradients and the draw of negatives."""

import math

import pytest
import torch

from relbench_pretrain.contrastive.infonce import AnchorLosses, info_nce, negative_logsumexp, sample_negatives


def draw(anchors=5, candidates=7, seed=0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    positive = torch.randn(anchors, generator=generator, dtype=dtype).requires_grad_()
    similarity = torch.randn(anchors, candidates, generator=generator, dtype=dtype).requires_grad_()
    is_negative = torch.rand(anchors, candidates, generator=generator) < 0.6
    is_negative[0] = False
    is_negative[1:, 0] = True
    return positive, similarity, is_negative


def test_agrees_with_loops():
    positive, similarity, is_negative = draw()
    losses = info_nce(positive, similarity, is_negative)
    for i in range(5):
        logits = [positive[i].item()] + [similarity[i, j].item() for j in range(7) if is_negative[i, j]]
        expected = -math.log(math.exp(logits[0]) / sum(math.exp(logit) for logit in logits))
        assert losses.loss[i].item() == pytest.approx(expected, abs=1e-12)
        assert losses.num_negatives[i] == len(logits) - 1
        assert losses.chance[i].item() == pytest.approx(math.log(len(logits)))
    assert losses.sum.item() == pytest.approx(losses.loss.sum().item())
    assert losses.count == 4
    expected = sum(losses.loss[i] / losses.chance[i] for i in range(1, 5))
    assert losses.normalized_sum.item() == pytest.approx(expected.item())


def test_two_orthogonal_embeddings():
    similarity = torch.eye(2, dtype=torch.float64)
    losses = info_nce(similarity.diagonal(), similarity, ~torch.eye(2, dtype=torch.bool))
    assert losses.loss.tolist() == pytest.approx([math.log(1 + math.exp(-1))] * 2)


@pytest.mark.parametrize("negatives", [1, 10, 255])
def test_uniform_similarities_are_at_chance(negatives):
    similarity = torch.full((3, negatives + 1), 7.0)
    is_negative = torch.arange(negatives + 1).expand(3, -1) > 0
    losses = info_nce(similarity[:, 0], similarity, is_negative)
    assert losses.loss.tolist() == pytest.approx([math.log(negatives + 1)] * 3)
    assert (losses.normalized_sum / losses.count).item() == pytest.approx(1.0)


def test_gradients():
    positive, similarity, is_negative = draw()
    assert torch.autograd.gradcheck(lambda p, s: info_nce(p, s, is_negative).loss, (positive, similarity))
    assert torch.autograd.gradcheck(lambda s: negative_logsumexp(s, is_negative, dim=0), (similarity,))
    assert torch.autograd.gradcheck(lambda s: negative_logsumexp(s.mT, is_negative.mT), (similarity,))


def test_an_anchor_without_negatives_costs_nothing():
    positive, similarity, is_negative = draw(dtype=torch.float32)
    losses = info_nce(positive, similarity, is_negative)
    assert losses.loss[0] == 0
    assert losses.num_negatives[0] == 0
    losses.normalized_sum.backward()
    assert positive.grad[0] == 0
    assert similarity.grad[0].eq(0).all()
    assert positive.grad.isfinite().all()
    assert similarity.grad.isfinite().all()
    assert similarity.grad[~is_negative].eq(0).all()


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("temperature", [1e-3, 1e4])
def test_extreme_temperatures(sign, temperature):
    """Dot products of 1e4 over 1e-3: the exponential alone would overflow."""
    similarity = (sign * torch.tensor([[1e4, 9e3, -1e4]]) / temperature).requires_grad_()
    losses = info_nce(similarity[:, 0], similarity, torch.tensor([[False, True, True]]))
    exact = similarity.detach().double()
    expected = torch.logsumexp(exact, 1) - exact[:, 0]
    torch.testing.assert_close(losses.loss.double(), expected, rtol=1e-6, atol=1e-6)
    losses.sum.backward()
    assert similarity.grad.isfinite().all()


def test_float32_under_autocast():
    positive, similarity, is_negative = draw(dtype=torch.float32)
    expected = info_nce(positive, similarity, is_negative)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        torch.testing.assert_close(info_nce(positive, similarity, is_negative), expected)
        half = info_nce(positive.bfloat16(), similarity.bfloat16(), is_negative)
    assert half.loss.dtype == torch.float32
    exact = info_nce(positive.bfloat16().float(), similarity.bfloat16().float(), is_negative)
    torch.testing.assert_close(half, exact)
    half.sum.backward()


def test_no_anchor_has_a_gradient_path():
    weight = torch.ones(2, 3, requires_grad=True)
    losses = AnchorLosses.concatenate([AnchorLosses.of_no_anchor(weight, weight.bfloat16())])
    assert losses.loss.shape == (0,)
    assert losses.loss.dtype == torch.float32
    assert losses.num_negatives.dtype == torch.int64
    assert losses.sum == 0
    assert losses.count == 0
    assert losses.normalized_sum == 0
    (losses.sum + losses.normalized_sum).backward()
    assert weight.grad.eq(0).all()
    assert AnchorLosses.of_no_anchor(torch.ones(2, device="meta")).loss.device.type == "meta"


def test_nothing_to_concatenate():
    with pytest.raises(ValueError, match="of_no_anchor"):
        AnchorLosses.concatenate([])


def test_all_candidates_are_used_when_they_are_few_enough():
    _, similarity, is_negative = draw()
    for limit in (None, 6, 100):
        sampled, mask = sample_negatives(similarity, is_negative, limit)
        assert sampled is similarity
        assert mask is is_negative
    sampled, mask = sample_negatives(similarity, is_negative, 5)
    assert sampled.shape == mask.shape == (5, 5)


def test_sampling_is_without_replacement_and_takes_all_of_a_few():
    similarity = torch.arange(20.0).expand(50, 20)
    is_negative = (torch.arange(20) != torch.arange(50)[:, None] % 20).logical_and(torch.arange(50)[:, None] > 0)
    is_negative[1] = torch.arange(20) < 3
    sampled, mask = sample_negatives(similarity, is_negative, 8)
    assert mask.sum(1).tolist() == [0, 3] + [8] * 48
    for i in range(50):
        drawn = sampled[i][mask[i]].long()
        assert len(drawn.unique()) == len(drawn)
        assert is_negative[i, drawn].all()


def test_sampling_is_uniform_to_the_last_candidate():
    """Each of 29 negatives is drawn with probability 10 / 29; so is each pair with 10 · 9 / (29 · 28)."""
    trials, candidates, limit = 20_000, 30, 10
    is_negative = (torch.arange(candidates) != 4).expand(trials, -1)
    similarity = torch.arange(candidates, dtype=torch.float32).expand(trials, -1)
    sampled, mask = sample_negatives(similarity, is_negative, limit, torch.Generator().manual_seed(1))
    assert mask.all()
    drawn = torch.zeros(trials, candidates).scatter_(1, sampled.long(), 1.0)
    share = drawn.mean(0)
    assert share[4] == 0
    p = limit / (candidates - 1)
    others = is_negative[0]
    z = (share[others] - p) / math.sqrt(p * (1 - p) / trials)
    assert z.abs().max() < 4.5
    assert z.square().sum() * (candidates - 2) / (candidates - 1) < 60  # chi-square, 28 degrees of freedom
    pairs = (drawn[:, others].T @ drawn[:, others] / trials)[*torch.triu_indices(29, 29, 1)]
    q = p * (limit - 1) / (candidates - 2)
    assert ((pairs - q) / math.sqrt(q * (1 - q) / trials)).abs().max() < 5


def test_sampling_repeats_with_its_generator():
    _, similarity, is_negative = draw(candidates=30)
    first, second = (sample_negatives(similarity, is_negative, 4, torch.Generator().manual_seed(3)) for _ in range(2))
    assert torch.equal(first[0], second[0])
    other = sample_negatives(similarity, is_negative, 4, torch.Generator().manual_seed(4))
    assert not torch.equal(first[0], other[0])


def test_gradients_reach_the_sampled_negatives_only():
    similarity = torch.zeros(1, 12, requires_grad=True)
    losses = info_nce(torch.zeros(1), similarity, torch.arange(12)[None] > 0, max_negatives=5)
    assert losses.num_negatives.tolist() == [5]
    assert losses.loss.item() == pytest.approx(math.log(6))
    losses.sum.backward()
    assert sorted(similarity.grad[0].tolist()) == pytest.approx([0] * 7 + [1 / 6] * 5)
