"""Studies: which runs, in which order, skipped and resumed, and what is written of them."""

import json

import numpy as np
import pandas as pd
import pytest

from relbench_pretrain.studies import study as room
from relbench_pretrain.studies.study import (
    DatabaseStudy,
    NetworkStudy,
    RunPlan,
    StudyError,
    TaskStudy,
    execute,
    is_done,
    plan,
    run_all,
    study,
)
from relbench_pretrain.studies.study_results import choose, interval, run_rows, summary, tables, write_results

DATABASES = {"shop": DatabaseStudy("demo-small", {"customer-churn": TaskStudy(["--trainer.max_epochs=2"])})}
NETWORKS = {"sage": NetworkStudy("contrastive/demo.yaml", "fine_tuning/demo.yaml")}
STARTS = ["scratch", "frozen", "fine_tuned"]


def plans(root, **options):
    arguments = {"starts": STARTS, "seeds": [0, 1], "pretraining_seeds": [0], "label_fractions": [1.0], "grid": {}}
    return list(plan(DATABASES, NETWORKS, root=root, **(arguments | options)))


def test_every_combination_is_one_run_and_needs_its_backbone(tmp_path):
    found = plans(tmp_path, label_fractions=[1.0, 0.1], grid={"data.batch_size": ["32", "64"]})
    pretraining, *runs = found
    assert pretraining.folder == "shop/pretraining/sage-0"
    assert len(runs) == 3 * 2 * 2 * 2 == len({run.folder for run in runs}) == len({run.hash for run in runs})
    for run in runs:
        assert run.needs == ([] if run.labels["start"] == "scratch" else [pretraining])
        assert ("--model.checkpoint" in " ".join(run.command)) == (run.labels["start"] != "scratch")


def test_backbones_are_shared_out_over_the_seeds(tmp_path):
    found = plans(tmp_path, seeds=[0, 1, 2], pretraining_seeds=[5, 6])
    needs = [run.needs[0].folder for run in found if run.labels["start"] == "frozen"]
    assert needs == [f"shop/pretraining/sage-{seed}" for seed in (5, 6, 5)]


def test_backbones_can_come_from_another_database(tmp_path, monkeypatch):
    other = DatabaseStudy("demo", {"customer-churn": TaskStudy()}, pretrained_on="shop")
    monkeypatch.setitem(DATABASES, "abroad", other)
    found = plans(tmp_path)
    assert [run.folder for run in found if run.labels["start"] == "pretraining"] == ["shop/pretraining/sage-0"]
    abroad = [run for run in found if run.labels["database"] == "abroad" and run.labels["start"] == "frozen"]
    assert {run.needs[0].folder for run in abroad} == {"shop/pretraining/sage-0"}


def test_other_pretraining_means_other_runs_on_tasks(tmp_path):
    changed = NETWORKS["sage"].__class__("contrastive/demo.yaml", "fine_tuning/demo.yaml", ["--trainer.max_steps=9"])
    before, after = (
        {run.folder: run.hash for run in plan(DATABASES, {"sage": net}, STARTS, [0], [0], [1.0], {}, tmp_path)}
        for net in (NETWORKS["sage"], changed)
    )
    same = {folder for folder in before if before[folder] == after[folder]}
    assert same == {"shop/customer-churn/sage-scratch-1-0"}


def test_nothing_is_pretrained_for_starts_from_scratch(tmp_path):
    assert all(run.labels["start"] == "scratch" for run in plans(tmp_path, starts=["scratch"]))


def test_failed_backbones_keep_their_runs_from_starting(tmp_path, monkeypatch):
    made = []

    def fake(run, root, *options):
        made.append(run.folder)
        return "pretraining" not in run.folder

    monkeypatch.setattr(room, "execute", fake)
    failed = run_all(plans(tmp_path), tmp_path, jobs=2)
    assert len(failed) == 1 + 4
    assert len(made) == 1 + 2


def test_a_run_is_done_only_with_the_same_arguments(tmp_path):
    run = RunPlan("a", ["fit", "--x=1"], {})
    assert not is_done(run, tmp_path)
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "run.json").write_text(json.dumps({"config": run.hash}))
    assert is_done(run, tmp_path)
    assert not is_done(RunPlan("a", ["fit", "--x=2"], {}), tmp_path)


def test_an_interrupted_run_is_resumed_and_one_with_other_arguments_begins_anew(tmp_path, monkeypatch):
    commands, environments = [], []

    def fake(command, env, **options):
        commands.append(command)
        environments.append(env)
        return type("Done", (), {"returncode": 1})

    monkeypatch.setattr(room.subprocess, "run", fake)
    run, other = RunPlan("a", ["fit", "--x=1"], {}), RunPlan("a", ["fit", "--x=2"], {})
    checkpoint = tmp_path / "a" / "fit" / "checkpoints" / "last.ckpt"
    assert not execute(run, tmp_path, 1)
    checkpoint.parent.mkdir(parents=True)
    checkpoint.touch()
    execute(run, tmp_path, 1, "churn", "logger/wandb.yaml")
    assert checkpoint.is_file()
    execute(other, tmp_path, 1)
    assert not checkpoint.exists()
    assert all("--run=fit" in command for command in commands)
    assert ["--trainer.logger+=logger/wandb.yaml" in command for command in commands] == [False, True, False]
    assert [environments[1][f"WANDB_{key}"] for key in ("RUN_GROUP", "NAME", "JOB_TYPE")] == ["churn", "a", "fit"]
    assert not (tmp_path / "a" / "run.json").exists()


def test_metrics_of_a_run_are_read_one_validation_after_the_other(tmp_path):
    text = "epoch,step,val/mae,val/score,test/rolling/mae\n0,9,3,-3,\n1,19,2.5,-2.5,\n2,29,4,-4,\n3,30,,,2.25\n"
    (tmp_path / "fit").mkdir()
    (tmp_path / "fit" / "metrics.csv").write_text(text)
    (tmp_path / "run.json").write_text('{"seconds": 1}')
    (row,) = run_rows({"start": "scratch"}, tmp_path)
    assert (row["validation"], row["test"], row["best_epoch"], row["epochs"]) == (2.5, 2.25, 1, 3)


def table(**columns):
    base = {"database": "d", "task": "t", "regime": "rolling", "metric": "roc_auc", "network": "n", "grid": "",
            "labels": 1.0, "seconds": 1.0}  # fmt: skip
    return pd.DataFrame([base | dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)])


def test_the_grid_is_chosen_on_validation_alone():
    frame = table(start=["scratch"] * 4, seed=[0, 1, 0, 1], grid=["a", "a", "b", "b"],
                  validation=[0.7, 0.7, 0.8, 0.5], test=[0.1, 0.1, 0.9, 0.9])  # fmt: skip
    assert set(choose(frame)["grid"]) == {"a"}
    assert set(choose(frame.assign(metric="mae"))["grid"]) == {"b"}


def test_gains_are_paired_by_seed_and_more_is_better():
    frame = table(start=["scratch"] * 3 + ["cutoff"] * 3, seed=[0, 1, 2, 2, 1, 0],
                  validation=[0.5] * 6, test=[0.1, 0.5, 0.9, 1.0, 0.6, 0.2])  # fmt: skip
    assert "+0.100 [+0.100, +0.100]" in tables(frame, [], {})
    assert "-0.100 [-0.100, -0.100]" in tables(frame.assign(metric="mae"), [], {})
    rng = np.random.default_rng(0)
    differences = pd.Series(rng.normal(size=5))
    from scipy.stats import ttest_1samp

    low, high = ttest_1samp(differences, 0).confidence_interval(0.95)
    assert interval(differences) == f"{differences.mean():+.3f} [{low:+.3f}, {high:+.3f}]"


def test_a_network_can_be_compared_with_another_one_from_scratch():
    frame = pd.concat(
        [table(start=["scratch", "scratch"], seed=[0, 1], validation=[0.5] * 2, test=[0.5, 0.7]),
         table(start=["frozen", "frozen"], seed=[0, 1], validation=[0.5] * 2, test=[0.7, 0.9]).assign(network="m")]
    )  # fmt: skip
    assert "| m, frozen | +0.200 [+0.200, +0.200] |" in summary(frame, [], {"m": "n"})
    assert "m, frozen | +" not in summary(frame, [], {})


def test_the_summary_has_a_column_per_task_and_regime_and_a_row_per_side():
    frame = pd.concat(
        table(start=["scratch", "scratch", "frozen", "frozen"], seed=[0, 1, 0, 1],
              validation=[0.5] * 4, test=[0.5, 0.7, 0.6, 0.8]).assign(task=task) for task in ("a", "b")
    )  # fmt: skip
    text = summary(frame, [{"task": "b", "regime": "rolling", "system": "paper", "value": 0.71}], {})
    assert "| n, scratch | 0.600 ± 0.141 | 0.600 ± 0.141 |" in text
    assert "| published: paper |  | 0.710 |" in text
    assert "| n, frozen | +0.100 [+0.100, +0.100] | +0.100 [+0.100, +0.100] |" in text


def test_published_results_stand_beside_their_task_and_regime():
    frame = table(start=["scratch"], seed=[0], validation=[0.5], test=[0.5])
    entries = [{"task": "t", "regime": r, "system": f"paper {r}", "value": 0.7} for r in ("rolling", "cutoff")]
    text = tables(frame, entries, {})
    assert "| paper rolling | published |" in text and "paper cutoff" not in text


def test_a_whole_study_runs_and_is_skipped_when_done(run_in, quick_runs, capsys):
    small = ["--trainer.limit_train_batches=2", "--trainer.num_sanity_val_steps=0"]
    databases = {"shop": DatabaseStudy("demo-small", {"customer-churn": TaskStudy(["--trainer.max_epochs=2", *small])})}
    networks = {
        "sage": NetworkStudy(
            "contrastive/demo.yaml", "fine_tuning/demo.yaml",
            ["--trainer.max_steps=2", "--trainer.val_check_interval=2", "--trainer.limit_val_batches=1"],
        )
    }  # fmt: skip
    arguments = {"starts": ["scratch", "fine_tuned"], "seeds": [0], "label_fractions": [1.0, 0.5], "results_dir": "out"}
    study("small", databases, networks, jobs=2, **arguments)
    results = pd.read_csv("out/results.csv")
    assert len(results) == 2 * 2 * 2
    assert set(results["regime"]) == {"rolling", "cutoff"}
    assert results["test"].between(0, 1).all() and (results["epochs"] == 2).all()
    for name in (
        "table.md",
        "study.json",
        "pretraining.csv",
        "learning_curves.png",
        "sides.svg",
        "label_efficiency.png",
    ):
        assert (run_in / "out" / name).stat().st_size > 0
    before = (run_in / "out" / "results.csv").read_text()
    capsys.readouterr()
    study("small", databases, networks, **arguments)
    assert "5 runs, of which 5 are done" in capsys.readouterr().out
    assert (run_in / "out" / "results.csv").read_text() == before


def test_places_of_unknown_databases_are_refused():
    with pytest.raises(StudyError, match=r"\['f1'\].*\['shop'\]"):
        study("small", DATABASES, NETWORKS, datasets={"f1": "x"})


def test_a_study_without_runs_writes_an_empty_table(tmp_path):
    write_results([], tmp_path, [], {})
    assert (tmp_path / "results.csv").read_text().startswith("database,task,regime")
