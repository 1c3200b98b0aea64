"""Metrics to report, against RelBench's own and closed forms."""

import numpy as np
import pytest

from relbench_pretrain.evaluation.metrics import (
    average_precisions,
    bootstrap_interval,
    relbench_metrics,
    roc_auc,
    task_loss,
    task_metrics,
)
from relbench_pretrain.relational.database import open_dataset
from relbench_pretrain.relational.tasks import TaskSpec, load_task


@pytest.fixture(scope="module")
def demo():
    return open_dataset("demo-small")


def test_mean_of_average_precisions_is_relbenchs_map(demo):
    task = load_task(demo, "customer-products")
    true = task.get_table("test", mask_input_cols=False).df[task.dst_entity_col].to_list()
    prediction = np.random.default_rng(0).integers(0, 60, (len(true), 10))
    prediction[:20, 0] = [row[0] for row in true[:20]]
    metrics = relbench_metrics(task, "test", prediction)
    assert average_precisions(prediction, true).mean() == pytest.approx(metrics["map"])
    assert metrics["map_low"] < metrics["map"] < metrics["map_high"]


def test_average_precision_by_hand():
    assert average_precisions(np.array([[3, 9, 5, 1]]), [[3, 5]]).tolist() == [(1 + 2 / 3) / 2]
    assert average_precisions(np.array([[7, 8]]), [[1, 2, 3]]).tolist() == [0]


def test_bootstrap_covers_the_normal_interval():
    values = np.random.default_rng(0).normal(size=400)
    low, high = bootstrap_interval(values)
    half = 1.96 * values.std() / 20
    assert low == pytest.approx(values.mean() - half, abs=0.02)
    assert high == pytest.approx(values.mean() + half, abs=0.02)


def test_classes_are_scored_by_their_values(demo):
    task = load_task(demo, "customer-department")
    true = task.get_table("val", mask_input_cols=False).df[task.target_col].to_numpy()
    assert relbench_metrics(task, "val", true) == {"accuracy": 1.0, "f1_macro": 1.0}
    wrong = np.roll(true, 1)
    assert relbench_metrics(task, "val", wrong)["accuracy"] == pytest.approx((wrong == true).mean())


def test_labels_that_never_vary_do_not_count():
    true = np.array([[0, 1], [1, 1], [1, 1]])
    assert roc_auc(true, np.array([[0.1, 0.2], [0.8, 0.1], [0.9, 0.3]])) == 1.0


@pytest.mark.parametrize(
    ("kind", "outputs", "names"),
    [
        ("binary_classification", 1, {"roc_auc", "average_precision"}),
        ("multiclass_classification", 3, {"accuracy", "f1_macro"}),
        ("multilabel_classification", 3, {"roc_auc", "f1_macro"}),
        ("regression", 1, {"mae", "r2"}),
    ],
)
def test_every_kind_has_a_loss_and_metrics(kind, outputs, names):
    spec = TaskSpec("t", kind, "e", classes=tuple(range(outputs)), num_outputs=outputs)
    assert set(task_metrics(spec)) == names
    assert task_loss(spec) is not None
