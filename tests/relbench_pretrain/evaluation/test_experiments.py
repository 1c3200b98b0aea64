"""Experiments of systems without tasks: run, resumed, written."""

from __future__ import annotations

import pandas as pd

from relbench_pretrain.evaluation.experiments import ExperimentStudy
from relbench_pretrain.evaluation.study import study


def test_experiments_are_run_over_seeds_and_skipped_when_done(run_in, capsys):
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
    }
    study("kg", experiments=experiments, seeds=[0, 1], jobs=2, experiment_args=["--data.eval_queries=8"])
    table = pd.read_csv("runs/kg/experiments.csv")
    assert table["experiment"].tolist() == ["network", "network", "floor"]
    assert table["test/tail/all_entities/mrr"].between(0, 1, inclusive="right").all()
    assert table["val/score"].notna().tolist() == [True, True, False]
    assert "±" in (run_in / "runs/kg/experiments.md").read_text()
    capsys.readouterr()
    study("kg", experiments=experiments, seeds=[0, 1], experiment_args=["--data.eval_queries=4"])
    assert "3 runs, of which 3 are done" in capsys.readouterr().out
