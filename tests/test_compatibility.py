"""Files of earlier versions: their networks load, their checkpoints go on, their configurations run.

What is read lies in ``tests/compatibility``, which says how it was made. ``-k SYSTEM`` runs one system's tests.
"""

from __future__ import annotations

import csv
import hashlib
import json
from pathlib import Path

import pytest
import torch

from relbench_pretrain import from_pretrained
from relbench_pretrain.cli import main
from relbench_pretrain.renamed import metric_name

HOME = Path(__file__).parent / "compatibility"
EXPECTED = json.loads((HOME / "expected.json").read_text())
SYSTEMS = list(EXPECTED["systems"])
# A share, not a number: 1 may be read as either.
QUIET = ["--trainer.enable_progress_bar=false", "--trainer.limit_val_batches=1.0", "--trainer.limit_test_batches=1.0"]


def config_of(system: str) -> str:
    return f"--config={HOME / 'configs' / system}.yaml"


def checkpoint_of(system: str) -> str:
    return str(HOME / "checkpoints" / f"{system}.ckpt")


def what_is_in(folder: Path) -> dict[str, str | int]:
    """The class, number of weights, and a hash of the whole state in the order of its names."""
    network = from_pretrained(folder)
    content = hashlib.sha256()
    for _, value in sorted(network.state_dict().items()):
        tensor = isinstance(value, torch.Tensor)
        content.update(value.float().numpy().tobytes() if tensor else json.dumps(value, sort_keys=True).encode())
    number = sum(weights.numel() for weights in network.parameters())
    return {"class": type(network).__name__, "weights": number, "sha256": content.hexdigest()}


@pytest.mark.parametrize("name", EXPECTED["exported"])
def test_exported_networks_load(name):
    assert what_is_in(HOME / "exported" / name) == EXPECTED["exported"][name]


@pytest.mark.parametrize("system", SYSTEMS)
def test_checkpoints_are_exported(system, run_in):
    main(["export", checkpoint_of(system), "--output_dir=shared"])
    assert what_is_in(run_in / "shared") == EXPECTED["exported"][system]


@pytest.mark.usefixtures("zero_shot_folder")
@pytest.mark.parametrize("system", SYSTEMS)
def test_checkpoints_score_the_same_under_their_configuration(system, run_in):
    expected = EXPECTED["systems"][system]
    metric = metric_name(expected["metric"])
    main([expected["stage"], config_of(system), f"--ckpt_path={checkpoint_of(system)}", *QUIET])
    (path,) = (run_in / "runs").rglob("metrics.csv")
    with path.open() as file:
        values = [float(row[metric]) for row in csv.DictReader(file) if row[metric]]
    assert values == [pytest.approx(expected["value"], rel=1e-4)]


@pytest.mark.usefixtures("zero_shot_folder")
@pytest.mark.parametrize("system", SYSTEMS)
def test_configurations_fit(system, run_in):
    main(["fit", config_of(system), "--trainer.max_steps=1", "--trainer.val_check_interval=1", *QUIET])
    (saved,) = (run_in / "runs").rglob("config.yaml")
    assert list((saved.parent / "checkpoints").glob("*.ckpt"))
