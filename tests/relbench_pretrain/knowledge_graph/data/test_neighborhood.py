"""Edges and paths against a search through all triples."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from relbench_pretrain.knowledge_graph.data.neighborhood import Neighborhood, find_paths

ENTITIES, RELATIONS = 15, 4


@pytest.fixture
def triples():
    rng = np.random.default_rng(0)
    found = np.stack([rng.integers(0, n, 90) for n in (ENTITIES, RELATIONS, ENTITIES)], axis=1)
    return np.unique(found, axis=0)  # loops and several relations between two entities among them


@pytest.mark.parametrize("hidden", [-1, 2])
def test_paths_are_those_that_walking_every_edge_finds(triples, hidden):
    neighborhood = Neighborhood.of_triples(triples, ENTITIES, RELATIONS)
    walks = [(h, r, t) for h, r, t in triples.tolist() if r != hidden]
    walks += [(t, r + RELATIONS, h) for h, r, t in walks]
    head = torch.tensor([3, 3, 7])
    candidate = torch.tensor([[1, 3, -1, 5], [2, 0, 14, 9], [7, 8, 1, 1]])
    found = find_paths(neighborhood, head, candidate, hidden)
    edges, paths = [], []
    for i, h in enumerate(head.tolist()):
        for c, t in enumerate(candidate[i].tolist()):
            edges += [(i, c, r) for a, r, b in walks if a == h and b == t]
            paths += [
                (i, c, r, s, x) for a, r, x in walks if a == h and x != h for y, s, b in walks if y == x and b == t
            ]
    assert sorted(map(tuple, found.edge.tolist())) == sorted(edges)
    assert sorted(map(tuple, found.path.tolist())) == sorted(paths)
    assert len(paths) > 20


def test_counts_are_of_arriving_and_leaving_edges(triples):
    counts = Neighborhood.of_triples(triples, ENTITIES, RELATIONS).counts().toarray()
    for entity in range(ENTITIES):
        for r in range(RELATIONS):
            tails = sum(t == entity and s == r for _, s, t in triples.tolist())
            heads = sum(h == entity and s == r for h, s, _ in triples.tolist())
            assert counts[entity, r] == tails
            assert counts[entity, RELATIONS + r] == heads
