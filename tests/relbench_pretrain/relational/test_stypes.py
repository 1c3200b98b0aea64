"""Column types: what they are, and that nothing but the values decides them."""

import datetime
from decimal import Decimal

import numpy as np
import pandas as pd
import pytest
from relbench.base import Table
from torch_frame import stype

from relbench_pretrain.relational import stypes as stypes_module
from relbench_pretrain.relational.stypes import MAX_CATEGORIES, StypeError, infer_stype, infer_table_stypes

MANY = range(MAX_CATEGORIES + 1)
PROSE = [f"the {n}th of many short texts" for n in range(50)]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (pd.Series([1.5, None]), stype.numerical),
        (pd.Series([1, None], dtype="Int64"), stype.numerical),
        (pd.Series([1, None, 2], dtype=object), stype.numerical),
        (pd.Series([1, 2.5, None], dtype=object), stype.numerical),
        (pd.Series([Decimal("1.5"), None]), stype.numerical),
        (pd.Series([np.inf, 1.0]), stype.numerical),
        (pd.Series(pd.to_timedelta(["1min", None])), stype.numerical),
        (pd.Series([True, False]), stype.categorical),
        (pd.Series([True, None], dtype="boolean"), stype.categorical),
        (pd.Series([True, None], dtype=object), stype.categorical),
        (pd.Series(pd.to_datetime(["2020", None])), stype.timestamp),
        (pd.Series(pd.to_datetime(["2020"]).tz_localize("Asia/Tokyo")), stype.timestamp),
        (pd.Series([datetime.date(2020, 1, 1), None]), stype.timestamp),
        (pd.Series([datetime.datetime(2020, 1, 1), None], dtype=object), stype.timestamp),
        (pd.Series(["a", "b", "a", "b", None]), stype.categorical),
        (pd.Series(["a", "b", "a", "b", None], dtype="string"), stype.categorical),
        (pd.Series(["a", None]), stype.categorical),
        (pd.Series(PROSE), stype.text_embedded),
        (pd.Series(PROSE, dtype="string"), stype.text_embedded),
        (pd.Series(PROSE).astype("category"), stype.text_embedded),
        (pd.Series(list("abcab")).astype("category"), None),
        (pd.Series([1, 2, 3]).astype("category"), stype.categorical),
        (pd.Series(MANY).astype("category"), stype.numerical),
        (pd.Series([datetime.time(1), datetime.time(1)]), stype.categorical),
        (pd.Series([datetime.time(1, n) for n in range(9)]), None),
        (pd.Series([b"a", b"b", b"c"]), None),
        (pd.Series([{"x": 1}, {"x": 2}]), None),
        (pd.Series([None, None]), None),
        (pd.Series([np.nan, np.nan]), None),
        (pd.Series([], dtype=object), None),
        (pd.Series([], dtype="datetime64[us]"), None),
    ],
)
def test_types(values, expected):
    assert infer_stype("column", values) is expected


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        ([["a"], [], None, ["a", "b"]], stype.multicategorical),
        ([[1, 2], [3, 4]], stype.multicategorical),
        ([np.array([1, 2]), np.array([3.0, np.nan])], stype.multicategorical),
        ([{"a", "b"}, {"a"}], stype.multicategorical),
        ([[0.5, 1.5], None, [2.0, 3.0]], stype.embedding),
        ([[], [0.5, 1.5], None], stype.embedding),
        ([[1.0, 2], [2, 0.5]], stype.embedding),
        ([np.zeros(3, np.float32), np.ones(3, np.float32)], stype.embedding),
        ([[0.5], [0.5, 1.5]], None),
        ([np.zeros(3), np.full(2, 0.5)], None),
        ([[], []], None),
        ([[[1], [2]], [[3]]], None),
        ([[{"x": 1}], [{"x": 2}]], None),
    ],
)
def test_lists(cells, expected):
    assert infer_stype("column", pd.Series(cells)) is expected


@pytest.mark.parametrize(
    "name", ["id", "statusId", "type_id", "countryCode", "code", "Status", "user_type", "CATEGORY", "lgID", "TypeFlag"]
)
def test_integers_with_names_of_codes(name):
    assert infer_stype(name, pd.Series([1, 2, 3])) is stype.categorical
    assert infer_stype(name, pd.Series([1.0, np.nan, 3.0])) is stype.categorical
    assert infer_stype(name, pd.Series([1, None], dtype=object)) is stype.categorical
    assert infer_stype(name, pd.Series([1.0, 2.5])) is stype.numerical
    assert infer_stype(name, pd.Series([1.0, np.inf])) is stype.numerical
    assert infer_stype(name, pd.Series(MANY)) is stype.numerical


@pytest.mark.parametrize(
    "name",
    [
        "grid",
        "GRID",
        "paid",
        "isPaid",
        "idle",
        "codes",
        "prototype",
        "bid",
        "valid",
        "yearID",
        "birth_year_id",
        "debutYearId",
    ],
)
def test_integers_with_other_names(name):
    assert infer_stype(name, pd.Series([1, 2, 3])) is stype.numerical


@pytest.mark.parametrize(
    "texts",
    [
        [f"Ada {n}th Lovelace" for n in range(50)],
        [f"https://example.org/wiki/{n}" for n in range(50)],
        [f"{n} Long Street" for n in range(2 * MAX_CATEGORIES)],
        [f"driver_{n}" for n in range(50)],
    ],
)
def test_names_of_rows_are_left_out(texts):
    assert infer_stype("name", pd.Series(texts)) is None


def test_limits_of_categories():
    few = [str(n) for n in range(MAX_CATEGORIES)]
    assert infer_stype("x", pd.Series(few * 2)) is stype.categorical
    assert infer_stype("x", pd.Series([*few * 2, "one more"] * 2)) is None
    assert infer_stype("x", pd.Series([*few * 2, "unique"])) is None
    assert infer_stype("x", pd.Series(["a", "b"])) is stype.categorical


def test_many_values_that_come_once_are_names():
    """Also where a placeholder that comes often makes their share look small."""
    names = [f"name-{n}" for n in range(60)]
    assert infer_stype("x", pd.Series([*names, *["nobody"] * 140])) is None
    assert infer_stype("x", pd.Series([*names[:30] * 2, *names[30:60], *["nobody"] * 110])) is stype.categorical
    assert infer_stype("x", pd.Series([*PROSE, *["nothing more to say"] * 150])) is stype.text_embedded
    assert infer_stype("x", pd.Series(["once", *["often"] * 9])) is stype.categorical


def test_unused_categories_of_a_categorical_do_not_count():
    """They come from rows that may not be seen yet."""
    values = pd.Series([*list("abc") * 2, *map(str, range(50))]).astype("category")
    assert infer_stype("x", values[:6]) is stype.categorical
    assert infer_stype("x", values) is None


def test_points_in_time_are_left_out_without_calendar():
    num_rows = 50
    frame = pd.DataFrame(
        {
            "time": pd.date_range("2020", periods=num_rows, freq="17D"),
            "due": pd.date_range("2021", periods=num_rows, freq="3D"),
            "year": pd.date_range("2020", periods=num_rows, freq="17D").year,
            "running": [float(n) if n % 7 else None for n in range(num_rows)],
            "backwards": range(num_rows, 0, -1),
            "age": np.random.default_rng(0).integers(100, size=num_rows),
            "same": 1.0,
            "year_id": 2020,
            "kind": list("ab") * 25,
        }
    )
    with_time = Table(frame, {}, None, "time")
    assert list(infer_table_stypes("t", with_time)) == list(frame)
    rest = ["backwards", "age", "same", "year_id", "kind"]
    assert list(infer_table_stypes("t", with_time, calendar=False)) == rest
    overrides = {"t": {"due": "timestamp", "running": "numerical"}}
    assert list(infer_table_stypes("t", with_time, overrides, calendar=False)) == ["due", "running", *rest]
    without_time = Table(frame, {}, None)
    assert list(infer_table_stypes("t", without_time, calendar=False)) == ["year", "running", *rest]
    few = Table(frame[["time", "running"]][:5], {}, None, "time")
    assert infer_table_stypes("t", few, calendar=False) == {"running": stype.numerical}
    assert infer_table_stypes("t", Table(frame[:0].astype(object), {}, None, "time"), calendar=False) == {}


def test_sampled_texts_do_not_depend_on_the_order_of_rows(monkeypatch):
    monkeypatch.setattr(stypes_module, "SAMPLED_TEXTS", 10)
    found = set()
    for seed in range(20):
        rng = np.random.default_rng(seed)
        texts = pd.Series([" ".join(map(str, rng.integers(1e6, size=rng.integers(1, 8)))) for _ in range(500)])
        types = {infer_stype("x", texts.sample(frac=1, random_state=n)) for n in range(5)}
        assert len(types) == 1
        found |= types
    assert found == {None, stype.text_embedded}  # it was a close call, so the sample did decide


def table(**columns) -> Table:
    frame = pd.DataFrame({"id": [0, 1, 2], "parent": [0, 0, 0], **columns})
    return Table(frame, {"parent": "parents"}, "id")


def test_keys_are_no_features_and_columns_keep_their_order():
    given = table(b=[1.0, 2.0, 3.0], gone=[None] * 3, a=[True, False, True])
    found = infer_table_stypes("t", given)
    assert list(found.items()) == [("b", stype.numerical), ("a", stype.categorical)]


def test_overrides_win():
    given = table(a=[1, 2, 3], b=["x", "y", "z"], c=[1.0, 2.0, 3.0])
    overrides = {"t": {"a": "categorical", "b": "text_embedded", "c": None}, "other": {"a": None}}
    assert infer_table_stypes("t", given, overrides) == {"a": stype.categorical, "b": stype.text_embedded}


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"nope": "numerical"}, r"table 't' has no feature column 'nope'; its feature columns are \['a'\]"),
        ({"id": "numerical"}, "table 't' has no feature column 'id'"),
        ({"parent": None}, "table 't' has no feature column 'parent'"),
        ({"a": "number"}, "'t.a' cannot be 'number'; choose from .*'numerical'.* or null"),
        ({"a": "text_tokenized"}, "'t.a' cannot be 'text_tokenized'"),
    ],
)
def test_wrong_overrides(overrides, message):
    with pytest.raises(StypeError, match=message):
        infer_table_stypes("t", table(a=[1, 2, 3]), {"t": overrides})


def test_row_order_does_not_matter(make_database):
    for name, given in make_database(60).table_dict.items():
        found = infer_table_stypes(name, given)
        for seed in range(3):
            shuffled = Table(given.df.sample(frac=1, random_state=seed), given.fkey_col_to_pkey_table, given.pkey_col)
            assert infer_table_stypes(name, shuffled) == found
