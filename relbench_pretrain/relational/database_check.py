"""Checks of a database: what a graph needs to be built from it, and which row breaks it."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pandas.api.types as ptypes
from relbench.base import Database, Table

from relbench_pretrain.relational.key_columns import (
    NUMBERS_OR_EMPTY,
    DatabaseError,
    integer_keys,
    kind_of_class,
    plain_value,
)

HOMOGENEOUS = NUMBERS_OR_EMPTY | {
    *("string", "bytes", "boolean"),
    *("datetime", "datetime64", "timedelta", "timedelta64", "time", "period", "interval"),
}
"""The names that :func:`pandas.api.types.infer_dtype` gives object columns of one kind, missing values aside."""


class DatabaseWarning(UserWarning):
    """Something in a database that is legal but seldom meant."""


@dataclass(frozen=True)
class ForeignKeyReport:
    """The findings in one foreign key column.

    Attributes:
        parent: The table that it refers to.
        num_rows: Rows of the column.
        num_null: Rows without a value.
        num_dangling: Rows whose value is no row of the parent; they give no edge.
        first_dangling: The first of them, counted from 0, if any.
    """

    parent: str
    num_rows: int
    num_null: int
    num_dangling: int
    first_dangling: int | None

    @property
    def num_edges(self) -> int:
        """Rows that refer to a row of the parent."""
        return self.num_rows - self.num_null - self.num_dangling


@dataclass(frozen=True)
class DatabaseReport:
    """The findings of a check in a sound database.

    Attributes:
        num_rows: Rows per table.
        foreign_keys: Findings per foreign key, by (table, column).
    """

    num_rows: dict[str, int]
    foreign_keys: dict[tuple[str, str], ForeignKeyReport]

    @property
    def empty_tables(self) -> tuple[str, ...]:
        """Tables without a row."""
        return tuple(name for name, count in self.num_rows.items() if count == 0)


def check_database(db: Database) -> DatabaseReport:
    """Checks keys, times and column types of a database.

    Foreign keys that dangle, and tables without rows, are no errors: the first give no edge, the second no
    node. They are warned about, once per column or table.

    Args:
        db: The database, with keys as RelBench has them: primary keys number the rows from 0, foreign keys
            hold these numbers or nothing, and rows are sorted by time.

    Returns:
        The number of rows, of missing and of dangling foreign keys.

    Raises:
        DatabaseError: If the database breaks one of these rules, a time is missing, or a column mixes types.
    """
    if not any(len(table) for table in db.table_dict.values()):
        raise DatabaseError(
            f"all tables are empty ({', '.join(map(repr, db.table_dict)) or 'there is none'}): "
            "check that the files hold rows, and that no filter has removed them"
        )
    for name, table in db.table_dict.items():
        _check_columns(name, table)
        _check_primary_key(name, table)
        _check_times(name, table)
        _check_kinds(name, table)
        if len(table) == 0:
            warnings.warn(f"Table {name!r} is empty; it is kept, without rows.", DatabaseWarning, stacklevel=2)
    reports = {
        (name, column): _check_foreign_key(db, name, column)
        for name, table in db.table_dict.items()
        for column in table.fkey_col_to_pkey_table
    }
    for (name, column), report in reports.items():
        if report.num_dangling:
            warnings.warn(_describe_dangling(db, name, column, report), DatabaseWarning, stacklevel=2)
    return DatabaseReport({name: len(table) for name, table in db.table_dict.items()}, reports)


def _check_columns(name: str, table: Table) -> None:
    columns = table.df.columns
    if repeated := columns[columns.duplicated()].unique().tolist():
        raise DatabaseError(f"Table {name!r} has several columns called {repeated[0]!r}: rename or drop all but one")
    roles = {"Primary key": [table.pkey_col], "Time column": [table.time_col]}
    roles["Foreign key"] = list(table.fkey_col_to_pkey_table)
    for role, wanted in roles.items():
        for column in wanted:
            if column is not None and column not in columns:
                raise DatabaseError(
                    f"{role} {column!r} of table {name!r} is not among its columns {list(columns)}: "
                    "correct the manifest, or add the column"
                )


def _check_primary_key(name: str, table: Table) -> None:
    if table.pkey_col is None:
        return
    where = f"Table {name!r}, primary key {table.pkey_col!r}"
    remedy = "number the rows from 0 in their order (0, 1, 2, ...) and let the foreign keys hold these numbers"
    values, null = integer_keys(table.df[table.pkey_col], where)
    wrong = null | (values != np.arange(len(values)))
    if wrong.any():
        row = _first(wrong)
        found = table.df[table.pkey_col].iloc[row]
        raise DatabaseError(f"{where}, row {row}: found {plain_value(found)!r} where {row} was due; {remedy}")


def _check_times(name: str, table: Table) -> None:
    if table.time_col is None:
        return
    series = table.df[table.time_col]
    where = f"Table {name!r}, time column {table.time_col!r}"
    if len(series) == 0 and series.dtype == object:
        return  # an empty file has no types
    if not (isinstance(series.dtype, np.dtype) and series.dtype.kind == "M"):
        raise DatabaseError(f"{where} has dtype {series.dtype}; {_time_remedy(name, table.time_col, series)}")
    if (missing := series.isna().to_numpy()).any():
        raise DatabaseError(
            f"{where}, row {_first(missing)}: no time (NaT), as in {missing.sum()} of {len(series)} rows; "
            "give every row a time, drop the rows that have none, or let the table have no time column"
        )
    ticks = series.to_numpy().view("int64")
    if (falls := ticks[1:] < ticks[:-1]).any():
        row = _first(falls) + 1
        raise DatabaseError(
            f"{where}, row {row}: {series.iloc[row]} comes after {series.iloc[row - 1]}; "
            "sort the rows by time, then number primary and foreign keys anew"
        )


def _time_remedy(name: str, column: str, series: pd.Series) -> str:
    cell = f"{name}[{column!r}]"
    if isinstance(series.dtype, pd.DatetimeTZDtype):
        return f"RelBench compares naive times only: use {cell}.dt.tz_convert('UTC').dt.tz_localize(None)"
    if ptypes.is_datetime64_any_dtype(series.dtype):
        return f"convert it with {cell}.astype('datetime64[us]')"
    if ptypes.is_numeric_dtype(series.dtype):
        return f"convert it with pandas.to_datetime({cell}, unit='s'), or the unit that it counts in"
    return f"convert it with pandas.to_datetime({cell})"


def _check_kinds(name: str, table: Table) -> None:
    """Requires that an object column holds one kind of values, or none; lists are one kind."""
    skipped = {table.pkey_col, table.time_col, *table.fkey_col_to_pkey_table}
    for column in table.df.columns:
        series = table.df[column]
        if column in skipped or series.dtype != object or _is_homogeneous(series):
            continue
        present = series.notna().to_numpy()
        values = series.to_numpy()[present]
        if len(kinds := {kind_of_class(cls) for cls in set(map(type, values))}) == 1 and "date" not in kinds:
            continue
        where = f"Table {name!r}, column {column!r}, row"
        usual = kind_of_class(type(values[0]))
        if usual == "date":
            row = np.flatnonzero(present)[0]
            raise DatabaseError(
                f"{where} {row}: {values[0]!r} is a plain Python date; "
                f"convert the column with pandas.to_datetime({name}[{column!r}])"
            )
        odd = next(i for i, value in enumerate(values) if kind_of_class(type(value)) != usual)
        value, row = values[odd], np.flatnonzero(present)[odd]
        raise DatabaseError(
            f"{where} {row}: {plain_value(value)!r} is a {kind_of_class(type(value))} in a column that begins with "
            f"{usual}s; "
            "make all values of one type, e.g. with .astype(str), or set the odd ones to None"
        )


def _is_homogeneous(series: pd.Series) -> bool:
    return ptypes.infer_dtype(series, skipna=True) in HOMOGENEOUS


def _check_foreign_key(db: Database, name: str, column: str) -> ForeignKeyReport:
    table = db.table_dict[name]
    parent = table.fkey_col_to_pkey_table[column]
    where = f"Table {name!r}, foreign key {column!r}"
    if parent not in db.table_dict:
        raise DatabaseError(
            f"{where} refers to table {parent!r}, which does not exist: name one of {list(db.table_dict)}"
        )
    if db.table_dict[parent].pkey_col is None:
        raise DatabaseError(
            f"{where} refers to table {parent!r}, which has no primary key: "
            "name its primary key in the manifest, or drop the foreign key"
        )
    values, null = integer_keys(table.df[column], where)
    dangling = ~null & ((values < 0) | (values >= len(db.table_dict[parent])))
    first = _first(dangling) if dangling.any() else None
    return ForeignKeyReport(parent, len(values), int(null.sum()), int(dangling.sum()), first)


def _describe_dangling(db: Database, name: str, column: str, report: ForeignKeyReport) -> str:
    value = db.table_dict[name].df[column].iloc[report.first_dangling]
    return (
        f"Table {name!r}, foreign key {column!r}: {report.num_dangling} of {report.num_rows} values are no row of "
        f"{report.parent!r}, whose {len(db.table_dict[report.parent])} rows are numbered from 0; the first is "
        f"{plain_value(value)!r} in row {report.first_dangling}. They give no edge."
    )


def _first(mask: np.ndarray) -> int:
    return int(np.argmax(mask))
