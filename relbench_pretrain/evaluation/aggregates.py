"""Time-aware aggregates over foreign keys, made by DuckDB: what one would engineer by hand, for any schema."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import duckdb
import numpy as np
import pandas as pd
from relbench.base import Database
from torch import Tensor

from relbench_pretrain.relational.schema import ForeignKey, GraphSchema
from relbench_pretrain.unix_time import to_unix_seconds

WINDOWS = (1, 3, 5, 10, 20, 60)
"""Over how many of the most recent rows things are averaged."""

CATEGORIES = 5
"""Of how many of a column's most frequent categories the shares are features."""

NUMBERS, KINDS, DATES = "numerical", "categorical", "timestamp"


@dataclass
class Aggregates:
    """Features of rows of a table as they are at given times.

    Of the row itself: numbers, category codes, and how long ago its points in time were. Of every table that refers
    to it: the number of rows not later than the time, the age of the latest, and over the last 1, 3, 5, 10, 20 and 60
    of them the means of numbers and the shares of the most frequent categories. Then the same of what the row itself
    and the latest of these rows refer to (a driver's team), if that is no event, and the columns of it if it is.

    Args:
        db: The database, without hidden columns.
        schema: Says which columns are numbers, categories and points in time, and which foreign keys there are.
        fitted_until: UNIX seconds; the frequent categories are those of the rows up to then.
    """

    db: Database
    schema: GraphSchema
    fitted_until: int
    connection: duckdb.DuckDBPyConnection = field(default_factory=duckdb.connect)

    def __post_init__(self) -> None:
        for name in self.db.table_dict:
            self.connection.register(f"rows_{name}", self._plain(name))

    def _plain(self, name: str) -> pd.DataFrame:
        """Returns a table with row numbers, times in seconds, and numbers for categories."""
        table, spec = self.db.table_dict[name], self.schema.tables[name]
        plain = {"row_": np.arange(len(table.df))}
        if spec.time_column is not None:
            plain["time_"] = to_unix_seconds(table.df[spec.time_column]).astype(np.int64)
        for column in spec.foreign_keys:
            plain[f"key_{column}"] = table.df[column].astype("Int64").to_numpy(dtype=np.float64, na_value=np.nan)
        for column, kind in self._columns(name).items():
            values = table.df[column]
            if kind == KINDS:
                early = values
                if spec.time_column is not None:
                    early = values[plain["time_"] <= self.fitted_until]
                codes = {value: i for i, value in enumerate(early.value_counts().index)}
                plain[f"col_{column}"] = values.map(codes).to_numpy(dtype=np.float64, na_value=np.nan)
            elif kind == DATES:
                seconds = to_unix_seconds(values.fillna(pd.Timestamp(0))).astype(np.float64)
                plain[f"col_{column}"] = np.where(values.isna(), np.nan, seconds)
            else:
                plain[f"col_{column}"] = values.to_numpy(dtype=np.float64, na_value=np.nan)
        return pd.DataFrame(plain)

    def _columns(self, name: str) -> dict[str, str]:
        columns = {c: column.stype for c, column in self.schema.tables[name].columns.items()}
        present = self.db.table_dict[name].df.columns
        return {c: kind for c, kind in columns.items() if kind in (NUMBERS, KINDS, DATES) and c in present}

    def of_row(self, table: str, row: Tensor, time: Tensor) -> pd.DataFrame:
        """Returns features of the rows themselves ``(num_rows, num_features)``."""
        return self._own(table, pd.DataFrame({"row_": row.numpy(), "at_": time.numpy()}), "")

    def __call__(self, table: str, row: Tensor, time: Tensor, visible: Tensor) -> pd.DataFrame:
        """Computes all features.

        Args:
            table: The table.
            row: Row numbers ``(num_rows,)``.
            time: The times that ages are counted from, in UNIX seconds ``(num_rows,)``.
            visible: The last second that is visible ``(num_rows,)``.

        Returns:
            ``(num_rows, num_features)``.
        """
        asked = pd.DataFrame({"id_": np.arange(len(row)), "row_": row.numpy(), "at_": time.numpy()})
        asked["until_"] = visible.numpy()
        parts = [self._own(table, asked, "")]
        reached: set[str] = {table}
        for key in self._children(table):
            features, latest = self._history(key, asked, f"{key.child}.{key.column}")
            parts.append(features)
            for other in self._parents(key):
                if other.parent in reached:
                    continue
                reached.add(other.parent)
                there = asked.assign(row_=latest[f"key_{other.column}"].to_numpy())
                parts += self._of_parent(other.parent, there, f"{key.child}.{other.column}>")
        for key in [key for key in self.schema.foreign_keys if key.child == table]:
            keys = self.connection.sql(f'SELECT "key_{key.column}" FROM "rows_{table}" ORDER BY row_').df()
            there = asked.assign(row_=keys.to_numpy()[asked["row_"].to_numpy(), 0])
            parts += self._of_parent(key.parent, there, f"{key.column}>")
        return pd.concat(parts, axis=1)

    def _of_parent(self, table: str, there: pd.DataFrame, prefix: str) -> list[pd.DataFrame]:
        """Returns the columns of rows that others refer to, if they are visible, and their histories if no events."""
        timed = self.schema.tables[table].time_column is not None
        if timed:
            times = self.connection.sql(f'SELECT time_ FROM "rows_{table}" ORDER BY row_').df()["time_"].to_numpy()
            row = there["row_"].fillna(0).to_numpy(dtype=np.int64)
            late = times[row] > there["until_"].to_numpy() if len(times) else np.ones(len(there), dtype=bool)
            there = there.assign(row_=there["row_"].where(~late))
        parts = [self._own(table, there, prefix)]
        for child in [] if timed else self._children(table):
            parts.append(self._history(child, there, f"{prefix}{child.child}.{child.column}")[0])
        return parts

    def _children(self, table: str) -> list[ForeignKey]:
        return [key for key in self.schema.foreign_keys if key.parent == table]

    def _parents(self, key: ForeignKey) -> list[ForeignKey]:
        return [other for other in self.schema.foreign_keys if other.child == key.child and other.column != key.column]

    def _own(self, table: str, asked: pd.DataFrame, prefix: str) -> pd.DataFrame:
        columns = self._columns(table)
        names = ", ".join(f'r."col_{c}"' for c in columns) or "NULL AS nothing"
        self.connection.register("asked", asked.assign(place_=np.arange(len(asked))))
        found = self.connection.execute(
            f'SELECT {names} FROM asked a LEFT JOIN "rows_{table}" r ON r.row_ = a.row_ ORDER BY a.place_'
        ).df()
        out = {}
        for column, kind in columns.items():
            values = found[f"col_{column}"].to_numpy()
            out[f"{prefix}{table}.{column}"] = asked["at_"].to_numpy() - values if kind == DATES else values
        return pd.DataFrame(out, index=range(len(asked)))

    def _history(self, key: ForeignKey, asked: pd.DataFrame, prefix: str) -> tuple[pd.DataFrame, pd.DataFrame]:
        """Returns aggregates over the child rows under a key, and the keys of the latest of these rows."""
        timed = self.schema.tables[key.child].time_column is not None
        order = "c.time_ DESC, c.row_ DESC" if timed else "c.row_ DESC"
        limit = "AND c.time_ <= a.until_" if timed else ""
        others = [f"key_{other.column}" for other in self._parents(key)]
        select = ["count(*) AS count_", *(f'max(CASE WHEN rank_ = 1 THEN "{name}" END) AS "{name}"' for name in others)]
        if timed:
            select.append("max(at_) - max(time_) AS age_")
        for column, kind in self._columns(key.child).items():
            select += _expressions(column, kind)
        self.connection.register("asked", asked)
        found = self.connection.execute(
            f"""
            WITH history AS (
              SELECT a.id_, a.at_, c.*, row_number() OVER (PARTITION BY a.id_ ORDER BY {order}) AS rank_
              FROM asked a JOIN "rows_{key.child}" c ON c."key_{key.column}" = a.row_ {limit}
            ), found AS (SELECT id_, {", ".join(select)} FROM history GROUP BY id_)
            SELECT found.* EXCLUDE (id_) FROM asked LEFT JOIN found USING (id_) ORDER BY asked.id_
            """
        ).df()
        found["count_"] = found["count_"].fillna(0)
        latest = found[others]
        return found.drop(columns=others).add_prefix(f"{prefix}:"), latest


def _expressions(column: str, kind: str) -> Sequence[str]:
    value = f'"col_{column}"'
    if kind == NUMBERS:
        return [f'avg({value}) FILTER (rank_ <= {k}) AS "mean_{column}_{k}"' for k in WINDOWS]
    if kind == KINDS:
        shares = [
            f'avg(CAST({value} = {code} AS INT)) FILTER (rank_ <= {k}) AS "share_{column}_{code}_{k}"'
            for code in range(CATEGORIES)
            for k in WINDOWS[1:]
        ]
        return [f'max(CASE WHEN rank_ = 1 THEN {value} END) AS "last_{column}"', *shares]
    return []
