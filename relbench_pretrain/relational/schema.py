"""The graph schema: everything a network must know about a database, as plain JSON."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch_frame import stype
from torch_frame.data.stats import StatType

from relbench_pretrain.errors import UserError
from relbench_pretrain.pretrained import CheckpointError, read_network

EdgeType = tuple[str, str, str]

CONSTANT_COLUMN = "__constant__"
"""The one feature of a table that has none of its own: the number 1 in every row."""


class SchemaError(UserError, ValueError):
    """Two schemas that should agree do not; the message lists the differences."""


class ForeignKey(NamedTuple):
    """One foreign key: each row of ``child`` names at most one row of ``parent``."""

    child: str
    column: str
    parent: str

    @property
    def edge_type(self) -> EdgeType:
        """The edges from the child rows to their parents, ``(child, f2p_<column>, parent)``."""
        return (self.child, f"f2p_{self.column}", self.parent)

    @property
    def reverse_edge_type(self) -> EdgeType:
        """The edges from the parents to their child rows."""
        return (self.parent, f"rev_f2p_{self.column}", self.child)


@dataclass(frozen=True)
class ColumnSchema:
    """A feature column: its semantic type and the statistics fitted on the training rows.

    Args:
        stype: The value of a :class:`torch_frame.stype` (``"numerical"``, ``"categorical"``,
            ``"multicategorical"``, ``"timestamp"``, ``"embedding"`` or ``"text_embedded"``).
        stats: PyTorch Frame's column statistics by the name of their ``StatType``, in JSON types.
    """

    stype: str
    stats: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class TableSchema:
    """A table: its feature columns in a fixed order, its keys and its time column."""

    columns: dict[str, ColumnSchema]
    primary_key: str | None = None
    time_column: str | None = None
    foreign_keys: dict[str, str] = field(default_factory=dict)

    def columns_by_stype(self) -> dict[stype, list[str]]:
        """Returns PyTorch Frame's ``col_names_dict``, text under its parent type ``embedding``."""
        names: dict[stype, list[str]] = {}
        for name, column in self.columns.items():
            names.setdefault(stype(column.stype).parent, []).append(name)
        return names

    def column_stats(self) -> dict[str, dict[StatType, Any]]:
        """Returns PyTorch Frame's ``col_stats``."""
        return {name: _stats_from_json(column.stats) for name, column in self.columns.items()}


@dataclass(frozen=True)
class GraphSchema:
    """The schema of a database as a heterogeneous graph.

    It has two hashes. The *structure* (tables, keys, column types) must agree between a checkpoint
    and the data that it meets. The *fitted* part (statistics and category maps) is the
    checkpoint's own and is applied to whatever data it meets.

    Args:
        tables: The tables by name, in the order of the database.
        text_embedder: Name of the text embedder that the text columns went through; None if there are none.
        fitted_until: The statistics saw no row later than this UNIX time in seconds;
            None if they saw every row.
    """

    tables: dict[str, TableSchema]
    text_embedder: str | None = None
    fitted_until: int | None = None

    @property
    def node_types(self) -> list[str]:
        """The table names."""
        return list(self.tables)

    @property
    def foreign_keys(self) -> list[ForeignKey]:
        """All foreign keys, table by table."""
        return [
            ForeignKey(name, column, parent)
            for name, table in self.tables.items()
            for column, parent in table.foreign_keys.items()
        ]

    @property
    def edge_types(self) -> list[EdgeType]:
        """Both directions of every foreign key, forward and reverse in turn."""
        return [e for fk in self.foreign_keys for e in (fk.edge_type, fk.reverse_edge_type)]

    def key_column(self, key: ForeignKey) -> int:
        """Returns the place of a foreign key among those of its table: its column wherever parents are listed."""
        return list(self.tables[key.child].foreign_keys).index(key.column)

    @property
    def structure_hash(self) -> str:
        """Hash of tables, keys and column types."""
        return _digest(list(self._structure()))

    @property
    def fitted_hash(self) -> str:
        """Hash of the statistics and category maps."""
        stats = {t: {c: col.stats for c, col in table.columns.items()} for t, table in self.tables.items()}
        return _digest([stats, self.text_embedder, self.fitted_until])

    def _structure(self) -> Iterator[str]:
        for name, table in self.tables.items():
            yield f"table {name!r}: primary key {table.primary_key!r}, time column {table.time_column!r}"
            for column, parent in table.foreign_keys.items():
                yield f"table {name!r}: foreign key {column!r} -> {parent!r}"
            for column, spec in table.columns.items():
                yield f"table {name!r}: column {column!r} is {spec.stype}"

    def difference(self, other: GraphSchema) -> list[str]:
        """Returns the structural differences, ``-`` what only this schema has, ``+`` what only the other has."""
        mine, theirs = list(self._structure()), list(other._structure())
        gone, new = set(mine) - set(theirs), set(theirs) - set(mine)
        return [f"- {line}" for line in mine if line in gone] + [f"+ {line}" for line in theirs if line in new]

    def require_same_structure(self, other: GraphSchema, context: str) -> None:
        """Raises a :class:`SchemaError` that lists the differences, if there are any."""
        if difference := self.difference(other):
            raise SchemaError(f"{context}: the schemas differ (- expected, + found):\n  " + "\n  ".join(difference))
        if list(self._structure()) != list(other._structure()):
            raise SchemaError(f"{context}: the schemas have the same tables and columns in another order")

    def extended(self, other: GraphSchema) -> GraphSchema:
        """Returns this schema with the tables that only another one has, behind its own."""
        more = {name: table for name, table in other.tables.items() if name not in self.tables}
        return replace(self, tables=self.tables | more, text_embedder=self.text_embedder or other.text_embedder)

    def restricted(self, other: GraphSchema) -> GraphSchema:
        """Returns the part of this schema that is made of the tables of another one."""
        return replace(self, tables={name: table for name, table in self.tables.items() if name in other.tables})

    def facts(self) -> dict[str, Any]:
        """Describes the database for a model card: its size, and the time that its statistics are from."""
        until = "not stated"
        if self.fitted_until is not None:
            until = f"rows up to {datetime.fromtimestamp(self.fitted_until, UTC):%Y-%m-%d %H:%M:%S} (UTC)"
        return {
            "tables": len(self.tables),
            "columns": sum(len(table.columns) for table in self.tables.values()),
            "statistics and categories of columns, which `config.json` holds, are from": until,
        }

    def to_dict(self) -> dict[str, Any]:
        """Returns the schema in plain JSON types."""
        return asdict(self)

    @classmethod
    def from_dict(cls, state: dict[str, Any]) -> GraphSchema:
        """Builds a schema from what :meth:`to_dict` returned."""
        tables = {
            name: TableSchema(
                columns={c: ColumnSchema(**spec) for c, spec in table["columns"].items()},
                primary_key=table["primary_key"],
                time_column=table["time_column"],
                foreign_keys=dict(table["foreign_keys"]),
            )
            for name, table in state["tables"].items()
        }
        return cls(tables, state.get("text_embedder"), state.get("fitted_until"))

    def save(self, path: str | Path) -> None:
        """Writes the schema as a JSON file."""
        Path(path).write_text(json.dumps(self.to_dict(), indent=1, allow_nan=False), encoding="utf-8")

    @classmethod
    def load(cls, path: str | Path) -> GraphSchema:
        """Reads a schema from a JSON file that :meth:`save` wrote.

        Raises:
            SchemaError: If the file holds something else.
        """
        try:
            return cls.from_dict(json.loads(Path(path).read_text(encoding="utf-8")))
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise SchemaError(f"'{path}' holds no graph schema ({error!r}): save it again") from error


def stats_to_json(stats: dict[StatType, Any]) -> dict[str, Any]:
    """Turns PyTorch Frame's column statistics into JSON types, what is not finite into null."""
    return {stat.value: _plain(value) for stat, value in stats.items()}


def _plain(value: Any) -> Any:
    if isinstance(value, torch.Tensor):
        return value.tolist()
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    if hasattr(value, "item"):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def _stats_from_json(stats: dict[str, Any]) -> dict[StatType, Any]:
    return {StatType(name): _restore(StatType(name), value) for name, value in stats.items()}


def _restore(stat: StatType, value: Any) -> Any:
    if stat in (StatType.MEAN, StatType.STD):
        return math.nan if value is None else value
    if stat is StatType.QUANTILES:
        return [math.nan if v is None else v for v in value]
    if stat in (StatType.COUNT, StatType.MULTI_COUNT):
        return tuple(value)
    if stat in (StatType.NEWEST_TIME, StatType.OLDEST_TIME, StatType.MEDIAN_TIME):
        return torch.tensor(value)
    return value


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]


def stored_schema(source: str | Path) -> GraphSchema:
    """Reads the schema of the database that a saved network was trained on.

    Args:
        source: The network's folder, or its name on the Hub.

    Raises:
        CheckpointError: If there is no such network, or it is none of databases.
    """
    saved = read_network(source)
    if "schema" not in saved.built_for:
        raise CheckpointError(f"'{saved.weights.parent}' holds no network of databases: {saved.config['class_path']}")
    try:
        return GraphSchema.from_dict(saved.built_for["schema"])
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"the schema in '{saved.weights.parent}' is damaged ({error!r})") from error
