"""Graphs on disk: one safetensors file and one JSON file, found again by the content that they came from."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import time
import uuid
import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd
from relbench.base import Database, Table
from relbench.load import RelBenchDataset
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor
from torch_frame import TensorFrame, stype
from torch_frame.data import MultiNestedTensor
from torch_frame.data.multi_embedding_tensor import MultiEmbeddingTensor

from relbench_pretrain.relational.database import load_database
from relbench_pretrain.relational.graph import RelationalGraph, build_graph, fit_schema, hide_columns
from relbench_pretrain.relational.schema import GraphSchema
from relbench_pretrain.relational.stypes import StypeOverrides
from relbench_pretrain.relational.text import HashTextEmbedder, TextEmbedder

SCHEMA, TENSORS = "schema.json", "graph.safetensors"

FORMAT = 3
"""Raised whenever the same input would give other tensors, so that older files are no longer found."""

ABANDONED_SECONDS = 24 * 60 * 60
"""Age at which an unfinished folder is taken to be left over from a process that was killed."""


class CacheWarning(UserWarning):
    """A cached graph that had to be built again, or a graph that could not be kept."""


def cache_folder() -> Path:
    """Where graphs and demo databases are kept: ``RELBENCH_PRETRAIN_CACHE``, or ``~/.cache/relbench_pretrain``."""
    return Path(os.environ.get("RELBENCH_PRETRAIN_CACHE") or "~/.cache/relbench_pretrain").expanduser()


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
    Reopened tensors are mapped from the file, so processes on one machine share them.
    Where the cache cannot be written to, the graph is built in memory, with a :class:`CacheWarning`.

    Args:
        dataset: The dataset, opened by :func:`relbench_pretrain.relational.database.open_dataset`.
        fitted_until: See :func:`relbench_pretrain.relational.graph.fit_schema`.
        stypes: See :func:`relbench_pretrain.relational.graph.fit_schema`.
        embedder: The text embedder, a :class:`HashTextEmbedder` by default.
        schema: A fitted schema to apply, whose column types and statistics are taken as they are; None fits one.
        cache_dir: Where graphs are kept; None for :func:`cache_folder`.
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
    settings = [FORMAT, embedder.name, places, schema.to_dict() if schema else fitting]
    if further:
        settings.append({name: _table_hash(table) for name, table in further.items()})
    if extend_schema:
        settings.append(fitting)
    folder = Path(cache_dir or cache_folder() / "graphs").expanduser() / _content_hash(dataset, settings)
    if (graph := _read(folder)) is not None:
        return graph
    db = hide_columns(load_database(dataset), places)
    db = Database(db.table_dict | further)
    if schema is None or extend_schema:
        fitted = fit_schema(db, fitted_until, stypes, embedder, calendar)
        schema = fitted if schema is None else schema.extended(fitted)
    graph = build_graph(db, schema, embedder)
    del db
    try:
        _write(folder, graph)
    except (OSError, SafetensorError) as error:
        reason = f"'{folder.parent}' cannot be written to ({error})"
        warnings.warn(f"the graph is not kept, since {reason}: give another cache_dir", CacheWarning, stacklevel=2)
    return _read(folder) or graph


def _content_hash(dataset: RelBenchDataset, settings: list[Any]) -> str:
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True, default=str).encode())
    for path in [dataset.dataset_dir / "manifest.yaml", *sorted(dataset.db_dir.glob("*.parquet"))]:
        digest.update(path.name.encode())
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()[:24]


def _table_hash(table: Table) -> str:
    rows = pd.util.hash_pandas_object(table.df, index=False).to_numpy().tobytes()
    names = json.dumps([list(table.df), table.fkey_col_to_pkey_table, table.pkey_col, table.time_col])
    return hashlib.sha256(rows + names.encode()).hexdigest()


def _write(folder: Path, graph: RelationalGraph) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    _remove_abandoned(folder.parent)
    temporary = _temporary_name(folder)
    temporary.mkdir()
    try:
        graph.schema.save(temporary / SCHEMA)
        save_file({name: tensor.contiguous() for name, tensor in _to_tensors(graph).items()}, temporary / TENSORS)
        (temporary / TENSORS).chmod((temporary / SCHEMA).stat().st_mode)  # safetensors lets nobody else read it
        for name in (SCHEMA, TENSORS):  # on disk before the folder has its name, lest a crash leave it empty
            with (temporary / name).open("rb") as file:
                os.fsync(file.fileno())
        try:
            temporary.rename(folder)
        except OSError:
            if not folder.exists():  # another process was first: its graph is the same
                raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _temporary_name(folder: Path) -> Path:
    return folder.with_name(f".{folder.name}-{uuid.uuid4().hex}")


def _remove_abandoned(parent: Path) -> None:
    """Removes what processes that were killed have left unfinished."""
    for path in parent.glob(".*-*"):
        try:
            abandoned = time.time() - path.stat().st_mtime > ABANDONED_SECONDS
        except OSError:
            continue  # its process has just finished
        if abandoned:
            shutil.rmtree(path, ignore_errors=True)


def _read(folder: Path) -> RelationalGraph | None:
    if not folder.is_dir():
        return None
    try:
        schema = GraphSchema.load(folder / SCHEMA)
        with safe_open(folder / TENSORS, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  # no dictionary
        return _from_tensors(schema, tensors)
    except PermissionError as error:
        warnings.warn(f"'{folder}' cannot be read ({error}); the graph is built in memory", CacheWarning, stacklevel=3)
        return None
    except (OSError, ValueError, KeyError, AssertionError, SafetensorError) as error:
        warnings.warn(f"'{folder}' is damaged ({error!r}); the graph is built again", CacheWarning, stacklevel=3)
        _discard(folder)
        return None


def _discard(folder: Path) -> None:
    """Removes a folder; it loses its name at once, so that nobody opens the half of it."""
    doomed = _temporary_name(folder)
    try:
        folder.rename(doomed)
    except OSError:
        return  # another process was first, or it is not ours to remove
    shutil.rmtree(doomed, ignore_errors=True)


def _to_tensors(graph: RelationalGraph) -> dict[str, Tensor]:
    tensors: dict[str, Tensor] = {}
    for number, table in enumerate(graph.schema.node_types):
        tensors[f"{number}.time"] = graph.time[table]
        tensors[f"{number}.parent"] = graph.parent[table]
        tensors[f"{number}.duplicate"] = graph.duplicate[table]
        for kind, feat in graph.frames[table].feat_dict.items():
            if isinstance(feat, Tensor):
                tensors[f"{number}.{kind.value}"] = feat
            else:
                tensors[f"{number}.{kind.value}.values"] = feat.values
                tensors[f"{number}.{kind.value}.offset"] = feat.offset
    for number, key in enumerate(graph.schema.foreign_keys):
        tensors[f"child_offset.{number}"] = graph.child_offset[key]
        tensors[f"child_row.{number}"] = graph.child_row[key]
    return tensors


def _from_tensors(schema: GraphSchema, tensors: Mapping[str, Tensor]) -> RelationalGraph:
    frames, numbers = {}, {table: i for i, table in enumerate(schema.node_types)}
    for table, number in numbers.items():
        names = schema.tables[table].columns_by_stype()
        num_rows = len(tensors[f"{number}.time"])
        feats = {kind: _feature(tensors, f"{number}.{kind.value}", kind, num_rows, len(names[kind])) for kind in names}
        frames[table] = TensorFrame(feats, names)
    keys = list(enumerate(schema.foreign_keys))
    return RelationalGraph(
        schema,
        frames,
        time={t: tensors[f"{n}.time"] for t, n in numbers.items()},
        parent={t: tensors[f"{n}.parent"] for t, n in numbers.items()},
        child_offset={key: tensors[f"child_offset.{i}"] for i, key in keys},
        child_row={key: tensors[f"child_row.{i}"] for i, key in keys},
        duplicate={t: tensors[f"{n}.duplicate"] for t, n in numbers.items()},
    )


def _feature(tensors: Mapping[str, Tensor], name: str, kind: stype, num_rows: int, num_columns: int):
    if name in tensors:
        return tensors[name]
    holder = MultiEmbeddingTensor if kind is stype.embedding else MultiNestedTensor
    return holder(num_rows, num_columns, tensors[f"{name}.values"], tensors[f"{name}.offset"])
