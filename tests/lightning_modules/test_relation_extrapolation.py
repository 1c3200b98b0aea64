"""Training in phases: every part learns in its own, and a run that is resumed goes on as if it had not stopped."""

from __future__ import annotations

import pytest
import torch
from lightning.pytorch import Callback, Trainer
from safetensors.torch import save_file

from datamodules import EpisodicKGDataModule, MultimodalKGDataModule
from lightning_modules import RelationExtrapolation
from relbench_pretrain.knowledge_graph.mre import (
    M3AE,
    EntityTable,
    GraphWords,
    MultimodalTraining,
    StructureConsolidator,
)
from relbench_pretrain.knowledge_graph.mre.learner_weights import load_learner
from relbench_pretrain.pretrained import CheckpointError
from relbench_pretrain.trainer.specification import SpecificationError

QUIET = {
    "logger": False, "enable_progress_bar": False, "enable_model_summary": False, "accelerator": "cpu",
    "num_sanity_val_steps": 0,
}  # fmt: skip


def data(folder, tmp_path, epochs=(2, 1, 2), tokenizer=True, **options):
    words = GraphWords(16, 1) if tokenizer else None
    return MultimodalKGDataModule(
        str(folder), validation_relations=2, num_candidates=20, cache_dir=str(tmp_path / "cache"),
        training=MultimodalTraining(*epochs, triples_per_batch=32, image_size=0, tokenizer=words),
        **{"batches_per_epoch": 6, **options},
    )  # fmt: skip


def module(**options):
    return RelationExtrapolation(
        M3AE(16, 1, 2, 16, 1, 2), StructureConsolidator(16, 4), relations_per_batch=4, pairs_per_relation=4, support=4,
        critic_steps=2, **options,
    )  # fmt: skip


def parts_of(model):
    return {
        name: torch.cat([p.detach().flatten() for p in getattr(model, name).parameters()]).clone()
        for name in ("learner", "consolidator", "extractor", "critic", "generator")
    }


def test_each_phase_trains_its_own_parts(zero_shot_folder, tmp_path):
    model, seen = module(), []

    class Recorder(Callback):
        def on_train_epoch_start(self, trainer, pl_module):
            seen.append(parts_of(pl_module))

        def on_train_epoch_end(self, trainer, pl_module):
            seen.append(parts_of(pl_module))

    Trainer(**QUIET, max_epochs=5, callbacks=[Recorder()], enable_checkpointing=False).fit(
        model, data(zero_shot_folder, tmp_path)
    )
    changed = [
        {name for name in before if not torch.equal(before[name], after[name])}
        for before, after in zip(seen[::2], seen[1::2], strict=True)
    ]
    fusion, adversarial = {"learner", "consolidator"}, {"critic", "generator"}
    assert changed == [fusion, fusion, {"extractor"}, adversarial, adversarial]


def test_it_learns_to_rank_relations_that_it_never_saw(zero_shot_folder, tmp_path):
    """Words of relations name the kinds that they join; the fixture's unseen ones share all their words with others."""
    options = {"batches_per_epoch": 40}
    model = module(adversarial_optimizer=lambda p: torch.optim.Adam(p, lr=2e-3, betas=(0.5, 0.9)))
    trainer = Trainer(**QUIET, max_epochs=12, default_root_dir=tmp_path)
    trainer.fit(model, data(zero_shot_folder, tmp_path, (5, 2, 5), **options))
    (found,) = trainer.test(model, data(zero_shot_folder, tmp_path, (5, 2, 5), **options), verbose=False)
    assert found["test/tail/candidates_20/mrr"] > 0.27  # chance is .18; kinds alone leave .41
    trainer.save_checkpoint(tmp_path / "model.ckpt")
    loaded = RelationExtrapolation.load_from_checkpoint(tmp_path / "model.ckpt", weights_only=False)
    (again,) = Trainer(**QUIET).test(loaded, data(zero_shot_folder, tmp_path, (5, 2, 5), **options), verbose=False)
    assert again == pytest.approx(found)


class Scores(Callback):
    def __init__(self):
        self.seen = []

    def on_validation_end(self, trainer, pl_module):
        self.seen.append(float(trainer.callback_metrics["val/score"]))


def test_without_a_generator_the_consolidator_ranks_and_with_one_nothing_counts_before_it(zero_shot_folder, tmp_path):
    trainer = Trainer(**QUIET, max_epochs=1, enable_checkpointing=False)
    trainer.fit(module(), data(zero_shot_folder, tmp_path, (1, 0, 0)))
    assert trainer.callback_metrics["val/score"] == trainer.callback_metrics["val/tail/candidates_20/mrr"] > 0
    trainer = Trainer(**QUIET, max_epochs=1, enable_checkpointing=False)
    with pytest.warns(UserWarning, match="will have 0 of its 2"):
        trainer.fit(module(), data(zero_shot_folder, tmp_path))
    assert trainer.callback_metrics["val/score"] > 0  # its turn does not come
    trainer = Trainer(**QUIET, max_epochs=4, limit_train_batches=1, enable_checkpointing=False, callbacks=[Scores()])
    trainer.fit(module(), data(zero_shot_folder, tmp_path))
    assert trainer.callbacks[0].seen[:3] == [0, 0, 0] and trainer.callbacks[0].seen[3] > 0


def test_heads_are_ranked_too_and_a_table_of_entities_needs_no_inputs(zero_shot_folder, tmp_path):
    model = RelationExtrapolation(
        EntityTable(16), StructureConsolidator(16, 4), relations_per_batch=4, pairs_per_relation=4, support=4
    )
    trainer = Trainer(**QUIET, max_epochs=3, enable_checkpointing=False)
    options = {"tokenizer": False, "direction": "both", "epochs": (1, 1, 1)}
    trainer.fit(model, data(zero_shot_folder, tmp_path, **options))
    results = trainer.test(model, data(zero_shot_folder, tmp_path, **options), verbose=False)
    assert {name.split("/")[1] for found in results for name in found} == {"tail", "head"}


class Begin(Callback):
    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        self.parts = parts_of(pl_module)


def test_learner_weights_come_from_files_and_others_are_refused(zero_shot_folder, tmp_path):
    first = module()
    trainer = Trainer(**QUIET, max_epochs=1, default_root_dir=tmp_path)
    trainer.fit(first, data(zero_shot_folder, tmp_path))
    weights = {name: value.clone() for name, value in first.state_dict().items()}
    torch.save({"state_dict": weights}, tmp_path / "first.ckpt")
    (tmp_path / "folder").mkdir()
    learner = {name.removeprefix("learner."): v for name, v in weights.items() if name.startswith("learner.")}
    save_file(learner, tmp_path / "folder" / "model.safetensors")
    for path in (tmp_path / "first.ckpt", tmp_path / "folder"):
        second, begin = module(learner_weights=str(path)), Begin()
        Trainer(**QUIET, max_epochs=1, limit_train_batches=1, enable_checkpointing=False, callbacks=[begin]).fit(
            second, data(zero_shot_folder, tmp_path)
        )
        torch.testing.assert_close(begin.parts["learner"], parts_of(first)["learner"])
        assert not torch.equal(begin.parts["consolidator"], parts_of(first)["consolidator"])
    other = RelationExtrapolation(M3AE(32, 1, 2, 16, 1, 2), learner_weights=str(tmp_path / "folder"))
    with pytest.raises(CheckpointError, match="do not fit"):
        Trainer(**QUIET, max_epochs=1).fit(other, data(zero_shot_folder, tmp_path))
    trainer.save_checkpoint(tmp_path / "pickled.ckpt")  # made without the command line, it holds the network's class
    with pytest.raises(CheckpointError, match="not loaded"):
        load_learner(first.learner, str(tmp_path / "pickled.ckpt"))
    with pytest.raises(CheckpointError, match=r"model\.safetensors"):
        load_learner(first.learner, str(tmp_path / "nothing"))


def test_episodes_and_unknown_losses_are_refused(zero_shot_folder, tmp_path):
    episodes = EpisodicKGDataModule(str(zero_shot_folder), validation_relations=2, cache_dir=str(tmp_path / "cache"))
    with pytest.raises(SpecificationError, match="use datamodules.MultimodalKGDataModule"):
        Trainer(**QUIET, max_epochs=1).fit(module(), episodes)
    with pytest.raises(ValueError, match="colour"):
        module(weights={"colour": 1.0})
