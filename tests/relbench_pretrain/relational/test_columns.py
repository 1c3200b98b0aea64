"""Statistics of columns, and columns as tensors, against PyTorch Frame's own."""

import datetime
import math

import numpy as np
import pandas as pd
import pytest
import torch
import torch_frame
from torch_frame import stype
from torch_frame.data.stats import StatType, compute_col_stats

from relbench_pretrain.relational.columns import encode_table, fit_column
from relbench_pretrain.relational.schema import ColumnSchema, TableSchema
from relbench_pretrain.relational.stypes import MAX_CATEGORIES
from relbench_pretrain.relational.text import HashTextEmbedder

EMBEDDER = HashTextEmbedder(8)
NAN = math.nan


def fit(values, kind: str) -> ColumnSchema:
    values = values if isinstance(values, pd.Series) else pd.Series(values)
    return fit_column("table.column", values, stype(kind), EMBEDDER)


def encode(values, column: ColumnSchema):
    """The tensor of one column."""
    frame = encode_table("table", pd.DataFrame({"column": values}), TableSchema({"column": column}), EMBEDDER)
    (feature,) = frame.feat_dict.values()
    return feature


def cells(feature) -> list[list[int]]:
    return [feature[row, 0].tolist() for row in range(len(feature))]


@pytest.fixture
def rows() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    times = pd.Series(pd.Timestamp("1999-12-31 23:59:58") + pd.to_timedelta(rng.integers(0, 10**9, 200), unit="s"))
    return pd.DataFrame(
        {
            "when": times.where(rng.random(200) < 0.9),
            "price": np.where(rng.random(200) < 0.9, rng.lognormal(size=200), np.nan),
            "count": rng.integers(0, 1_000_000, 200),
            "colour": pd.Series(rng.choice(["red", "green", "blue"], 200)).where(rng.random(200) < 0.9),
            "type_id": rng.integers(5, 9, 200),
            "then": times.astype("datetime64[ms]"),
        }
    )


STYPES = {
    "when": stype.timestamp,
    "price": stype.numerical,
    "count": stype.numerical,
    "colour": stype.categorical,
    "type_id": stype.categorical,
    "then": stype.timestamp,
}


class TestAgainstPyTorchFrame:
    @pytest.mark.parametrize("num_fitted", [200, 150, 1])
    def test_frames_equal_its_materialisation(self, rows, num_fitted):
        columns = {name: fit_column(name, rows[name][:num_fitted], kind, EMBEDDER) for name, kind in STYPES.items()}
        table = TableSchema(columns)
        dataset = torch_frame.data.Dataset(rows, STYPES).materialize(col_stats=table.column_stats())
        expected, found = dataset.tensor_frame, encode_table("table", rows, table, EMBEDDER)
        assert found.col_names_dict == table.columns_by_stype()
        assert set(found.feat_dict) == set(expected.feat_dict)
        for kind, names in found.col_names_dict.items():
            order = [expected.col_names_dict[kind].index(name) for name in names]
            torch.testing.assert_close(
                found.feat_dict[kind], expected.feat_dict[kind][:, order], rtol=0, atol=0, equal_nan=True
            )

    @pytest.mark.parametrize("num_rows", [200, 7, 2, 1, 0])
    @pytest.mark.parametrize("name", ["when", "price", "count", "then"])
    def test_statistics_equal_its_own(self, rows, name, num_rows):
        values = rows[name][:num_rows]
        expected = compute_col_stats(values, STYPES[name])
        found = TableSchema({name: fit_column(name, values, STYPES[name], EMBEDDER)}).column_stats()[name]
        assert list(found) == list(expected)
        for stat in expected:
            if isinstance(expected[stat], torch.Tensor):
                assert torch.equal(found[stat], expected[stat])
            else:
                np.testing.assert_array_equal(found[stat], expected[stat], str(stat))

    def test_counts_equal_its_own_but_for_ties(self, rows):
        for name in ("colour", "type_id"):
            categories, counts = compute_col_stats(rows[name], stype.categorical)[StatType.COUNT]
            found = fit_column(name, rows[name], stype.categorical, EMBEDDER).stats["COUNT"]
            assert found[1] == counts
            assert dict(zip(*found, strict=True)) == dict(zip(categories, counts, strict=True))


class TestNumbers:
    def test_infinite_ones_are_missing(self):
        column = fit([1.0, 3.0, np.inf, -np.inf, NAN], "numerical")
        assert column.stats == {"MEAN": 2.0, "STD": 1.0, "QUANTILES": [1.0, 1.5, 2.0, 2.5, 3.0]}
        feature = encode([np.inf, -np.inf, NAN, 7.0], column)
        assert feature.shape == (4, 1)
        assert feature.dtype == torch.float32
        assert feature[:, 0].isnan().tolist() == [True, True, True, False]

    @pytest.mark.parametrize("dtype", ["Int64", "Float64", "float32", "int8", object])
    def test_same_in_any_dtype(self, dtype):
        values = pd.Series([1, 5, 6]).astype(dtype)
        assert fit(values, "numerical") == fit([1.0, 5.0, 6.0], "numerical")
        assert encode(values, fit(values, "numerical"))[:, 0].tolist() == [1, 5, 6]

    def test_no_value(self):
        column = fit([None, NAN], "numerical")
        assert column.stats == {"MEAN": None, "STD": None, "QUANTILES": [None] * 5}
        assert encode([1.0, None], column)[0, 0] == 1.0


class TestCategories:
    def test_order_is_by_count_then_by_name(self):
        values = ["b", "a", "c", "c", None, "d"]
        for seed in range(5):
            column = fit(pd.Series(values).sample(frac=1, random_state=seed), "categorical")
            assert column.stats["COUNT"] == [["c", "a", "b", "d"], [2, 1, 1, 1]]

    @pytest.mark.parametrize(
        ("values", "categories"),
        [
            (pd.Series([2, 2, 10], dtype="Int64"), [2, 10]),
            (pd.Series([2.0, 2.0, 10.0, NAN]), [2, 10]),
            (pd.Series([2, 10.0, 2, None], dtype=object), [2, 10]),
            (pd.Series([0.5, 0.5, 2.0]), [0.5, 2]),
            (pd.Series([True, True, False]), ["True", "False"]),
            (pd.Series([True, True, False, None], dtype=object), ["True", "False"]),
            (pd.Series([True, True, False, None], dtype="boolean"), ["True", "False"]),
            (pd.Series(["y", "x", "y"], dtype="string"), ["y", "x"]),
            (pd.Series(["y", "x", "y"]).astype("category"), ["y", "x"]),
            (pd.Series([datetime.date(2020, 1, 1)] * 2 + [datetime.date(1999, 1, 1)]), ["2020-01-01", "1999-01-01"]),
        ],
    )
    def test_plain_values_whatever_the_dtype(self, values, categories):
        column = fit(values, "categorical")
        assert column.stats["COUNT"][0] == categories
        assert list(map(type, column.stats["COUNT"][0])) == list(map(type, categories))
        codes = encode(values, column)[:, 0]
        assert codes.dtype == torch.int64
        assert codes[values.notna().to_numpy()].bincount().tolist() == column.stats["COUNT"][1]
        assert (codes[values.isna().to_numpy()] == -1).all()

    def test_values_that_become_the_same_category(self):
        class Same:
            def __str__(self):
                return "same"

        values = pd.Series([Same(), Same(), "other"], dtype=object)
        column = fit(values, "categorical")
        assert column.stats["COUNT"] == [["same", "other"], [2, 1]]
        assert encode(values, column)[:, 0].tolist() == [0, 0, 1]

    def test_unused_categories_of_a_categorical_are_none(self):
        """They come from rows that may not be seen yet."""
        values = pd.Series(["a", "a", "later", "b"]).astype("category")
        column = fit(values[:2], "categorical")
        assert column.stats["COUNT"] == [["a"], [2]]
        assert encode(values, column)[:, 0].tolist() == [0, 0, -1, -1]

    def test_unseen_ones_and_types_that_differ(self):
        column = fit([1, 1, 2], "categorical")
        assert encode(pd.Series([2.0, 3.0, 1.0, NAN]), column)[:, 0].tolist() == [1, -1, 0, -1]
        assert encode(pd.Series(["1", "2"]), column)[:, 0].tolist() == [-1, -1]

    def test_no_value(self):
        column = fit([None, None], "categorical")
        assert column.stats["COUNT"] == [[], []]
        assert encode(["a", None], column)[:, 0].tolist() == [-1, -1]


class TestLists:
    @pytest.mark.parametrize("make", [list, tuple, lambda cell: np.array(cell, dtype=object), set])
    def test_cells(self, make):
        values = [["b", "a", "b"], None, [], ["a"], ["unseen"], ["unseen", "b"]]
        values = pd.Series([None if cell is None else make(cell) for cell in values])
        column = fit(values[:4], "multicategorical")
        assert column.stats["MULTI_COUNT"] == [["a", "b"], [2, 1]]
        feature = encode(values, column)
        assert cells(feature) == [[0, 1], [-1], [], [0], [], [1]]
        assert feature.offset.tolist() == [0, 2, 3, 3, 4, 4, 5]

    def test_several_columns(self):
        df = pd.DataFrame({"a": [["x"], [], None], "b": [[1, 2], None, [2]]})
        columns = {name: fit_column(name, df[name], stype.multicategorical, EMBEDDER) for name in df}
        frame = encode_table("table", df, TableSchema(columns), EMBEDDER)
        feature = frame.feat_dict[stype.multicategorical]
        found = [[feature[row, col].tolist() for col in range(2)] for row in range(3)]
        assert found == [[[0], [0, 1]], [[], [-1]], [[-1], [0]]]

    def test_counts_as_pytorch_frame_counts_them(self):
        values = pd.Series([["b", "a", "b"], ["a"], ["c", "a"], []])
        categories, counts = compute_col_stats(values, stype.multicategorical)[StatType.MULTI_COUNT]
        found = fit(values, "multicategorical").stats["MULTI_COUNT"]
        assert dict(zip(*found, strict=True)) == dict(zip(categories, counts, strict=True))

    def test_most_frequent_elements_are_kept(self):
        values = pd.Series([[n, "often"] for n in range(MAX_CATEGORIES + 5)])
        categories, counts = fit(values, "multicategorical").stats["MULTI_COUNT"]
        assert len(categories) == len(counts) == MAX_CATEGORIES
        assert categories[:3] == ["often", 0, 1]

    def test_no_value(self):
        column = fit(pd.Series([None, None], dtype=object), "multicategorical")
        assert column.stats["MULTI_COUNT"] == [[], []]
        assert cells(encode(pd.Series([["a"], None]), column)) == [[], [-1]]


class TestTimes:
    def test_year_range_is_of_the_rows_seen(self):
        texts = ["2003-01-01", None, "1999-05-06 07:08:09", "2020-01-01", "1950-01-01"]
        times = pd.Series(texts, dtype="datetime64[us]")
        column = fit(times[:3], "timestamp")
        assert column.stats["YEAR_RANGE"] == [1999, 2003]
        assert column.stats["OLDEST_TIME"] == [1999, 4, 5, 3, 7, 8, 9]
        parts = encode(times, column)
        assert parts.shape == (5, 1, 7)
        assert parts.dtype == torch.int64
        assert parts[:, 0, 0].tolist() == [2003, -1, 1999, 2020, 1950]
        assert parts[1].eq(-1).all()

    @pytest.mark.parametrize(
        "values",
        [
            pd.Series(pd.to_datetime(["2020-03-04 05:06:07"]).tz_localize("UTC").tz_convert("Asia/Tokyo")),
            pd.Series(["2020-03-04T05:06:07"]),
            pd.Series([datetime.datetime(2020, 3, 4, 5, 6, 7)], dtype=object),
            pd.Series(pd.to_datetime(["2020-03-04 05:06:07"])).astype("datetime64[s]"),
        ],
    )
    def test_same_in_any_dtype(self, values):
        column = fit(values, "timestamp")
        assert column.stats["YEAR_RANGE"] == [2020, 2020]
        assert encode(values, column).flatten().tolist() == [2020, 2, 3, 2, 5, 6, 7]

    def test_dates_beyond_nanoseconds(self):
        column = fit(pd.Series([datetime.date(1066, 10, 14), datetime.date(9999, 12, 31)]), "timestamp")
        assert column.stats["YEAR_RANGE"] == [1066, 9999]

    def test_no_value(self):
        column = fit(pd.Series([None], dtype=object), "timestamp")
        assert column.stats["YEAR_RANGE"] == [-1, -1]
        assert encode(pd.Series(pd.to_datetime(["2020"])), column)[0, 0, 0] == 2020


class TestVectors:
    @pytest.mark.parametrize("make", [list, tuple, np.array, lambda cell: np.array(cell, dtype=np.float32)])
    def test_cells(self, make):
        values = pd.Series([make([1.0, 2.0]), None, make([3.0, 4.0]), make([]), make([NAN, 1.0])])
        column = fit(values, "embedding")
        assert column.stats == {"EMB_DIM": 2}
        feature = encode(values, column)
        assert feature.values.tolist() == [[1, 2], [0, 0], [3, 4], [0, 0], [0, 0]]
        assert feature.offset.tolist() == [0, 2]

    def test_many_rows(self):
        values = pd.Series(list(np.random.default_rng(0).normal(size=(250_001, 2))))
        np.testing.assert_array_equal(
            encode(values, fit(values, "embedding")).values, np.stack(values).astype(np.float32)
        )

    def test_texts_and_vectors_in_the_order_of_the_columns(self):
        df = pd.DataFrame({"text": ["red chair", None], "vector": [[1.0, 2.0], None], "more": ["", "blue lamp"]})
        kinds = {"text": stype.text_embedded, "vector": stype.embedding, "more": stype.text_embedded}
        table = TableSchema({name: fit_column(name, df[name], kind, EMBEDDER) for name, kind in kinds.items()})
        frame = encode_table("table", df, table, EMBEDDER)
        assert frame.col_names_dict == {stype.embedding: ["text", "vector", "more"]}
        feature = frame.feat_dict[stype.embedding]
        assert feature.offset.tolist() == [0, 8, 10, 18]
        zeros, texts = torch.zeros(8), EMBEDDER(["red chair", "blue lamp"])
        assert torch.equal(feature.values[0], torch.cat([texts[0], torch.tensor([1.0, 2.0]), zeros]))
        assert torch.equal(feature.values[1], torch.cat([zeros, zeros[:2], texts[1]]))

    def test_wrong_widths_name_the_column(self):
        with pytest.raises(ValueError, match=r"'table.column': row 2 has 3 numbers, the rows before it have 2"):
            fit(pd.Series([[1.0, 2.0], None, [1.0, 2.0, 3.0]]), "embedding")
        with pytest.raises(ValueError, match=r"'table.column': its vectors have 3 numbers, the schema expects 2"):
            encode(pd.Series([[1.0, 2.0, 3.0]]), fit(pd.Series([[1.0, 2.0]]), "embedding"))

    def test_no_value(self):
        column = fit(pd.Series([None], dtype=object), "embedding")
        assert encode(pd.Series([None], dtype=object), column).values.tolist() == [[0.0]]


class TestAnyTable:
    KINDS = ("numerical", "categorical", "multicategorical", "timestamp", "embedding", "text_embedded")
    VALUES = (1.5, "a", ["a"], pd.Timestamp("2020"), [0.5, 1.5], "some text")

    @pytest.mark.parametrize("dtype", [object, None])
    def test_no_rows(self, dtype):
        seen = pd.DataFrame({kind: pd.Series([value]) for kind, value in zip(self.KINDS, self.VALUES, strict=True)})
        table = TableSchema({kind: fit_column(kind, seen[kind], stype(kind), EMBEDDER) for kind in self.KINDS})
        none = seen[:0] if dtype is None else seen[:0].astype(dtype)
        frame = encode_table("table", none, table, EMBEDDER)
        assert frame.num_rows == 0
        assert frame.feat_dict[stype.timestamp].shape == (0, 1, 7)
        assert frame.feat_dict[stype.embedding].values.shape == (0, 10)
        assert len(frame.feat_dict[stype.multicategorical]) == 0
        for kind in self.KINDS:
            assert fit_column(kind, none[kind], stype(kind), EMBEDDER).stype == kind

    @pytest.mark.parametrize(
        ("values", "kind", "message"),
        [
            (["a"], "numerical", "none of its 1 values is a number, the first is 'a'"),
            (["a"], "timestamp", "none of its 1 values is a time"),
            ([1], "timestamp", "numbers have no unit of time"),
            (["a"], "multicategorical", "its values are no lists"),
            (["a"], "embedding", r"its values are of type \['str'\]"),
            ([1.0], "embedding", r"its values are of type \['float'\]"),
            ([["a"]], "categorical", "unhashable"),
            ([["a", "b"]], "embedding", "could not convert"),
        ],
    )
    def test_values_that_do_not_fit_name_the_column(self, values, kind, message):
        proper = fit(pd.Series([dict(zip(self.KINDS, self.VALUES, strict=True))[kind]]), kind)
        with pytest.raises(ValueError, match=f"column 'table.column': .*{message}"):
            encode(pd.Series(values), proper)
        if message != "could not convert":
            with pytest.raises(ValueError, match=f"column 'table.column': .*{message}"):
                fit(pd.Series(values), kind)

    def test_rows_stay_as_they_are(self, make_database):
        df = make_database().table_dict["events"].df
        before = df.copy(deep=True)
        kinds = {"due": "timestamp", "amount": "numerical", "tags": "multicategorical", "vector": "embedding"}
        table = TableSchema({name: fit_column(name, df[name], stype(kind), EMBEDDER) for name, kind in kinds.items()})
        encode_table("events", df, table, EMBEDDER)
        pd.testing.assert_frame_equal(df, before)
