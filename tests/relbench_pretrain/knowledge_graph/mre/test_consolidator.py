"""The structure consolidator against PyG's convolution, and its loss against a loop."""

from __future__ import annotations

import pytest
import torch
from torch_geometric.nn import RGCNConv

from relbench_pretrain.knowledge_graph.mre.consolidator import (
    BasisConv,
    DistMult,
    KnownTriples,
    StructureConsolidator,
    TransE,
    structure_loss,
)


def test_convolution_is_that_of_pyg_without_its_loop():
    mine, theirs = BasisConv(6, 4, 10, 3), RGCNConv(6, 4, 10, num_bases=3)
    with torch.no_grad():
        theirs.weight.copy_(mine.bases.weight.view(4, 3, 6).permute(1, 2, 0))
        theirs.comp.copy_(mine.share)
        theirs.root.copy_(mine.root.weight.T)
        theirs.bias.copy_(mine.root.bias)
    x, edge_type = torch.randn(20, 6), torch.randint(0, 10, (60,))
    edge_index = torch.stack([torch.randint(0, 20, (60,)), torch.randint(0, 8, (60,))])
    torch.testing.assert_close(mine(x, edge_index, edge_type, 8), theirs((x, x[:8]), edge_index, edge_type))


def test_without_neighbours_it_is_a_linear_layer():
    consolidator = StructureConsolidator(4, 3)
    consolidator.build(6, 5, 2)
    x, none = torch.randn(3, 6), torch.zeros(2, 0, dtype=torch.long)
    expected = torch.nn.functional.leaky_relu(consolidator.convolution.root(x), 0.2)
    torch.testing.assert_close(consolidator(x, none, none[0], 3), expected)
    assert consolidator.relations(torch.randn(7, 5)).shape == (7, 4)


def test_relations_are_brought_over_by_layers_of_spectral_norm_one():
    consolidator = StructureConsolidator(4, 3)
    consolidator.build(6, 5, 2)
    for _ in range(200):
        consolidator.relations(torch.randn(2, 5))  # power iterations
    for layer in consolidator.relation:
        matrix = layer(torch.eye(layer.in_features)) - layer.bias
        assert torch.linalg.matrix_norm(matrix, 2).item() == pytest.approx(1, abs=1e-3)
    matrix.sum().backward()  # W / σ(W) does not change with the size of W
    assert (layer.weight.grad * layer.weight).sum().abs() < 1e-4


def test_scores_and_losses_in_closed_form():
    h, r, t = torch.tensor([[1.0, 2.0], [0.0, 1.0], [3.0, 0.0]]).split(1)
    assert TransE()(h, r, t).item() == -(abs(1 + 0 - 3) + abs(2 + 1 - 0))
    assert DistMult()(h, r, t).item() == 0
    positive, negative = torch.tensor([[1.0]]), torch.tensor([[0.0, -3.0]])
    assert TransE(3.0).loss(positive, negative).tolist() == [[2.0, 0.0]]
    expected = (torch.log1p(torch.exp(-positive)) + torch.log1p(torch.exp(negative))) / 2
    torch.testing.assert_close(DistMult().loss(positive, negative), expected)


def test_structure_loss_leaves_out_what_is_known():
    triples = torch.tensor([[0, 0, 1], [0, 0, 2], [0, 0, 0], [1, 1, 2]])
    known = KnownTriples(triples, 4, 2)
    assert known(torch.tensor([0, 1, 3]), torch.tensor([0, 1, 1]), torch.tensor([2, 2, 0])).tolist() == [
        True,
        True,
        False,
    ]
    number = torch.tensor([3, 0, 1, 2])  # rows of the entities at hand are not their numbers
    entity, relation = torch.randn(4, 5), torch.randn(1, 5)
    triple, score = torch.tensor([[1], [2]]), TransE(1.0)
    found = structure_loss(
        score, known, entity, number, triple, relation, torch.tensor([0]), 200, 0.0, torch.Generator().manual_seed(0)
    )
    generator = torch.Generator().manual_seed(0)
    drawn = torch.randint(4, (1, 200), generator=generator)[0].tolist()
    heads = (torch.rand((1, 200), generator=generator) < 0.5)[0].tolist()
    positive, losses = score(entity[1], relation[0], entity[2]), []
    all_known = {tuple(row) for row in triples.tolist()}
    for row, is_head in zip(drawn, heads, strict=True):
        h, t = (row, 2) if is_head else (1, row)
        if (int(number[h]), 0, int(number[t])) not in all_known:
            losses.append(score.loss(positive, score(entity[h], relation[0], entity[t])))
    assert 40 < len(losses) < 160
    torch.testing.assert_close(found, torch.stack(losses).mean())
