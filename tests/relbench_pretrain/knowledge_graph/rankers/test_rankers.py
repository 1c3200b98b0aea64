"""Rankers of pair features: scores, losses, what is kept of them."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import torch

from relbench_pretrain import from_pretrained
from relbench_pretrain.knowledge_graph.data.graph import KnowledgeGraphError
from relbench_pretrain.knowledge_graph.episodes import Episode, no_paths
from relbench_pretrain.knowledge_graph.features.pair_features import NUM_FEATURES
from relbench_pretrain.knowledge_graph.rankers.boosted import BoostedRanker
from relbench_pretrain.knowledge_graph.rankers.pair_ranker import MeanRanker, PairRanker
from relbench_pretrain.pretrained import save_network


def episode(seed=0, features=True):
    """Forty queries with eleven candidates; the right one has a higher first feature, and one column is empty."""
    generator = torch.Generator().manual_seed(seed)
    value = torch.randn(40, 11, NUM_FEATURES, generator=generator)
    value[:, 0, 0] += 3
    candidate = torch.arange(11).repeat(40, 1)
    candidate[:, 4] = -1
    zero = torch.zeros(40, dtype=torch.long)
    return Episode(0, zero, candidate, zero, torch.zeros(2, 0), no_paths(), value if features else None)


def boosted(**options):
    return BoostedRanker(**{"num_trees": 20, "num_threads": 1, **options})


@pytest.mark.parametrize("make", [PairRanker, boosted, lambda: MeanRanker([PairRanker(2), boosted()])])
def test_scores_are_finite_but_for_no_candidate_and_come_again_from_state_and_folder(make, tmp_path):
    ranker = make()
    ranker.prepare([episode(1), episode(2)])
    ranker.eval()
    scores = ranker(episode(), None, None)
    assert scores.shape == (40, 11)
    assert torch.equal(scores == -torch.inf, episode().candidate < 0)
    shared = from_pretrained(save_network(tmp_path / "shared", ranker))
    assert torch.equal(shared(episode(), None, None), scores)
    again = make().eval()
    again.load_state_dict(ranker.state_dict())
    assert torch.allclose(again(episode(), None, None), scores)


def test_trees_find_the_right_candidate_and_say_when_they_are_not_trained(monkeypatch):
    ranker = boosted()
    with pytest.raises(ValueError, match="not trained"):
        ranker(episode(), None, None)
    monkeypatch.setitem(sys.modules, "lightgbm", None)
    with pytest.raises(KnowledgeGraphError, match=r"relbench-pretrain\[baselines\]"):
        ranker.prepare([episode(1)])
    monkeypatch.undo()
    ranker.prepare([episode(1), episode(2)])
    assert (ranker(episode(), None, None).argmax(1) == 0).float().mean() > 0.7


def test_members_differ_and_their_scores_are_averaged():
    with pytest.raises(ValueError, match="num_members"):
        boosted(num_members=0)
    ranker, single = boosted(num_members=2, seed=3), boosted(num_members=1, seed=6)
    for trees in (ranker, single):
        trees.prepare([episode(1), episode(2)])
    first, second = (member.model_to_string() for member in ranker.members)
    assert first != second and first == single.members[0].model_to_string()
    scores = [single(episode(), None, None)]
    single.set_extra_state({"trees": [second]})
    scores.append(single(episode(), None, None))
    assert torch.allclose(ranker(episode(), None, None), torch.stack(scores).mean(0), atol=1e-6)


@pytest.mark.parametrize("saved", [None, "tree", "narrow"])
def test_trees_of_another_version_are_refused(saved):
    if saved == "narrow":
        lightgbm = pytest.importorskip("lightgbm")
        table = lightgbm.Dataset(
            torch.randn(100, 3, generator=torch.Generator().manual_seed(0)).numpy(), np.arange(100) % 2
        )
        saved = [lightgbm.train({"verbose": -1, "num_threads": 1}, table, 1).model_to_string()]
    with pytest.raises(ValueError, match="fit them again"):
        boosted().set_extra_state({"trees": saved})


def test_every_parameter_has_a_gradient_and_constant_features_do_no_harm():
    ranker = MeanRanker([PairRanker(2, 16), boosted()])
    constant = episode(1)
    constant.features[..., 5] = 2.0
    ranker.prepare([constant])
    loss = ranker.loss(constant, None, None)
    loss.backward()
    assert loss.isfinite()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in ranker.parameters())


def test_half_precision_scores_about_the_same():
    ranker = PairRanker().eval()
    ranker.prepare([episode(1)])
    full = ranker(episode(), None, None)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        half = ranker(episode(), None, None).float()
    known = full.isfinite()
    assert torch.allclose(half[known], full[known], atol=0.1)


def test_missing_features_and_an_empty_mean_are_said_with_the_remedy():
    with pytest.raises(ValueError, match="data.nearest_relations"):
        PairRanker()(episode(features=False), None, None)
    with pytest.raises(ValueError, match="rankers"):
        MeanRanker([])
