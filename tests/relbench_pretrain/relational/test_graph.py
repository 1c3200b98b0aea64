"""Databases as graphs, under schemas that are theirs or another's."""

import copy
import dataclasses
import hashlib
import json
import time

import numpy as np
import pandas as pd
import pytest
import torch
from relbench.base import Database, Table
from torch import Tensor
from torch_frame import stype

from relbench_pretrain.relational.database import load_database, open_dataset
from relbench_pretrain.relational.graph import RelationalGraph, build_graph, fit_schema, hide_columns
from relbench_pretrain.relational.schema import CONSTANT_COLUMN, ForeignKey, GraphSchema, SchemaError
from relbench_pretrain.relational.text import HashTextEmbedder
from relbench_pretrain.unix_time import ALWAYS, timestamp_seconds

CUT = timestamp_seconds("2020-01-07")


def tensors(graph: RelationalGraph) -> dict[str, Tensor]:
    """All tensors of a graph by name."""
    found = {}
    for table in graph.schema.node_types:
        found |= {f"{table}.{part}": getattr(graph, part)[table] for part in ("time", "parent", "duplicate")}
        for kind, feature in graph.frames[table].feat_dict.items():
            parts = {"": feature} if isinstance(feature, Tensor) else {"v": feature.values, "o": feature.offset}
            found |= {f"{table}.{kind.value}.{part}": tensor for part, tensor in parts.items()}
    for key in graph.schema.foreign_keys:
        found |= {f"{key}.offset": graph.child_offset[key], f"{key}.row": graph.child_row[key]}
    return found


def digest(graph: RelationalGraph) -> str:
    found = hashlib.sha256()
    for name, tensor in tensors(graph).items():
        found.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode() + tensor.numpy().tobytes())
    return found.hexdigest()


def build(db: Database, **kwargs) -> RelationalGraph:
    return build_graph(db, fit_schema(db, **kwargs))


@pytest.fixture
def db(make_database) -> Database:
    return make_database()


@pytest.fixture(scope="module")
def graph(make_database) -> RelationalGraph:
    return build(make_database(), fitted_until=CUT)


def two_tables(parents: int, children: list, **columns) -> Database:
    child = pd.DataFrame({"parent": children, **columns})
    return Database(
        {"p": Table(pd.DataFrame({"id": range(parents)}), {}, "id"), "c": Table(child, {"parent": "p"}, None)}
    )


class TestFitting:
    """Rows later than the given time, and the order of the others, do not matter (traps 1 and 2)."""

    def test_later_rows_change_nothing(self, make_database):
        db = make_database(40)
        expected = fit_schema(db, CUT).to_dict()
        num_seen = int((db.table_dict["events"].df["time"] <= "2020-01-07").sum())
        assert 10 < num_seen < 30
        without = make_database(num_seen)
        without.table_dict["keys"] = db.table_dict["keys"]  # it has no times and so counts whole
        assert fit_schema(without, CUT).to_dict() == expected
        assert fit_schema(make_database(80), CUT).to_dict() != fit_schema(make_database(80)).to_dict()
        other = make_database(80, seed=1)
        events, later = db.table_dict["events"].df, other.table_dict["events"].df[num_seen:]
        db.table_dict["events"].df = pd.concat([events[:num_seen], later])
        assert fit_schema(db, CUT).to_dict() == expected

    @pytest.mark.parametrize(
        ("column", "value"),
        [
            ("amount", np.inf),
            ("amount", "text"),
            ("kind", "new"),
            ("kind", "a kind of which there was no example until this day"),
            ("type_id", None),
            ("paid", None),
            ("paid", 0.5),
            ("late", None),
            ("tags", ["new"]),
            ("tags", [["nested"]]),
            ("note", None),
            ("note", "x"),
            ("vector", [1.0]),
            ("due", None),
            ("due", pd.Timestamp("2262-01-01")),
        ],
    )
    def test_later_values_change_nothing(self, db, column, value):
        expected = fit_schema(db, CUT).to_dict()
        df = db.table_dict["events"].df
        values = df[column].astype(object)
        for row in np.flatnonzero(df["time"] > "2020-01-07"):
            values.iat[row] = value
        df[column] = values.infer_objects()
        assert fit_schema(db, CUT).to_dict() == expected

    def test_categories_that_only_later_rows_have(self, db):
        df = db.table_dict["events"].df
        df["kind"] = df["kind"].where(df["time"] <= "2020-01-07", "later").astype("category")
        assert sorted(fit_schema(db, CUT).tables["events"].columns["kind"].stats["COUNT"][0]) == ["x", "y", "z"]

    def test_a_row_at_the_time_itself_is_seen(self, db):
        times = db.table_dict["events"].df["time"]
        for row in (0, 9, 39):
            schema = fit_schema(db, timestamp_seconds(times[row]))
            assert sum(schema.tables["events"].columns["type_id"].stats["COUNT"][1]) == row + 1
            assert sum(fit_schema(db, schema.fitted_until - 1).tables["items"].columns["colour"].stats["COUNT"][1]) == 5

    def test_no_row_seen(self, db):
        schema = fit_schema(db, timestamp_seconds("1999-01-01"))
        assert list(schema.tables["events"].columns) == [CONSTANT_COLUMN]
        assert build_graph(db, schema).frames["events"].feat_dict[stype.numerical].eq(1).all()

    def test_demo(self, demo_folder):
        dataset = open_dataset(demo_folder)
        db = load_database(dataset)
        until = timestamp_seconds(dataset.val_timestamp)
        expected = fit_schema(db, until)
        assert fit_schema(db.upto(dataset.val_timestamp), until) == expected
        assert fit_schema(db).fitted_hash != expected.fitted_hash

    def test_row_order_of_tables_without_times(self, db):
        """Sums of floating-point numbers aside, which the order rounds differently."""
        expected = fit_schema(db).tables["items"].columns
        items = db.table_dict["items"]
        for seed in range(3):
            items.df = items.df.sample(frac=1, random_state=seed)
            found = fit_schema(db).tables["items"].columns
            assert found["colour"] == expected["colour"]
            assert found["price"].stats["QUANTILES"] == expected["price"].stats["QUANTILES"]

    def test_twice_and_in_another_process(self, demo_folder, in_other_process):
        db = load_database(demo_folder)
        graph = build(db)
        assert digest(build(db)) == digest(graph)
        assert any(c.stype == "text_embedded" for t in graph.schema.tables.values() for c in t.columns.values())
        code = f"""
import sys
sys.path.insert(0, {__file__.rsplit("/", 1)[0]!r})
from test_graph import build, digest, load_database
graph = build(load_database({str(demo_folder)!r}))
print(graph.schema.structure_hash, graph.schema.fitted_hash, digest(graph))"""
        assert in_other_process(code).split() == [graph.schema.structure_hash, graph.schema.fitted_hash, digest(graph)]

    def test_embedder_is_named_only_where_there_are_texts(self, db):
        assert fit_schema(db, embedder=HashTextEmbedder(8)).text_embedder == "hash-8"
        assert fit_schema(db, stypes={"events": {"note": None}}).text_embedder is None

    def test_statistics(self, graph):
        columns = graph.schema.tables["events"].columns
        assert graph.schema.fitted_until == CUT
        assert columns["time"].stats["NEWEST_TIME"][:3] == [2020, 0, 5]
        assert sum(columns["kind"].stats["COUNT"][1]) == graph.rows_until(CUT)["events"]


class TestOverrides:
    def test_win(self, db):
        overrides = {"events": {"kind": None, "paid": "categorical", "note": "categorical"}, "items": {"colour": None}}
        schema = fit_schema(db, stypes=overrides)
        columns = schema.tables["events"].columns
        assert "kind" not in columns
        assert columns["paid"].stype == columns["note"].stype == "categorical"
        assert list(schema.tables["items"].columns) == ["price"]

    def test_keep_a_column_without_values(self, db):
        db.table_dict["items"].df["nothing"] = None
        assert "nothing" not in fit_schema(db).tables["items"].columns
        schema = fit_schema(db, stypes={"items": {"nothing": "numerical"}, "values": {"words": "text_embedded"}})
        graph = build_graph(db, schema)
        assert graph.frames["items"].get_col_feat("nothing").isnan().all()
        assert graph.frames["values"].num_rows == 0

    def test_wrong_ones(self, db):
        with pytest.raises(ValueError, match=r"unknown tables \['nope'\]; the database has \['items', "):
            fit_schema(db, stypes={"nope": {}})
        with pytest.raises(ValueError, match=r"table 'events' has no feature column 'boss'"):
            fit_schema(db, stypes={"events": {"boss": None}})
        with pytest.raises(ValueError, match=r"column 'items.colour': none of its 5 values is a number"):
            fit_schema(db, stypes={"items": {"colour": "numerical"}})

    def test_taken_from_a_schema(self, make_database):
        """Another database of the same structure, in which nothing would tell the types."""
        overrides = {"events": {"paid": "categorical", "amount": None}, "items": {"price": None, "colour": None}}
        first = fit_schema(make_database(), stypes=overrides)
        db = make_database(6, seed=5)
        db.table_dict["events"].df[["kind", "tags", "due", "note", "vector"]] = None
        assert fit_schema(db).structure_hash != first.structure_hash
        turned = Database(dict(reversed(db.table_dict.items())))
        for table in turned.table_dict.values():
            table.df = table.df[table.df.columns[::-1]]
        schema = fit_schema(turned, stypes=first)
        assert schema.structure_hash == first.structure_hash
        assert schema.fitted_hash != first.fitted_hash
        assert build_graph(turned, schema).schema is schema

    def test_taken_from_a_schema_of_other_tables(self, db):
        schema = fit_schema(db)
        del db.table_dict["values"]
        with pytest.raises(SchemaError, match="- table 'values': primary key None"):
            fit_schema(db, stypes=schema)


class TestAnotherDatabase:
    """What a checkpoint's schema does to data that it was not fitted on (trap 2)."""

    def test_codes_stay_the_same(self, graph, make_database):
        other = make_database(30, seed=7)
        other.table_dict["events"].df["kind"] = list("zzzzzyw") * 4 + [None, "x"]
        found = build_graph(other, graph.schema)
        assert found.schema is graph.schema
        categories = graph.schema.tables["events"].columns["kind"].stats["COUNT"][0]
        codes = found.frames["events"].get_col_feat("kind").flatten().tolist()
        kinds = other.table_dict["events"].df["kind"]
        assert codes == [categories.index(kind) if kind in categories else -1 for kind in kinds]
        assert -1 in codes
        assert fit_schema(other).tables["events"].columns["kind"].stats["COUNT"][0] != categories

    def test_a_part_of_the_database_is_encoded_alike(self, graph, make_database):
        part = build_graph(make_database(20), graph.schema)
        for kind, feature in part.frames["events"].feat_dict.items():
            whole = graph.frames["events"].feat_dict[kind]
            if isinstance(feature, Tensor):
                torch.testing.assert_close(feature, whole[:20], rtol=0, atol=0, equal_nan=True)
            else:
                assert torch.equal(feature.values, whole[:20].values)

    def test_order_of_tables_and_columns_is_the_schemas(self, graph, db):
        turned = Database(dict(reversed(db.table_dict.items())))
        for table in turned.table_dict.values():
            table.df = table.df[table.df.columns[::-1]]
            table.fkey_col_to_pkey_table = dict(reversed(table.fkey_col_to_pkey_table.items()))
        assert digest(build_graph(turned, graph.schema)) == digest(graph)

    def test_columns_that_the_schema_does_not_know_are_ignored(self, graph, db):
        db.table_dict["events"].df["extra"] = 1.0
        assert digest(build_graph(db, graph.schema)) == digest(graph)

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            (lambda t: t.pop("values"), "- table 'values': primary key None, time column 'time'"),
            (lambda t: t.update(more=t["keys"]), r"\+ table 'more': primary key None"),
            (lambda t: t["events"].df.drop(columns="amount", inplace=True), "- table 'events': column 'amount' is num"),
            (lambda t: setattr(t["items"], "time_col", "price"), r"\+ table 'items': .* time column 'price'"),
            (
                lambda t: t["events"].fkey_col_to_pkey_table.pop("boss"),
                "- table 'events': foreign key 'boss' -> 'events'",
            ),
        ],
    )
    def test_other_structure(self, graph, db, change, message):
        change(db.table_dict)
        with pytest.raises(SchemaError, match=f"this database does not fit the schema: .*\n(.*\n)*  {message}"):
            build_graph(db, graph.schema)

    def test_values_of_another_type(self, graph, db):
        db.table_dict["events"].df["amount"] = "much"
        with pytest.raises(ValueError, match=r"column 'events.amount': none of its 40 values is a number"):
            build_graph(db, graph.schema)

    def test_other_text_embedder(self, graph, db):
        with pytest.raises(
            SchemaError, match="texts went through 'hash-64', but the text embedder is 'hash-8': give the"
        ):
            build_graph(db, graph.schema, HashTextEmbedder(8))
        without = fit_schema(db, stypes={"events": {"note": None}})
        build_graph(db, dataclasses.replace(without, text_embedder="hash-64"), HashTextEmbedder(8))


class TestEdges:
    def test_parents_are_the_foreign_keys(self, graph, db):
        for name, table in db.table_dict.items():
            parent = graph.parent[name]
            assert parent.shape == (len(table.df), len(table.fkey_col_to_pkey_table))
            for i, (column, target) in enumerate(table.fkey_col_to_pkey_table.items()):
                keys = table.df[column].astype("Int64").fillna(-1).to_numpy(dtype=np.int64)
                assert parent[:, i].tolist() == [k if k < graph.num_rows[target] else -1 for k in keys]
        assert (db.table_dict["events"].df["item"] == 99).any()

    def test_children_are_the_parents_the_other_way_round_in_row_order(self, graph):
        for key in graph.schema.foreign_keys:
            position = list(graph.schema.tables[key.child].foreign_keys).index(key.column)
            parent, offset = graph.parent[key.child][:, position], graph.child_offset[key]
            assert len(offset) == graph.num_rows[key.parent] + 1
            for row in range(graph.num_rows[key.parent]):
                children = graph.child_row[key][offset[row] : offset[row + 1]]
                assert torch.equal(children, (parent == row).nonzero().flatten())
            assert offset[-1] == len(graph.child_row[key]) == (parent >= 0).sum()
        assert graph.num_edges == 2 * sum((parent >= 0).sum() for parent in graph.parent.values())

    def test_two_keys_to_one_parent_and_a_reference_to_itself(self, graph):
        keys = [ForeignKey("events", name, "items") for name in ("item", "other")]
        assert not torch.equal(graph.child_row[keys[0]], graph.child_row[keys[1]])
        boss = ForeignKey("events", "boss", "events")
        assert len(graph.child_offset[boss]) == 41
        assert 0 < len(graph.child_row[boss]) <= 39

    def test_dangling_and_missing_keys(self):
        db = two_tables(3, pd.array([2, None, 7, -1, 0, 2], dtype="Int64"))
        graph = build(db)
        key = ForeignKey("c", "parent", "p")
        assert graph.parent["c"].flatten().tolist() == [2, -1, -1, -1, 0, 2]
        assert graph.child_row[key].tolist() == [4, 0, 5]
        assert graph.child_offset[key].tolist() == [0, 1, 1, 3]
        assert graph.num_edges == 6

    @pytest.mark.parametrize(("parents", "children"), [(0, []), (3, []), (0, [None, None]), (3, [None, None])])
    def test_no_edges(self, parents, children):
        graph = build(two_tables(parents, pd.array(children, dtype="Int64")))
        (key,) = graph.schema.foreign_keys
        assert graph.child_offset[key].tolist() == [0] * (parents + 1)
        assert graph.child_row[key].tolist() == []
        assert graph.num_edges == 0


class TestTimes:
    def test_are_unix_seconds(self, graph, db):
        expected = [timestamp_seconds(time) for time in db.table_dict["events"].df["time"]]
        assert graph.time["events"].tolist() == expected
        assert graph.time["items"].tolist() == [ALWAYS] * 5
        assert {times.dtype for times in graph.time.values()} == {torch.int64}

    def test_rows_until(self, graph):
        times = graph.time["events"]
        assert graph.rows_until(int(times[7])) == {"items": 5, "keys": 20, "events": 8, "values": 0}
        assert graph.rows_until(int(times[7]) - 1)["events"] == 7
        assert graph.rows_until(int(times[0]) - 1)["events"] == 0
        assert graph.rows_until(2**62)["events"] == 40

    def test_must_be_sorted_and_complete(self, db):
        df = db.table_dict["events"].df
        df.loc[7, "time"] = df.loc[5, "time"]
        with pytest.raises(
            ValueError, match=r"time column 'events.time': row 7 is earlier than the row before it: sort"
        ):
            fit_schema(db, CUT)
        df.loc[7, "time"] = pd.NaT
        with pytest.raises(ValueError, match=r"time column 'events.time': row 7 has no time"):
            build_graph(db, fit_schema(db))


class TestTablesWithLittle:
    def test_without_features(self, graph):
        columns = graph.schema.tables["keys"].columns
        assert list(columns) == [CONSTANT_COLUMN]
        frame = graph.frames["keys"]
        assert frame.feat_dict[stype.numerical].tolist() == [[1.0]] * 20
        assert frame.col_names_dict == {stype.numerical: [CONSTANT_COLUMN]}

    def test_without_rows_or_types(self, graph):
        assert graph.schema.tables["values"].time_column == "time"
        assert len(graph.frames["values"]) == len(graph.time["values"]) == len(graph.duplicate["values"]) == 0
        assert graph.parent["values"].shape == (0, 1)
        assert graph.time["values"].dtype == torch.int64

    def test_all_columns_left_out(self, db):
        graph = build(db, stypes={"items": {"colour": None, "price": None}})
        assert graph.frames["items"].feat_dict[stype.numerical].tolist() == [[1.0]] * 5


class TestDuplicates:
    def test_features_and_keys(self):
        columns = {"a": [1.0, 1.0, 1.0, np.nan, np.nan], "b": pd.Series(["x", "x", "x", None, None])}
        graph = build(two_tables(2, [0, 0, 1, 1, 1], **columns))
        assert graph.duplicate["c"].tolist() == [0, 0, 1, 2, 2]
        assert graph.duplicate["p"].tolist() == [0, 0]

    def test_primary_keys_and_columns_left_out_do_not_count(self, db):
        items = db.table_dict["items"]
        items.df["price"] = [1.0, 2.5, 3.0, 1.0, 2.5]
        items.df["serial"] = [f"number-{n}" for n in range(5)]
        assert build(db).duplicate["items"].tolist() == [0, 1, 2, 0, 1]

    def test_what_the_network_cannot_tell_apart(self, graph, db):
        """Two categories that the schema does not know are the same to it."""
        items = db.table_dict["items"]
        items.df["price"] = 1.0
        items.df["colour"] = ["r", "pink", "mauve", "r", None]
        assert build_graph(db, graph.schema).duplicate["items"].tolist() == [0, 1, 1, 0, 1]


class TestHiding:
    def test_features(self, db, graph):
        hidden = hide_columns(db, [("events", "amount"), ("events", "kind"), ("items", "colour")])
        schema = fit_schema(hidden)
        assert not {"amount", "kind"} & set(schema.tables["events"].columns)
        found = build_graph(hidden, graph.schema)
        assert found.frames["events"].get_col_feat("amount").isnan().all()
        assert found.frames["events"].get_col_feat("kind").eq(-1).all()
        assert torch.equal(found.frames["events"].get_col_feat("paid"), graph.frames["events"].get_col_feat("paid"))

    def test_every_type_under_a_fitted_schema(self, db, graph):
        names = list(graph.schema.tables["events"].columns)
        names.remove("time")
        found = build_graph(hide_columns(db, [("events", name) for name in names]), graph.schema).frames["events"]
        assert found.get_col_feat("due").eq(-1).all()
        assert found.get_col_feat("tags").values.eq(-1).all()
        assert found.feat_dict[stype.embedding].values.eq(0).all()

    def test_foreign_keys(self, db, graph):
        found = build_graph(hide_columns(db, [("events", "boss")]), graph.schema)
        assert found.parent["events"][:, 2].eq(-1).all()
        assert torch.equal(found.parent["events"][:, :2], graph.parent["events"][:, :2])

    def test_database_stays_as_it_is(self, db):
        before = copy.deepcopy(db)
        hide_columns(db, [("events", "amount"), ("events", "kind")])
        for name, table in db.table_dict.items():
            pd.testing.assert_frame_equal(table.df, before.table_dict[name].df)

    @pytest.mark.parametrize("place", [("nope", "x"), ("events", "nope"), ("events", "id"), ("events", "time")])
    def test_what_cannot_be_hidden(self, db, place):
        with pytest.raises(ValueError, match=rf"cannot hide '{place[0]}.{place[1]}': name a feature or foreign key"):
            hide_columns(db, [place])


@pytest.mark.parametrize(
    ("name", "num_rows"),
    [("rel-f1", 97_606), ("baseball", 534_747), ("stack-bicycles-meta", 22_884), ("stack-quantumcomputing", 26_418)],
)
@pytest.mark.filterwarnings("ignore:Table 'postHistory' is empty")
def test_real_databases(shared_database, name, num_rows):
    dataset = shared_database(name)
    db = load_database(dataset)
    start = time.process_time()
    graph = build(db, fitted_until=timestamp_seconds(dataset.val_timestamp))
    print(f"{name}: {time.process_time() - start:.1f} s")
    assert sum(graph.num_rows.values()) == num_rows
    assert graph.num_edges == 2 * sum(int((parent >= 0).sum()) for parent in graph.parent.values())
    for table, frame in graph.frames.items():
        assert len(frame) == len(graph.duplicate[table]) == len(db.table_dict[table].df)
        for feature in frame.feat_dict.values():
            assert not (feature if isinstance(feature, Tensor) else feature.values).isinf().any()
    assert GraphSchema.from_dict(json.loads(json.dumps(graph.schema.to_dict(), allow_nan=False))) == graph.schema
