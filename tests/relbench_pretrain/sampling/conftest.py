"""Random relational databases, and slow obvious answers to what is in them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from relbench.base import Database, Table
from torch import Tensor
from torch_geometric.data import HeteroData
from torch_geometric.sampler import HeteroSamplerOutput, NodeSamplerInput

from relbench_pretrain.relational.graph import build_graph, fit_schema
from relbench_pretrain.relational.schema import GraphSchema
from relbench_pretrain.sampling import GraphIndex

DAY = 86_400
KEYS = {
    "users": {"referrer": "users"},
    "items": {},
    "orders": {"buyer": "users", "payer": "users", "item": "items"},
    "reviews": {"order": "orders", "user": "users"},
    "tags": {"item": "items"},
    "nothing": {"order": "orders"},
}
TIMED = ("users", "orders", "reviews", "nothing")
STYPES = {table: {"value": "numerical", "kind": "categorical"} for table in KEYS}
STYPES["reviews"] |= {"note": "text_embedded"}
STYPES["orders"] |= {"labels": "multicategorical"}


@dataclass(frozen=True)
class Shop:
    """A database, its graph, and what can be asked of it row by row."""

    db: Database
    index: GraphIndex

    def num_rows(self, table: str) -> int:
        """The number of rows."""
        return len(self.db.table_dict[table].df)

    def time(self, table: str, row: int) -> int | None:
        """UNIX seconds of a row, None without a time."""
        return None if table not in TIMED else int(self.db.table_dict[table].df["time"].iloc[row].timestamp())

    def visible(self, table: str, row: int, limit: int) -> bool:
        """Whether a row is not later than a limit."""
        time = self.time(table, row)
        return time is None or time <= limit

    def parents(self, table: str, row: int) -> list[tuple[str, str, int]]:
        """Foreign key column, table and row of each parent."""
        df = self.db.table_dict[table].df
        found = [(column, parent, df[column].iloc[row]) for column, parent in KEYS[table].items()]
        return [(column, parent, int(number)) for column, parent, number in found if not pd.isna(number)]

    def children(self, table: str, row: int, limit: int | None = None) -> dict[tuple[str, str], list[int]]:
        """By child table and foreign key column, the child rows in row order, up to a limit."""
        found = {}
        for child, keys in KEYS.items():
            for column, parent in keys.items():
                if parent == table:
                    rows = np.flatnonzero((self.db.table_dict[child].df[column] == row).fillna(False).to_numpy(bool))
                    found[child, column] = [int(r) for r in rows if limit is None or self.visible(child, r, limit)]
        return found

    def inputs(
        self, table: str, rows: list[int], times: list[int] | int, ids: list[int] | None = None
    ) -> NodeSamplerInput:
        """Seeds for a sampler; one time may serve all."""
        times = [times] * len(rows) if isinstance(times, int) else times
        ids = torch.arange(len(rows)) if ids is None else torch.tensor(ids)
        return NodeSamplerInput(input_id=ids, node=torch.tensor(rows), time=torch.tensor(times), input_type=table)

    @property
    def end(self) -> int:
        """A time that is later than all rows."""
        return 1_000 * DAY


def make_database(seed: int = 0, sizes: dict[str, int] | None = None, days: int = 40, causal: bool = False) -> Database:
    """Draws a database. Many rows share a time, a fifth of the keys is null, and keys may name later rows.

    Args:
        seed: Seeds the draw.
        sizes: Rows per table.
        days: Times are one of this many days.
        causal: Whether keys never name later rows, as far as there are earlier ones.
    """
    rng = np.random.default_rng(seed)
    sizes = {"users": 40, "items": 8, "orders": 150, "reviews": 120, "tags": 30, "nothing": 0} | (sizes or {})
    day = {table: np.sort(rng.integers(days, size=sizes[table])) for table in KEYS}
    tables = {}
    for table, keys in KEYS.items():
        number = sizes[table]
        columns = {
            "id": np.arange(number),
            # Many tags are duplicates of each other.
            "value": rng.normal(size=number) * (table != "tags"),
            "kind": pd.Series(rng.choice(["a", "b", "c"], size=number), dtype="object"),
        }
        for column, parent in keys.items():
            last = np.full(number, sizes[parent])
            if causal and parent in TIMED and table in TIMED:
                last = np.searchsorted(day[parent], day[table], side="right")
            # Some parents have far more child rows than others.
            chosen = np.floor(last * rng.random(number) ** 2)
            columns[column] = pd.Series(chosen).where((rng.random(number) < 0.8) & (last > 0)).astype("Int64")
        if table == "reviews":
            columns["note"] = [f"word{i % 7} word{i % 5}" for i in range(number)]
        if table == "orders":
            columns["labels"] = [list("xyz")[: i % 4] for i in range(number)]
        if table in TIMED:
            columns["time"] = pd.Series(pd.to_datetime(day[table], unit="D"), dtype="datetime64[ns]")
        tables[table] = Table(pd.DataFrame(columns), dict(keys), "id", "time" if table in TIMED else None)
    return Database(tables)


def schema_of(db: Database, until: int | None = None) -> GraphSchema:
    """Fits the schema of a database, whose column types do not depend on the draw."""
    return fit_schema(db, until, {table: STYPES[table] for table in db.table_dict})


def open_shop(db: Database, schema: GraphSchema | None = None) -> Shop:
    """Builds the graph of a database."""
    return Shop(db, GraphIndex.from_graph(build_graph(db, schema or schema_of(db))))


@dataclass(frozen=True)
class Sample:
    """A sampled subgraph in terms of the database's rows."""

    rows: dict[str, list[int]]
    edges: dict[tuple[str, str, str], list[tuple[int, int]]]
    rank: dict[tuple[str, str, str], list[int]]
    edge_age: dict[tuple[str, str, str], list[float]]
    age: dict[str, list[float]]
    owner: dict[str, list[int]] | None

    @classmethod
    def read(cls, out: HeteroSamplerOutput) -> Sample:
        """Reads a sampler's output; an edge is a pair of positions, source first."""
        times = out.metadata[2]
        return cls(
            rows={t: rows.tolist() for t, rows in out.node.items()},
            edges={e: list(zip(row.tolist(), out.col[e].tolist(), strict=True)) for e, row in out.row.items()},
            rank={e: rank.tolist() for e, rank in times.edge_rank.items()},
            edge_age={e: age.tolist() for e, age in times.edge_age.items()},
            age={t: age.tolist() for t, age in times.age.items()},
            owner=None if out.batch is None else {t: batch.tolist() for t, batch in out.batch.items()},
        )

    def sets(self) -> tuple[dict, dict]:
        """Rows, and edges with rank and age, regardless of positions and order."""
        owner = self.owner or {t: [0] * len(rows) for t, rows in self.rows.items()}
        rows = {t: sorted(zip(rows, self.age[t], owner[t], strict=True)) for t, rows in self.rows.items()}
        edges = {
            e: sorted(
                (self.rows[e[0]][i], self.rows[e[2]][j], owner[e[0]][i], self.rank[e][n], self.edge_age[e][n])
                for n, (i, j) in enumerate(pairs)
            )
            for e, pairs in self.edges.items()
        }
        return rows, edges


def equal_batches(one: HeteroData, other: HeteroData) -> bool:
    """Whether two batches agree bit for bit, features included."""
    stores = [one.node_types == other.node_types, one.edge_types == other.edge_types]
    return all(stores) and all(_equal(one[t].to_dict(), other[t].to_dict()) for t in one.node_types + one.edge_types)


def _equal(one: dict, other: dict) -> bool:
    if one.keys() != other.keys():
        return False
    for name, value in one.items():
        if name == "tf":
            pairs = [(cells, other[name].feat_dict[kind]) for kind, cells in value.feat_dict.items()]
            if not all(_same(mine, theirs) for cells in pairs for mine, theirs in zip(*map(parts, cells), strict=True)):
                return False
        elif not (_same(value, other[name]) if isinstance(value, Tensor) else value == other[name]):
            return False
    return True


def parts(cells: Any) -> list[Tensor]:
    """The tensors of which a feature consists."""
    return [cells] if isinstance(cells, Tensor) else [cells.values, cells.offset]


def _same(one: Tensor, other: Tensor) -> bool:
    return one.shape == other.shape and one.dtype == other.dtype and torch.equal(one.nan_to_num(9), other.nan_to_num(9))


@pytest.fixture(scope="session")
def shop() -> Shop:
    """The default database."""
    return open_shop(make_database())


@pytest.fixture(scope="session")
def make_shop() -> Callable[..., Shop]:
    """Returns a function that draws a database; see :func:`make_database`."""
    return lambda **options: open_shop(make_database(**options))


@pytest.fixture(scope="session")
def make_db() -> Callable[..., Database]:
    """Returns :func:`make_database`."""
    return make_database


@pytest.fixture(scope="session")
def shop_of() -> Callable[..., Shop]:
    """Returns :func:`open_shop`."""
    return open_shop


@pytest.fixture(scope="session")
def read() -> Callable[[HeteroSamplerOutput], Sample]:
    """Returns :meth:`Sample.read`."""
    return Sample.read


@pytest.fixture(scope="session")
def same_batch() -> Callable[[HeteroData, HeteroData], bool]:
    """Returns :func:`equal_batches`."""
    return equal_batches


@pytest.fixture(scope="session")
def fit() -> Callable[..., GraphSchema]:
    """Returns :func:`schema_of`."""
    return schema_of


@pytest.fixture(scope="session")
def feature_parts() -> Callable[[Any], list[Tensor]]:
    """Returns :func:`parts`."""
    return parts
