"""A relational database as a typed, time-stamped graph with features."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import torch
from relbench.base import Database, Table
from torch import Tensor
from torch_frame import TensorFrame, stype

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
from relbench_pretrain.relational.stypes import StypeOverrides, infer_table_stypes
from relbench_pretrain.relational.text import HashTextEmbedder, TextEmbedder
from relbench_pretrain.relational.time import ALWAYS, to_unix_seconds

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
    """

    schema: GraphSchema
    frames: dict[str, TensorFrame]
    time: dict[str, Tensor]
    parent: dict[str, Tensor]
    child_offset: dict[ForeignKey, Tensor]
    child_row: dict[ForeignKey, Tensor]
    duplicate: dict[str, Tensor]

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
) -> GraphSchema:
    """Fits column types, statistics and category maps on the rows that may be seen.

    Args:
        db: The database, rows sorted by time.
        fitted_until: UNIX seconds; rows of later time have no influence. Tables without times count whole.
        stypes: Column types that win over the inferred ones, by table and column; or a schema to take all of them from.
        embedder: The text embedder, a :class:`HashTextEmbedder` by default.

    Returns:
        The schema. A column without a value in the rows seen has no type and is left out; a table left without
        features gets one that is constant.

    Raises:
        ValueError: If an override names an unknown table or column.
    """
    embedder = embedder or HashTextEmbedder()
    if isinstance(stypes, GraphSchema):
        stypes = _stypes_of(stypes)
    if unknown := set(stypes or {}) - set(db.table_dict):
        raise ValueError(f"stypes: unknown tables {sorted(unknown)}; the database has {list(db.table_dict)}")
    tables = {name: _fit_table(name, table, fitted_until, stypes, embedder) for name, table in db.table_dict.items()}
    return GraphSchema(tables, embedder.name, fitted_until)


def _stypes_of(schema: GraphSchema) -> dict[str, dict[str, str | None]]:
    return {
        name: {c: spec.stype for c, spec in table.columns.items() if c != CONSTANT_COLUMN}
        for name, table in schema.tables.items()
    }


def _fit_table(
    name: str, table: Table, until: int | None, stypes: StypeOverrides | None, embedder: TextEmbedder
) -> TableSchema:
    seen = table.df
    if until is not None and table.time_col is not None:
        seen = seen[to_unix_seconds(seen[table.time_col]) <= until]
    found = infer_table_stypes(name, replace_frame(table, seen), stypes)
    keys = {table.pkey_col, *table.fkey_col_to_pkey_table}
    if dropped := [c for c in table.df.columns if c not in keys and c not in found]:
        logger.info("table '%s': columns without a type are left out: %s", name, dropped)
    columns = {column: fit_column(seen[column], kind, embedder) for column, kind in found.items()}
    if not columns:
        columns = {CONSTANT_COLUMN: ColumnSchema("numerical", {"MEAN": 0.0, "STD": 1.0, "QUANTILES": [1.0] * 5})}
    return TableSchema(columns, table.pkey_col, table.time_col, dict(table.fkey_col_to_pkey_table))


def replace_frame(table: Table, df: pd.DataFrame) -> Table:
    """Returns the table with other rows and the same keys."""
    return Table(df, table.fkey_col_to_pkey_table, table.pkey_col, table.time_col)


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
    """
    embedder = embedder or HashTextEmbedder()
    if schema.text_embedder not in (None, embedder.name):
        raise SchemaError(
            f"the schema's texts went through '{schema.text_embedder}', but the text embedder is '{embedder.name}': "
            "give the same one"
        )
    _require_tables(db, schema)
    frames, time, parent, duplicate = {}, {}, {}, {}
    for name, spec in schema.tables.items():
        table = db.table_dict[name]
        frames[name] = encode_table(table.df, spec, embedder)
        time[name] = _times(table)
        parent[name] = _parents(db, table)
        duplicate[name] = _duplicates(table.df, [*spec.columns, *spec.foreign_keys])
    children = {fk: _children(parent, schema, fk, len(time[fk.parent])) for fk in schema.foreign_keys}
    offsets = {fk: offset for fk, (offset, _) in children.items()}
    return RelationalGraph(schema, frames, time, parent, offsets, {fk: row for fk, (_, row) in children.items()}, duplicate)


def _require_tables(db: Database, schema: GraphSchema) -> None:
    """Compares what the database and the schema say of tables, keys and columns."""
    found = {}
    for name, table in db.table_dict.items():
        spec = schema.tables.get(name)
        columns = {c: s for c, s in (spec.columns if spec else {}).items() if c in table.df.columns or c == CONSTANT_COLUMN}
        found[name] = TableSchema(columns, table.pkey_col, table.time_col, dict(table.fkey_col_to_pkey_table))
    schema.require_same_structure(replace(schema, tables=found), "this database does not fit the schema")


def _times(table: Table) -> Tensor:
    if table.time_col is None:
        return torch.full((len(table.df),), ALWAYS)
    return torch.from_numpy(to_unix_seconds(table.df[table.time_col]))


def _parents(db: Database, table: Table) -> Tensor:
    columns = [
        foreign_key_index(table.df[column], len(db.table_dict[parent].df))
        for column, parent in table.fkey_col_to_pkey_table.items()
    ]
    shape = (len(table.df), len(columns))
    return torch.from_numpy(np.stack(columns, axis=1) if columns else np.empty(shape, dtype=np.int64))


def _children(parent: Mapping[str, Tensor], schema: GraphSchema, fk: ForeignKey, num_parents: int) -> tuple[Tensor, Tensor]:
    """Turns one foreign key round: parent row → its child rows, in row order."""
    position = list(schema.tables[fk.child].foreign_keys).index(fk.column)
    index = parent[fk.child][:, position].numpy()
    order = np.argsort(index, kind="stable")
    order = order[np.searchsorted(index[order], 0) :]  # rows without a parent come first
    counts = np.bincount(index[order], minlength=num_parents)
    return torch.from_numpy(np.concatenate([[0], np.cumsum(counts)])), torch.from_numpy(order)


def _duplicates(df: pd.DataFrame, columns: list[str]) -> Tensor:
    """Numbers the groups of rows that agree in the given columns."""
    present = [c for c in columns if c in df.columns]
    if not present or df.empty:
        return torch.zeros(len(df), dtype=torch.int64)
    hashed = np.zeros(len(df), dtype=np.uint64)
    for column in present:
        values = df[column]
        if values.dtype == object:
            values = values.astype(str)  # lists cannot be hashed
        codes = pd.util.hash_array(pd.factorize(values)[0].astype(np.int64))
        hashed = hashed * np.uint64(0x9E3779B97F4A7C15) + codes
    return torch.from_numpy(pd.factorize(hashed)[0].astype(np.int64))
