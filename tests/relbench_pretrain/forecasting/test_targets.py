"""What is to come, against a slow obvious search."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch_frame import TensorFrame, stype

from datamodules import ForecastDataModule
from relbench_pretrain.forecasting import NUM_CLASSES, ForecastObjective, Forecasts, column_classes, forecasts
from relbench_pretrain.forecasting.targets import COUNT_BOUNDS, Children
from relbench_pretrain.relational.database import DatasetError
from relbench_pretrain.sampling.seeds import SeedRows

HORIZONS, DAY = [10, 60], 86_400


@pytest.fixture(scope="module")
def data():
    module = ForecastDataModule("demo-small", horizons_days=HORIZONS, batch_size=32, val_batches=3)
    module.setup("fit")
    return module


def children_of(graph, key, row):
    """The child rows of a row with their times, in order of time."""
    position = list(graph.schema.tables[key.child].foreign_keys).index(key.column)
    rows = (graph.parent[key.child][:, position] == row).nonzero().flatten().tolist()
    return [(int(graph.time[key.child][r]), r) for r in rows]


@pytest.mark.parametrize("span", ["training", "held_out"])
def test_targets_are_what_a_search_through_all_rows_finds(data, span):
    graph, found = data.graph, getattr(data, span)
    until = data.cut if span == "training" else data.val_time
    start = np.concatenate([[0], np.cumsum(found.seeds.count)])
    rng, checked = np.random.default_rng(0), 0
    classes = {t: column_classes(f, graph.rows_until(data.cut)[t])[1] for t, f in graph.frames.items()}
    for number, table in enumerate(data.index.node_types):
        if not found.seeds.count[number]:
            continue
        keys = [k for k in graph.schema.foreign_keys if k.parent == table and graph.schema.tables[k.child].time_column]
        for i in rng.integers(0, found.seeds.count[number], 25):
            row = int(found.seeds.rows[start[number] + i] - data.index.flat.offset[number])
            time, target, at = int(found.seeds.time[start[number] + i]), found.target[table][i], 0
            assert (data.cut if span == "held_out" else -math.inf) < time < until
            assert graph.time[table][row] <= time
            for key in keys:
                events = children_of(graph, key, row)
                later = [event for event in events if time < event[0] <= until]
                for days in HORIZONS:
                    expected = np.digitize(sum(t <= time + days * DAY for t, _ in later), COUNT_BOUNDS)
                    known = time + days * DAY <= until and time >= int(graph.time[key.child].min())
                    assert target[at] == (expected if known else -1)
                    at += 1
                values = target[at : at + classes[key.child].size(1)]
                at += len(values)
                soon = [event for event in later if event[0] <= time + max(HORIZONS) * DAY]
                next_rows = [r for t, r in soon if t == min(soon)[0]]
                choices = [classes[key.child][r] for r in next_rows] or [torch.full_like(values, -1)]
                assert any(torch.equal(values, choice) for choice in choices)
                checked += bool(next_rows)
            assert at == len(target) == len(found.names[table])
    assert checked > 20


def test_every_point_follows_an_event_of_its_row_within_the_longest_horizon(data):
    graph, found = data.graph, data.training
    owner = np.repeat(np.arange(len(found.seeds.count)), found.seeds.count)
    for i in np.random.default_rng(1).integers(0, len(owner), 40):
        table = data.index.node_types[owner[i]]
        row, time = int(found.seeds.rows[i] - data.index.flat.offset[owner[i]]), int(found.seeds.time[i])
        keys = [k for k in graph.schema.foreign_keys if k.parent == table and graph.schema.tables[k.child].time_column]
        events = [t for key in keys for t, _ in children_of(graph, key, row)]
        assert any(DAY <= time - t <= max(HORIZONS) * DAY for t in events)


def test_a_batch_has_the_targets_of_its_seeds_and_nothing_later(data):
    for loader, known in ((data.train_dataloader(), data.training), (data.val_dataloader(), data.held_out)):
        batch = next(iter(loader))
        start = np.concatenate([[0], np.cumsum(known.seeds.count)])
        seeds = 0
        for number, table in enumerate(data.index.node_types):
            store = batch[table]
            if "batch_size" not in store:
                continue
            ids = [i for i in batch.input_id.tolist() if start[number] <= i < start[number + 1]]
            assert store.batch_size == len(ids)
            rows = known.seeds.rows[ids] - data.index.flat.offset[number]
            assert torch.equal(store.n_id[: len(ids)], rows)
            assert torch.equal(store.y, known.target[table][torch.tensor(ids, dtype=torch.long) - start[number]])
            seeds += len(ids)
        assert seeds == 32
        for table in batch.node_types:
            if "time" in batch[table]:
                limit = known.seeds.time[batch.input_id][batch[table].batch]
                assert (batch[table].time <= limit).all()


def test_a_span_without_events_is_refused(data):
    classes = {t: column_classes(f, 10)[1] for t, f in data.graph.frames.items()}
    names = {t: column_classes(f, 10)[0] for t, f in data.graph.frames.items()}
    with pytest.raises(ValueError, match="nothing to forecast"):
        forecasts(data.index, classes, names, HORIZONS, None, 0)


def test_targets_that_hardly_differ_are_refused_with_the_remedy(monkeypatch):
    monkeypatch.setattr(Forecasts, "chance", lambda self: {"customers": torch.tensor([math.inf, math.inf])})
    with pytest.raises(DatasetError, match=r"within \[10, 60\] days .* set data\.horizons_days"):
        ForecastDataModule("demo-small", horizons_days=HORIZONS).setup("fit")


def test_numbers_go_by_quantiles_and_categories_by_frequency():
    number = torch.cat([torch.arange(160.0), torch.tensor([math.nan, 1e9])])
    category = torch.cat([torch.arange(20).repeat_interleave(8), torch.tensor([19, -1])])
    frame = TensorFrame(
        {stype.numerical: number.unsqueeze(1), stype.categorical: category.unsqueeze(1)},
        {stype.numerical: ["n"], stype.categorical: ["c"]},
    )
    names, classes = column_classes(frame, 160)
    assert names == ["n", "c"]
    assert classes[:160, 0].bincount().tolist() == [10] * 16
    assert classes[-2:, 0].tolist() == [-1, 15]
    assert classes[:160, 1].bincount(minlength=16).tolist() == [8] * 15 + [8 * 5]
    assert classes[-1, 1] == -1


def test_chance_is_the_entropy_and_infinite_where_little_differs():
    target = torch.tensor([[0, 3, -1], [1, 3, -1], [0, 3, -1], [1, 3, -1]], dtype=torch.int8)
    none = SeedRows(np.zeros(1, int), np.array([4]), torch.zeros(4), torch.zeros(4))
    chance = Forecasts(none, {"t": target}, {"t": ["a", "b", "c"]}).chance()["t"]
    assert chance[0] == pytest.approx(math.log(2))
    assert chance[1:].isinf().all()


def test_the_loss_is_one_for_guessing_by_frequency_and_leaves_out_what_is_not_known():
    objective, cost = ForecastObjective(), torch.tensor([math.log(2), torch.inf])
    objective.build({"t": cost}, 4)
    with torch.no_grad():
        for parameter in objective.parameters():
            parameter.zero_()
        bias = objective.maps["t"].bias.view(2, NUM_CLASSES)
        bias[0, :2] = 100.0
    target = torch.tensor([[0, 3], [1, 5], [-1, 2]], dtype=torch.int8)
    loss = objective({"t": torch.randn(3, 4)}, {"t": target})
    assert loss.item() == pytest.approx(1.0, abs=1e-5)
    none = objective({"t": torch.randn(1, 4)}, {"t": torch.full((1, 2), -1)})
    none.backward()
    assert none.item() == 0.0
    assert all(p.grad is not None for p in objective.parameters())


def test_children_are_found_up_to_and_with_a_time():
    children = Children(np.array([5, 6, 7, 2]), np.array([10, 20]), np.array([0, 1, 1, 3 + 1]))
    found = children.until(np.array([0, 0, 0, 0, 1, 1, 2]), np.array([9, 10, 19, 20, 10, 99, 99]))
    assert found.tolist() == [0, 1, 1, 3, 3, 4, 4]
    assert [part.tolist() for part in children.parent_and_time()] == [[0, 0, 0, 1], [10, 20, 20, 20]]
