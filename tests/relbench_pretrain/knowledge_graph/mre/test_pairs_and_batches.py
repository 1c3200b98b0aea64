"""What is drawn around triples: only what is there, evenly, and nothing of a relation that is hidden."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from relbench_pretrain.knowledge_graph.data.graph import unique_triples
from relbench_pretrain.knowledge_graph.data.neighborhood import Neighborhood
from relbench_pretrain.knowledge_graph.mre.batches import (
    AdversarialBatch,
    ExtractorBatch,
    FusionBatch,
    PhasedBatches,
    ego_subgraph,
    sample_neighbors,
)
from relbench_pretrain.knowledge_graph.mre.generator import PairExtractor
from relbench_pretrain.knowledge_graph.mre.inputs import GraphInputs
from relbench_pretrain.knowledge_graph.mre.modalities import ModalityInput, ModalitySpec
from relbench_pretrain.knowledge_graph.mre.pairs import NeighborTable, RelationPairs, pair_vectors

RNG = np.random.default_rng(0)
TRIPLES = unique_triples(RNG.integers(0, [30, 4, 30], (200, 3)))
GRAPH = Neighborhood.of_triples(TRIPLES, 32, 4)


def graph_readings() -> GraphInputs:
    values = torch.arange(32 * 2).view(32, 2).float()
    return GraphInputs(
        None,
        ModalityInput(values, torch.ones(32, dtype=torch.bool)),
        torch.randn(4, 2),
        {"text": ModalitySpec("vector", 2)},
    )


def test_neighbours_are_drawn_evenly_and_never_twice():
    entity = np.array([3, 31, 5, 3])  # one without edges, one twice
    count = np.zeros(len(GRAPH.neighbor))
    rng = np.random.default_rng(1)
    for _ in range(4000):
        row, edge = sample_neighbors(GRAPH, entity, 4, rng)
        assert (edge >= GRAPH.indptr[entity[row]]).all() and (edge < GRAPH.indptr[entity[row] + 1]).all()
        assert len(set(zip(row.tolist(), edge.tolist(), strict=True))) == len(row)
        assert np.bincount(row, minlength=4).max() <= 4 and not (row == 1).any()
        count[edge[row == 2]] += 1
    own = count[GRAPH.indptr[5] : GRAPH.indptr[6]]
    assert len(own) > 6
    assert np.abs(own / own.mean() - 1).max() < 0.12
    assert own.sum() > 3.5 * 4000
    row, edge = sample_neighbors(GRAPH, np.array([5]), 1000, rng)
    assert edge.tolist() == list(range(GRAPH.indptr[5], GRAPH.indptr[6]))


def test_surroundings_hold_targets_first_and_edges_that_exist():
    target = np.array([2, 7, 9])
    found = ego_subgraph(GRAPH, graph_readings(), target, 4, np.random.default_rng(0))
    assert found.number[:3].tolist() == [2, 7, 9] and len(found.number.unique()) == len(found.number)
    known = {tuple(row) for row in TRIPLES.tolist()}
    assert found.edge_index.size(1) > 6
    for source, place, kind in zip(*found.edge_index.tolist(), found.edge_type.tolist(), strict=True):
        a, b = int(found.number[source]), int(found.number[place])
        assert place < 3
        assert ((a, kind, b) if kind < 4 else (b, kind - 4, a)) in known
    assert found.inputs["text"].values[:, 0].tolist() == [4, 14, 18]


def test_phases_follow_one_another_over_and_over_and_batches_hold_seen_triples():
    batches = PhasedBatches(TRIPLES, GRAPH, graph_readings(), (2, 1, 3), 16, 4, seed=5)
    kinds = [type(batches[epoch, 10 * epoch + 3]) for epoch in range(8)]
    assert kinds == [FusionBatch] * 2 + [ExtractorBatch] + [AdversarialBatch] * 3 + [FusionBatch] * 2
    batch, same, other = batches[0, 3], batches[0, 3], batches[0, 4]
    assert batch.seed == same.seed != other.seed
    triple = torch.stack(
        [batch.around.number[batch.triple[0]], batch.relation[batch.relation_row], batch.around.number[batch.triple[1]]]
    )
    assert {tuple(row) for row in triple.T.tolist()} <= {tuple(row) for row in TRIPLES.tolist()}
    assert batch.triple.max() < batch.around.num_targets


def test_pairs_are_those_of_their_relation_and_all_come():
    pairs = RelationPairs(TRIPLES, 4)
    relation = torch.tensor([2, 0])
    found = pairs.draw(relation, 2000, torch.Generator().manual_seed(0))
    for row, r in zip(found, relation.tolist(), strict=True):
        assert {tuple(p) for p in row.tolist()} == {(h, t) for h, q, t in TRIPLES.tolist() if q == r}
    assert sorted(pairs.draw_relations(9, torch.Generator().manual_seed(0)).tolist()) == [0, 1, 2, 3]
    with pytest.raises(ValueError, match="2 triples"):
        RelationPairs(TRIPLES[:1], 4)


def test_neighbours_under_the_relation_of_a_pair_do_not_reach_its_vector():
    vectors, extractor = torch.randn(32, 6), PairExtractor(6).eval()
    without = Neighborhood.of_triples(TRIPLES[TRIPLES[:, 1] != 1], 32, 4)
    whole, less = NeighborTable(GRAPH, 100), NeighborTable(without, 100)
    pair = torch.from_numpy(TRIPLES[TRIPLES[:, 1] == 1][:5, [0, 2]])[None]
    relation = torch.tensor([1])
    hidden = pair_vectors(extractor, vectors, whole, pair, relation)
    torch.testing.assert_close(hidden, pair_vectors(extractor, vectors, less, pair, relation, hide=False))
    assert not torch.allclose(hidden, pair_vectors(extractor, vectors, whole, pair, relation, hide=False))


def test_means_of_neighbours_against_a_loop():
    vectors = torch.randn(32, 3)
    found = NeighborTable(GRAPH, 100).mean(vectors, torch.arange(32))
    for entity in range(32):
        near = [t for h, _, t in TRIPLES.tolist() if h == entity] + [h for h, _, t in TRIPLES.tolist() if t == entity]
        expected = vectors[near].mean(0) if near else torch.zeros(3)
        torch.testing.assert_close(found[entity], expected)
