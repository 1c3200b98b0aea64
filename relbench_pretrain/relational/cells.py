"""The cells of a column as plain arrays, whatever pandas holds them in."""

from __future__ import annotations

import decimal
import math
from itertools import chain
from typing import Any

import numpy as np
import pandas as pd
import pandas.api.types as ptypes

NUMBERS = {"integer", "floating", "decimal", "mixed-integer-float"}
TIMES = {"datetime64", "datetime", "date"}
DURATIONS = {"timedelta64", "timedelta"}

LISTS = (list, tuple, set, frozenset, np.ndarray)


def kind_of(values: pd.Series) -> str:
    """Names what a column holds, missing values aside.

    Returns:
        What :func:`pandas.api.types.infer_dtype` says (``"integer"``, ``"string"``, ``"date"``, ...), ``"list"`` for
        lists, tuples, sets and arrays, ``"empty"`` where no value is there. A pandas Categorical is what its
        categories are.
    """
    if isinstance(values.dtype, pd.CategoricalDtype):
        return kind_of(pd.Series(values.cat.categories))
    if values.dtype == object:
        present = values.to_numpy()[values.notna().to_numpy()]
        if len(present) == 0:
            return "empty"
        if all(issubclass(kind, LISTS) for kind in set(map(type, present))):
            return "list"
    return ptypes.infer_dtype(values, skipna=True) if values.notna().any() else "empty"


def to_numbers(values: pd.Series) -> np.ndarray:
    """Turns a column into float64 numbers ``(num_rows,)``, durations into seconds; missing or infinite ones are NaN.

    Raises:
        ValueError: If there are values and none of them is a number.
    """
    if kind_of(values) in DURATIONS:
        values = pd.to_timedelta(values).dt.total_seconds()
    if values.dtype == object or not ptypes.is_numeric_dtype(values.dtype):
        values = _checked(values, pd.to_numeric(_plain_objects(values), errors="coerce"), "number")
    numbers = np.array(values.to_numpy(dtype=np.float64, na_value=np.nan))
    numbers[np.isinf(numbers)] = np.nan
    return numbers


def to_datetimes(values: pd.Series) -> pd.Series:
    """Turns a column into naive datetimes in UTC ``(num_rows,)``, NaT where missing.

    Raises:
        ValueError: If there are values and none of them is a time. Numbers are none, since their unit is unknown.
    """
    kind = kind_of(values)
    if kind in NUMBERS:
        raise ValueError(
            "numbers have no unit of time: convert them with pandas.to_datetime(values, unit='s'), or such"
        )
    if not ptypes.is_datetime64_any_dtype(values.dtype):
        values = _checked(values, _parse_times(_plain_objects(values), kind), "time")
    return values.dt.tz_convert("UTC").dt.tz_localize(None) if values.dt.tz is not None else values


def _parse_times(values: pd.Series, kind: str) -> pd.Series:
    if kind in TIMES or kind == "empty":
        try:
            return values.astype("datetime64[us]")  # not limited to the years 1678 to 2262
        except (TypeError, ValueError):
            pass  # aware times
    # Each value by its own format: one that is guessed from the first row would depend on the order of the rows.
    return pd.to_datetime(values, errors="coerce", utc=True, format="mixed")


def _plain_objects(values: pd.Series) -> pd.Series:
    return values.astype(object).where(values.notna(), None)


def _checked(values: pd.Series, converted: pd.Series, what: str) -> pd.Series:
    present = values.notna().to_numpy()
    if present.any() and not converted.notna().any():
        raise ValueError(f"none of its {present.sum()} values is a {what}, the first is {values[present].iloc[0]!r}")
    return converted


def plain_category(value: Any) -> str | int | float:
    """Returns a category as JSON keeps it: whole numbers are one category whatever their type."""
    if isinstance(value, (bool, np.bool_)):
        return str(bool(value))
    if isinstance(value, (int, np.integer)):
        return int(value)
    if isinstance(value, (float, np.floating, decimal.Decimal)):
        value = float(value)
        return int(value) if value.is_integer() else value if math.isfinite(value) else str(value)
    return str(value)


def flatten_lists(values: pd.Series) -> tuple[np.ndarray, pd.Series]:
    """Puts the elements of all lists one after the other.

    Args:
        values: A column of lists, tuples, sets or arrays ``(num_rows,)``; a missing cell has no elements.

    Returns:
        The row number of each element ``(num_elements,)``, and the elements ``(num_elements,)``. Missing elements
        are left out.

    Raises:
        ValueError: If there are values and they are no lists.
    """
    rows = np.flatnonzero(values.notna().to_numpy())
    cells = values.to_numpy(dtype=object)[rows]
    if (kind := kind_of(values)) not in ("list", "empty"):
        raise ValueError(f"its values are no lists but of kind '{kind}', the first is {cells[0]!r}: split them first")
    rows = np.repeat(rows, list_lengths(cells))
    arrays = set(map(type, cells)) == {np.ndarray} and set(map(np.ndim, cells)) == {1}
    flat = pd.Series(np.concatenate(cells)) if arrays else pd.Series(list(chain.from_iterable(cells)), dtype=object)
    if kind_of(flat) == "list":
        raise ValueError("its lists hold lists: flatten them, or leave the column out")
    present = flat.notna().to_numpy()
    return rows[present], flat[present].reset_index(drop=True)


def list_lengths(cells: np.ndarray) -> np.ndarray:
    """Returns the length of each list ``(num_cells,)``."""
    return np.fromiter(map(len, cells), dtype=np.int64, count=len(cells))
