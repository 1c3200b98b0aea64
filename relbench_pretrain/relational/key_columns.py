"""Key columns as row numbers, whatever integers they are stored as."""

from __future__ import annotations

import datetime
import numbers
from collections.abc import Iterable

import numpy as np
import pandas as pd
import pandas.api.types as ptypes

from relbench_pretrain.errors import UserError
from relbench_pretrain.relational.cells import LISTS, NUMBERS

NUMBERS_OR_EMPTY = NUMBERS | {"empty"}
"""The names that :func:`pandas.api.types.infer_dtype` gives object columns of numbers, missing values aside."""


class DatabaseError(UserError, ValueError):
    """A database that no graph can be built from. The message names table, column, row and remedy."""


def foreign_key_index(series: pd.Series, num_parents: int) -> np.ndarray:
    """Turns a foreign key column into row numbers of the parent table.

    Args:
        series: The foreign keys ``(num_rows,)``: integers of any width, nullable or not, or floats with integral
            values and NaN for null.
        num_parents: Rows of the parent table.

    Returns:
        int64 row numbers ``(num_rows,)``, −1 where the key is null or dangles.

    Raises:
        DatabaseError: If a value is not an integer.
    """
    values, null = integer_keys(series, f"Foreign key {series.name!r}")
    values[null | (values < 0) | (values >= num_parents)] = -1
    return values


def integer_keys(series: pd.Series, where: str) -> tuple[np.ndarray, np.ndarray]:
    """Returns a key column as new int64 ``(num_rows,)``, −1 where null, and where it is null ``(num_rows,)``."""
    null = series.isna().to_numpy()
    if series.dtype == object and ptypes.infer_dtype(series, skipna=True) in NUMBERS_OR_EMPTY:
        series = series.astype("float64")
    if ptypes.is_bool_dtype(series.dtype) or not ptypes.is_numeric_dtype(series.dtype):
        raise _not_integer(series, _odd_rows(series, null), where)
    if ptypes.is_integer_dtype(series.dtype):
        present = series.fillna(-1) if null.any() else series
        return np.array(present.to_numpy(dtype=np.int64)), null
    values = series.to_numpy(dtype=np.float64, na_value=np.nan)
    odd = ~null & ((values != np.floor(values)) | np.isinf(values))
    if odd.any():
        raise _not_integer(series, np.flatnonzero(odd), where)
    # No table has 2^62 rows; beyond int64 the cast would be undefined.
    return np.where(null, -1, np.clip(values, -(2.0**62), 2.0**62)).astype(np.int64), null


def _odd_rows(series: pd.Series, null: np.ndarray) -> Iterable[int]:
    """Yields the rows of a column that hold something else than an integer."""
    if series.dtype != object:
        return np.flatnonzero(~null)
    values = series.to_numpy()
    return (int(i) for i in np.flatnonzero(~null) if kind_of_class(type(values[i])) != "number" or values[i] % 1 != 0)


def _not_integer(series: pd.Series, rows: Iterable[int], where: str) -> DatabaseError:
    row = next(iter(rows), 0)
    found = f"found {plain_value(series.iloc[row])!r}" if len(series) else "found no row"
    return DatabaseError(
        f"{where}, row {row}: {found} in a column of dtype {series.dtype}, but keys are integers: a foreign key holds "
        "the row number of its parent, or nothing; convert the column, or replace names by row numbers, "
        "e.g. names.map({name: row for row, name in enumerate(parents)})"
    )


def plain_value(value: object) -> object:
    """Returns a NumPy scalar as the Python value, which prints as plain text."""
    return value.item() if isinstance(value, (np.number, np.bool_)) else value


def kind_of_class(cls: type) -> str:
    """Names the kind of values of a class: boolean, number, string, list, date, datetime, or the class itself."""
    if issubclass(cls, (bool, np.bool_)):
        return "boolean"
    if issubclass(cls, numbers.Number):
        return "number"
    if issubclass(cls, str):
        return "string"
    if issubclass(cls, LISTS):
        return "list"
    if issubclass(cls, datetime.date) and not issubclass(cls, datetime.datetime):
        return "date"
    return "datetime" if issubclass(cls, (datetime.datetime, np.datetime64)) else cls.__name__
