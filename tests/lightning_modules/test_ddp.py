"""Pretraining in two processes."""

from __future__ import annotations

import runpy
from pathlib import Path

import numpy as np
import pytest
import torch

from relbench_pretrain.hypergraph.conversion import read_hypergraph

WORKER = Path(__file__).with_name("ddp_worker.py")


@pytest.mark.ddp
def test_two_processes_share_seeds_without_overlap_and_keep_equal_weights(tmp_path, run_pair):
    run_pair(tmp_path, WORKER, tmp_path)
    first, second = (torch.load(tmp_path / f"rank{rank}.pt", weights_only=True) for rank in (0, 1))
    assert first["steps"] == second["steps"] == 3
    for name, value in first["weights"].items():
        assert torch.allclose(value, second["weights"][name], atol=1e-6), name
    assert first["gather"]
    assert second["gather"]
    seeds = [set(seen["seeds"]) for seen in (first, second)]
    assert all(len(s) == 3 * 8 for s in seeds)
    assert not seeds[0] & seeds[1]
    assert len(list(tmp_path.glob("run/version_*"))) == 1
    assert (tmp_path / "run/version_0/backbone/last/model.safetensors").is_file()


@pytest.mark.ddp
def test_all_phases_of_relation_extrapolation_keep_equal_weights_on_batches_of_their_own(
    zero_shot_folder, tmp_path, run_pair
):
    run_pair(tmp_path, WORKER.with_name("ddp_extrapolation.py"), zero_shot_folder, tmp_path)
    first, second = (torch.load(tmp_path / f"rank{rank}.pt", weights_only=True) for rank in (0, 1))
    for name, value in first["weights"].items():
        assert torch.allclose(value, second["weights"][name], atol=1e-6), name
    assert len(first["seeds"]) == len(second["seeds"]) == 9 and not set(first["seeds"]) & set(second["seeds"])
    assert first["score"] == second["score"] > 0


@pytest.mark.ddp
def test_masked_modeling_in_two_processes_is_that_of_one_with_the_whole_batch(tmp_path, run_pair):
    (tmp_path / "one").mkdir()
    runpy.run_path(str(WORKER.with_name("ddp_masked_modeling.py")))["train"](tmp_path / "one", 1)
    run_pair(tmp_path, WORKER.with_name("ddp_masked_modeling.py"), tmp_path)
    alone = torch.load(tmp_path / "one/1-rank0.pt", weights_only=True)
    for rank in (0, 1):
        weights = torch.load(tmp_path / f"2-rank{rank}.pt", weights_only=True)
        for name, value in weights.items():
            assert torch.allclose(value, alone[name], atol=1e-5), name
    assert [path.name for path in tmp_path.glob("run/*")] == ["version_0"]
    one, two = (read_hypergraph(p / "run/version_0/recovered.json") for p in (tmp_path / "one", tmp_path))
    assert one.nodes == two.nodes and np.array_equal(one.edges, two.edges)
    assert one.weights == pytest.approx(two.weights, abs=1e-4)
