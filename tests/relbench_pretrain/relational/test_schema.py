"""The schema as JSON, its hashes and its differences."""

import dataclasses
import json
import math

import numpy as np
import pandas as pd
import pytest
import torch
from torch_frame import stype
from torch_frame.data.stats import StatType, compute_col_stats

from relbench_pretrain.relational.graph import fit_schema
from relbench_pretrain.relational.schema import (
    ColumnSchema,
    ForeignKey,
    GraphSchema,
    SchemaError,
    TableSchema,
    stats_to_json,
)


@pytest.fixture(scope="module")
def schema(make_database) -> GraphSchema:
    return fit_schema(make_database(), 1_578_200_000)


def changed(schema: GraphSchema, path: str, value) -> GraphSchema:
    """The schema with one entry of its JSON form replaced, or removed if the value is None."""
    state = json.loads(json.dumps(schema.to_dict()))
    *parents, last = path.split("/")
    place = state
    for key in parents:
        place = place[key]
    if value is None:
        del place[last]
    else:
        place[last] = value
    return GraphSchema.from_dict(state)


class TestJson:
    def test_round_trips(self, schema, tmp_path):
        schema.save(tmp_path / "schema.json")
        for restored in (GraphSchema.load(tmp_path / "schema.json"), GraphSchema.from_dict(schema.to_dict())):
            assert restored == schema
            assert list(restored.tables) == list(schema.tables)
            assert [list(t.columns) for t in restored.tables.values()] == [
                list(t.columns) for t in schema.tables.values()
            ]
            assert restored.fitted_hash == schema.fitted_hash
            assert restored.structure_hash == schema.structure_hash

    def test_is_plain_json(self, schema):
        state = schema.to_dict()
        assert json.loads(json.dumps(state, allow_nan=False)) == state

    def test_restored_statistics_have_pytorch_frames_types(self, schema, tmp_path):
        schema.save(tmp_path / "schema.json")
        stats = GraphSchema.load(tmp_path / "schema.json").tables["events"].column_stats()
        assert stats["time"][StatType.OLDEST_TIME].dtype == torch.int64
        assert stats["kind"][StatType.COUNT][0] == schema.tables["events"].columns["kind"].stats["COUNT"][0]
        assert stats["vector"] == {StatType.EMB_DIM: 3}

    def test_older_files_need_not_name_the_embedder(self, schema):
        state = schema.to_dict()
        del state["text_embedder"], state["fitted_until"]
        assert GraphSchema.from_dict(state).text_embedder is None

    @pytest.mark.parametrize(
        "text", ["", "{", "[]", "{}", '{"tables": {"t": {}}}', '{"tables": {"t": {"columns": {"c": {"x": 1}}}}}']
    )
    def test_other_files_are_refused(self, tmp_path, text):
        (tmp_path / "schema.json").write_text(text)
        with pytest.raises(SchemaError, match=r"schema.json' holds no graph schema .*: save it again"):
            GraphSchema.load(tmp_path / "schema.json")

    def test_missing_file(self, tmp_path):
        with pytest.raises(FileNotFoundError):
            GraphSchema.load(tmp_path / "schema.json")


class TestStatistics:
    @pytest.mark.parametrize(
        ("values", "kind"),
        [
            (pd.Series([1.0, 2.5, np.nan]), stype.numerical),
            (pd.Series([np.nan]), stype.numerical),
            (pd.Series(pd.to_datetime(["2020-01-02", None, "1999-03-04"])), stype.timestamp),
            (pd.Series(pd.to_datetime([None])), stype.timestamp),
            (pd.Series(["a", "b", "a"]), stype.categorical),
            (pd.Series([["a", "b"], ["a"]]), stype.multicategorical),
        ],
    )
    def test_round_trip(self, values, kind):
        stats = compute_col_stats(values, kind)
        plain = json.loads(json.dumps(stats_to_json(stats), allow_nan=False))
        restored = TableSchema({"c": ColumnSchema(kind.value, plain)}).column_stats()["c"]
        assert list(restored) == list(stats)
        for stat, value in stats.items():
            if isinstance(value, torch.Tensor):
                assert torch.equal(restored[stat], value)
                assert restored[stat].dtype == value.dtype
            elif stat in (StatType.COUNT, StatType.MULTI_COUNT):
                assert restored[stat] == value
                assert isinstance(restored[stat], tuple)
            else:
                np.testing.assert_array_equal(restored[stat], value)

    def test_what_is_not_finite_is_null(self):
        assert stats_to_json({StatType.MEAN: np.float64(np.inf), StatType.STD: math.nan}) == {"MEAN": None, "STD": None}


class TestHashes:
    @pytest.mark.parametrize(
        ("path", "value"),
        [
            ("tables/values", None),
            ("tables/more", {"columns": {}, "primary_key": None, "time_column": None, "foreign_keys": {}}),
            ("tables/events/primary_key", "key"),
            ("tables/events/time_column", "due"),
            ("tables/events/foreign_keys/item", "events"),
            ("tables/events/foreign_keys/boss", None),
            ("tables/events/columns/amount", None),
            ("tables/events/columns/amount/stype", "categorical"),
            ("tables/items/columns/more", {"stype": "numerical", "stats": {}}),
        ],
    )
    def test_structure(self, schema, path, value):
        other = changed(schema, path, value)
        assert other.structure_hash != schema.structure_hash
        assert schema.difference(other)
        with pytest.raises(SchemaError):
            schema.require_same_structure(other, "here")

    @pytest.mark.parametrize(
        ("path", "value"),
        [
            ("tables/events/columns/amount/stats/MEAN", 0.5),
            ("tables/events/columns/kind/stats/COUNT", [["z", "y", "x"], [3, 2, 1]]),
            ("text_embedder", "other"),
            ("fitted_until", 5),
        ],
    )
    def test_fitted(self, schema, path, value):
        other = changed(schema, path, value)
        assert other.fitted_hash != schema.fitted_hash
        assert other.structure_hash == schema.structure_hash
        assert schema.difference(other) == []
        schema.require_same_structure(other, "here")

    def test_structure_leaves_the_fitted_hash_alone(self, schema):
        other = changed(schema, "tables/events/primary_key", "key")
        assert other.fitted_hash == schema.fitted_hash

    def test_order_matters(self, schema):
        """The weights of a network depend on it."""
        turned = dataclasses.replace(schema, tables=dict(reversed(schema.tables.items())))
        assert turned.structure_hash != schema.structure_hash
        assert schema.difference(turned) == []
        with pytest.raises(SchemaError, match="here: the schemas have the same tables and columns in another order"):
            schema.require_same_structure(turned, "here")

    def test_names_cannot_be_confused(self):
        one = GraphSchema({"t": TableSchema({"a": ColumnSchema("numerical"), "b": ColumnSchema("numerical")})})
        other = GraphSchema({"t": TableSchema({"a is numerical\ntable 't': column 'b": ColumnSchema("numerical")})})
        none, named = GraphSchema({"t": TableSchema({}, None)}), GraphSchema({"t": TableSchema({}, "None")})
        assert len({s.structure_hash for s in (one, other, none, named)}) == 4
        assert none.difference(named)


def test_difference_can_be_read(schema):
    other = changed(
        changed(schema, "tables/events/columns/amount/stype", "categorical"), "tables/events/columns/late", None
    )
    assert schema.difference(other) == [
        "- table 'events': column 'amount' is numerical",
        "- table 'events': column 'late' is categorical",
        "+ table 'events': column 'amount' is categorical",
    ]
    with pytest.raises(
        SchemaError, match=r"this checkpoint: the schemas differ .- expected, . found.:\n  - table 'events': column"
    ):
        schema.require_same_structure(other, "this checkpoint")


def test_keys_and_edges(schema):
    """Tables may be called like methods of a dictionary."""
    assert schema.node_types == ["items", "keys", "events", "values"]
    assert schema.foreign_keys == [
        ForeignKey("keys", "event", "events"),
        ForeignKey("events", "item", "items"),
        ForeignKey("events", "other", "items"),
        ForeignKey("events", "boss", "events"),
        ForeignKey("values", "event", "events"),
    ]
    assert schema.edge_types[2:4] == [("events", "f2p_item", "items"), ("items", "rev_f2p_item", "events")]
    assert len(set(schema.edge_types)) == 10


def test_columns_by_stype(schema):
    assert schema.tables["events"].columns_by_stype() == {
        stype.timestamp: ["time", "due"],
        stype.numerical: ["amount", "paid"],
        stype.categorical: ["kind", "type_id", "late"],
        stype.multicategorical: ["tags"],
        stype.embedding: ["note", "vector"],
    }
