"""Pretraining in two processes."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

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
    assert (tmp_path / "run/version_0/backbone/last/backbone.safetensors").is_file()


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
