"""Ranks against a slow obvious version, ties included."""

from __future__ import annotations

import math

import pytest
import torch

from relbench_pretrain.knowledge_graph.ranking import RankingMetrics, realistic_ranks


def obvious(scores, true, known, candidates):
    ranks = []
    for i, row in enumerate(scores.tolist()):
        left_out = {p for q, p in known.T.tolist() if q == i}
        places = [j for j in range(len(row)) if (candidates is None or candidates[i, j]) and j not in left_out]
        others = [row[j] for j in places if j != true[i]]
        target = row[true[i]]
        if math.isnan(target):
            ranks.append(len(others) + 1)
            continue
        best = 1 + sum(value > target for value in others)
        worst = best + sum(value == target for value in others)
        ranks.append((best + worst) / 2)
    return ranks


@pytest.mark.parametrize("with_candidates", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_ranks_are_those_of_a_search_through_sorted_scores(with_candidates, dtype):
    generator = torch.Generator().manual_seed(0)
    scores = torch.randint(0, 6, (40, 25), generator=generator).to(dtype)  # few values: many ties
    scores[3, 4], scores[5] = math.nan, math.nan
    true = torch.randint(0, 25, (40,), generator=generator)
    known = (torch.rand(40, 25, generator=generator) < 0.2).nonzero().T
    candidates = torch.rand(40, 25, generator=generator) < 0.5 if with_candidates else None
    found = realistic_ranks(scores, true, known, candidates)
    assert found.tolist() == obvious(scores.float(), true, known, candidates)


def test_a_constant_score_is_ranked_in_the_middle_and_not_first():
    ranks = realistic_ranks(torch.zeros(3, 11), torch.tensor([0, 5, 10]))
    assert ranks.tolist() == [6.0, 6.0, 6.0]


def test_the_scores_stay_as_they_are():
    scores = torch.rand(4, 9)
    before = scores.clone()
    realistic_ranks(scores, torch.zeros(4, dtype=torch.long), torch.tensor([[0, 1], [3, 0]]))
    assert torch.equal(scores, before)


def test_the_number_of_threads_stays_as_it_is(start_python, tmp_path):
    script = tmp_path / "ranks.py"  # of its own, since Numba starts its threads once
    script.write_text("""
import torch
from relbench_pretrain.knowledge_graph.ranking import realistic_ranks
torch.set_num_threads(1)
realistic_ranks(torch.rand(4, 10), torch.arange(4))
assert torch.get_num_threads() == 1, torch.get_num_threads()
""")
    process = start_python([script], tmp_path / "log")
    process.join()
    assert process.exitcode == 0, (tmp_path / "log").read_text()


def test_metrics_of_given_ranks_and_their_protocol():
    metrics = RankingMetrics(hits=(1, 10), protocol="tail/all")
    metrics.update(torch.tensor([1.0, 1.5]))
    metrics.update(torch.tensor([10.0, 40.0]))
    found = {name: float(value) for name, value in metrics.compute().items()}
    assert found == pytest.approx(
        {"tail/all/mrr": (1 + 1 / 1.5 + 0.1 + 1 / 40) / 4, "tail/all/mean_rank": 52.5 / 4,
         "tail/all/hits@1": 0.25, "tail/all/hits@10": 0.75}
    )  # fmt: skip
