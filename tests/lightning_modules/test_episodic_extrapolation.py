"""Training in episodes, on a graph in which unseen relations can be inferred from seen ones."""

from __future__ import annotations

import pytest
import torch
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import ModelCheckpoint

from datamodules import EpisodicKGDataModule
from lightning_modules import EpisodicExtrapolation
from relbench_pretrain.cli import main
from relbench_pretrain.knowledge_graph import BoostedRanker, NearestRelations, PairRanker

QUIET = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False, "accelerator": "cpu"}


def data(folder, tmp_path, **options):
    return EpisodicKGDataModule(
        str(folder), validation_relations=2, num_candidates=20, cache_dir=str(tmp_path / "cache"),
        **{"batches_per_epoch": 40, **options},
    )  # fmt: skip


def test_it_learns_what_unseen_relations_mean_and_its_checkpoint_ranks_the_same(zero_shot_folder, tmp_path):
    torch.manual_seed(0)
    module = EpisodicExtrapolation(PairRanker(2, 32), lambda p: torch.optim.AdamW(p, lr=5e-3))
    untrained = Trainer(**QUIET, enable_checkpointing=False).test(
        EpisodicExtrapolation(PairRanker(2, 32)), data(zero_shot_folder, tmp_path), verbose=False
    )
    trainer = Trainer(**QUIET, max_epochs=2, default_root_dir=tmp_path, num_sanity_val_steps=0)
    trainer.fit(module, data(zero_shot_folder, tmp_path))
    trainer.save_checkpoint(tmp_path / "model.ckpt")
    (found,) = trainer.test(module, data(zero_shot_folder, tmp_path), verbose=False)
    name = "test/tail/candidates_20/mrr"
    assert found[name] > untrained[0][name] + 0.2
    resumes_where_a_checkpoint_of_earlier_versions_stopped(zero_shot_folder, tmp_path)
    loaded = EpisodicExtrapolation.load_from_checkpoint(tmp_path / "model.ckpt", weights_only=False)
    (again,) = Trainer(**QUIET).test(loaded, data(zero_shot_folder, tmp_path), verbose=False)
    assert again == pytest.approx(found)


def resumes_where_a_checkpoint_of_earlier_versions_stopped(folder, tmp_path):
    stored = torch.load(tmp_path / "model.ckpt", weights_only=False)
    stored["ZeroShotKGDataModule"] = stored.pop("EpisodicKGDataModule")
    torch.save(stored, tmp_path / "old.ckpt")
    resumed = data(folder, tmp_path)
    module = EpisodicExtrapolation(PairRanker(2, 32))
    trainer = Trainer(**QUIET, max_epochs=3, limit_train_batches=1, enable_checkpointing=False, num_sanity_val_steps=0)
    trainer.fit(module, resumed, ckpt_path=tmp_path / "old.ckpt", weights_only=False)
    assert resumed.state_dict()["batches"]["before"] == 80


def test_the_baseline_is_tested_in_the_same_way_without_training(zero_shot_folder, tmp_path):
    trainer = Trainer(**QUIET, enable_checkpointing=False)
    module = EpisodicExtrapolation(NearestRelations(number=2, joined=1.0))
    tails, heads = trainer.test(module, data(zero_shot_folder, tmp_path, direction="both"), verbose=False)
    found = tails | heads
    assert {name.split("/")[1] for name in found} == {"tail", "head"}
    assert 0.15 < found["test/tail/candidates_20/mrr"] <= 1


def test_boosted_trees_are_fitted_without_an_optimiser_and_kept_in_the_checkpoint(zero_shot_folder, tmp_path):
    module = EpisodicExtrapolation(BoostedRanker(num_trees=20, num_threads=1))
    checkpoint = ModelCheckpoint(tmp_path, monitor="val/score", mode="max", filename="best")
    trainer = Trainer(**QUIET, max_epochs=1, callbacks=[checkpoint])
    trainer.fit(module, data(zero_shot_folder, tmp_path, batches_per_epoch=1))
    (found,) = trainer.test(module, data(zero_shot_folder, tmp_path), verbose=False)
    assert found["test/tail/candidates_20/mrr"] > 0.3
    loaded = EpisodicExtrapolation.load_from_checkpoint(tmp_path / "best.ckpt", weights_only=False)
    (again,) = Trainer(**QUIET).test(loaded, data(zero_shot_folder, tmp_path), verbose=False)
    assert again == pytest.approx(found)


def test_without_validation_relations_all_are_trained_on_and_the_last_weights_tested(
    zero_shot_folder, tmp_path, run_in
):
    main(
        ["fit", "--config=zero_shot/demo", f"--data.folder={zero_shot_folder}", "--data.validation_relations=0",
         "--trainer.max_epochs=1", "--data.batches_per_epoch=3", "--data.num_candidates=20", "--test_after_fit=true",
         "--trainer.enable_progress_bar=false"]
    )  # fmt: skip
    folder = run_in / "runs/run/version_0"
    text = (folder / "metrics.csv").read_text()
    assert "test/tail/candidates_20/mrr" in text and "val/score" not in text
    assert (folder / "checkpoints/last.ckpt").is_file()
