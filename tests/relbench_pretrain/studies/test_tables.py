"""Tables: choices on validation, differences paired by seed, and what others published."""

import numpy as np
import pandas as pd
from scipy.stats import ttest_1samp

from relbench_pretrain.evaluation.tables import interval
from relbench_pretrain.studies.presets import Experiment, Network, Study
from relbench_pretrain.studies.tables import choose, experiment_table, scores, task_summary, task_tables


def table(**columns):
    base = {"database": "d", "task": "t", "regime": "rolling", "metric": "roc_auc", "network": "n", "grid": "",
            "labels": 1.0, "seconds": 1.0, "test_low": None}  # fmt: skip
    return pd.DataFrame([base | dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)])


def test_scores_are_of_the_main_metric_and_of_runs_on_tasks():
    runs = pd.DataFrame([
        {"task": None, "start": "pretraining", "val/loss": 1.0},
        {"task": "a", "start": "scratch", "val/accuracy": 0.1, "val/roc_auc": 0.2, "test/rolling/roc_auc": 0.3,
         "test/cutoff/roc_auc": 0.4, "test/cutoff/accuracy": 0.5},
        {"task": "b", "start": "baseline", "val/map": 0.6, "test/rolling/map": 0.7, "test/rolling/map_low": 0.65},
    ])  # fmt: skip
    found = scores(runs)
    names = ["run", "task", "regime", "metric", "validation", "test"]
    assert found[names].to_numpy().tolist() == [
        [1, "a", "cutoff", "roc_auc", 0.2, 0.4],
        [1, "a", "rolling", "roc_auc", 0.2, 0.3],
        [2, "b", "rolling", "map", 0.6, 0.7],
    ]
    assert found["test_low"].tolist()[2] == 0.65
    assert not len(choose(scores(runs[:0].drop(columns="task"))))


def test_the_grid_is_chosen_on_validation_alone():
    frame = table(start=["scratch"] * 4, seed=[0, 1, 0, 1], grid=["a", "a", "b", "b"],
                  validation=[0.7, 0.7, 0.8, 0.5], test=[0.1, 0.1, 0.9, 0.9])  # fmt: skip
    assert set(choose(frame)["grid"]) == {"a"}
    assert set(choose(frame.assign(metric="mae"))["grid"]) == {"b"}


def test_gains_are_paired_by_seed_and_more_is_better():
    frame = table(start=["scratch"] * 3 + ["frozen"] * 3, seed=[0, 1, 2, 2, 1, 0],
                  validation=[0.5] * 6, test=[0.1, 0.5, 0.9, 1.0, 0.6, 0.2])  # fmt: skip
    assert "+0.100 [+0.100, +0.100]" in task_tables(frame, Study("s"))
    assert "-0.100 [-0.100, -0.100]" in task_tables(frame.assign(metric="mae"), Study("s"))
    differences = pd.Series(np.random.default_rng(0).normal(size=5))
    low, high = ttest_1samp(differences, 0).confidence_interval(0.95)
    assert interval(differences) == f"{differences.mean():+.3f} [{low:+.3f}, {high:+.3f}]"


def test_a_network_can_be_compared_with_another_one_from_scratch():
    frame = pd.concat(
        [table(start=["scratch", "scratch"], seed=[0, 1], validation=[0.5] * 2, test=[0.5, 0.7]),
         table(start=["frozen", "frozen"], seed=[0, 1], validation=[0.5] * 2, test=[0.7, 0.9]).assign(network="m")]
    )  # fmt: skip
    networks = {"m": Network("x.yaml", "y.yaml", scratch="n"), "n": Network("x.yaml", "y.yaml")}
    assert "| m, frozen | +0.200 [+0.200, +0.200] |" in task_summary(frame, Study("s", networks=networks))
    assert "m, frozen | +" not in task_summary(frame, Study("s"))


def test_the_summary_has_a_column_per_task_and_regime_and_a_row_per_side():
    frame = pd.concat(
        table(start=["scratch", "scratch", "frozen", "frozen"], seed=[0, 1, 0, 1],
              validation=[0.5] * 4, test=[0.5, 0.7, 0.6, 0.8]).assign(task=task) for task in ("a", "b")
    )  # fmt: skip
    published = [{"task": "b", "regime": "rolling", "system": "paper", "value": 0.71}]
    text = task_summary(frame, Study("s", published=published))
    assert "| n, scratch | 0.600 ± 0.141 | 0.600 ± 0.141 |" in text
    assert "| published: paper |  | 0.710 |" in text
    assert "| n, frozen | +0.100 [+0.100, +0.100] | +0.100 [+0.100, +0.100] |" in text


def test_published_results_stand_beside_their_task_and_regime():
    frame = table(start=["scratch"], seed=[0], validation=[0.5], test=[0.5])
    entries = [{"task": "t", "regime": r, "system": f"paper {r}", "value": 0.7} for r in ("rolling", "cutoff")]
    text = task_tables(frame, Study("s", published=entries))
    assert "| paper rolling | published |" in text and "paper cutoff" not in text


def test_experiments_are_compared_seed_by_seed():
    rows = [
        {"experiment": name, "seed": seed, "seconds": 10.0, "val/score": 1.0, "test/mrr": value, "test/mean_rank": 4.0}
        for seed, values in enumerate(((0.2, 0.1), (0.5, 0.3), (0.3, 0.2)))
        for name, value in zip("ab", values, strict=True)
    ]
    against = {"a": ["b", "not done"], "b": [], "not done": []}
    experiments = {name: Experiment("x.yaml", against=others) for name, others in against.items()}
    lines = experiment_table(pd.DataFrame(rows), Study("s", experiments=experiments)).splitlines()
    # differences .1, .2, .1: mean .133, deviation .0577, Student's 97.5 % quantile at two degrees of freedom 4.303
    assert lines == [
        "|  | mrr | mean_rank | seeds | seconds |",
        "| --- | --- | --- | --- | --- |",
        "| a | 0.333 ± 0.153 | 4.000 ± 0.000 | 3 | 10 |",
        "| b | 0.200 ± 0.100 | 4.000 ± 0.000 | 3 | 10 |",
        "",
        "Gain over another one, paired by seed, with its 95 % interval:",
        "",
        "|  | mrr |",
        "| --- | --- |",
        "| a over b | +0.133 [-0.010, +0.277] |",
    ]


def test_all_that_one_system_published_stands_in_one_row():
    published = [
        {"experiment": "a", "metric": "test/rank", "value": 3, "system": "paper"},
        {"experiment": "a", "metric": "test/mrr", "value": 0.25, "system": "paper"},
        {"experiment": "a", "metric": "test/mrr", "value": 0.2, "system": "older paper"},
    ]
    row = {"experiment": "a", "seed": 0, "seconds": 10.0, "test/mrr": 0.5, "test/hits": 0.4, "test/rank": 2.0}
    study = Study("s", experiments={"a": Experiment("x.yaml")}, published=published)
    rows = experiment_table(pd.DataFrame([row]), study).splitlines()[3:]
    assert rows == ["| published: paper, a | 0.25 |  | 3 |  |  |", "| published: older paper, a | 0.2 |  |  |  |  |"]
