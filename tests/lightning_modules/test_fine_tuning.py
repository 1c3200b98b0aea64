"""Fine-tuning: the ways to start, what is trained, what is refused."""

from __future__ import annotations

import shutil

import pytest
import torch
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger

from datamodules import EntityTaskDataModule
from lightning_modules import FineTuning
from relbench_pretrain.nn import Backbone, GraphSAGE, LinearTableEncoder, TemporalTransformer, TimeEncoder
from relbench_pretrain.pretrained import save_network
from relbench_pretrain.relational.schema import SchemaError


def network() -> Backbone:
    return Backbone(LinearTableEncoder(), GraphSAGE(), channels=16)


@pytest.fixture(scope="module")
def data():
    module = EntityTaskDataModule("customer-churn", "demo-small", batch_size=64, fanouts=[8, 4], strategy="last")
    module.setup("fit")
    return module


@pytest.fixture(scope="module")
def checkpoint(data, tmp_path_factory):
    torch.manual_seed(7)
    backbone = network()
    backbone.build(data.schema)
    return str(save_network(tmp_path_factory.mktemp("backbone") / "best", backbone))


def fit(module, data, folder, **kwargs) -> Trainer:
    options = {"max_steps": 3, "limit_val_batches": 1} | kwargs
    trainer = Trainer(
        accelerator="cpu", logger=CSVLogger(folder, name="run"), enable_progress_bar=False,
        enable_model_summary=False, num_sanity_val_steps=0, **options,
    )  # fmt: skip
    trainer.fit(module, data)
    return trainer


@pytest.mark.parametrize("start", ["scratch", "random_frozen", "frozen", "fine_tuned"])
def test_each_start_has_the_right_weights_and_trains_the_right_ones(start, data, checkpoint, tmp_path):
    from relbench_pretrain.nn.task_network import load_backbone

    pretrained = load_backbone(checkpoint).state_dict()
    torch.manual_seed(1)
    module = FineTuning(checkpoint=checkpoint, start=start, time_encoder=TimeEncoder())
    seen = {}
    original = module.configure_model

    def spy():
        original()
        seen.setdefault("weights", {k: v.clone() for k, v in module.backbone.state_dict().items()})
        seen.setdefault("head", module.head.layers[0].weight.clone())

    module.configure_model = spy
    fit(module, data, tmp_path)
    name = "graph_encoder"
    keys = [k for k in pretrained if k.startswith(name) and k.endswith("weight") and pretrained[k].dim() == 2]
    assert keys
    began_pretrained = all(torch.equal(seen["weights"][k], pretrained[k]) for k in keys)
    assert began_pretrained == (start in ("frozen", "fine_tuned"))
    stayed = all(torch.equal(v, seen["weights"][k]) for k, v in module.backbone.state_dict().items())
    assert stayed == (start in ("random_frozen", "frozen"))
    assert not torch.equal(module.head.layers[0].weight, seen["head"])


@pytest.mark.parametrize("task", ["customer-churn", "product-sales"])
def test_training_lowers_the_loss_and_checkpoints_load_without_the_data(task, tmp_path):
    data = EntityTaskDataModule(task, "demo-small", batch_size=64, fanouts=[8, 4], strategy="last")
    module = FineTuning(network(), optimizer=lambda p: torch.optim.Adam(p, lr=1e-2))
    saver = ModelCheckpoint(dirpath=tmp_path, filename="best")
    trainer = fit(module, data, tmp_path, max_steps=-1, max_epochs=4, callbacks=[saver], log_every_n_steps=1)
    after = trainer.callback_metrics
    assert set(after) >= {"val/loss", "val/roc_auc"} or set(after) >= {"val/loss", "val/mae"}
    loaded = FineTuning.load_from_checkpoint(tmp_path / "best.ckpt", backbone=network(), weights_only=False)
    module.eval(), loaded.eval()
    batch = next(iter(data.val_dataloader()))
    assert torch.equal(module(batch), loaded(batch))


def test_regression_starts_at_the_median(tmp_path):
    data = EntityTaskDataModule("product-sales", "demo-small", batch_size=64, fanouts=[4])
    module = FineTuning(network())
    fit(module, data, tmp_path, max_steps=1)
    module.head.layers[-1].weight.data.zero_()
    module.head.layers[-1].bias.data.zero_()
    batch = next(iter(data.val_dataloader()))
    assert torch.allclose(module(batch), torch.full((batch["products"].batch_size,), data.task_spec.median))


def test_a_test_metric_carries_its_regime(data, tmp_path):
    cutoff = EntityTaskDataModule("customer-churn", "demo-small", fanouts=[4], regimes=["cutoff"])
    module = FineTuning(network())
    trainer = fit(module, cutoff, tmp_path)
    (metrics,) = trainer.test(module, cutoff, verbose=False)
    assert {"test/cutoff/roc_auc", "test/cutoff/loss"} <= set(metrics)


def test_predictions_name_row_and_time(data, tmp_path):
    module = FineTuning(network())
    trainer = fit(module, data, tmp_path)
    parts = trainer.predict(module, data)
    assert sum(len(part["row"]) for part in parts) == len(data.labels("test"))
    assert torch.equal(torch.cat([part["time"] for part in parts]), data.labels("test").time)
    values = torch.cat([part["prediction"] for part in parts])
    assert ((values >= 0) & (values <= 1)).all()


def test_temporal_transformer_can_be_fine_tuned_too(data, tmp_path):
    backbone = Backbone(LinearTableEncoder(), TemporalTransformer([4, 0], num_heads=2), channels=16)
    fit(FineTuning(backbone), data, tmp_path)


def test_backbones_of_another_database_are_refused_with_the_difference(data, tmp_path):
    other = EntityTaskDataModule("customer-churn", "demo-small", stypes={"products": {"price": None}})
    other.setup("fit")
    backbone = network()
    backbone.build(other.schema)
    folder = str(save_network(tmp_path / "other", backbone))
    with pytest.raises(SchemaError, match=r"\+ table 'products': column 'price' is numerical"):
        fit(FineTuning(checkpoint=folder, start="fine_tuned"), data, tmp_path)


def test_starts_without_their_checkpoint_are_refused():
    with pytest.raises(ValueError, match=r"fine_tuned.*model\.checkpoint"):
        FineTuning(network(), start="fine_tuned")
    with pytest.raises(ValueError, match="no network"):
        FineTuning()
    with pytest.raises(ValueError, match="'froze'"):
        FineTuning(network(), start="froze")


def test_classes_are_trained_and_reported(tmp_path):
    data = EntityTaskDataModule("customer-department", "demo-small", batch_size=64, fanouts=[8, 4], strategy="last")
    module = FineTuning(network(), optimizer=lambda p: torch.optim.Adam(p, lr=1e-2))
    trainer = fit(module, data, tmp_path, max_steps=-1, max_epochs=3, log_every_n_steps=1, limit_val_batches=1.0)
    assert {"val/accuracy", "val/f1_macro", "val/score"} <= set(trainer.callback_metrics)
    metrics = trainer.test(module, data, verbose=False)[0]
    truth = data.task.get_table("test", mask_input_cols=False).df[data.task.target_col]
    assert metrics["test/rolling/accuracy"] >= 0.9 * truth.value_counts(normalize=True).min()
    predicted = torch.cat([part["prediction"] for part in trainer.predict(module, data)])
    values = module.readable(predicted)
    assert (values == truth.to_numpy()).mean() == pytest.approx(metrics["test/rolling/accuracy"], abs=1e-6)


def test_reported_numbers_are_relbenchs_own(tmp_path):
    data = EntityTaskDataModule("product-sales", "demo-small", batch_size=64, fanouts=[4])
    module = FineTuning(network())
    trainer = fit(module, data, tmp_path, max_steps=2)
    metrics = trainer.test(module, data, verbose=False)[0]
    predicted = torch.cat([part["prediction"] for part in trainer.predict(module, data)]).double().numpy()
    assert metrics["test/rolling/nmae"] == pytest.approx(data.task.evaluate(predicted)["nmae"], rel=1e-5)
    truth = data.task.get_table("test", mask_input_cols=False).df[data.task.target_col]
    assert metrics["test/rolling/mae"] == pytest.approx(abs(truth - predicted).mean(), rel=1e-5)


def test_a_backbone_thaws_part_by_part(data, checkpoint, tmp_path):
    module = FineTuning(checkpoint=checkpoint, start="fine_tuned", unfreeze_every=1)
    seen = []

    original = module.on_train_epoch_start

    def spy():
        original()
        parts = (module.backbone.graph_encoder, module.backbone.table_encoder)
        seen.append([all(p.requires_grad for p in part.parameters()) for part in parts])

    module.on_train_epoch_start = spy
    fit(module, data, tmp_path, max_steps=-1, max_epochs=3, limit_train_batches=1)
    assert seen == [[False, False], [True, False], [True, True]]


def test_the_backbone_can_have_a_rate_of_its_own(data, checkpoint, tmp_path):
    module = FineTuning(
        checkpoint=checkpoint, start="fine_tuned", backbone_lr_scale=0.1, optimizer=lambda p: torch.optim.SGD(p, lr=1.0)
    )
    trainer = fit(module, data, tmp_path)
    head, backbone = trainer.optimizers[0].param_groups
    assert (head["lr"], backbone["lr"]) == (1.0, 0.1)
    assert {id(p) for p in backbone["params"]} == {id(p) for p in module.backbone.parameters()}


def test_past_labels_need_a_network_that_has_their_table(data, checkpoint, tmp_path):
    labels = {"task": "customer-churn", "dataset": "demo-small", "batch_size": 64, "fanouts": [8, 4]}
    refused = EntityTaskDataModule(**labels, past_labels=True, checkpoint=checkpoint)
    with pytest.raises(SchemaError, match=r"\+ table 'past_labels'"):
        fit(FineTuning(checkpoint=checkpoint, start="fine_tuned"), refused, tmp_path)
    taken = EntityTaskDataModule(**labels, past_labels=True, checkpoint=checkpoint, extra_tables=True)
    fit(FineTuning(checkpoint=checkpoint, start="fine_tuned", extra_tables=True), taken, tmp_path)
    fit(FineTuning(network()), EntityTaskDataModule(**labels, past_labels=True), tmp_path)


@pytest.mark.parametrize(
    "encoder", [GraphSAGE(), TemporalTransformer([4, 0], num_heads=2)], ids=["sage", "transformer"]
)
def test_weights_for_further_tables_are_fresh_and_the_others_those_of_the_checkpoint(encoder, data, tmp_path):
    from relbench_pretrain.nn.task_network import load_backbone

    labels = EntityTaskDataModule("customer-churn", "demo-small", past_labels=True)
    labels.setup("fit")
    torch.manual_seed(3)
    backbone = Backbone(LinearTableEncoder(), encoder, channels=16)
    backbone.build(data.schema)
    folder = save_network(tmp_path / "best", backbone)
    old, new = backbone.state_dict(), load_backbone(folder, schema=labels.schema)
    state, rows = new.state_dict(), new.graph_encoder.row_names()
    mine = {f"graph_encoder.{key}": value for key, value in rows.items()}
    before = {f"graph_encoder.{key}": value for key, value in backbone.graph_encoder.row_names().items()}
    for name, value in old.items():
        if name in mine:
            place = [mine[name].index(row) for row in before[name]]
            assert torch.equal(state[name][place], value)
        else:
            assert torch.equal(state[name], value)
    assert any("past_labels" in name for name in set(state) - set(old))


def test_checkpoints_of_another_task_are_refused(data, tmp_path):
    module = FineTuning(network())
    trainer = fit(module, data, tmp_path)
    trainer.save_checkpoint(tmp_path / "churn.ckpt")
    other = EntityTaskDataModule("customer-department", "demo-small", batch_size=64, fanouts=[8, 4])
    with pytest.raises(ValueError, match="trained for task 'customer-churn'.*the data is 'customer-department'"):
        trainer.test(FineTuning(network()), other, ckpt_path=tmp_path / "churn.ckpt", verbose=False, weights_only=False)


def test_checkpoints_hold_their_network(data, checkpoint, tmp_path):
    folder = tmp_path / "best"
    shutil.copytree(checkpoint, folder)
    module = FineTuning(checkpoint=str(folder), start="fine_tuned")
    trainer = fit(module, data, tmp_path)
    trainer.save_checkpoint(tmp_path / "a.ckpt")
    shutil.rmtree(folder)
    loaded = FineTuning.load_from_checkpoint(tmp_path / "a.ckpt", weights_only=False)
    module.eval(), loaded.eval()
    batch = next(iter(data.val_dataloader()))
    assert torch.equal(module(batch), loaded(batch))
