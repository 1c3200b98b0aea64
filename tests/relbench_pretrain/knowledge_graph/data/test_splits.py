"""Zero-shot splits of a graph."""

from __future__ import annotations

import numpy as np
import pytest

from relbench_pretrain.knowledge_graph.data.graph import KnowledgeGraph, KnowledgeGraphError, Role
from relbench_pretrain.knowledge_graph.data.splits import hold_out_validation, zero_shot_split


@pytest.fixture
def large():
    rng = np.random.default_rng(0)
    relation = rng.choice(12, 400, p=np.arange(1, 13) / 78)
    triples = np.stack([rng.integers(0, 90, 400), relation, rng.integers(0, 90, 400)], axis=1)
    names = [str(i) for i in range(90)]
    return KnowledgeGraph(
        names, [f"r{i}" for i in range(12)], triples, np.zeros(12, int), names, [""] * 90, [""] * 12,
        {i: np.arange(90) for i in range(12)},
    )  # fmt: skip


@pytest.mark.parametrize("by", ["random", "frequency"])
def test_a_split_has_the_numbers_asked_for_and_entities_that_are_seen(large, by):
    split = zero_shot_split(large, 3, 2, by, seed=4)
    assert [len(split.relations_of(role)) for role in Role] == [7, 2, 3]
    seen = split.triples_of(Role.SEEN)
    assert set(seen[:, [0, 2]].ravel()) == set(range(split.num_entities))
    original = {(h, r, t) for h, r, t in large.triples.tolist()}
    assert {(int(split.names[h]), r, int(split.names[t])) for h, r, t in split.triples.tolist()} <= original
    kept = set(map(int, split.names))
    assert len(split.triples) == sum(h in kept and t in kept for h, _, t in large.triples.tolist())
    assert all(len(listed) == split.num_entities for listed in split.candidates.values())
    if by == "frequency":
        count = np.bincount(np.unique(large.triples, axis=0)[:, 1])
        assert count[split.relations_of(Role.UNSEEN)].max() <= count[split.relations_of(Role.SEEN)].min()
    else:
        assert not np.array_equal(split.role, zero_shot_split(large, 3, 2, by, seed=5).role)


def test_validation_relations_come_from_the_seen_ones_and_entities_stay(large):
    split = zero_shot_split(large, 3, seed=0)
    held = hold_out_validation(split, 2, seed=1, min_triples=5)
    assert np.array_equal(held.relations_of(Role.UNSEEN), split.relations_of(Role.UNSEEN))
    assert len(held.relations_of(Role.VALIDATION)) == 2
    assert held.num_entities == split.num_entities


def test_too_many_relations_are_refused(large):
    with pytest.raises(KnowledgeGraphError, match="12 relations"):
        zero_shot_split(large, 10, 2)
    with pytest.raises(KnowledgeGraphError, match="held out"):
        hold_out_validation(large, 12)
