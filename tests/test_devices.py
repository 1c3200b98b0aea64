"""Several processes, and what hardware there is, from the command line."""

from __future__ import annotations

import csv
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from relbench_pretrain.cli import CONFIGS, main

COPIES = ["--trainer.accelerator=cpu", "--trainer.devices=2", "--trainer.strategy=ddp"]
SHORT = ["--trainer.max_steps=2", "--trainer.limit_val_batches=1", "--trainer.val_check_interval=2",
         "--trainer.log_every_n_steps=1", "--trainer.enable_progress_bar=false"]  # fmt: skip


def command(folder: Path, name: str, body: str) -> None:
    """Puts a command first among those that a script finds."""
    (folder / name).write_text(f"#!/bin/bash\n{body}\n")
    (folder / name).chmod(0o755)


@pytest.mark.parametrize("stopped", [True, False])
def test_a_slurm_job_is_requeued_where_its_time_is_over_after_its_processes_have_stopped(stopped, run_in):
    wait = "trap 'echo stopped >> said; exit 1' TERM; touch ready; while true; do sleep 0.01; done"
    command(run_in, "srun", 'echo "$@" >> said\n' + (wait if stopped else "touch ready; exit 3"))
    command(run_in, "scontrol", 'echo "$@" >> said')
    slurm = {"SLURM_JOB_ID": "7", "SLURM_JOB_NUM_NODES": "2", "SLURM_NTASKS_PER_NODE": "8"}
    process = subprocess.Popen(
        ["bash", CONFIGS / "cluster/slurm.sh", "mine", "--config", "a b.yaml"],
        env=os.environ | slurm | {"PATH": f"{run_in}:{os.environ['PATH']}", "PYTHON": "python"},
    )
    while not (run_in / "ready").exists():
        time.sleep(0.01)
    if stopped:
        process.send_signal(signal.SIGUSR1)
    assert process.wait(30) == (0 if stopped else 3)
    said = (run_in / "said").read_text().splitlines()
    fit = "python -m relbench_pretrain fit --run mine --config a b.yaml --trainer.num_nodes 2 --trainer.devices 8"
    assert said == ([fit, "stopped", "requeue 7"] if stopped else [fit])


@pytest.mark.ddp
def test_a_batch_that_leaves_tables_out_is_no_trouble_for_processes_as_torchrun_starts_them(
    run_in, run_pair, monkeypatch
):
    for name, value in {"TORCHELASTIC_RUN_ID": "run", "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2"}.items():
        monkeypatch.setenv(name, value)
    data = ["--data.dataset=demo-small", "--data.batch_size=2", "--data.num_per_round=1", "--data.num_rounds=1"]
    run_pair(run_in, "-m", "relbench_pretrain", "fit", "--config=contrastive/demo", *data, *COPIES, *SHORT)
    (run,) = run_in.glob("runs/run/*")
    with (run / "metrics.csv").open() as file:
        losses = [row["train/loss"] for row in csv.DictReader(file) if row["train/loss"]]
    assert len(losses) == 2


@pytest.mark.parametrize(
    "experiment",
    [
        "contrastive/demo",
        "hypergraph/recovery",
        *(pytest.param(name, marks=pytest.mark.slow) for name in ("fine_tuning/demo", "zero_shot/demo")),
        "zero_shot/demo-mre",
    ],
)
def test_gpu_settings_fit_every_system_and_say_how_fast_it_is(experiment, run_in):
    options = {
        "contrastive/demo": ["--data.dataset=demo-small"],
        "fine_tuning/demo": ["--data.dataset=demo-small", "--model.start=scratch"],
        "zero_shot/demo": ["--data.pool_queries=4", "--data.pool_negatives=40", "--data.negatives_per_query=40"],
        "zero_shot/demo-mre": ["--trainer.max_epochs=1"],
        "hypergraph/recovery": ["--data.graph.num_nodes=12", "--data.num_samples=100"],
    }
    main(
        ["fit", f"--config={experiment}", "--config=hardware/gpu.yaml", "--trainer.accelerator=cpu",
         *options[experiment], "--trainer.limit_train_batches=2", *SHORT]
    )  # fmt: skip
    with (run_in / "runs/run/version_0/metrics.csv").open() as file:
        (speed,) = [
            row["throughput/rows_per_second"] for row in csv.DictReader(file) if row["throughput/rows_per_second"]
        ]
    assert float(speed) > 0
