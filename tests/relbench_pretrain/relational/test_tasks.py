"""Tasks as arrays, against RelBench's own tables."""

import numpy as np
import pandas as pd
import pytest
import relbench
import torch
from relbench.base import TaskType
from relbench.manifest import TaskManifest

from relbench_pretrain.relational.database import load_database
from relbench_pretrain.relational.graph import build_graph, fit_schema, hide_columns
from relbench_pretrain.relational.tasks import (
    TaskError,
    hidden_columns,
    load_task,
    recommendation_table,
    task_spec,
    task_table,
)

SPLITS = ("train", "val", "test")
F1 = {  # the published sizes
    "driver-dnf": (11_411, 566, 702),
    "driver-top3": (1_353, 588, 726),
    "driver-position": (7_453, 499, 760),
}


@pytest.fixture(scope="module")
def demo(demo_folder):
    return relbench.load_dataset(demo_folder)


def assert_equals_relbench(dataset, name: str) -> None:
    """Rows, times and labels of every split, those of the test split included."""
    task, original = load_task(dataset, name), dataset.load_task(name)
    for split in SPLITS:
        table, df = task_table(task, split), original.get_table(split, mask_input_cols=False).df
        assert len(table) == len(df) > 0
        assert table.row.tolist() == df[original.entity_col].tolist()
        assert (pd.to_datetime(table.time.numpy(), unit="s") == pd.DatetimeIndex(df[original.time_col])).all()
        np.testing.assert_array_equal(table.target, df[original.target_col].to_numpy(dtype=np.float32))
        assert (table.row.dtype, table.time.dtype, table.target.dtype) == (torch.int64, torch.int64, torch.float32)
        masked = original.get_table(split, mask_input_cols=True).df
        assert original.target_col not in masked


@pytest.mark.parametrize("name", ["customer-churn", "product-sales", "review-rating"])
def test_demo(demo, name):
    assert_equals_relbench(demo, name)


@pytest.mark.parametrize("name", F1)
def test_rel_f1(shared_database, name):
    dataset = shared_database("rel-f1")
    assert_equals_relbench(dataset, name)
    assert tuple(len(task_table(load_task(dataset, name), split)) for split in SPLITS) == F1[name]


@pytest.mark.parametrize(
    ("name", "task"),
    [
        ("baseball", "player-retire"),
        ("baseball", "player-allstar"),
        ("baseball", "player-homeruns"),
        ("stack-bicycles-meta", "post-votes"),
        ("stack-bicycles-meta", "user-badge"),
        ("stack-quantumcomputing", "user-engagement"),
        ("stack-quantumcomputing", "post-votes"),
    ],
)
def test_other_real_tasks(shared_database, name, task):
    assert_equals_relbench(shared_database(name), task)


def test_seeds_are_rows_of_the_entity_table_at_times_of_their_split(demo):
    db = load_database(demo)
    for name in ("customer-churn", "product-sales"):
        task = load_task(demo, name)
        for split in SPLITS:
            table = task_table(task, split)
            assert table.row.min() >= 0
            assert table.row.max() < len(db.table_dict[task.entity_table])
        train, val, test = (task_table(task, split).time for split in SPLITS)
        assert train.max() < val.min() == demo.val_timestamp.timestamp()
        assert val.max() < test.min() == demo.test_timestamp.timestamp()


class TestSpec:
    def test_classification(self, demo):
        spec = task_spec(load_task(demo, "customer-churn"), "customer-churn")
        assert (spec.kind, spec.entity_table, spec.num_outputs) == ("binary_classification", "customers", 1)
        assert (spec.median, spec.scale, spec.classes) == (0.0, 1.0, ())

    def test_classes_are_numbered_in_their_order(self, demo):
        task = load_task(demo, "customer-department")
        spec = task_spec(task, "customer-department")
        assert list(spec.classes) == sorted(spec.classes) and spec.num_outputs == len(spec.classes) > 2
        table, df = task_table(task, "val", spec.classes), task.get_table("val", mask_input_cols=False).df
        assert [spec.classes[i] for i in table.target.tolist()] == df[task.target_col].tolist()

    def test_labels_of_a_multilabel_task_are_rows_of_a_matrix(self, demo, monkeypatch):
        task = load_task(demo, "customer-churn")
        table = task.get_table("val", mask_input_cols=False)
        bits = np.random.default_rng(0).integers(0, 2, (len(table.df), 3))
        table.df[task.target_col] = list(bits)
        monkeypatch.setattr(task, "get_table", lambda *_, **__: table)
        monkeypatch.setattr(task, "task_type", TaskType.MULTILABEL_CLASSIFICATION)
        assert task_spec(task, "x").num_outputs == 3
        assert task_table(task, "val").target.tolist() == bits.tolist()

    def test_destinations_of_a_recommendation(self, demo):
        task = load_task(demo, "customer-products")
        spec = task_spec(task, "customer-products")
        assert (spec.entity_table, spec.destination_table, spec.num_recommended) == ("customers", "products", 10)
        table, df = recommendation_table(task, "train"), task.get_table("train", mask_input_cols=False).df
        parts = table.destination.split(table.pointer.diff().tolist())
        assert [part.tolist() for part in parts] == [list(x) for x in df[task.dst_entity_col]]

    def test_regression_is_described_by_its_training_labels(self, demo, monkeypatch):
        task = load_task(demo, "product-sales")
        target = task.get_table("train").df[task.target_col]
        monkeypatch.setattr(task, "get_table", guard(task.get_table))
        spec = task_spec(task, "product-sales")
        assert spec.kind == "regression"
        assert spec.scale == pytest.approx(target.std())
        assert spec.median in (np.floor(target.median()), np.ceil(target.median()), target.median())

    @pytest.mark.parametrize("targets", [[3.0], [3.0, 3.0]])
    def test_targets_that_do_not_vary(self, demo, monkeypatch, targets):
        task = load_task(demo, "product-sales")
        table = task.get_table("train")
        table.df = table.df[: len(targets)].assign(**{task.target_col: targets})
        monkeypatch.setattr(task, "get_table", lambda *_, **__: table)
        spec = task_spec(task, "product-sales")
        assert (spec.median, spec.scale) == (3.0, 1.0)


def guard(get_table):
    def train_only(split, **kwargs):
        assert split == "train"
        return get_table(split, **kwargs)

    return train_only


class TestErrors:
    def test_unknown_task(self, demo):
        with pytest.raises(TaskError, match=r"the dataset has no task 'nope'; it has \['customer-churn', "):
            load_task(demo, "nope")

    def test_a_database_without_tasks(self, demo, monkeypatch):
        monkeypatch.setattr(demo, "get_task_names", list)
        with pytest.raises(TaskError, match="the dataset has no task 'nope'; it has none"):
            load_task(demo, "nope")

    @pytest.mark.parametrize("column", ["entity_col", "time_col", "target_col"])
    def test_labels_with_gaps(self, demo, monkeypatch, column):
        task = load_task(demo, "product-sales")
        table = task.get_table("val")
        name = getattr(task, column)
        table.df[name] = table.df[name].astype(object).where(~table.df.index.isin([2, 4]), None)
        monkeypatch.setattr(task, "get_table", lambda *_, **__: table)
        with pytest.raises(
            TaskError, match=f"the val labels have no {name} in row 2, nor in 1 others: drop these rows"
        ):
            task_table(task, "val")


class TestHiddenColumns:
    def test_forecasts_hide_what_their_manifest_names(self, demo, monkeypatch):
        task = load_task(demo, "product-sales")
        assert hidden_columns(task) == []
        monkeypatch.setattr(task, "remove_columns", [("orders", "discount")])
        assert hidden_columns(task) == [("orders", "discount")]

    def test_autocomplete_hides_its_target(self, demo):
        task = load_task(demo, "review-rating")
        assert ("reviews", "rating") in hidden_columns(task)
        db = load_database(demo)
        hidden = hide_columns(db, hidden_columns(task))
        assert "rating" not in fit_schema(hidden).tables["reviews"].columns
        assert build_graph(hidden, fit_schema(db)).frames["reviews"].get_col_feat("rating").isnan().all()

    def test_real_autocomplete(self, shared_database):
        task = load_task(shared_database("rel-f1"), "results-position")
        assert set(hidden_columns(task)) >= {
            ("results", "position"),
            ("results", "positionOrder"),
            ("results", "points"),
        }
        assert len(task_table(task, "train")) > 1_000


def test_manifest_of_a_task_is_what_the_test_thinks_it_is(demo):
    manifest = TaskManifest.load(demo.dataset_dir / "tasks" / "review-rating" / "manifest.yaml")
    assert (manifest.kind, manifest.target_col) == ("autocomplete", "rating")
