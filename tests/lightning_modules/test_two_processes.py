"""Two processes train as one with the whole batch does, and leave one set of files."""

from __future__ import annotations

from collections import Counter
from itertools import chain
from pathlib import Path

import pytest
import torch
from ddp_systems import ALIKE, train

SCRIPT = Path(__file__).parents[1] / "ddp_systems.py"


@pytest.fixture(scope="module")
def both(tmp_path_factory, run_pair, knowledge_graph):
    """What each of two processes found."""
    folder = tmp_path_factory.mktemp("pair")
    (folder / "kg").symlink_to(knowledge_graph)
    run_pair(folder, SCRIPT, folder)
    return folder, [torch.load(folder / f"rank{rank}.pt", weights_only=True) for rank in (0, 1)]


@pytest.mark.ddp
@pytest.mark.parametrize("name", ALIKE)
def test_losses_and_weights_are_those_of_one_process_with_the_whole_batch(name, both, monkeypatch, tmp_path):
    folder, found = both
    monkeypatch.setattr(torch.nn, "BatchNorm1d", torch.nn.LayerNorm)
    (tmp_path / "kg").symlink_to(folder / "kg")
    alone = train(name, tmp_path, 1)
    for rank in (0, 1):
        for key, value in alone["weights"].items():
            torch.testing.assert_close(found[rank][name]["weights"][key], value, atol=2e-6, rtol=2e-5, msg=key)
    assert found[0][name]["score"] == pytest.approx(found[1][name]["score"])
    if name not in ("contrastive", "forecast"):  # whose validation is a mean over batches
        assert found[0][name]["score"] == pytest.approx(alone["score"], rel=1e-4)
    seeds = [list(chain(*each)) for each in zip(*(found[rank][name]["seeds"] for rank in (0, 1)), strict=True)]
    assert [sorted(step) for step in seeds] == [sorted(step) for step in alone["seeds"]] or name == "episodic"


@pytest.mark.ddp
def test_all_phases_of_two_processes_with_the_same_batches_are_those_of_one(both, tmp_path):
    """Gradients are averaged once, of generator and critic too."""
    folder, found = both
    (tmp_path / "kg").symlink_to(folder / "kg")
    alone = train("extrapolation", tmp_path, 1, max_epochs=4)
    for rank in (0, 1):
        two = found[rank]["extrapolation, the same"]
        for (step, values), (same, expected) in zip(two["losses"], alone["losses"], strict=True):
            assert step == same and values == pytest.approx(expected, rel=1e-4)
        for key, value in alone["weights"].items():
            torch.testing.assert_close(two["weights"][key], value, atol=1e-5, rtol=1e-4, msg=key)
        assert two["score"] == pytest.approx(alone["score"], rel=1e-3)


@pytest.mark.ddp
@pytest.mark.parametrize("name", ["fine_tuning", "recommendation"])
def test_each_label_is_used_once_over_both(name, both):
    seeds = Counter(chain(*(step for rank in (0, 1) for step in both[1][rank][name]["seeds"])))
    assert len(seeds) > 20 and set(seeds.values()) == {1}


@pytest.mark.ddp
@pytest.mark.parametrize("name", ["extrapolation", "fine_tuning"])
def test_both_go_on_as_if_they_had_not_been_stopped(name, both):
    """Dropout, and what each process remembers of entities, are its own."""
    for found in both[1]:
        whole, rest = (found[f"{name}, {part}"] for part in ("whole", "resumed"))
        assert 0 < len(rest["losses"]) < len(whole["losses"])
        for (step, values), (same, expected) in zip(
            rest["losses"], whole["losses"][-len(rest["losses"]) :], strict=True
        ):
            assert step == same and values == {key: expected[key] for key in values}
        for key, value in whole["weights"].items():
            assert torch.equal(rest["weights"][key], value), key
    first, second = (found[f"{name}, whole"]["losses"] for found in both[1])
    assert first != second


@pytest.mark.ddp
def test_there_is_one_set_of_files(both):
    folder, found = both
    for name in (name for name in found[0] if "," not in name):
        assert [path.name for path in (folder / f"{name}-2").iterdir()] == ["version_0"]
    assert not list(folder.rglob("*.part"))
