"""Scores of pairs, against loops over pairs."""

import torch

from relbench_pretrain.nn.heads import PastInteractions, TwoTower


def test_past_interactions_count_links_and_know_the_last():
    day = 86_400.0
    row, source = torch.tensor([7, 3, 7]), torch.tensor([0, 0, 1])
    links, age = torch.tensor([0, 0, 1, 2]), torch.tensor([5 * day, 2 * day, -1.0, 0.0])
    past = PastInteractions.of_subgraphs(row, source, links, age)
    count, days, one = past.features.T.double().expm1().round()
    assert count.tolist() == [2, 1, 1]
    assert days.tolist() == [2, 36_525, 0]
    assert one.tolist() == [2, 2, 2]


def test_scores_are_those_of_a_loop_over_pairs():
    towers = TwoTower(8)
    towers.build(4)
    towers.eval()
    source, destination, row = torch.randn(3, 4), torch.randn(5, 4), torch.tensor([2, 9, 2, 0, 5])
    past = PastInteractions(torch.tensor([0, 2, 2]), torch.tensor([2, 9, 7]), torch.randn(3, 3))
    scores = towers(source, destination, row, past)
    u, v = towers.source_tower(source), towers.destination_tower(destination)
    for i in range(3):
        for j in range(5):
            expected = u[i] @ v[j, :4] / 2 + v[j, 4]
            for s, r, f in zip(past.source, past.row, past.features, strict=True):
                if s == i and r == row[j]:
                    expected = expected + towers.meeting(f)[0]
            assert torch.isclose(scores[i, j], expected, atol=1e-5)


def test_a_second_build_changes_nothing():
    towers = TwoTower(8)
    towers.build(4)
    before = {k: v.clone() for k, v in towers.state_dict().items()}
    towers.build(4)
    assert all(torch.equal(before[k], v) for k, v in towers.state_dict().items())
