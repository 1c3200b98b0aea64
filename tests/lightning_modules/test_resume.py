"""A run that was stopped, wherever, goes on as if it had not been: the same batches, the same losses."""

from __future__ import annotations

import ast
import random
import shutil
from pathlib import Path

import pytest
import torch
from lightning.pytorch import Callback, seed_everything
from lightning.pytorch.callbacks import ModelCheckpoint
from systems import SYSTEMS, Losses, trainer_for


class Copies(Callback):
    """Keeps what the checkpoint of every step was."""

    def __init__(self, folder):
        self.folder = folder

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        if (self.folder / "last.ckpt").exists():
            shutil.copy(self.folder / "last.ckpt", self.folder / f"{trainer.global_step}.ckpt")


@pytest.fixture
def folder(tmp_path, zero_shot_folder):
    return tmp_path


def run(name, folder, seed=0, ckpt_path=None, **options):
    seed_everything(seed, verbose=False)
    module, data = SYSTEMS[name](folder, 1, 0.2)
    losses = Losses()
    callbacks = [*options.pop("callbacks", []), losses]
    trainer_for(name, folder, callbacks=callbacks, **options).fit(module, data, ckpt_path=ckpt_path, weights_only=False)
    return losses.seen, {key: value.clone() for key, value in module.state_dict().items()}


QUICK = ("fine_tuning", "masked_modeling")
LONG = ("contrastive_on_device", "recommendation")


@pytest.mark.parametrize(
    ("name", "validation"),
    [pytest.param(name, "epoch", marks=[pytest.mark.slow] if name in LONG else []) for name in SYSTEMS]
    + [pytest.param(name, "steps", marks=[] if name in QUICK else pytest.mark.slow) for name in SYSTEMS],
)
def test_stopped_anywhere_a_run_ends_like_one_that_was_not(name, validation, folder):
    """Checkpoints are written after a batch, after a validation, and at the end of an epoch."""
    options = {} if validation == "epoch" else {"val_check_interval": 4, "check_val_every_n_epoch": None}
    writer = ModelCheckpoint(folder, "last", enable_version_counter=False, save_top_k=1, every_n_train_steps=1)
    if validation == "steps":
        writer = ModelCheckpoint(folder, "{step}", save_top_k=-1, enable_version_counter=False)
        options |= {"max_epochs": -1, "max_steps": 11 if name != "extrapolation" else 25}
    copies = [Copies(folder)] if validation == "epoch" else []
    whole, weights = run(name, folder, callbacks=[writer, *copies], **options)
    checkpoints = sorted((p for p in folder.glob("*.ckpt") if p.stem != "last"), key=lambda p: p.stat().st_mtime)
    assert len(checkpoints) >= 2
    for checkpoint in (
        checkpoints if validation == "steps" else checkpoints[len(checkpoints) // 3 :: len(checkpoints) // 2]
    ):
        rest, end = run(name, folder, 99, checkpoint, **options)
        for (step, values), (expected_step, expected) in zip(rest, whole[len(whole) - len(rest) :], strict=True):
            assert step == expected_step and values == {key: expected[key] for key in values}, checkpoint
        assert len(rest) < len(whole) and (rest or checkpoint == checkpoints[-1])
        for key, value in weights.items():
            assert torch.equal(end[key], value), key


KILLED = Path(__file__).parents[1] / "killed_run.py"


def losses_of(run: Path) -> list[tuple[int, dict[str, float]]]:
    return [ast.literal_eval(line) for line in (run / "losses").read_text().splitlines() if line.endswith(")")]


@pytest.mark.parametrize(
    ("name", "how", "times"),
    [
        ("masked_modeling", "SIGKILL", 2),
        ("masked_modeling", "SIGTERM", 1),
        *(pytest.param(name, "SIGKILL", 10, marks=pytest.mark.slow) for name in SYSTEMS),
        *(pytest.param(name, "SIGTERM", 3, marks=pytest.mark.slow) for name in SYSTEMS),
    ],
)
def test_killed_at_random_moments_each_resume_gives_the_losses_of_the_whole_run(name, how, times, folder, start_python):
    epochs = 4 if times < 3 else 12

    def train(place: str, batches: float) -> bool:
        process = start_python([KILLED, name, folder, place, epochs, batches, how], folder / "log")
        process.join(240)
        assert process.exitcode is not None
        return (folder / place / "weights.pt").exists()

    assert train("whole", 0), (folder / "log").read_text()[-3000:]
    whole = dict(losses_of(folder / "whole"))
    rng = random.Random(name + how)
    for _ in range(times):
        assert not train("stopped", rng.uniform(1, 4))
    assert train("stopped", 0), (folder / "log").read_text()[-3000:]
    seen = losses_of(folder / "stopped")
    assert {step for step, _ in seen} == set(whole)
    assert how == "SIGKILL" or len(seen) == len(whole)  # a run that is told to stop loses nothing
    for step, values in seen:
        assert values == {key: whole[step][key] for key in values}, step
    expected, found = (torch.load(folder / place / "weights.pt", weights_only=True) for place in ("whole", "stopped"))
    for key, value in expected.items():
        assert torch.equal(found[key], value), key
    assert not list(folder.rglob("*.part")) or how == "SIGKILL"


def test_resumed_twice_at_the_ends_of_epochs_it_trains_no_epoch_too_many(folder):
    """Lightning alone is an epoch behind after a checkpoint that was written after the last batch of one."""
    whole, _ = run("masked_modeling", folder, max_epochs=5)
    place, seen = None, []
    for part, (epochs, steps) in enumerate([(5, 4), (5, 8), (5, -1)]):
        writer = ModelCheckpoint(folder / str(part), "last", enable_version_counter=False, every_n_train_steps=4)
        seen += run("masked_modeling", folder, 0, place, max_epochs=epochs, max_steps=steps, callbacks=[writer])[0]
        place = folder / str(part) / "last.ckpt"
    assert [step for step, _ in seen] == [step for step, _ in whole] == list(range(20))
    assert seen == whole
