"""A run that goes wrong says so, and leaves checkpoints that can be gone on from."""

from __future__ import annotations

import pytest
import torch
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.demos.boring_classes import BoringModel

from callbacks import FiniteLoss, LastCheckpoint, NonFiniteError
from relbench_pretrain.cli import main


class Wrong(BoringModel):
    """Its third loss is no number."""

    def training_step(self, batch, batch_idx):
        loss = super().training_step(batch, batch_idx)["loss"]
        return {"loss": loss * torch.nan if batch_idx == 2 else loss}


class ByHand(BoringModel):
    """The same under manual optimisation, where a trainer is not given the loss."""

    automatic_optimization = False

    def training_step(self, batch, batch_idx):
        self.log("train/loss", torch.tensor(torch.inf if batch_idx == 2 else 1.0))


def fit(model, folder, *callbacks, **options):
    settings = {"max_steps": 6, "limit_val_batches": 0, "log_every_n_steps": 2} | options
    trainer = Trainer(
        accelerator="cpu", logger=False, default_root_dir=folder, enable_progress_bar=False,
        enable_model_summary=False, callbacks=[FiniteLoss(), LastCheckpoint(), *callbacks], **settings,
    )  # fmt: skip
    trainer.fit(model)


@pytest.mark.parametrize(("model", "when"), [(Wrong, "2 and 3"), (ByHand, "0 and 0")])
def test_a_loss_that_is_no_number_is_never_written(model, when, tmp_path):
    writer = ModelCheckpoint(tmp_path, "{step}", every_n_train_steps=1, save_top_k=-1)
    by_hand = model is ByHand
    options = {"max_epochs": 1, "max_steps": -1, "log_every_n_steps": 1} if by_hand else {"log_every_n_steps": 100}
    with pytest.raises(NonFiniteError, match=f"NaN or infinite between the steps {when}"):
        fit(model(), tmp_path, writer, **options)
    assert {path.stem for path in tmp_path.glob("*.ckpt")} == (set() if by_hand else {"step=1", "step=2"})
    assert not (tmp_path / "checkpoints").exists()


def test_nothing_is_written_either_where_the_last_loss_of_a_run_is_wrong(tmp_path):
    class Export(Callback):
        def on_train_end(self, trainer, pl_module):
            (tmp_path / "exported").touch()

    with pytest.raises(NonFiniteError):
        fit(Wrong(), tmp_path, Export(), max_steps=3, log_every_n_steps=100, enable_checkpointing=False)
    assert not list(tmp_path.iterdir())


def test_it_is_said_when_metrics_are_logged(tmp_path):
    with pytest.raises(NonFiniteError, match="between the steps 2 and 4"):
        fit(Wrong(), tmp_path, enable_checkpointing=False)


def test_the_end_of_a_run_has_one_checkpoint(tmp_path):
    class Count(Callback):
        written = 0

        def on_save_checkpoint(self, *args):
            self.written += 1

    for steps, place in ((6, tmp_path / "a"), (7, tmp_path / "b")):
        count = Count()
        fit(BoringModel(), place, ModelCheckpoint(place, "last", every_n_train_steps=3), count, max_steps=steps)
        assert count.written == steps - 4
        assert (place / "checkpoints" / "last.ckpt").exists() == (steps == 7)


def test_the_command_line_says_it_in_a_line(run_in, capsys):
    with pytest.raises(SystemExit):
        main(["fit", "--config", "hypergraph/recovery.yaml", "--data.graph.num_nodes=8", "--data.num_samples=1000",
              "--data.batch_size=1000", "--trainer.max_steps=30", "--model.optimizer.lr=1e30",
              "--trainer.enable_progress_bar=false"])  # fmt: skip
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("error: the training loss was NaN or infinite between the steps 0 and 10")
    assert "gradient_clip_val" in error
