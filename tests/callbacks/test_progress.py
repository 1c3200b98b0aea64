"""Progress of training and tests in lines."""

from __future__ import annotations

import re

import pytest
from lightning.pytorch import Trainer
from lightning.pytorch.demos.boring_classes import BoringModel

from callbacks import ProgressLines


@pytest.mark.parametrize(
    ("limits", "expected"),
    [
        (
            {"max_epochs": 2},
            ["training, epoch 0: 1 of 4", "training, epoch 0: 2 of 4", "validating: 1 of 1",
             "training, epoch 1: 3 of 4", "training, epoch 1: 4 of 4", "validating: 1 of 1"],
        ),
        ({"max_steps": 2}, ["training, epoch 0: 1 of 2", "training, epoch 0: 2 of 2", "validating: 1 of 1"]),
    ],
)  # fmt: skip
def test_steps_are_counted_to_the_end_of_the_run(limits, expected, capsys, tmp_path):
    lines = ProgressLines()
    lines.line.every = 0.0
    trainer = Trainer(
        **limits, callbacks=[lines], limit_train_batches=2, limit_val_batches=1, limit_test_batches=2, logger=False,
        num_sanity_val_steps=0, enable_checkpointing=False, enable_progress_bar=False, default_root_dir=tmp_path,
        accelerator="cpu",
    )  # fmt: skip
    model = BoringModel()
    trainer.fit(model)
    trainer.test(model, verbose=False)
    shown = [re.sub(r" \(.*", "", line) for line in capsys.readouterr().out.splitlines() if " of " in line]
    assert shown == [*expected, "testing: 1 of 2", "testing: 2 of 2"]
