"""Batches as the datamodules hand them out."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from jsonargparse import ArgumentParser

import datamodules
from datamodules import ContrastiveDataModule, EntityTaskDataModule, ForecastDataModule
from relbench_pretrain.relational.tasks import TaskError


@pytest.fixture(scope="module")
def contrastive():
    module = ContrastiveDataModule("demo-small", batch_size=32, num_per_round=16, num_rounds=2, val_batches=4)
    module.setup("fit")
    return module


def test_training_sees_nothing_held_out_and_nothing_after_validation(contrastive):
    assert contrastive.cut < contrastive.val_time
    for batch, _ in zip(contrastive.train_dataloader(), range(5), strict=False):
        for table in batch.node_types:
            if "time" in batch[table]:
                assert (batch[table].time <= contrastive.cut).all()


def test_validation_seeds_are_held_out_and_see_only_what_is_earlier(contrastive):
    start = contrastive.index.flat.offset
    loader = contrastive.val_dataloader()
    assert len(loader) == 4
    rows = loader.loader.input_data.node
    times = torch.from_numpy(contrastive.index.flat.time)[rows]
    assert (times > contrastive.cut).all()
    assert (times <= contrastive.val_time).all()
    assert len(rows) <= start[-1]
    for batch in loader:
        for table in batch.node_types:
            if "time" in batch[table]:
                assert (batch[table].time <= contrastive.val_time).all()
                assert (batch[table].age >= 0).all()


def test_validation_batches_are_the_same_every_time_and_training_ones_are_not(contrastive):
    def first(loader, epoch):
        loader.order.begin(epoch)
        return next(iter(loader.loader))

    validation, training = contrastive.val_dataloader(), contrastive.train_dataloader()
    assert torch.equal(first(validation, 0)["orders"].n_id, first(validation, 1)["orders"].n_id)
    assert not torch.equal(first(training, 0)["orders"].n_id, first(training, 1)["orders"].n_id)
    again = first(training, 0), first(training, 0)
    assert torch.equal(again[0]["orders"].n_id, again[1]["orders"].n_id)
    for kind, feat in again[0]["orders"].corrupted_tf.feat_dict.items():
        other = again[1]["orders"].corrupted_tf.feat_dict[kind]
        same = torch.equal(feat, other) if isinstance(feat, torch.Tensor) else torch.equal(feat.values, other.values)
        assert same or feat.isnan().any()


def test_corrupted_views_have_the_same_rows_and_other_cells(contrastive):
    batch = next(iter(contrastive.train_dataloader()))
    frame, corrupted = batch["orders"].tf, batch["orders"].corrupted_tf
    assert len(frame) == len(corrupted)
    assert frame != corrupted


def test_batches_drawn_on_the_device_are_alike_and_train():
    size = {"batch_size": 32, "num_per_round": 16, "num_rounds": 2, "val_batches": 2}
    module = ContrastiveDataModule("demo-small", device_sampling=True, **size)
    module.setup("fit")
    batches = [batch for batch, _ in zip(module.train_dataloader(), range(3), strict=False)]
    host = ContrastiveDataModule("demo-small", **size)
    host.setup("fit")
    for batch, other in zip(batches, host.train_dataloader(), strict=False):
        assert batch.node_types == other.node_types
        for table in batch.node_types:
            assert set(batch[table].keys()) == set(other[table].keys())
            assert abs(batch[table].num_nodes - other[table].num_nodes) <= 16
            if "time" in batch[table]:
                assert (batch[table].time <= module.cut).all()
    assert len(list(module.val_dataloader())) == 2


def test_device_sampling_takes_no_workers():
    with pytest.raises(ValueError, match="num_workers to 0, not 2"):
        ContrastiveDataModule("demo-small", device_sampling=True, num_workers=2)


def test_bad_holdout_is_refused():
    with pytest.raises(ValueError, match=r"holdout.*1\.5"):
        ContrastiveDataModule("demo-small", holdout=1.5)


@pytest.fixture(scope="module")
def task():
    module = EntityTaskDataModule("customer-churn", "demo-small", batch_size=32, fanouts=[4, 2])
    module.setup("fit")
    return module


@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_labels_belong_to_their_rows(task, split):
    table = task.task.get_table(split, mask_input_cols=False).df
    loader = task.loader(split)
    batch = next(iter(loader))
    store = batch["customers"]
    frame = table.iloc[store.input_id.numpy()]
    assert store.n_id[: store.batch_size].tolist() == frame[task.task.entity_col].tolist()
    assert store.y.tolist() == frame[task.task.target_col].astype(float).tolist()
    assert store.seed_time.tolist() == [t.timestamp() for t in frame[task.task.time_col]]


def test_no_row_is_later_than_its_seed(task):
    for batch in task.test_dataloader()[0]:
        seed_time = batch["customers"].seed_time
        for name in batch.node_types:
            if "time" in batch[name]:
                assert (batch[name].time <= seed_time[batch[name].batch]).all()


def test_cutoff_test_rows_see_nothing_after_the_test_time():
    module = EntityTaskDataModule("customer-churn", "demo-small", regimes=["cutoff"], fanouts=[4, 2])
    module.setup("test")
    for loader in (*module.test_dataloader(), module.val_dataloader()):
        for batch in loader:
            for name in batch.node_types:
                if "time" in batch[name]:
                    assert (batch[name].time <= module.test_time).all()


def test_unknown_tasks_are_named_with_those_there_are():
    module = EntityTaskDataModule("churn", "demo-small")
    with pytest.raises(TaskError, match="'churn'.*customer-churn"):
        module.setup("fit")


def test_plain_neighbours_can_stand_in_for_hgsampling():
    module = ContrastiveDataModule("demo-small", batch_size=8, neighbors=[4, 2], time_limit=True)
    module.setup("fit")
    batch = next(iter(module.train_dataloader()))
    assert "corrupted_tf" in batch["orders"]
    owners = torch.cat([batch[table].batch for table in batch.node_types])
    assert set(owners.tolist()) == set(range(8))
    with pytest.raises(ValueError, match="leave neighbors out"):
        ContrastiveDataModule("demo-small", neighbors=[4], device_sampling=True)


@pytest.mark.parametrize("name", datamodules.__all__)
def test_help_lists_all_arguments_with_texts_and_types(name):
    parser = ArgumentParser()
    parser.add_class_arguments(getattr(datamodules, name), "data")
    options = {action.dest: action for action in parser._actions if hasattr(action, "_typehint")}
    assert {"data.num_workers", "data.seed", "data.cache_dir"} <= options.keys()
    for name, option in options.items():
        assert option.help, name
        assert option._typehint is not Any, name


def test_arguments_of_the_base_are_hyperparameters():
    module = ForecastDataModule("demo-small", stypes={"products": {"price": None}}, num_workers=1, follow=2)
    assert module.hparams.items() >= {"dataset": "demo-small", "num_workers": 1, "follow": 2, "calendar": True}.items()
    assert module.hparams.stypes == {"products": {"price": None}}
    with pytest.raises(TypeError, match="horizon"):
        ForecastDataModule("demo-small", horizon=30)
