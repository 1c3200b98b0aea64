"""Runs with a name: the same command goes on where it was cut off, and leaves alone what is done."""

from __future__ import annotations

import warnings

import pandas as pd
import pytest

from lightning_modules import MaskedModeling
from relbench_pretrain.cli import main

# 32 batches an epoch, so that steps 20 and 40 are in the middle of one.
ARGS = [
    "fit", "--config=hypergraph/recovery.yaml", "--data.graph.num_nodes=12", "--data.num_samples=20000",
    "--model.network.init_args.width=16", "--model.network.init_args.output_width=16", "--data.batch_size=500",
    "--data.masking=relbench_pretrain.hypergraph.OneNode", "--data.batches_per_epoch=null",
    "--trainer.val_check_interval=20", "--trainer.max_steps=44", "--trainer.log_every_n_steps=2",
    "--trainer.enable_progress_bar=false",
    "--trainer.callbacks=[{class_path: lightning.pytorch.callbacks.ModelCheckpoint, init_args: {save_last: true}}]",
]  # fmt: skip


@pytest.fixture
def cut_off_at(monkeypatch):
    """Cuts the next runs off when they come to a step."""
    original = MaskedModeling.training_step

    def cut(step):
        def training_step(self, batch, batch_idx):
            if self.global_step == step:
                raise ConnectionAbortedError(f"cut off at step {step}")
            return original(self, batch, batch_idx)

        monkeypatch.setattr(MaskedModeling, "training_step", training_step)

    return cut


def test_a_run_that_is_cut_off_twice_leaves_what_an_uninterrupted_one_does(run_in, cut_off_at, capsys):
    main([*ARGS, "--run=whole"])
    for step in (7, 33):  # before the first checkpoint, and after it
        cut_off_at(step)
        with pytest.raises(ConnectionAbortedError):
            main([*ARGS, "--run=parts"])
    cut_off_at(None)
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*will be deleted.*")
        main([*ARGS, "--run=parts"])
    whole, parts = (run_in / "runs/run" / name for name in ("whole", "parts"))
    assert (parts / "metrics.csv").read_text() == (whole / "metrics.csv").read_text()
    assert (parts / "finished.json").read_text() == (whole / "finished.json").read_text()
    assert sorted(path.name for path in (run_in / "runs/run").iterdir()) == ["parts", "whole"]


def test_a_finished_run_is_left_alone_until_it_is_given_more_steps(run_in, cut_off_at, capsys):
    stopping = [*ARGS, "--trainer.callbacks+=lightning.pytorch.callbacks.EarlyStopping",
                "--trainer.callbacks.init_args.monitor=val/loss", "--trainer.callbacks.init_args.patience=1",
                "--trainer.callbacks.init_args.min_delta=100.0"]  # fmt: skip
    main([*stopping, "--run=a"])  # at step 40, without any progress
    before = {path: path.read_bytes() for path in (run_in / "runs/run/a").rglob("*") if path.is_file()}
    cut_off_at(40)
    main([*stopping, "--run=a"])
    assert {path: path.read_bytes() for path in (run_in / "runs/run/a").rglob("*") if path.is_file()} == before
    with pytest.raises(ConnectionAbortedError):
        main([*stopping, "--run=a", "--trainer.max_steps=60"])


def test_other_settings_are_refused_by_name_and_lengths_may_change(run_in, capsys):
    main([*ARGS, "--run=a", "--trainer.max_steps=20"])
    other = ["--data.num_samples=30000", "--model.network.init_args.width=32"]
    with pytest.raises(SystemExit):
        main([*ARGS, "--run=a", *other])
    error = capsys.readouterr().err
    assert "data.init_args.num_samples is 30000 and was 20000" in error
    assert "model.init_args.network.init_args.width is 32 and was 16" in error
    assert "another name" in error and "max_steps" not in error
    stored = run_in / "runs/run/a/config.yaml"  # as an earlier version would have written it
    stored.write_text(stored.read_text().replace("num_samples:", "num_draws:").replace("sampling:", "draws:"))
    main([*ARGS, "--run=a", "--trainer.max_steps=22"])
    for path in (run_in / "runs/run/a/checkpoints").iterdir():
        path.unlink()
    with pytest.raises(SystemExit):  # nothing of a finished run is written over
        main([*ARGS, "--run=a"])
    assert "has finished, but has no checkpoint" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.ddp
def test_two_processes_go_on_with_a_run_as_one(tmp_path, run_pair, wandb_offline):
    common = [*ARGS, "--run=a", "--trainer.val_check_interval=1", "--trainer.log_every_n_steps=1",
              f"--trainer.logger.init_args.save_dir={tmp_path}"]  # fmt: skip
    main([*common, "--trainer.max_steps=1"])
    run_pair(
        tmp_path, "-m", "relbench_pretrain", *common, "--trainer.max_steps=2", "--trainer.accelerator=cpu",
        "--trainer.devices=2", "--trainer.strategy=ddp", "--trainer.logger+=logger/wandb.yaml",
        f"--trainer.logger.init_args.save_dir={tmp_path}",
    )  # fmt: skip
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["a"]
    (wandb_folder,) = tmp_path.glob("wandb/offline-run-*")
    assert wandb_folder.name.endswith((tmp_path / "run/a/wandb_id.txt").read_text())
    rows = pd.read_csv(tmp_path / "run/a/metrics.csv")
    assert rows.dropna(subset="train/loss")["step"].tolist() == [0, 1]


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ([*ARGS, "--run=../elsewhere"], "letters, digits"),
        ([*ARGS, "--run=a", "--trainer.logger=false"], "logger/csv.yaml"),
        ([*ARGS, "--run=a", "--ckpt_path=some.ckpt"], "leave out --ckpt_path"),
        ([*ARGS, "--run=a", "--trainer.fast_dev_run=true"], "fast_dev_run"),
        (["test", *ARGS[1:], "--run=a"], "give --ckpt_path"),
        ([*ARGS, "--trainer.logger=logger/tensorboard.yaml"], r"pip install relbench-pretrain[tensorboard]"),
    ],
)
def test_what_cannot_be_named_says_why(args, message, run_in, capsys, monkeypatch):
    monkeypatch.setattr("relbench_pretrain.trainer.loggers.find_spec", lambda name: None)
    with pytest.raises(SystemExit):
        main(args)
    assert message in capsys.readouterr().err
