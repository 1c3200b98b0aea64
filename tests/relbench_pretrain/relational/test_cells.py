"""Cells as plain arrays, whatever pandas holds them in."""

import datetime
import math
from decimal import Decimal

import numpy as np
import pandas as pd
import pytest

from relbench_pretrain.relational.cells import flatten_lists, kind_of, plain_category, to_datetimes, to_numbers

NAN = math.nan


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (pd.Series([1, None, 2], dtype="Int64"), "integer"),
        (pd.Series([None, 1, 2], dtype=object), "integer"),
        (pd.Series([Decimal("1.5"), None], dtype=object), "decimal"),
        (pd.Series([True, None], dtype=object), "boolean"),
        (pd.Series([True, None], dtype="boolean"), "boolean"),
        (pd.Series(["a", None], dtype="string"), "string"),
        (pd.Series(["a", None]).astype("category"), "string"),
        (pd.Series([datetime.date(2020, 1, 1), None]), "date"),
        (pd.Series([None, [1], np.array([2]), (3,), {4}]), "list"),
        (pd.Series([[1], "a"]), "mixed"),
        (pd.Series([None, NAN]), "empty"),
        (pd.Series([], dtype="float64"), "empty"),
        (pd.Series([None], dtype="Int64"), "empty"),
    ],
)
def test_kind(values, kind):
    assert kind_of(values) == kind


@pytest.mark.parametrize(
    ("values", "numbers"),
    [
        (pd.Series([1, None], dtype="Int64"), [1.0, NAN]),
        (pd.Series([1.5, np.inf, -np.inf, NAN]), [1.5, NAN, NAN, NAN]),
        (pd.Series([1.5, None], dtype="Float32"), [1.5, NAN]),
        (pd.Series([Decimal("1.5"), None]), [1.5, NAN]),
        (pd.Series([None, 2, 3], dtype=object), [NAN, 2.0, 3.0]),
        (pd.Series([10**30, 1], dtype=object), [1e30, 1.0]),
        (pd.Series([True, False]), [1.0, 0.0]),
        (pd.Series([True, None], dtype="boolean"), [1.0, NAN]),
        (pd.Series(["1.5", "n/a", None]), [1.5, NAN, NAN]),
        (pd.Series(["7", "8"]).astype("category"), [7.0, 8.0]),
        (pd.Series(pd.to_timedelta(["1min", None])), [60.0, NAN]),
        (pd.Series([datetime.timedelta(hours=1), None], dtype=object), [3600.0, NAN]),
        (pd.Series([None, None]), [NAN, NAN]),
        (pd.Series([], dtype=object), []),
    ],
)
def test_numbers(values, numbers):
    before = values.copy(deep=True)
    found = to_numbers(values)
    assert found.dtype == np.float64
    np.testing.assert_array_equal(found, numbers)
    found[:] = 0
    pd.testing.assert_series_equal(values, before)


@pytest.mark.parametrize("values", [["a", None], [[1.0]], [{"x": 1}], [datetime.date(2020, 1, 1)]])
def test_values_that_are_no_numbers(values):
    with pytest.raises(ValueError, match="none of its 1 values is a number, the first is "):
        to_numbers(pd.Series(values))


@pytest.mark.parametrize(
    ("values", "texts"),
    [
        (pd.Series(["2020-01-01", "1.2.2020 05:06", None]), ["2020-01-01", "2020-01-02 05:06", None]),
        (pd.Series([datetime.date(1066, 10, 14), None]), ["1066-10-14", None]),
        (pd.Series([datetime.datetime(9999, 12, 31), None], dtype=object), ["9999-12-31", None]),
        (pd.Series([pd.Timestamp("2020-01-01 09:00", tz="Asia/Tokyo"), None], dtype=object), ["2020-01-01", None]),
        (pd.Series(pd.to_datetime(["2020-01-01 09:00"]).tz_localize("Asia/Tokyo")), ["2020-01-01"]),
        (pd.Series(["2020-01-01", None], dtype="string"), ["2020-01-01", None]),
        (pd.Series(pd.to_datetime(["2020-01-01", None])).astype("category"), ["2020-01-01", None]),
        (pd.Series([None, None]), [None, None]),
        (pd.Series([], dtype=object), []),
    ],
)
def test_datetimes(values, texts):
    found = to_datetimes(values)
    assert found.dt.tz is None
    pd.testing.assert_series_equal(found.astype("datetime64[us]"), pd.Series(texts, dtype="datetime64[us]"))


def test_text_times_do_not_depend_on_the_order_of_rows():
    values = pd.Series(["2020-03-04", "05/06/2020", "2020-07-08T09:10:11Z", "yesterday, they said", None])
    found = to_datetimes(values)
    assert found.notna().tolist() == [True, True, True, False, False]
    pd.testing.assert_series_equal(to_datetimes(values[::-1])[::-1], found)


def test_values_that_are_no_times():
    with pytest.raises(ValueError, match="numbers have no unit of time"):
        to_datetimes(pd.Series([1_600_000_000]))
    with pytest.raises(ValueError, match="none of its 2 values is a time, the first is 'x'"):
        to_datetimes(pd.Series([None, "x", "y"]))


@pytest.mark.parametrize(
    ("value", "category"),
    [
        (np.int8(3), 3),
        (3.0, 3),
        (np.float32(0.5), 0.5),
        (-0.0, 0),
        (np.inf, "inf"),
        (True, "True"),
        (np.bool_(False), "False"),
        (Decimal("1.50"), 1.5),
        (np.str_("a"), "a"),
        ("1", "1"),
        (datetime.date(2020, 1, 2), "2020-01-02"),
    ],
)
def test_category(value, category):
    found = plain_category(value)
    assert found == category
    assert type(found) is type(category)


@pytest.mark.parametrize(
    "cells",
    [
        [["a", "b"], None, [], ["c", None]],
        [np.array(["a", "b"], dtype=object), None, np.array([], dtype=object), np.array(["c", None], dtype=object)],
        [("a", "b"), None, (), ["c", np.nan]],
    ],
)
def test_lists_are_flattened(cells):
    row, elements = flatten_lists(pd.Series(cells, index=[7, 7, 8, 9]))
    assert row.tolist() == [0, 0, 3]
    assert elements.tolist() == ["a", "b", "c"]
    assert elements.index.tolist() == [0, 1, 2]


def test_lists_of_integers_with_gaps_keep_their_values():
    row, elements = flatten_lists(pd.Series([np.array([1, 2]), np.array([3.0, np.nan])]))
    assert row.tolist() == [0, 0, 1]
    assert elements.tolist() == [1, 2, 3]


def test_no_lists():
    assert [len(part) for part in flatten_lists(pd.Series([None, None], dtype=object))] == [0, 0]
    with pytest.raises(ValueError, match="are no lists but of kind 'string', the first is 'ab': split them"):
        flatten_lists(pd.Series(["ab", None]))
    for nested in ([[1], [2]], np.array([[1], [2]]), np.array([np.array([1]), np.array([2, 3])], dtype=object)):
        with pytest.raises(ValueError, match="lists hold lists"):
            flatten_lists(pd.Series([nested]))
