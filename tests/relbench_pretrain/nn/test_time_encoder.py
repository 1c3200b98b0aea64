"""Time encodings against RelBench's ``HeteroTemporalEncoder`` and against the formulas."""

import math

import pytest
import torch
from relbench.modeling.nn import HeteroTemporalEncoder

from relbench_pretrain.nn.time_encoder import AgeFeatures, TimeEncoder
from relbench_pretrain.relational.schema import ColumnSchema, GraphSchema, TableSchema

CHANNELS = 8
DAY = 24 * 60 * 60


def schema(*timed):
    columns = {"x": ColumnSchema("numerical")}
    tables = {name: TableSchema(columns, time_column="date") for name in timed}
    return GraphSchema({**tables, "static": TableSchema(columns)})


def test_equals_relbench():
    torch.manual_seed(0)
    peer = HeteroTemporalEncoder(["races", "results"], CHANNELS)
    encoder = TimeEncoder()
    encoder.build(schema("races", "results"), CHANNELS)
    for name in ("races", "results"):
        encoder.maps[name].load_state_dict(peer.lin_dict[name].state_dict())
    seed_time = torch.tensor([10**9, 15 * 10**8])
    batch = {"races": torch.tensor([0, 1, 1]), "results": torch.tensor([1, 0])}
    time = {"races": torch.tensor([10**9 - 5, 10**9, 0]), "results": torch.tensor([1, 2])}
    out = encoder({name: seed_time[batch[name]] - time[name] for name in time})
    for name, expected in peer(seed_time, time, batch).items():
        torch.testing.assert_close(out[name], expected)


def test_tables_named_like_methods_and_tables_without_rows():
    encoder = TimeEncoder()
    encoder.build(schema("items", "keys"), CHANNELS)
    out = encoder({"items": torch.tensor([DAY]), "keys": torch.empty(0, dtype=torch.long)})
    assert out["items"].shape == (1, CHANNELS)
    assert out["keys"].shape == (0, CHANNELS)
    assert encoder({}) == {}


def test_parameters_exist_after_build_and_survive_a_state_dict():
    encoder, twin = TimeEncoder(), TimeEncoder()
    assert not list(encoder.parameters())
    for module in (encoder, twin):
        module.build(schema("items"), CHANNELS)
    parameters = [id(p) for p in encoder.parameters()]
    encoder.build(schema("items", "other"), 2 * CHANNELS)
    assert parameters == [id(p) for p in encoder.parameters()]
    assert len(parameters) == 2
    twin.load_state_dict(encoder.state_dict())
    age = {"items": torch.arange(5) * DAY}
    assert torch.equal(twin(age)["items"], encoder(age)["items"])


def test_a_table_without_time_column_is_an_error():
    encoder = TimeEncoder()
    encoder.build(schema("races"), CHANNELS)
    with pytest.raises(ValueError, match=r"'static' has no time column.*races"):
        encoder({"static": torch.zeros(2)})


def test_age_features():
    features = AgeFeatures()
    assert not list(features.parameters())
    assert not features.state_dict()
    age = torch.tensor([[0, DAY // 4], [365 * DAY, 40_000 * DAY]])  # (2, 2)
    out = features(age)
    assert out.shape == (2, 2, features.num_features)
    assert features.num_features == 17
    assert out[0, 0].tolist() == [0.0] * 8 + [1.0] * 8 + [0.0]
    # The fastest wave has a period of a day, the slowest one of thirty years.
    torch.testing.assert_close(out[0, 1, [0, 8]], torch.tensor([1.0, 0.0]), rtol=0, atol=1e-6)
    slow = 2 * math.pi * 365 / (30 * 365.25)
    torch.testing.assert_close(out[1, 0, [7, 15, 16]], torch.tensor([math.sin(slow), math.cos(slow), math.log(366)]))
    # A row later than its limit, of which there should be none, does not give NaN.
    assert features(torch.tensor([-5 * DAY])).isfinite().all()


def test_age_features_tell_days_apart_after_a_century():
    days = torch.arange(36_500, 36_600)
    out = AgeFeatures()((days * DAY).to(torch.int64) + torch.arange(100) * 600)
    assert torch.cdist(out, out).fill_diagonal_(1.0).min() > 1e-3
    with pytest.raises(ValueError, match="num_frequencies"):
        AgeFeatures(0)
