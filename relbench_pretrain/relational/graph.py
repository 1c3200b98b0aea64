"""A relational database as a typed, time-stamped graph with features."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd
import torch
from relbench.base import Database, Table
from torch import Tensor
from torch_frame import TensorFrame, stype
from torch_frame.data import MultiEmbeddingTensor, MultiNestedTensor

from relbench_pretrain.hashing import hash_rows, sum_lists
from relbench_pretrain.progress import tracked
from relbench_pretrain.relational.columns import encode_table, fit_column
from relbench_pretrain.relational.database import foreign_key_index
from relbench_pretrain.relational.schema import (
    CONSTANT_COLUMN,
    ColumnSchema,
    ForeignKey,
    GraphSchema,
    SchemaError,
    TableSchema,
)
from relbench_pretrain.relational.stypes import StypeError, StypeOverrides, infer_table_stypes
from relbench_pretrain.relational.text import HashTextEmbedder, TextEmbedder
from relbench_pretrain.unix_time import ALWAYS, to_unix_seconds

logger = logging.getLogger(__name__)


@dataclass
class RelationalGraph:
    """A database as a heterogeneous graph: one node per row, one edge per foreign key value.

    Edges are kept once, as the foreign keys themselves, and once the other way round, as the child rows of
    each parent row in row order. Since tables are sorted by time, child rows are in order of time.

    Args:
        schema: The schema that the features were encoded under.
        frames: The features per table, ``num_rows`` rows each.
        time: UNIX seconds per table ``(num_rows,)``; ``ALWAYS`` throughout a table without times.
        parent: Per table the row numbers of the parents ``(num_rows, num_foreign_keys)``, −1 for none.
        child_offset: Per foreign key, where the child rows of each parent begin ``(num_parents + 1,)``.
        child_row: Per foreign key, the child rows, parent by parent ``(num_edges,)``.
        duplicate: Per table a number that rows share which agree in all features and foreign keys ``(num_rows,)``.
        content: Hashes of the files that it was made of: of each table by its name, and of the manifest.
    """

    schema: GraphSchema
    frames: dict[str, TensorFrame]
    time: dict[str, Tensor]
    parent: dict[str, Tensor]
    child_offset: dict[ForeignKey, Tensor]
    child_row: dict[ForeignKey, Tensor]
    duplicate: dict[str, Tensor]
    content: dict[str, str] = field(default_factory=dict)

    @property
    def num_rows(self) -> dict[str, int]:
        """The number of rows per table."""
        return {table: len(time) for table, time in self.time.items()}

    @property
    def num_edges(self) -> int:
        """The number of edges, each foreign key value counted in both directions."""
        return 2 * sum(len(rows) for rows in self.child_row.values())

    def rows_until(self, time: int) -> dict[str, int]:
        """Returns per table how many leading rows are not later than ``time`` (UNIX seconds)."""
        limit = torch.tensor(time)
        return {table: int(torch.searchsorted(times, limit, right=True)) for table, times in self.time.items()}


def fit_schema(
    db: Database,
    fitted_until: int | None = None,
    stypes: StypeOverrides | GraphSchema | None = None,
    embedder: TextEmbedder | None = None,
    calendar: bool = True,
) -> GraphSchema:
    """Fits column types, statistics and category maps on the rows that may be seen.

    Args:
        db: The database, rows sorted by time.
        fitted_until: UNIX seconds; rows of later time have no influence. Tables without times count whole.
        stypes: Column types that win over the inferred ones, by table and column; or a schema to take all of them
            from, and the order of tables and columns too.
        embedder: The text embedder, a :class:`HashTextEmbedder` by default.
        calendar: Whether points in time may be features, see :func:`infer_table_stypes`; ages always are.

    Returns:
        The schema. A column without a value in the rows seen has no type and is left out; a table left without
        features gets one that is constant.

    Raises:
        StypeError: If an override names an unknown table or column, or asks for a type that the values cannot be of.
        SchemaError: If the schema given has other tables, keys or columns.
    """
    embedder = embedder or HashTextEmbedder()
    given = stypes if isinstance(stypes, GraphSchema) else None
    overrides: StypeOverrides = (stypes or {}) if not isinstance(stypes, GraphSchema) else _stypes_of(stypes, db)
    if unknown := set(overrides) - set(db.table_dict):
        raise StypeError(f"stypes: unknown tables {sorted(unknown)}; the database has {list(db.table_dict)}")
    tables = {
        name: _fit_table(name, table, fitted_until, overrides, embedder, calendar)
        for name, table in tracked(db.table_dict.items(), "building the graph: types and statistics of tables")
    }
    schema = GraphSchema(tables if given is None else _in_order_of(given, tables), embedder.name, fitted_until)
    return schema if _has_texts(schema) else replace(schema, text_embedder=None)


def _has_texts(schema: GraphSchema) -> bool:
    stypes = {column.stype for table in schema.tables.values() for column in table.columns.values()}
    return stype.text_embedded.value in stypes


def _stypes_of(schema: GraphSchema, db: Database) -> dict[str, dict[str, str | None]]:
    """Returns all of a schema's column types as overrides; the columns that it does not have are left out."""
    _require_tables(db, schema)
    return {
        name: {
            column: spec.columns[column].stype if column in spec.columns else None
            for column in _feature_columns(db.table_dict[name])
        }
        for name, spec in schema.tables.items()
    }


def _in_order_of(schema: GraphSchema, tables: dict[str, TableSchema]) -> dict[str, TableSchema]:
    """Brings tables, columns and keys into the order of another schema, on which the weights of a network depend."""
    return {
        name: replace(
            tables[name],
            columns={column: tables[name].columns[column] for column in spec.columns},
            foreign_keys=spec.foreign_keys,
        )
        for name, spec in schema.tables.items()
    }


def _feature_columns(table: Table) -> list[str]:
    return [column for column in table.df.columns if column not in {table.pkey_col, *table.fkey_col_to_pkey_table}]


def _fit_table(
    name: str, table: Table, until: int | None, stypes: StypeOverrides | None, embedder: TextEmbedder, calendar: bool
) -> TableSchema:
    seen = _rows_until(name, table, until)
    found = infer_table_stypes(name, seen, stypes, calendar)
    if dropped := [column for column in _feature_columns(table) if column not in found]:
        logger.info("table '%s': columns without a type are left out: %s", name, dropped)
    columns = {
        column: fit_column(f"{name}.{column}", seen.df[column], kind, embedder) for column, kind in found.items()
    }
    if not columns:
        columns = {CONSTANT_COLUMN: ColumnSchema("numerical", {"MEAN": 0.0, "STD": 1.0, "QUANTILES": [1.0] * 5})}
    return TableSchema(columns, table.pkey_col, table.time_col, dict(table.fkey_col_to_pkey_table))


def _rows_until(name: str, table: Table, until: int | None) -> Table:
    if until is None or table.time_col is None:
        return table
    num_rows = int(torch.searchsorted(_times(name, table), until, right=True))
    return Table(table.df.iloc[:num_rows], table.fkey_col_to_pkey_table, table.pkey_col, table.time_col)


def hide_columns(db: Database, hidden: Iterable[tuple[str, str]]) -> Database:
    """Makes all values of some columns missing, such as those that hold a task's targets.

    The columns stay, so a fitted schema still applies; a schema that is fitted afterwards leaves them out.

    Args:
        db: The database, which is not changed.
        hidden: Tables and columns. A foreign key loses its edges.

    Returns:
        The database without these values.

    Raises:
        ValueError: If there is no such column, or it is a primary key or a time column.
    """
    tables = dict(db.table_dict)
    for name, column in hidden:
        table = tables.get(name)
        if table is None or column not in table.df.columns or column in (table.pkey_col, table.time_col):
            raise ValueError(f"cannot hide '{name}.{column}': name a feature or foreign key of one of {list(tables)}")
        df = table.df.copy(deep=False)
        df[column] = None
        tables[name] = Table(df, table.fkey_col_to_pkey_table, table.pkey_col, table.time_col)
    return Database(tables)


def build_graph(db: Database, schema: GraphSchema, embedder: TextEmbedder | None = None) -> RelationalGraph:
    """Builds the graph of a database under a fitted schema.

    Args:
        db: The database, checked by :func:`relbench_pretrain.relational.database.check_database`.
        schema: The schema, fitted on this database or taken from a checkpoint.
        embedder: The text embedder, the one named in the schema.

    Returns:
        The graph.

    Raises:
        SchemaError: If the database has not the schema's tables, keys and columns, or the text embedder is another.
        ValueError: If the values of a column cannot be of its type, a row has no time, or rows are not sorted by time.
    """
    embedder = embedder or HashTextEmbedder()
    if schema.text_embedder not in (None, embedder.name) and _has_texts(schema):
        raise SchemaError(
            f"the schema's texts went through '{schema.text_embedder}', but the text embedder is '{embedder.name}': "
            "give the same one"
        )
    _require_tables(db, schema)
    frames, time, parent, duplicate = {}, {}, {}, {}
    for name, spec in tracked(schema.tables.items(), "building the graph: rows and keys of tables"):
        table = db.table_dict[name]
        frames[name] = encode_table(name, table.df, spec, embedder)
        time[name] = _times(name, table)
        parent[name] = _parents(db, table, spec)
        duplicate[name] = number_duplicates(frames[name], parent[name])
    children = {key: _children(parent, schema, key, len(time[key.parent])) for key in schema.foreign_keys}
    offset = {key: offset for key, (offset, _) in children.items()}
    child_row = {key: rows for key, (_, rows) in children.items()}
    return RelationalGraph(schema, frames, time, parent, offset, child_row, duplicate)


def _require_tables(db: Database, schema: GraphSchema) -> None:
    """Compares what the database and the schema say of tables, keys and columns; their order does not matter."""
    found = {}
    for name in _in_order(schema.tables, db.table_dict):
        table, spec = db.table_dict[name], schema.tables.get(name, TableSchema({}))
        columns = {c: s for c, s in spec.columns.items() if c in table.df.columns or c == CONSTANT_COLUMN}
        keys = {c: table.fkey_col_to_pkey_table[c] for c in _in_order(spec.foreign_keys, table.fkey_col_to_pkey_table)}
        found[name] = TableSchema(columns, table.pkey_col, table.time_col, keys)
    schema.require_same_structure(replace(schema, tables=found), "this database does not fit the schema")


def _in_order(first: Mapping[str, object], names: Mapping[str, object]) -> list[str]:
    """Returns the names, those in ``first`` first and in its order."""
    return [name for name in first if name in names] + [name for name in names if name not in first]


def _times(name: str, table: Table) -> Tensor:
    if table.time_col is None:
        return torch.full((len(table.df),), ALWAYS)
    try:
        times = to_unix_seconds(table.df[table.time_col])
    except (TypeError, ValueError) as error:
        raise ValueError(f"time column '{name}.{table.time_col}': {error}") from error
    if (falls := times[1:] < times[:-1]).any():
        row = int(np.argmax(falls)) + 1
        raise ValueError(
            f"time column '{name}.{table.time_col}': row {row} is earlier than the row before it: "
            "sort the rows by time, then number primary and foreign keys anew"
        )
    return torch.from_numpy(times)


def _parents(db: Database, table: Table, spec: TableSchema) -> Tensor:
    parent = np.empty((len(table.df), len(spec.foreign_keys)), dtype=np.int64)
    for i, (column, target) in enumerate(spec.foreign_keys.items()):
        parent[:, i] = foreign_key_index(table.df[column], len(db.table_dict[target].df))
    return torch.from_numpy(parent)


def number_duplicates(frame: TensorFrame, parent: Tensor) -> Tensor:
    """Numbers the groups of rows that agree in all features and foreign keys, in order of their first row.

    Rows are compared by :func:`hash_rows`.

    Args:
        frame: The encoded features; missing values are equal to each other.
        parent: The parents' row numbers ``(num_rows, num_foreign_keys)``.

    Returns:
        int64 numbers ``(num_rows,)``.
    """
    keys = hash_rows([*map(_as_numbers, frame.feat_dict.values()), parent.numpy()])
    return torch.from_numpy(pd.factorize(keys)[0].astype(np.int64))


def _as_numbers(feature: Tensor | MultiNestedTensor | MultiEmbeddingTensor) -> np.ndarray:
    """Returns the cells of all columns of one type ``(num_rows, num_numbers)``; of a list, a number for its set."""
    if isinstance(feature, MultiNestedTensor):
        return sum_lists(feature.values.numpy(), feature.offset.numpy()).reshape(len(feature), feature.num_cols)
    values = feature.values if isinstance(feature, MultiEmbeddingTensor) else feature
    return values.reshape(len(feature), int(np.prod(values.shape[1:]))).numpy()


def _children(
    parent: Mapping[str, Tensor], schema: GraphSchema, key: ForeignKey, num_parents: int
) -> tuple[Tensor, Tensor]:
    """Turns one foreign key round: parent row → its child rows, in row order."""
    index = parent[key.child][:, schema.key_column(key)].numpy()
    order = np.argsort(index, kind="stable")
    order = order[np.searchsorted(index[order], 0) :]  # rows without a parent come first
    counts = np.bincount(index[order], minlength=num_parents)
    return torch.from_numpy(np.concatenate([[0], np.cumsum(counts)])), torch.from_numpy(order)
