"""What the pair encoder reads, and what it must not."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from relbench_pretrain.knowledge_graph.neighborhood import Neighborhood, find_paths
from relbench_pretrain.knowledge_graph.pair_encoder import PairEncoder, RelationAffinity
from relbench_pretrain.knowledge_graph.pair_scorer import EntityContext

ENTITIES, RELATIONS, WIDTH = 20, 5, 8


def random_triples(seed=0):
    rng = np.random.default_rng(seed)
    return np.unique(np.stack([rng.integers(0, n, 120) for n in (ENTITIES, RELATIONS, ENTITIES)], axis=1), axis=0)


def texts(number, seed):
    generator = torch.Generator().manual_seed(seed)
    return torch.nn.functional.normalize(torch.randn(number, WIDTH, generator=generator))


def score(encoder, triples, hidden, reverse=False, relation=3):
    neighborhood = Neighborhood.of_triples(triples, ENTITIES, RELATIONS)
    context = EntityContext.of(neighborhood, texts(ENTITIES, 1), texts(RELATIONS, 2))
    head, candidate = torch.tensor([0, 5, 7]), torch.arange(12).expand(3, -1).clone()
    candidate[1, 3] = -1
    paths = find_paths(neighborhood, head, candidate, hidden)
    return encoder(context, texts(RELATIONS, 2)[relation], head, candidate, paths, hidden, reverse)


@pytest.fixture
def encoder():
    encoder = PairEncoder(channels=6, text_channels=4, hidden_channels=16)
    encoder.build(WIDTH, RELATIONS)
    return encoder.eval()


def test_a_hidden_relation_is_as_if_it_had_no_triples(encoder):
    triples = random_triples()
    without = triples[triples[:, 1] != 3]
    assert torch.allclose(score(encoder, triples, hidden=3), score(encoder, without, hidden=3), atol=1e-5)
    assert torch.allclose(score(encoder, triples, hidden=3), score(encoder, without, hidden=-1), atol=1e-5)
    assert not torch.allclose(score(encoder, triples, hidden=-1), score(encoder, without, hidden=-1), atol=1e-3)


@pytest.mark.parametrize("kept", [1, 2, 3])
def test_it_stays_hidden_where_few_relations_are_left(encoder, kept):
    torch.nn.init.ones_(encoder.edge.relation.weight)
    triples = random_triples()
    triples = triples[triples[:, 1] >= RELATIONS - 1 - kept]
    without = triples[triples[:, 1] != 3]
    assert torch.allclose(score(encoder, triples, hidden=3), score(encoder, without, hidden=3), atol=1e-6)


def test_half_precision_scores_about_the_same(encoder):
    full = score(encoder, random_triples(), hidden=3)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        half = score(encoder, random_triples(), hidden=3)
    known = full.isfinite()
    assert torch.allclose(half[known].float(), full[known], atol=0.1)


def test_asking_for_heads_is_asking_for_tails_in_the_mirrored_graph(encoder):
    triples = random_triples()
    mirrored = triples[:, [2, 1, 0]]
    assert torch.allclose(
        score(encoder, triples, hidden=3, reverse=True), score(encoder, mirrored, hidden=3), atol=1e-5
    )
    assert not torch.allclose(
        score(encoder, triples, hidden=3, reverse=True), score(encoder, triples, hidden=3), atol=1e-3
    )


def test_no_candidate_has_no_score_and_every_parameter_a_gradient(encoder):
    scores = score(encoder, random_triples(), hidden=3)
    assert scores.shape == (3, 12)
    assert scores[1, 3] == -torch.inf
    scores[scores.isfinite()].sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in encoder.parameters())


def test_relations_without_triples_mean_nothing():
    affinity = RelationAffinity(WIDTH, RELATIONS, 6).eval()
    usable = torch.tensor([True, False, True, True, False])
    found = affinity(texts(1, 0)[0], texts(RELATIONS, 2), usable)
    assert found.shape == (2 * RELATIONS, 6)
    assert (found.abs().sum(1) > 0).tolist() == [*usable.tolist(), *usable.tolist()]
    other = texts(RELATIONS, 2).clone()
    other[1] = texts(1, 9)[0]  # the text of a relation that may not be used
    assert torch.allclose(affinity(texts(1, 0)[0], other, usable), found, atol=1e-6)


def test_another_graph_is_refused(encoder):
    encoder.build(WIDTH, RELATIONS)
    with pytest.raises(ValueError, match="5 relations"):
        encoder.build(WIDTH, RELATIONS + 1)
