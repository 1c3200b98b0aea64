"""Graphs on disk: one safetensors file and one JSON file, found again by the content that they came from."""

from __future__ import annotations

import ctypes
import hashlib
import json
import os
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import torch
from relbench.base import Database, Table
from relbench.load import RelBenchDataset
from safetensors import SafetensorError, safe_open
from safetensors.torch import load, save_file
from torch import Tensor
from torch_frame import TensorFrame, stype
from torch_frame.data import MultiNestedTensor
from torch_frame.data.multi_embedding_tensor import MultiEmbeddingTensor

from relbench_pretrain.files import atomic_folder, cache_root, discard_folder, remove_abandoned
from relbench_pretrain.progress import work
from relbench_pretrain.relational.database import load_database
from relbench_pretrain.relational.flat import flatten, unflatten
from relbench_pretrain.relational.graph import RelationalGraph, build_graph, fit_schema, hide_columns
from relbench_pretrain.relational.schema import GraphSchema
from relbench_pretrain.relational.stypes import StypeOverrides
from relbench_pretrain.relational.text import HashTextEmbedder, TextEmbedder

SCHEMA, TENSORS = "schema.json", "graph.safetensors"

FORMAT = 4
"""Raised whenever the same input would give other tensors, so that older files are no longer found."""


class CacheWarning(UserWarning):
    """A cached graph that had to be built again, or a graph that could not be kept."""


def load_graph(
    dataset: RelBenchDataset,
    fitted_until: int | None = None,
    stypes: StypeOverrides | GraphSchema | None = None,
    embedder: TextEmbedder | None = None,
    schema: GraphSchema | None = None,
    cache_dir: str | Path | None = None,
    hidden: Iterable[tuple[str, str]] = (),
    calendar: bool = True,
    further: Mapping[str, Table] | None = None,
    extend_schema: bool = False,
) -> RelationalGraph:
    """Builds the graph of a dataset, or reopens it if it was built before from the same content.

    The name of the cached graph is a hash of the dataset's files, the column types asked for, the text embedder and
    the schema, so a changed file or setting never meets an old graph. Files appear under their name only when they
    are complete, so any number of processes can build at once and an interrupted one leaves nothing half-written.
    Reopened tensors are mapped from the file, so processes on one machine share them; what is written to one of them
    stays with the process that wrote. No file is ever changed, only replaced: a graph in use outlives its file.
    Where the cache cannot be written to, the graph is built in memory, with a :class:`CacheWarning`.

    Args:
        dataset: The dataset, opened by :func:`relbench_pretrain.relational.database.open_dataset`.
        fitted_until: See :func:`relbench_pretrain.relational.graph.fit_schema`.
        stypes: See :func:`relbench_pretrain.relational.graph.fit_schema`.
        embedder: The text embedder, a :class:`HashTextEmbedder` by default.
        schema: A fitted schema to apply, whose column types and statistics are taken as they are; None fits one.
        cache_dir: Where graphs are kept; None for :func:`cache_root`.
        hidden: Tables and columns whose values must not be seen; see
            :func:`relbench_pretrain.relational.graph.hide_columns`.
        calendar: See :func:`relbench_pretrain.relational.graph.fit_schema`.
        further: Tables to add to the database, by name.
        extend_schema: Whether a schema given may lack tables; they are fitted and come behind its own.

    Returns:
        The graph.
    """
    embedder, further = embedder or HashTextEmbedder(), dict(further or {})
    fitting = [calendar, fitted_until, stypes.to_dict() if isinstance(stypes, GraphSchema) else dict(stypes or {})]
    places = sorted((table, column) for table, column in hidden)
    with work(f"reading the files of {dataset.dataset_dir.name}"):
        hashes = _file_hashes(dataset)
    content = hashes | {name: _table_hash(table) for name, table in further.items()}
    settings = [FORMAT, embedder.name, places, schema.to_dict() if schema else fitting, content]
    if extend_schema:
        settings.append(fitting)
    folder = Path(cache_dir or cache_root() / "graphs").expanduser() / _name(settings)
    if (graph := _read(folder)) is not None:
        return replace(graph, content=content)
    with work(f"reading and checking the tables of {dataset.dataset_dir.name}"):
        db = hide_columns(load_database(dataset), places)
    db = Database(db.table_dict | further)
    if schema is None or extend_schema:
        fitted = fit_schema(db, fitted_until, stypes, embedder, calendar)
        schema = fitted if schema is None else schema.extended(fitted)
    graph = build_graph(db, schema, embedder)
    del db
    try:
        with work(f"keeping the graph in {folder.parent}"):
            _write(folder, graph)
    except (OSError, SafetensorError) as error:
        reason = f"'{folder.parent}' cannot be written to ({error})"
        warnings.warn(f"the graph is not kept, since {reason}: give another cache_dir", CacheWarning, stacklevel=2)
    kept = _read(folder)
    if kept is not None:
        del graph
        _release_memory()
    return replace(kept or graph, content=content)


def _release_memory() -> None:
    """Hands back to the system what building took and the allocators keep, which is more than the graph itself."""
    pa.default_memory_pool().release_unused()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if os.name == "posix" else None  # glibc alone has it
    if trim is not None:
        trim(0)


def _name(settings: list[Any]) -> str:
    return hashlib.sha256(json.dumps(settings, sort_keys=True, default=str).encode()).hexdigest()[:24]


def _file_hashes(dataset: RelBenchDataset) -> dict[str, str]:
    """Hashes the manifest and, under its name, every table's file."""
    hashes = {}
    for path in [dataset.dataset_dir / "manifest.yaml", *sorted(dataset.db_dir.glob("*.parquet"))]:
        with path.open("rb") as file:
            name = path.stem if path.suffix == ".parquet" else path.name
            hashes[name] = hashlib.file_digest(file, "sha256").hexdigest()
    return hashes


def _table_hash(table: Table) -> str:
    rows = pd.util.hash_pandas_object(table.df, index=False).to_numpy().tobytes()
    names = json.dumps([list(table.df), table.fkey_col_to_pkey_table, table.pkey_col, table.time_col])
    return hashlib.sha256(rows + names.encode()).hexdigest()


def _write(folder: Path, graph: RelationalGraph) -> None:
    with atomic_folder(folder) as part:
        remove_abandoned(folder.parent)
        graph.schema.save(part / SCHEMA)
        save_file({name: tensor.contiguous() for name, tensor in _to_tensors(graph).items()}, part / TENSORS)


def _read(folder: Path) -> RelationalGraph | None:
    if not folder.is_dir():
        return None
    try:
        schema = GraphSchema.load(folder / SCHEMA)
        return _from_tensors(schema, _mapped(folder / TENSORS))
    except PermissionError as error:
        warnings.warn(f"'{folder}' cannot be read ({error}); the graph is built in memory", CacheWarning, stacklevel=3)
        return None
    except (OSError, ValueError, KeyError, AssertionError, RuntimeError, SafetensorError) as error:
        warnings.warn(f"'{folder}' is damaged ({error!r}); the graph is built again", CacheWarning, stacklevel=3)
        discard_folder(folder)
        return None


def _mapped(path: Path) -> dict[str, Tensor]:
    """Maps a file into memory, or reads it where its filesystem cannot be mapped."""
    try:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  # no dictionary
    except (OSError, RuntimeError, SafetensorError):
        return load(path.read_bytes())


def _to_tensors(graph: RelationalGraph) -> dict[str, Tensor]:
    tables, keys = graph.schema.node_types, graph.schema.foreign_keys
    tensors = {
        "time": flatten(graph.time, tables),
        "parent": flatten(graph.parent, tables),
        "duplicate": flatten(graph.duplicate, tables),
        "child_offset": flatten(graph.child_offset, keys),
        "child_row": flatten(graph.child_row, keys),
        "num_rows": torch.tensor([len(graph.time[table]) for table in tables]),
        "num_edges": torch.tensor([len(graph.child_row[key]) for key in keys], dtype=torch.int64),
    }
    for number, table in enumerate(tables):
        for kind, feat in graph.frames[table].feat_dict.items():
            if isinstance(feat, Tensor):
                tensors[f"{number}.{kind.value}"] = feat
            else:
                tensors[f"{number}.{kind.value}.values"] = feat.values
                tensors[f"{number}.{kind.value}.offset"] = feat.offset
    return tensors


def _from_tensors(schema: GraphSchema, tensors: Mapping[str, Tensor]) -> RelationalGraph:
    num_rows = dict(zip(schema.node_types, tensors["num_rows"].tolist(), strict=True))
    num_edges = dict(zip(schema.foreign_keys, tensors["num_edges"].tolist(), strict=True))
    frames = {}
    for number, (table, spec) in enumerate(schema.tables.items()):
        names = spec.columns_by_stype()
        feats = {k: _feature(tensors, f"{number}.{k.value}", k, num_rows[table], len(names[k])) for k in names}
        frames[table] = TensorFrame(feats, names)
    per_row = {table: (number,) for table, number in num_rows.items()}
    return RelationalGraph(
        schema,
        frames,
        time=unflatten(tensors["time"], per_row),
        parent=unflatten(
            tensors["parent"], {t: (number, len(schema.tables[t].foreign_keys)) for t, number in num_rows.items()}
        ),
        child_offset=unflatten(tensors["child_offset"], {key: (num_rows[key.parent] + 1,) for key in num_edges}),
        child_row=unflatten(tensors["child_row"], {key: (number,) for key, number in num_edges.items()}),
        duplicate=unflatten(tensors["duplicate"], per_row),
    )


def _feature(tensors: Mapping[str, Tensor], name: str, kind: stype, num_rows: int, num_columns: int):
    if name in tensors:
        return tensors[name]
    holder = MultiEmbeddingTensor if kind is stype.embedding else MultiNestedTensor
    return holder(num_rows, num_columns, tensors[f"{name}.values"], tensors[f"{name}.offset"])
