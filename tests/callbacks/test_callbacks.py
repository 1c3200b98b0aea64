"""Callbacks on small runs of the real modules."""

from __future__ import annotations

import warnings
from types import SimpleNamespace

import pytest
import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.loggers import CSVLogger

from callbacks import BackboneCheckpoint, CollapseMonitor, LossNormalization, MultiDevice, TypeBalance
from callbacks.diagnostics import evenness
from datamodules import ContrastiveDataModule
from lightning_modules import ContrastivePretraining
from relbench_pretrain.contrastive import ContextContrast, LinkContrast, RowContrast, RunningMagnitude
from relbench_pretrain.errors import UserError
from relbench_pretrain.nn import Backbone, GraphSAGE, LinearTableEncoder
from relbench_pretrain.nn.task_network import load_backbone
from relbench_pretrain.pretrained import CheckpointError, read_network
from relbench_pretrain.relational.schema import stored_schema


def pretraining(**kwargs) -> ContrastivePretraining:
    backbone = Backbone(LinearTableEncoder(), GraphSAGE(num_layers=2), channels=16)
    return ContrastivePretraining(backbone, RowContrast(), LinkContrast(), ContextContrast(), **kwargs)


@pytest.fixture(scope="module")
def data():
    return ContrastiveDataModule("demo-small", batch_size=16, num_per_round=8, num_rounds=2, val_batches=2)


def trainer(folder, *callbacks, steps=2, **kwargs) -> Trainer:
    options = {"val_check_interval": steps, "check_val_every_n_epoch": None, "num_sanity_val_steps": 0}
    return Trainer(
        max_steps=steps, logger=CSVLogger(folder, name="run"), callbacks=list(callbacks), accelerator="cpu",
        enable_progress_bar=False, enable_model_summary=False, **(options | kwargs),
    )  # fmt: skip


def test_backbones_are_written_best_and_last_and_load_without_lightning(tmp_path, data):
    module, checkpoint = pretraining(), BackboneCheckpoint()
    fit = trainer(tmp_path, checkpoint, steps=3)
    fit.fit(module, data)
    folder = tmp_path / "run" / "version_0" / "backbone"
    assert sorted(p.name for p in folder.iterdir()) == ["best", "last"]
    last = load_backbone(folder / "last")
    for name, value in module.backbone.state_dict().items():
        assert torch.equal(last.state_dict()[name], value), name
    saved = read_network(folder / "best")
    assert saved.info["step"] == 3
    assert stored_schema(folder / "best").fitted_hash == data.schema.fitted_hash
    fresh = load_backbone(folder / "last", weights=False)
    assert any(not torch.equal(fresh.state_dict()[n], v) for n, v in module.backbone.state_dict().items())


def test_only_a_better_value_replaces_the_best_backbone(tmp_path, data):
    module, checkpoint = pretraining(), BackboneCheckpoint()
    checkpoint.best = -1.0  # nothing is better
    trainer(tmp_path, checkpoint).fit(module, data)
    assert not (tmp_path / "run/version_0/backbone/best").exists()
    assert (tmp_path / "run/version_0/backbone/last").exists()


def test_unknown_monitor_is_named(tmp_path, data):
    with pytest.raises(KeyError, match="val/nothing"):
        trainer(tmp_path, BackboneCheckpoint(monitor="val/nothing")).fit(pretraining(), data)


class Forgetful(LinearTableEncoder):
    def __init__(self, width: int = 8) -> None:
        super().__init__()


def test_a_network_that_cannot_be_described_is_refused_before_the_first_step(tmp_path, data):
    module = ContrastivePretraining(Backbone(Forgetful(), GraphSAGE(), channels=16), RowContrast())
    fit = trainer(tmp_path, BackboneCheckpoint())
    with pytest.raises(UserError, match=r"Forgetful does not keep its argument 'width'.*self\.width = width"):
        fit.fit(module, data)
    assert fit.global_step == 0


def test_incomplete_backbones_are_refused_by_name(tmp_path):
    with pytest.raises(CheckpointError, match=r"config\.json is missing"):
        read_network(tmp_path)
    (tmp_path / "config.json").write_text("{")
    (tmp_path / "model.safetensors").write_bytes(b"")
    with pytest.raises(CheckpointError, match="damaged"):
        read_network(tmp_path)


def test_running_magnitude_is_learned_in_training_and_checkpointed(tmp_path, data):
    normalization = LossNormalization(RunningMagnitude(decay=0.5))
    module = pretraining()
    trainer(tmp_path, normalization).fit(module, data)
    assert module.normalization is normalization.rule
    state = normalization.state_dict()
    assert set(state["state"]) == {"row", "link", "context"}
    restored = LossNormalization(RunningMagnitude(decay=0.5))
    restored.load_state_dict(state)
    assert restored.rule.state_dict() == state["state"]


def test_type_balance_counts_every_batch(tmp_path, data):
    balance = TypeBalance(every_n_steps=1)
    trainer(tmp_path, balance).fit(pretraining(), data)
    loader = data.train_dataloader()
    expected: dict[str, int] = {}
    for _, batch in zip(range(2), loader, strict=False):
        for table in batch.node_types:
            expected[table] = expected.get(table, 0) + batch[table].num_nodes
    assert balance.rows == expected
    assert all(count > 0 for count in balance.edges.values())


def test_evenness_is_one_for_equal_shares_and_zero_for_one():
    assert evenness({"a": 5, "b": 5, "c": 5}) == pytest.approx(1.0)
    assert evenness({"a": 5, "b": 0}) == pytest.approx(0.0)
    assert 0 < evenness({"a": 9, "b": 1}) < 1


def test_collapse_is_warned_of_once_per_table(tmp_path, data):
    module, monitor = pretraining(), CollapseMonitor()
    original = module.forward

    def collapsed(batch):
        return {table: torch.ones_like(x) + 0 * x for table, x in original(batch).items()}

    module.forward = collapsed
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        trainer(tmp_path, monitor, steps=4, val_check_interval=2).fit(module, data)
    messages = [str(w.message) for w in caught if "collapse" in str(w.message)]
    assert len([m for m in messages if "'customers'" in m]) == 1
    assert len(messages) == len(set(messages)) > 3


def test_embeddings_that_spread_are_logged_and_not_warned_of(tmp_path, data):
    run = trainer(tmp_path, CollapseMonitor(min_std=0.0, min_rank=0.0))
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*collapse.*")
        run.fit(pretraining(), data)
    assert 0 < run.callback_metrics["embedding/std_customers"] <= 1.1
    assert run.callback_metrics["embedding/rank_customers"] > 1


def test_one_device_gathers_nothing(tmp_path, data):
    module = pretraining()
    trainer(tmp_path, MultiDevice()).fit(module, data)
    assert not any(level.gather_negatives for level in module.levels.values())


def test_callbacks_set_what_a_module_offers_and_refuse_one_that_does_not():
    module, rule = pretraining(), RunningMagnitude()
    LossNormalization(rule).setup(Trainer(logger=False), module, "fit")
    assert module.normalization is rule
    for devices in (1, 2):
        MultiDevice().setup(SimpleNamespace(world_size=devices), module, "fit")
        assert {level.gather_negatives for level in module.levels.values()} == {devices > 1}
    for callback in (LossNormalization(), BackboneCheckpoint()):
        with pytest.raises(TypeError, match=f"^{type(callback).__name__} .*LightningModule"):
            callback.setup(Trainer(logger=False), LightningModule(), "fit")
