"""Baselines: better than guessing where they should be, refused where they do not fit."""

import json

import pytest

from relbench_pretrain.commands.baseline import baseline
from relbench_pretrain.relational.tasks import TaskError


def score(tmp_path, method, task, dataset="demo-small", **options):
    path = tmp_path / "metrics.json"
    baseline(method, task, dataset, str(path), **options)
    return json.loads(path.read_text())


def test_trees_on_aggregates_beat_trees_on_the_row_and_chance(tmp_path):
    pytest.importorskip("lightgbm")
    row, aggregates = (score(tmp_path, f"lightgbm_{m}", "customer-churn", "demo") for m in ("row", "aggregates"))
    assert aggregates["rolling"]["roc_auc"] > max(0.6, row["rolling"]["roc_auc"])
    assert set(aggregates) == {"val", "rolling", "cutoff"}


@pytest.mark.parametrize("task", ["product-sales", "customer-department", "review-rating"])
@pytest.mark.parametrize("method", ["entity_mean", "lightgbm_aggregates"])
def test_every_kind_of_entity_task(tmp_path, method, task):
    pytest.importorskip("lightgbm")
    if (method, task) == ("entity_mean", "customer-department"):
        with pytest.raises(TaskError, match="no mean"):
            score(tmp_path, method, task)
        return
    found = score(tmp_path, method, task, label_fraction=0.5)
    assert ("cutoff" in found) == (task != "review-rating")


def test_past_interactions_beat_popularity(tmp_path):
    popular, past = (score(tmp_path, m, "customer-products", "demo") for m in ("popularity", "past_interactions"))
    assert past["rolling"]["map"] > popular["rolling"]["map"] > 0


def test_methods_of_the_other_kind_are_refused_with_those_that_fit():
    with pytest.raises(TaskError, match=r"'popularity' is not one for task 'customer-churn'.*lightgbm_aggregates"):
        baseline("popularity", "customer-churn", "demo-small")
    with pytest.raises(TaskError, match=r"'entity_mean'.*past_interactions"):
        baseline("entity_mean", "customer-products", "demo-small")
