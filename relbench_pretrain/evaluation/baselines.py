"""Baselines of a task: simple rules, and boosted trees on the entity's own row and on automatic aggregates."""

from __future__ import annotations

import warnings
from typing import Any, Literal

import numpy as np
import pandas as pd
import torch
from relbench.base import EntityTask, RecommendationTask
from relbench.load import RelBenchDataset
from torch_geometric.data import HeteroData
from torch_geometric.sampler import NodeSamplerInput

from relbench_pretrain.evaluation.aggregates import Aggregates
from relbench_pretrain.evaluation.metrics import relbench_metrics
from relbench_pretrain.progress import tracked, work
from relbench_pretrain.relational.database import load_database, open_dataset
from relbench_pretrain.relational.graph import build_graph, fit_schema, hide_columns
from relbench_pretrain.relational.tasks import (
    BINARY,
    MULTICLASS,
    REGRESSION,
    RecommendationTable,
    Split,
    TaskError,
    TaskTable,
    hidden_columns,
    is_autocomplete,
    load_task,
    recommendation_table,
    share_of_rows,
    task_spec,
    task_table,
)
from relbench_pretrain.sampling import GraphIndex, TemporalNeighborSampler
from relbench_pretrain.sampling.loader import join_batch
from relbench_pretrain.unix_time import timestamp_seconds

Method = Literal["entity_mean", "lightgbm_row", "lightgbm_aggregates", "popularity", "past_interactions"]
ROUNDS = 1000
PARAMETERS: dict[str, Any] = {
    "learning_rate": 0.03,
    "num_leaves": 31,
    "min_child_samples": 20,
    "subsample": 0.8,
    "subsample_freq": 1,
    "colsample_bytree": 0.5,
    "verbose": -1,
}


def baseline_metrics(
    method: Method, task: str, dataset: str = "demo", label_fraction: float = 1.0, seed: int = 0
) -> dict[str, dict[str, float]]:
    """Scores a baseline on validation and on test in each time regime.

    Args:
        method: The method, as the command ``baseline`` describes them.
        task: The task's name.
        dataset: A RelBench name, a Hub address, a local folder, or ``demo``.
        label_fraction: The share of the training labels that are used.
        seed: Which labels these are, and the seed of LightGBM.

    Returns:
        The metrics of ``val``, ``rolling`` and, where the task has it, ``cutoff``.

    Raises:
        TaskError: If the method is not one for the task.
    """
    source = open_dataset(dataset)
    loaded = load_task(source, task)
    recommends = isinstance(loaded, RecommendationTask)
    if recommends != (method in ("popularity", "past_interactions")):
        kind = loaded.task_type.value
        fitting = (
            "popularity and past_interactions" if recommends else "entity_mean, lightgbm_row and lightgbm_aggregates"
        )
        raise TaskError(f"method '{method}' is not one for task '{task}', a {kind}; that has {fitting}")
    if isinstance(loaded, RecommendationTask):
        predictions = _recommend(method, source, loaded)
    else:
        predictions = _predict(method, source, loaded, task, label_fraction, seed)
    return {
        name: relbench_metrics(loaded, "val" if name == "val" else "test", prediction)
        for name, prediction in predictions.items()
    }


def _predict(
    method: str, source: RelBenchDataset, task: EntityTask, name: str, fraction: float, seed: int
) -> dict[str, np.ndarray]:
    """Returns predictions for validation, and for test by regime."""
    spec = task_spec(task, name)
    labels: dict[Split, TaskTable] = {
        split: task_table(task, split, spec.classes) for split in ("train", "val", "test")
    }
    used = share_of_rows(len(labels["train"]), fraction, seed)
    train = TaskTable(labels["train"].row[used], labels["train"].time[used], labels["train"].target[used])
    regimes = ["rolling"] if is_autocomplete(task) else ["rolling", "cutoff"]
    if method == "entity_mean":
        if spec.kind not in (BINARY, REGRESSION):
            raise TaskError(f"there is no mean of the labels of a {spec.kind} task; use lightgbm_aggregates")
        means = pd.Series(train.target.double().numpy()).groupby(train.row.numpy()).mean()
        overall = spec.median if spec.kind == REGRESSION else float(train.target.double().mean())
        guess = {s: pd.Series(labels[s].row.numpy()).map(means).fillna(overall).to_numpy() for s in ("val", "test")}
        return {"val": guess["val"], **{regime: guess["test"] for regime in regimes}}
    with work(f"reading and checking the tables of {source.dataset_dir.name}"):
        db = hide_columns(load_database(source), hidden_columns(task))
    val_time, test_time = timestamp_seconds(source.val_timestamp), timestamp_seconds(source.test_timestamp)
    make = Aggregates(db, fit_schema(db, val_time), val_time)

    def features(table: TaskTable, until: int | None = None) -> pd.DataFrame:
        with work(f"features of {len(table):,} labels of {name}"):
            if method == "lightgbm_row":
                return make.of_row(spec.entity_table, table.row, table.time)
            visible = table.time - int(is_autocomplete(task))
            visible = visible if until is None else visible.clamp(max=until)
            return make(spec.entity_table, table.row, table.time, visible)

    model = _fit(spec.kind, features(train), train.target.numpy(), features(labels["val"]), labels["val"], seed)
    views = {"val": features(labels["val"]), "rolling": features(labels["test"])}
    if "cutoff" in regimes:
        views["cutoff"] = features(labels["test"], test_time)
    if spec.kind == BINARY:
        return {key: model.predict_proba(view)[:, 1] for key, view in views.items()}
    if spec.kind == MULTICLASS:
        return {key: np.array(spec.classes)[model.predict(view)] for key, view in views.items()}
    return {key: model.predict(view) for key, view in views.items()}


def _fit(kind: str, x: pd.DataFrame, y: np.ndarray, x_val: pd.DataFrame, val: TaskTable, seed: int) -> Any:
    try:
        import lightgbm
    except ImportError as error:
        raise TaskError("LightGBM is not installed: pip install relbench-pretrain[baselines]") from error
    if kind not in (BINARY, MULTICLASS, REGRESSION):
        raise TaskError(f"LightGBM predicts one target, and a {kind} task has several")
    options = PARAMETERS | {"n_estimators": ROUNDS, "random_state": seed, "metric": "None"}
    options["n_jobs"] = torch.get_num_threads()  # LightGBM itself takes all cores, whatever this process may have
    if kind == REGRESSION:
        model: Any = lightgbm.LGBMRegressor(objective="regression_l1", **options)
    else:
        model = lightgbm.LGBMClassifier(**options)
    known = np.isin(val.target.numpy(), y) if kind != REGRESSION else np.ones(len(val), dtype=bool)
    if kind != REGRESSION and len(np.unique(y)) < 2:
        return _Constant(y[0])
    metric = {BINARY: "auc", MULTICLASS: "multi_error", REGRESSION: "l1"}[kind]
    stop = lightgbm.early_stopping(100, first_metric_only=True, verbose=False)
    x_val, y_val = x_val[known], val.target.numpy()[known]

    def count(state: Any) -> None:
        going_on.done = state.iteration + 1

    with warnings.catch_warnings(), work("boosting rounds, fewer where they do not help", ROUNDS) as going_on:
        warnings.simplefilter("ignore")  # the arguments' names change with LightGBM 5
        model.fit(_named(x), y, eval_set=[(_named(x_val), y_val)], eval_metric=metric, callbacks=[stop, count])
    return _Renamed(model)


class _Constant:
    """A model that predicts the one label that all training rows have."""

    def __init__(self, label: float) -> None:
        self.label = label

    def predict(self, x: pd.DataFrame) -> np.ndarray:
        return np.full(len(x), int(self.label))

    def predict_proba(self, x: pd.DataFrame) -> np.ndarray:
        return np.full((len(x), 2), float(self.label))


class _Renamed:
    """A model that is given features by their place, since LightGBM forbids some characters in names."""

    def __init__(self, model: Any) -> None:
        self.model = model

    def predict(self, x: pd.DataFrame) -> np.ndarray:
        return self.model.predict(_named(x))

    def predict_proba(self, x: pd.DataFrame) -> np.ndarray:
        return self.model.predict_proba(_named(x))


def _named(x: pd.DataFrame) -> pd.DataFrame:
    return x.set_axis([f"f{i}" for i in range(x.shape[1])], axis=1).astype(np.float64)


def _recommend(method: str, source: RelBenchDataset, task: RecommendationTask) -> dict[str, np.ndarray]:
    """Returns the destinations for validation, and for test by regime."""
    db = hide_columns(load_database(source), hidden_columns(task))
    graph = build_graph(db, fit_schema(db, timestamp_seconds(source.val_timestamp)))
    index, test_time = GraphIndex.from_graph(graph), timestamp_seconds(source.test_timestamp)
    tables: dict[Split, RecommendationTable] = {s: recommendation_table(task, s) for s in ("val", "test")}
    views: list[tuple[str, Split, int | None]] = [("val", "val", None), ("rolling", "test", None)]
    found = {}
    for name, split, until in tracked([*views, ("cutoff", "test", test_time)], "counting past interactions"):
        table = tables[split]
        sampler = TemporalNeighborSampler(index, [-1, 0, 0], "last", visible_until=until)
        inputs = NodeSamplerInput(None, table.row, table.time, task.src_entity_table)
        batch = join_batch(graph, sampler.sample_from_nodes(inputs), task.src_entity_table, 0)
        found[name] = _rank_interactions(batch, task, len(table), method == "past_interactions")
    return found


def _rank_interactions(batch: HeteroData, task: RecommendationTask, number: int, own: bool) -> np.ndarray:
    """Ranks destinations by their number of sources, after those with the most interactions with the source itself."""
    store, k = batch[task.dst_entity_table], task.eval_k
    ends = [batch[e].edge_index[1] for e in batch.edge_types if e[2] == task.dst_entity_table]
    links = torch.bincount(torch.cat(ends), minlength=len(store.n_id))
    past = pd.DataFrame({"source": store.batch, "row": store.n_id, "links": links})
    if task.src_entity_table == task.dst_entity_table:
        past = past.iloc[number:]  # a source's own row is no interaction
    popular = past["row"].value_counts().index.to_numpy()
    best = np.concatenate([popular, np.full(k, -1)])[:k]
    result = np.tile(best, (number, 1))
    if own:
        for source, rows in past.sort_values("links", ascending=False, kind="stable").groupby("source")["row"]:
            mine = list(rows)
            result[int(str(source))] = [*mine, *(row for row in best if row not in mine), *[-1] * k][:k]
    return result
