"""Parameters in shares over two processes."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
import torch

from lightning_modules import ContrastivePretraining, MaskedModeling
from relbench_pretrain.contrastive import RowContrast
from relbench_pretrain.nn import Backbone, GraphSAGE, LinearTableEncoder

WORKER = Path(__file__).with_name("sharded_worker.py")


def logged(folder: Path) -> dict[tuple[str, int], float]:
    """What a run logged, by name and step."""
    with (folder / "run/version_0/metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    return {(k, int(row["step"])): float(v) for row in rows for k, v in row.items() if v and "/" in k}


@pytest.mark.ddp
def test_sharded_runs_are_those_of_copies_and_can_be_resumed(zero_shot_folder, tmp_path, run_pair):
    run_pair(tmp_path, WORKER, zero_shot_folder, tmp_path)
    copies, one, resumed = (logged(tmp_path / name) for name in ("copies", "one", "shares"))
    speed = {name for name, _ in one if name.startswith("throughput/")}
    assert {name.partition("/")[2] for name in speed} == {
        "rows_per_second",
        "data_wait",
        "teraflops",
        "peak_memory_gib",
    }
    one = {(name, step): value for (name, step), value in one.items() if name not in speed}
    assert one == pytest.approx(copies, abs=1e-4)
    assert set(resumed) == {(name, step) for name, step in one if step > 1}
    assert resumed == pytest.approx({key: one[key] for key in resumed}, abs=1e-4)
    files = [tmp_path / name / "step=4.ckpt" for name in ("copies", "one")]
    expected, found = (torch.load(file, weights_only=True)["state_dict"] for file in files)
    assert set(found) == set(expected)
    for name, value in expected.items():
        assert torch.allclose(found[name], value, atol=1e-4), name
    assert (tmp_path / "shares/step=4.ckpt").is_dir()
    module = MaskedModeling.load_from_checkpoint(files[1], weights_only=True)
    assert torch.equal(module.state_dict()["network.bias"], found["network.bias"])
    for rank in (0, 1):
        copied, shared = torch.load(tmp_path / f"rank{rank}.pt", weights_only=True)
        assert shared["sharded"] > 0.25
        assert float(shared["score"]) == pytest.approx(float(copied["score"]))
        for name, value in shared["weights"].items():  # the first process's own, and none on the other
            assert torch.allclose(value, copied["weights"][name], atol=1e-4), name


def test_modules_that_are_not_sharded_say_so():
    module = ContrastivePretraining(Backbone(LinearTableEncoder(), GraphSAGE(), channels=16), RowContrast())
    module._device_mesh = object()
    with pytest.raises(ValueError, match="ContrastivePretraining is small .*ddp in place"):
        module.setup("fit")
