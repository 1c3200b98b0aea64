"""One vector for every row of a table, as a file and as a plot."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from relbench.base import Table
from torch import Tensor

from relbench_pretrain.errors import UserError
from relbench_pretrain.files import atomic_file
from relbench_pretrain.nn.backbone import Backbone
from relbench_pretrain.nn.task_network import encode_seeds, load_backbone
from relbench_pretrain.progress import tracked
from relbench_pretrain.relational.cache import load_graph
from relbench_pretrain.relational.database import load_database, open_dataset
from relbench_pretrain.relational.graph import RelationalGraph
from relbench_pretrain.relational.schema import SchemaError
from relbench_pretrain.relational.text import TextEmbedder
from relbench_pretrain.sampling import GraphIndex, RelationalLoader, TemporalNeighborSampler
from relbench_pretrain.unix_time import ALWAYS, timestamp_seconds


def embed(
    checkpoint: str,
    table: str,
    dataset: str = "demo",
    output: str = "embeddings.parquet",
    at: str | None = None,
    fanouts: list[int] = [24, 0],  # noqa: B006
    strategy: Literal["last", "uniform"] = "last",
    follow: int = 1,
    batch_size: int = 512,
    plot: bool = False,
    colour_by: str | None = None,
    text_embedder: TextEmbedder | None = None,
    seed: int = 0,
) -> None:
    """Writes one vector per row of a table to a parquet file, with keys and times, batch by batch.

    Args:
        checkpoint: Folder of a pretrained backbone, or its name on the Hub.
        table: The table.
        dataset: A RelBench name, a Hub address, a local folder, or ``demo``; of the checkpoint's structure.
        output: The file, whose columns are ``row``, the table's primary key and time, and ``embedding``.
        at: A time like ``2020-01-01``: rows are seen as they are then, and later ones are left out. By default each
            row is seen at its own time, and rows without one at the end of the database.
        fanouts: Child rows per row and foreign key, hop by hop.
        strategy: Which child rows.
        follow: How many of the most recent child rows lead on; 0 for all.
        batch_size: Rows per batch.
        plot: Whether to draw the vectors too, their first two principal components and, where umap-learn is
            installed, UMAP; beside the file, as PNG and SVG.
        colour_by: A column of the table that colours the plot.
        text_embedder: Turns texts into vectors, the same as in pretraining.
        seed: Determines what is sampled.

    Raises:
        SchemaError: If the database has another structure, or no such table or column.
    """
    source = open_dataset(dataset)
    backbone = load_backbone(checkpoint).eval()
    schema = backbone.schema
    assert schema is not None
    if table not in schema.tables:
        raise SchemaError(f"there is no table '{table}'; the checkpoint has {schema.node_types}")
    frame = load_database(source).table_dict[table]
    if colour_by is not None and colour_by not in frame.df:
        raise SchemaError(f"table '{table}' has no column '{colour_by}'; it has {list(frame.df)}")
    graph = load_graph(source, embedder=text_embedder, schema=schema)
    rows, times = _rows(graph, table, at)
    sampler = TemporalNeighborSampler(GraphIndex.from_graph(graph), fanouts, strategy, follow, seed=seed)
    loader = RelationalLoader(graph, sampler, (table, rows), times, batch_size=batch_size)
    path = Path(output)
    kept: list[np.ndarray] = []
    with atomic_file(path) as part:
        _write(part, _vectors(backbone, loader, table), frame, backbone.channels, kept if plot else None)
    print(f"{len(rows)} vectors of width {backbone.channels}: {path}")
    if plot:
        from relbench_pretrain.evaluation.plots import plot_embeddings  # Matplotlib, which nothing else needs here

        values = frame.df[colour_by].iloc[rows.numpy()] if colour_by else None
        for image in plot_embeddings(np.concatenate(kept), values, f"{table}", path.with_suffix("")):
            print(f"plot: {image}")


def _rows(graph: RelationalGraph, table: str, at: str | None) -> tuple[Tensor, Tensor]:
    """Returns the rows to embed, and the time at which each is seen."""
    times = graph.time[table] if graph.schema.tables[table].time_column is not None else None
    if at is not None:
        try:
            limit = timestamp_seconds(pd.Timestamp(at))
        except ValueError as error:
            raise UserError(f"--at is no time like 2020-01-01: {error}") from error
        number = int((times <= limit).sum()) if times is not None else graph.num_rows[table]
        return torch.arange(number), torch.full((number,), limit)
    last = max((int(t.max()) for t in graph.time.values() if len(t)), default=0)
    rows = torch.arange(graph.num_rows[table])
    if times is None:
        return rows, torch.full_like(rows, last)
    return rows, torch.where(times == ALWAYS, last, times)


@torch.inference_mode()
def _vectors(backbone: Backbone, loader: RelationalLoader, table: str) -> Iterator[tuple[Tensor, Tensor]]:
    """Yields rows and their vectors, batch by batch."""
    for batch in tracked(loader, f"embedding the rows of {table}, in batches"):
        store = batch[table]
        yield store.n_id[: store.batch_size], encode_seeds(backbone, None, batch, table)


def _write(
    path: Path, vectors: Iterator[tuple[Tensor, Tensor]], table: Table, channels: int, kept: list[np.ndarray] | None
) -> None:
    columns = [c for c in (table.pkey_col, table.time_col) if c is not None]
    kind = pa.list_(pa.float32(), channels)
    writer = None
    for rows, x in vectors:
        frame = table.df[columns].iloc[rows.numpy()].reset_index(drop=True)
        frame.insert(0, "row", rows.numpy())
        part = pa.Table.from_pandas(frame, preserve_index=False)
        values = pa.FixedSizeListArray.from_arrays(pa.array(x.float().numpy().ravel()), type=kind)
        part = part.append_column("embedding", values)
        writer = writer or pq.ParquetWriter(path, part.schema)
        writer.write_table(part)
        if kept is not None:
            kept.append(x.float().numpy())
    if writer is None:
        empty = pa.table({"row": pa.array([], pa.int64()), "embedding": pa.array([], kind)})
        pq.write_table(empty, path)
    else:
        writer.close()
