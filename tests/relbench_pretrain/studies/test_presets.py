"""Which runs a study expands into, and which definitions are refused."""

import json
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from relbench_pretrain.studies.plan import StudyError
from relbench_pretrain.studies.presets import Database, Experiment, Network, Plot, Study, Task, read_study

SHOP = Database("demo-small", {"customer-churn": Task(["--trainer.max_epochs=2"])})
SAGE = Network("contrastive/demo.yaml", "fine_tuning/demo.yaml")
STUDY = Study("small", {"shop": SHOP}, {"sage": SAGE}, starts=["scratch", "frozen", "fine_tuned"], seeds=[0, 1])


def test_every_combination_is_one_run_and_needs_its_backbone(tmp_path):
    study = replace(STUDY, label_fractions=[1.0, 0.1], grid={"data.batch_size": ["32", "64"]})
    pretraining, *runs = study.runs(tmp_path)
    assert pretraining.folder == "shop/pretraining/sage-0"
    assert len(runs) == 3 * 2 * 2 * 2 == len({run.folder for run in runs}) == len({run.hash for run in runs})
    for run in runs:
        assert run.needs == ([] if run.labels["start"] == "scratch" else [pretraining])
        assert ("--model.checkpoint" in " ".join(run.command)) == (run.labels["start"] != "scratch")
    assert {run.labels["start"] for run in replace(STUDY, starts=["scratch"]).runs(tmp_path)} == {"scratch"}
    elsewhere = STUDY.runs(tmp_path, {"shop": "there"})
    assert all("--data.dataset=there" in run.command for run in elsewhere)


def test_backbones_are_shared_out_over_the_seeds_and_can_come_from_another_database(tmp_path):
    runs = replace(STUDY, seeds=[0, 1, 2], pretraining_seeds=[5, 6]).runs(tmp_path)
    needs = [run.needs[0].folder for run in runs if run.labels["start"] == "frozen"]
    assert needs == [f"shop/pretraining/sage-{seed}" for seed in (5, 6, 5)]
    abroad = Database("demo", {"customer-churn": Task()}, pretrained_on="shop")
    runs = replace(STUDY, databases={"abroad": abroad, "shop": SHOP}).runs(tmp_path)
    assert [run.folder for run in runs if run.labels["start"] == "pretraining"] == ["shop/pretraining/sage-0"]
    frozen = [run for run in runs if run.labels["database"] == "abroad" and run.labels["start"] == "frozen"]
    assert {run.needs[0].folder for run in frozen} == {"shop/pretraining/sage-0"}


def test_other_pretraining_means_other_runs_on_tasks(tmp_path):
    changed = replace(STUDY, networks={"sage": replace(SAGE, pretraining_args=["--trainer.max_steps=9"])}, seeds=[0])
    before = {run.folder: run.hash for run in replace(STUDY, seeds=[0]).runs(tmp_path)}
    after = {run.folder: run.hash for run in changed.runs(tmp_path)}
    assert {folder for folder in before if before[folder] == after[folder]} == {"shop/customer-churn/sage-scratch-1-0"}


def test_hashes_are_those_of_earlier_versions():
    """Else the finished runs of a study are made again."""
    recommends = Database("demo", {"t": Task(["--a=1"], None, {0.5: ["--b=1"]}, ["popularity"])}, ["--c=1"])
    experiments = {
        "one {n}": Experiment("x.yaml", ["--n={n}"], values={"n": [1]}),
        "two": Experiment("x.yaml", trained="one 1", command="test"),
        "three": Experiment(args=["{run:one 1}", "--seed={seed}"], command="align"),
    }
    network = replace(SAGE, pretraining_args=["--d=1"], args=["--e=1"])
    study = Study("s", {"d": recommends}, {"n": network}, experiments, ["scratch", "frozen"], [3],
                  label_fractions=[0.5], grid={"lr": ["1"]})  # fmt: skip
    assert {run.folder: run.hash for run in study.runs(Path())} == {
        "d/pretraining/n-0": "131cda16cf6f",
        "d/t/n-scratch-0.5-1101ff-3": "6c9196056964",
        "d/t/n-frozen-0.5-1101ff-3": "787fd737f23a",
        "d/t/popularity-0.5-0": "fb77887f3133",
        "experiments/one 1-3": "5f7fa24afadf",
        "experiments/two-3": "ee7b255d1288",
        "experiments/three-3": "10d8bde9bea3",
    }


def test_values_make_an_experiment_each():
    spec = Experiment("x.yaml", ["--n={n}", "--m={m}"], values={"n": [1, 2], "m": ["a"]}, x="{n}", panel="{m}")
    found = Study("s", experiments={"graph-{n}{m}": spec, "other": Experiment("y.yaml")}).experiments
    assert list(found) == ["graph-1a", "graph-2a", "other"]
    assert found["graph-2a"].args == ["--n=2", "--m=a"] and found["graph-2a"].x == "2"
    assert found["graph-2a"].panel == "a" and not found["graph-2a"].values


def test_a_run_that_takes_others_comes_after_them_and_knows_their_folders(tmp_path):
    experiments = {
        "both": Experiment(args=["{run:left}", "{run:right}", "--seed={seed}"], command="align"),
        "left": Experiment("x.yaml"),
        "right": Experiment("x.yaml"),
    }
    runs = Study("s", experiments=experiments, seeds=[4]).runs(tmp_path, experiment_args=["--data.folder=here"])
    assert [run.labels["experiment"] for run in runs] == ["left", "right", "both"]
    folders = [f"{tmp_path}/experiments/{name}-4" for name in ("left", "right")]
    assert runs[2].command == ["align", *folders, "--seed=4"] and runs[2].needs == runs[:2]
    assert [run.level for run in runs] == [0, 0, 1]
    assert runs[0].places == ["--data.folder=here"] and not runs[2].places


def test_names_that_a_study_does_not_define_are_refused(tmp_path):
    wrong = {
        "cannot test what 'left' trained": {"left": Experiment("x.yaml"), "t": Experiment("x.yaml", trained="left")},
        "takes a run of 'middle'": {"both": Experiment(args=["{run:middle}"], command="align")},
        "'misspelt', which is no experiment": {"a": Experiment("x.yaml", against=["misspelt"])},
        "two experiments are called 'a'": {"a": Experiment("x.yaml", values={"n": [1, 2]})},
    }
    for message, experiments in wrong.items():
        with pytest.raises(StudyError, match=message):
            Study("s", experiments=experiments).runs(tmp_path)
    with pytest.raises(StudyError, match=r"\['f1'\].*\['shop'\]"):
        STUDY.runs(tmp_path, {"f1": "x"})
    with pytest.raises(StudyError, match=r"\['f1'\].*\['shop'\]"):
        replace(STUDY, databases={"shop": replace(SHOP, pretrained_on="f1")})
    with pytest.raises(StudyError, match=r"\['other'\].*\['sage'\]"):
        replace(STUDY, networks={"sage": replace(SAGE, scratch="other")})


def test_a_stored_definition_is_read_as_it_was(tmp_path):
    study = replace(STUDY, experiments={"a": Experiment("x.yaml")}, plots=[Plot("p", ["test/x"])], published=[{"a": 1}])
    (tmp_path / "study.json").write_text(json.dumps(asdict(study)))
    assert read_study(tmp_path / "study.json") == study
