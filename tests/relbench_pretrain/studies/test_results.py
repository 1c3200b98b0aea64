"""Results: what is read of runs, what is written of them, and that the stored tables come out of the stored results."""

import json
from pathlib import Path

import pandas as pd
import pytest

from relbench_pretrain.commands.ask import report
from relbench_pretrain.studies.plan import Run
from relbench_pretrain.studies.presets import Experiment, Plot, Study, read_study
from relbench_pretrain.studies.results import (
    collect,
    last_values,
    read_metrics,
    read_results,
    run_row,
    write_report,
    write_results,
)

STORED = Path(__file__).parents[3] / "results"


def finished(root, run, logged=None, written=None):
    folder = root / run.folder
    (folder / "fit").mkdir(parents=True)
    (folder / "run.json").write_text(json.dumps({"config": run.hash, "seconds": 10.0, "command": run.command}))
    if logged is not None:
        (folder / "fit" / "metrics.csv").write_text(logged)
    if written is not None:
        (folder / "metrics.json").write_text(json.dumps(written))
    return run


def test_the_best_validation_counts_and_the_last_test(tmp_path):
    run = Run("a", ["fit"], {"start": "scratch"})
    text = "epoch,step,val/mae,val/score,test/frozen/mae\n0,9,3,nan,\n1,19,2.5,-2.5,\n2,29,4,-4,\n3,30,,,2.25\n"
    finished(tmp_path, run, text)
    assert run_row(run, tmp_path / "a", 7.0) == {
        "start": "scratch", "config": run.hash, "seconds": 7, "best_epoch": 1, "epochs": 3,
        "val/mae": 2.5, "val/score": -2.5, "test/cutoff/mae": 2.25}  # fmt: skip
    finished(tmp_path, Run("b", ["fit"], {}), "epoch,step,val/loss,train/loss\n0,1,.5,.1\n0,2,.25,.1\n1,3,.75,.2\n")
    row = run_row(run, tmp_path / "b", 7.0)
    assert (row["val/loss"], row["best_epoch"], row["epochs"]) == (0.25, 0, 2)
    assert last_values(read_metrics(tmp_path / "b")) == {"val/loss": 0.75, "train/loss": 0.2}


def test_metrics_of_commands_are_read_too(tmp_path):
    written = {"val": {"map": 0.5}, "rolling": {"map": 0.25, "map_low": 0.125}, "frozen": {"map": 0.2}}
    finished(tmp_path, Run("a", ["baseline"], {}), written=written)
    assert last_values(read_metrics(tmp_path / "a")) == {
        "val/map": 0.5, "test/rolling/map": 0.25, "test/rolling/map_low": 0.125, "test/cutoff/map": 0.2}  # fmt: skip
    finished(tmp_path, Run("b", ["align"], {}), written={"test/pairs_0/accuracy": 1, "test/pairs_0/method": "exact"})
    assert last_values(read_metrics(tmp_path / "b")) == {"test/pairs_0/accuracy": 1}


def test_curves_and_points_are_drawn_with_what_was_published(tmp_path):
    experiments = {f"n-{n}": Experiment("x.yaml", panel="graphs", x=str(n)) for n in (10, 20)}
    plots = [Plot("curves", ["val/error"]), Plot("points", ["test/error"], x="nodes", log=["x"])]
    published = [{"experiment": "n-10", "metric": "test/error", "system": "others", "value": 9}]
    study = Study("s", experiments=experiments, seeds=[0, 1], published=published, columns=["test/error"], plots=plots)
    plan = study.runs(tmp_path)
    for i, run in enumerate(plan[:-1]):
        finished(tmp_path, run, f"step,val/error,test/error,test/other\n0,.5,,\n9,.2,,\n9,,{i},1\n")
    table, runs = collect(plan, tmp_path)
    assert table["experiment"].tolist() == ["n-10", "n-10", "n-20"]
    write_results(study, table, runs, tmp_path / "out")
    text = (tmp_path / "out" / "experiments.md").read_text()
    assert "| published: others, n-10 | 9 |  |  |" in text and "other |" not in text
    files = [f"{name}.{suffix}" for name in ("curves", "points") for suffix in ("png", "svg")]
    assert all((tmp_path / "out" / name).stat().st_size for name in files)
    assert read_study(tmp_path / "out" / "study.json") == study
    assert read_results(tmp_path / "out" / "results.csv")["test/error"].tolist() == [0, 1, 2]


def test_a_study_without_runs_writes_its_definition_alone(tmp_path):
    write_results(Study("s"), *collect([], tmp_path), tmp_path / "out")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["study.json"]


@pytest.mark.parametrize("folder", sorted(STORED.glob("*/")), ids=lambda folder: folder.name)
def test_the_stored_tables_come_out_of_the_stored_results(folder, tmp_path, monkeypatch):
    for name in ("label_efficiency", "sides", "experiments"):  # a second each, and the bytes depend on the machine
        monkeypatch.setattr(f"relbench_pretrain.studies.results.plot_{name}", lambda *arguments: None)
    write_report(read_study(folder / "study.json"), read_results(folder / "results.csv"), tmp_path)
    made = {path.name: path.read_text() for path in tmp_path.iterdir()}
    assert made == {path.name: path.read_text() for path in folder.glob("*.md") if path.name != "answers.md"}
    if (folder / "answers.csv").is_file():
        assert report(pd.read_csv(folder / "answers.csv")) + "\n" == (folder / "answers.md").read_text()
