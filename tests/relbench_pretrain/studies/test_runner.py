"""The runner: what is skipped, resumed, kept from starting, and what it says; whole studies and the demonstration."""

import time
from types import SimpleNamespace

import pandas as pd
import pytest

from relbench_pretrain.commands.demo import demo
from relbench_pretrain.commands.study import study
from relbench_pretrain.progress import StatusLine
from relbench_pretrain.studies import runner
from relbench_pretrain.studies.plan import Run, StudyError
from relbench_pretrain.studies.presets import Database, Experiment, Network, Task
from relbench_pretrain.studies.results import read_results


def test_what_needs_a_run_that_failed_is_not_started(tmp_path, monkeypatch, capsys):
    made = []
    first, other = Run("first", ["fit"], {}), Run("other", ["fit"], {})
    second = Run("second", ["fit"], {}, [first])
    plan = [Run("third", ["fit"], {}, [second]), second, other, first]

    def fake(run, root, *options):
        made.append(run.folder)
        (root / run.folder).mkdir()
        (root / run.folder / "run.log").write_text("error: too large\n\n")
        time.sleep(0.1 * (run is other))
        return run is not first

    monkeypatch.setattr(runner, "execute", fake)
    monkeypatch.setattr(StatusLine, "show", StatusLine.say)
    assert set(runner.run_all(plan, tmp_path, jobs=2)) == {"first", "second", "third"}
    assert sorted(made) == ["first", "other"]
    told = capsys.readouterr().out.splitlines()
    assert told[0] == "4 runs, of which 0 are done; 2 at a time"
    assert "0 of 4 done, waiting for other (0 s), first (0 s)" in told and "first FAILED: error: too large" in told[2]
    assert "[4/4] " in told[-2] + told[-1] and "third FAILED, as a run that it needs has" in "\n".join(told)
    made.clear()

    def slow(run, root, threads, *options):
        assert threads == 1
        time.sleep(0.2 * (run is first))
        made.append(run.folder)
        return True

    monkeypatch.setattr(runner, "execute", slow)
    monkeypatch.setattr(runner.os, "cpu_count", lambda: 64)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert not runner.run_all(plan, tmp_path, jobs=4)
    assert made.index("first") < made.index("second") < made.index("third")


def test_an_interrupted_run_is_resumed_and_one_with_other_arguments_begins_anew(tmp_path, monkeypatch):
    commands, environments = [], []

    def fake(command, stdout, env, **options):
        commands.append(command)
        environments.append(env)
        stdout.write("error: too large\n\n")
        return SimpleNamespace(returncode=1)

    monkeypatch.setattr(runner.subprocess, "run", fake)
    run, other = Run("a", ["fit", "--x=1"], {}), Run("a", ["fit", "--x=2"], {})
    checkpoint = tmp_path / "a" / "fit" / "checkpoints" / "last.ckpt"
    assert not runner.execute(run, tmp_path, 1)
    checkpoint.parent.mkdir(parents=True)
    checkpoint.touch()
    runner.execute(run, tmp_path, 1, "churn", "logger/wandb.yaml")
    assert checkpoint.is_file()
    runner.execute(other, tmp_path, 1)
    assert not checkpoint.exists()
    assert all("--run=fit" in command for command in commands)
    assert ["--trainer.logger+=logger/wandb.yaml" in command for command in commands] == [False, True, False]
    assert [environments[1][f"WANDB_{key}"] for key in ("RUN_GROUP", "NAME", "JOB_TYPE")] == ["churn", "a", "fit"]
    assert not (tmp_path / "a" / "run.json").exists()
    assert runner._last_line(tmp_path, run) == "error: too large"


def test_a_study_of_databases_and_experiments_runs_and_is_skipped_when_done(run_in, quick_runs, capsys):
    small = ["--trainer.limit_train_batches=2", "--trainer.num_sanity_val_steps=0"]
    task = Task(["--trainer.max_epochs=2", *small])
    network = Network(
        "contrastive/demo.yaml", "fine_tuning/demo.yaml",
        ["--trainer.max_steps=2", "--trainer.val_check_interval=2", "--trainer.limit_val_batches=1"],
    )  # fmt: skip
    tests = "--trainer.limit_test_batches=2"
    trained = ["--trainer.max_epochs=1", "--trainer.limit_train_batches=2", "--trainer.limit_val_batches=1", tests]
    nearest = ["--model.encoder=relbench_pretrain.knowledge_graph.NearestRelations", tests]
    experiments = {
        "network": Experiment("zero_shot/demo.yaml", trained),
        "nearest": Experiment("zero_shot/demo.yaml", nearest, command="test"),
        "tested again": Experiment("zero_shot/demo.yaml", [tests], command="test", trained="network"),
    }
    databases = {"shop": Database("demo-small", {"customer-churn": task})}
    arguments = {"databases": databases, "networks": {"sage": network}, "experiments": experiments,
                 "starts": ["fine_tuned"], "seeds": [3], "label_fractions": [1.0, 0.5],
                 "results_dir": "out"}  # fmt: skip
    study("small", **arguments, jobs=2, experiment_args=["--data.eval_queries=8"])
    out = run_in / "out"
    table = read_results(out / "results.csv")
    assert len(table) == 1 + 2 + 3
    tasks = table[table["start"] == "fine_tuned"]
    assert tasks[["test/rolling/roc_auc", "test/cutoff/roc_auc"]].stack().between(0, 1).sum() == 4
    assert (tasks["epochs"] == 2).all() and table["val/loss_row"].notna().sum() == 1
    found = table[table["experiment"].notna()].set_index("experiment")
    metrics = [name for name in found if name.startswith("test/tail")]
    values = found[metrics].to_numpy().tolist()
    assert values[2] == values[0] != values[1]
    assert found["test/tail/all_entities/mrr"].between(0, 1, inclusive="right").all()
    assert found["val/score"].notna().tolist() == [True, False, False]
    assert "| network |" in (out / "experiments.md").read_text()
    written = ("table.md", "summary.md", "study.json", "learning_curves.png", "sides.svg", "label_efficiency.png")
    assert all((out / name).stat().st_size for name in written)
    before = (out / "results.csv").read_text()
    capsys.readouterr()
    study("small", **arguments, experiment_args=["--data.eval_queries=4"])
    assert "6 runs, of which 6 are done" in capsys.readouterr().out
    assert (out / "results.csv").read_text() == before


def test_the_demonstration_compares_the_ways_to_start_and_goes_on(run_in, monkeypatch, capsys):
    losses = "step,val/loss_row,val/loss_link,val/loss_context,test/rolling/roc_auc\n1,.9,.8,.7,\n2,.6,.5,.4,.75\n"

    def fake(command, **options):
        name = next(arg for arg in command if "init_args.name" in arg).partition("=")[2]
        if name != "scratch" or not fails:
            (run_in / "runs/demo" / name / "fit").mkdir(exist_ok=True)
            (run_in / "runs/demo" / name / "fit" / "metrics.csv").write_text(losses)
        return SimpleNamespace(returncode=int(name == "scratch" and fails))

    monkeypatch.setattr(runner.subprocess, "run", fake)
    fails = True
    with pytest.raises(StudyError, match="scratch"):
        demo(steps=3)
    fails = False
    capsys.readouterr()
    demo(steps=3)
    told = capsys.readouterr().out
    assert "5 runs, of which 4 are done" in told and "row 0.60, link 0.50, context 0.40" in told
    lines = [line.split() for line in told.splitlines()]
    assert ["from", "scratch", "0.750", "0", "runs/demo/scratch/fit"] in lines


def test_files_of_an_experiment_are_copied_into_the_results(run_in, monkeypatch):
    def fake(command, **options):
        assert command[3:6] == ["ask", "graphs.json", "--output_dir=runs/s/experiments/a-0"]
        for name in ("answers.md", "metrics.json"):
            (run_in / "runs/s/experiments/a-0" / name).write_text('{"test/model/recall": 0.5}')
        return SimpleNamespace(returncode=0)

    monkeypatch.setattr(runner.subprocess, "run", fake)
    ask = Experiment(command="ask", files=["answers.md"])
    study("s", experiments={"a": ask}, seeds=[0], experiment_args=["graphs.json"], results_dir="out")
    assert (run_in / "out/answers.md").is_file() and not (run_in / "out/metrics.json").exists()
    assert pd.read_csv("out/results.csv")["test/model/recall"].tolist() == [0.5]
