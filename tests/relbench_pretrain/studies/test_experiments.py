"""Experiments of systems without tasks: run, resumed, written."""

from __future__ import annotations

import pandas as pd
import pytest

from relbench_pretrain.studies.experiment_plots import ExperimentPlot
from relbench_pretrain.studies.experiments import ExperimentStudy, expanded, read_tests, write_experiments
from relbench_pretrain.studies.study import StudyError, experiment_plans, study


def test_experiments_are_run_over_seeds_and_skipped_when_done(run_in, quick_runs, capsys):
    small = ["--trainer.max_epochs=1", "--trainer.limit_train_batches=2", "--trainer.limit_val_batches=1",
             "--trainer.limit_test_batches=2"]  # fmt: skip
    experiments = {
        "network": ExperimentStudy("zero_shot/demo.yaml", small),
        "floor": ExperimentStudy(
            "zero_shot/demo.yaml",
            ["--model.encoder=relbench_pretrain.knowledge_graph.NearestRelations", small[-1]],
            command="test",
            seeds=[0],
        ),
        "tested again": ExperimentStudy("zero_shot/demo.yaml", [small[-1]], command="test", trained="network"),
    }
    study("kg", experiments=experiments, seeds=[3], jobs=2, experiment_args=["--data.eval_queries=8"])
    table = pd.read_csv("runs/kg/experiments.csv")
    assert table["experiment"].tolist() == ["network", "floor", "tested again"]
    metrics = [name for name in table.columns if name.startswith("test/")]
    assert table.loc[2, metrics].tolist() == table.loc[0, metrics].tolist() != table.loc[1, metrics].tolist()
    assert table["test/tail/all_entities/mrr"].between(0, 1, inclusive="right").all()
    assert table["val/score"].notna().tolist() == [True, False, False]
    assert "| network |" in (run_in / "runs/kg/experiments.md").read_text()
    capsys.readouterr()
    study("kg", experiments=experiments, seeds=[3], experiment_args=["--data.eval_queries=4"])
    assert "3 runs, of which 3 are done" in capsys.readouterr().out
    experiments["wrong"] = ExperimentStudy("x", command="test", trained="floor")
    with pytest.raises(StudyError, match="takes a run of 'floor'"):
        study("kg", experiments=experiments, seeds=[3])


def test_means_and_deviations_are_over_seeds_and_the_best_validation_counts(tmp_path):
    runs = []
    for seed, mrr in enumerate((0.2, 0.4)):
        folder = tmp_path / str(seed)
        (folder / "fit").mkdir(parents=True)
        (folder / "run.json").write_text('{"seconds": 10}')
        (folder / "fit" / "metrics.csv").write_text(f"step,val/score,test/tail/mrr\n0,nan,\n1,0.5,\n2,0.3,\n3,,{mrr}\n")
        runs.append(({"network": "a", "seed": seed, "config": "x"}, folder))
    assert read_tests(tmp_path / "0") == {"val/score": 0.5, "test/tail/mrr": 0.2}
    write_experiments(runs, tmp_path)
    assert "| a | 0.300 ± 0.141 | 2 | 10 |" in (tmp_path / "experiments.md").read_text()


def studied(against):
    return {name: ExperimentStudy("x.yaml", against=others) for name, others in against.items()}


def test_experiments_are_compared_seed_by_seed(tmp_path):
    runs = []
    for seed, values in enumerate(((0.2, 0.1), (0.5, 0.3), (0.3, 0.2))):
        for name, value in zip("ab", values, strict=True):
            folder = tmp_path / f"{name}{seed}"
            (folder / "fit").mkdir(parents=True)
            (folder / "run.json").write_text('{"seconds": 10}')
            (folder / "fit" / "metrics.csv").write_text(f"step,test/tail/mrr,test/tail/mean_rank\n3,{value},4\n")
            runs.append(({"network": name, "seed": seed, "config": "x"}, folder))
    write_experiments(runs, tmp_path, studied({"a": ["b", "not done"], "b": [], "not done": []}))
    with pytest.raises(ValueError, match="no experiment"):
        write_experiments(runs, tmp_path, studied({"a": ["misspelt"], "b": []}))
    write_experiments(runs, tmp_path, studied({"a": ["b", "not done"], "b": [], "not done": []}))
    text = (tmp_path / "experiments.md").read_text()
    # differences .1, .2, .1: mean .133, deviation .0577, Student's 97.5 % quantile at two degrees of freedom 4.303
    assert "| a over b | +0.133 [-0.010, +0.277] |" in text and "not done" not in text


def test_all_that_one_system_published_stands_in_one_row(tmp_path):
    (tmp_path / "fit").mkdir()
    (tmp_path / "run.json").write_text('{"seconds": 10}')
    (tmp_path / "fit" / "metrics.csv").write_text("step,test/mrr,test/hits,test/rank\n3,.5,.4,2\n")
    labels = {"network": "a", "seed": 0, "config": "x"}
    published = [
        {"experiment": "a", "metric": "test/rank", "value": 3, "system": "paper"},
        {"experiment": "a", "metric": "test/mrr", "value": 0.25, "system": "paper"},
        {"experiment": "a", "metric": "test/mrr", "value": 0.2, "system": "older paper"},
    ]
    write_experiments([(labels, tmp_path)], tmp_path, studied({"a": []}), published=published)
    rows = (tmp_path / "experiments.md").read_text().splitlines()[3:]
    assert rows == ["| published: paper, a | 0.25 |  | 3 |  |  |", "| published: older paper, a | 0.2 |  |  |  |  |"]


def test_values_make_an_experiment_each():
    spec = ExperimentStudy("x.yaml", ["--n={n}", "--m={m}"], values={"n": [1, 2], "m": ["a"]}, x="{n}", panel="{m}")
    found = expanded({"graph-{n}{m}": spec, "other": ExperimentStudy("y.yaml")})
    assert list(found) == ["graph-1a", "graph-2a", "other"]
    assert found["graph-2a"].args == ["--n=2", "--m=a"] and found["graph-2a"].x == "2"
    assert found["graph-2a"].panel == "a" and not found["graph-2a"].values


def test_a_run_that_takes_others_comes_after_them_and_knows_their_folders(tmp_path):
    experiments = {
        "both": ExperimentStudy(args=["{run:left}", "{run:right}", "--seed={seed}"], command="align"),
        "left": ExperimentStudy("x.yaml"),
        "right": ExperimentStudy("x.yaml"),
    }
    plans = list(experiment_plans(experiments, [4], ["--data.folder=here"], tmp_path))
    assert [plan.labels["network"] for plan in plans] == ["left", "right", "both"]
    folders = [f"{tmp_path}/experiments/{name}-4" for name in ("left", "right")]
    assert plans[2].command == ["align", *folders, "--seed=4"] and plans[2].needs == plans[:2]
    assert [plan.level for plan in plans] == [0, 0, 1]
    assert plans[0].places == ["--data.folder=here"] and not plans[2].places
    wrong = {"left": ExperimentStudy("x.yaml"), "test": ExperimentStudy("x.yaml", trained="left")}
    with pytest.raises(StudyError, match="cannot test what 'left' trained"):
        list(experiment_plans(wrong, [4], [], tmp_path))
    with pytest.raises(StudyError, match="takes a run of 'middle'"):
        list(experiment_plans({"both": ExperimentStudy(args=["{run:middle}"], command="align")}, [4], [], tmp_path))


def test_curves_and_points_are_drawn_with_what_was_published(tmp_path):
    runs, experiments = [], {}
    for n in (10, 20):
        experiments[f"n-{n}"] = ExperimentStudy("x.yaml", panel="graphs", x=str(n))
        for seed in (0, 1):
            folder = tmp_path / f"{n}-{seed}"
            (folder / "fit").mkdir(parents=True)
            (folder / "run.json").write_text('{"seconds": 10}')
            (folder / "fit" / "metrics.csv").write_text(
                f"step,val/error,test/error,test/other\n0,.5,,\n9,.2,,\n9,,{n + seed},1\n"
            )
            runs.append(({"network": f"n-{n}", "seed": seed, "config": "x"}, folder))
    plots = [ExperimentPlot("curves", ["val/error"]), ExperimentPlot("points", ["test/error"], x="nodes", log=["x"])]
    published = [{"experiment": "n-10", "metric": "test/error", "system": "others", "value": 9}]
    write_experiments(runs, tmp_path, experiments, ["test/error"], plots, published)
    text = (tmp_path / "experiments.md").read_text()
    assert "| published: others, n-10 | 9 |  |  |" in text and "other |" not in text
    assert all(
        (tmp_path / f"{name}.{suffix}").stat().st_size for name in ("curves", "points") for suffix in ("png", "svg")
    )
