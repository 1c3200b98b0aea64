"""Columns to tensors: the statistics of a column, and its values under these statistics."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch_frame import TensorFrame, stype
from torch_frame.data import MultiNestedTensor
from torch_frame.data.mapper import TimestampTensorMapper
from torch_frame.data.multi_embedding_tensor import MultiEmbeddingTensor
from torch_frame.data.stats import StatType, compute_col_stats

from relbench_pretrain.relational.cells import flatten_lists, list_lengths, plain_category, to_datetimes, to_numbers
from relbench_pretrain.relational.schema import CONSTANT_COLUMN, ColumnSchema, TableSchema, stats_to_json
from relbench_pretrain.relational.stypes import MAX_CATEGORIES
from relbench_pretrain.relational.text import TextEmbedder, embed_texts, embedding_width

Columns = dict[str, ColumnSchema]


def fit_column(name: str, values: pd.Series, column_stype: stype, embedder: TextEmbedder) -> ColumnSchema:
    """Computes the statistics that PyTorch Frame's encoders need, from the rows that may be seen.

    Args:
        name: Table and column, for messages.
        values: The column's values in the training rows ``(num_rows,)``.
        column_stype: The column's type.
        embedder: The embedder for texts.

    Returns:
        The column's schema. Of lists the ``MAX_CATEGORIES`` most frequent elements are categories.

    Raises:
        ValueError: If the values cannot be of this type; the message names the column.
    """
    with _naming(name):
        if column_stype is stype.numerical:
            stats = _number_stats(to_numbers(values))
        elif column_stype is stype.timestamp:
            stats = _time_stats(to_datetimes(values))
        elif column_stype is stype.categorical:
            stats = {StatType.COUNT: _most_frequent(*_numbered(values))}
        elif column_stype is stype.multicategorical:
            row, elements = flatten_lists(values)
            codes, categories = _numbered(elements)
            stats = {StatType.MULTI_COUNT: _most_frequent(_distinct_pairs(row, codes)[1], categories, MAX_CATEGORIES)}
        elif column_stype is stype.embedding:
            stats = {StatType.EMB_DIM: _vector_width(values)}
        else:
            stats = {StatType.EMB_DIM: embedding_width(embedder)}
        return ColumnSchema(column_stype.value, stats_to_json(stats))


@contextmanager
def _naming(column: str) -> Iterator[None]:
    try:
        yield
    except (TypeError, ValueError) as error:
        raise ValueError(f"column '{column}': {error}") from error


def _number_stats(numbers: np.ndarray) -> dict[StatType, object]:
    """Computes what PyTorch Frame's :func:`compute_col_stats` does, without its loop over the rows in Python."""
    present = numbers[~np.isnan(numbers)]
    if len(present) == 0:
        return compute_col_stats(pd.Series(present), stype.numerical)
    quantiles = np.quantile(present, [0, 0.25, 0.5, 0.75, 1]).tolist()
    return {StatType.MEAN: present.mean(), StatType.STD: present.std(), StatType.QUANTILES: quantiles}


def _time_stats(times: pd.Series) -> dict[StatType, object]:
    """Computes what PyTorch Frame's :func:`compute_col_stats` does, without its loop over the rows in Python."""
    present = times.dropna().sort_values()
    if present.empty:
        return compute_col_stats(present, stype.timestamp)
    parts = TimestampTensorMapper.to_tensor(present.iloc[[0, len(present) // 2, -1]])  # (3, 7)
    return {
        StatType.YEAR_RANGE: [present.iloc[0].year, present.iloc[-1].year],
        StatType.NEWEST_TIME: parts[2],
        StatType.OLDEST_TIME: parts[0],
        StatType.MEDIAN_TIME: parts[1],
    }


def _numbered(values: pd.Series) -> tuple[np.ndarray, list]:
    """Returns the number of each value's category, −1 for a missing one, and the categories in that order."""
    codes, distinct = pd.factorize(values)  # each distinct value is looked at once
    categories = list(dict.fromkeys(map(plain_category, distinct)))
    return _lookup(codes, distinct, categories), categories


def _most_frequent(codes: np.ndarray, categories: list, limit: int | None = None) -> tuple[list, list]:
    """Ranks categories by frequency, ties by name, whatever the order of the rows; returns their counts too."""
    counts = np.bincount(codes[codes >= 0], minlength=len(categories)).tolist()
    ranked = sorted(zip(categories, counts, strict=True), key=lambda x: (-x[1], str(x[0]), type(x[0]).__name__))[:limit]
    return [category for category, _ in ranked], [count for _, count in ranked]


def _distinct_pairs(row: np.ndarray, codes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Sorts pairs by row and code and keeps one of each."""
    order = np.lexsort((codes, row))
    row, codes = row[order], codes[order]
    first = np.ones(len(row), dtype=bool)
    first[1:] = (row[1:] != row[:-1]) | (codes[1:] != codes[:-1])
    return row[first], codes[first]


def _lookup(codes: np.ndarray, distinct: pd.Index, categories: list) -> np.ndarray:
    """Returns the number of each value's category, looked up once for each distinct value; −1 where there is none."""
    number = {category: n for n, category in enumerate(categories)}
    known = np.array([number.get(plain_category(value), -1) for value in distinct] + [-1], dtype=np.int64)
    return known[codes]


def encode_table(name: str, df: pd.DataFrame, table: TableSchema, embedder: TextEmbedder) -> TensorFrame:
    """Encodes a table under the statistics and category maps of its schema.

    Args:
        name: The table's name, for messages.
        df: The rows, with at least the schema's columns.
        table: The fitted schema of the table.
        embedder: The embedder for its text columns.

    Returns:
        A TensorFrame with ``num_rows`` rows. Missing is NaN for numbers and −1 for integers; a category that
        the schema does not know is missing too; a missing text or vector is all zeros.

    Raises:
        ValueError: If values cannot be of their column's type; the message names the column.
    """
    encoders = {
        stype.numerical: _encode_numbers,
        stype.categorical: _encode_categories,
        stype.timestamp: _encode_times,
        stype.multicategorical: _encode_lists,
        stype.embedding: _encode_vectors,
    }
    names = table.columns_by_stype()
    feats = {kind: encoders[kind](name, df, {c: table.columns[c] for c in names[kind]}, embedder) for kind in names}
    return TensorFrame(feats, names)


def _encode_numbers(table: str, df: pd.DataFrame, columns: Columns, embedder: TextEmbedder) -> Tensor:
    result = torch.ones(len(df), len(columns))
    for i, name in enumerate(columns):
        if name != CONSTANT_COLUMN:
            with _naming(f"{table}.{name}"):
                result[:, i] = torch.from_numpy(to_numbers(df[name]))
    return result


def _encode_categories(table: str, df: pd.DataFrame, columns: Columns, embedder: TextEmbedder) -> Tensor:
    result = torch.empty(len(df), len(columns), dtype=torch.int64)
    for i, (name, column) in enumerate(columns.items()):
        with _naming(f"{table}.{name}"):
            result[:, i] = torch.from_numpy(_codes(df[name], column.stats["COUNT"][0]))
    return result


def _encode_times(table: str, df: pd.DataFrame, columns: Columns, embedder: TextEmbedder) -> Tensor:
    result = torch.empty(len(df), len(columns), len(TimestampTensorMapper.TIME_TO_INDEX), dtype=torch.int64)
    for i, name in enumerate(columns):
        with _naming(f"{table}.{name}"):
            result[:, i] = TimestampTensorMapper.to_tensor(to_datetimes(df[name]))
    return result


def _encode_lists(table: str, df: pd.DataFrame, columns: Columns, embedder: TextEmbedder) -> MultiNestedTensor:
    """Encodes each cell as its codes in ascending order; a missing cell is −1, one without known elements is empty."""
    cells, codes = [], []
    for i, (name, column) in enumerate(columns.items()):
        with _naming(f"{table}.{name}"):
            row, elements = flatten_lists(df[name])
            found = _codes(elements, column.stats["MULTI_COUNT"][0])
        missing = np.flatnonzero(df[name].isna().to_numpy())
        cells += [row[found >= 0] * len(columns) + i, missing * len(columns) + i]
        codes += [found[found >= 0], np.full(len(missing), -1, dtype=np.int64)]
    cell, code = _distinct_pairs(np.concatenate(cells), np.concatenate(codes))
    counts = np.bincount(cell, minlength=len(df) * len(columns))
    offset = np.concatenate([[0], np.cumsum(counts)])
    return MultiNestedTensor(len(df), len(columns), torch.from_numpy(code), torch.from_numpy(offset))


def _codes(values: pd.Series, categories: list) -> np.ndarray:
    codes, distinct = pd.factorize(values)
    return _lookup(codes, distinct, categories)


def _encode_vectors(table: str, df: pd.DataFrame, columns: Columns, embedder: TextEmbedder) -> MultiEmbeddingTensor:
    offset = np.concatenate([[0], np.cumsum([column.stats["EMB_DIM"] for column in columns.values()])])
    result = torch.zeros(len(df), offset[-1])
    for i, (name, column) in enumerate(columns.items()):
        out, values = result[:, offset[i] : offset[i + 1]], df[name]
        with _naming(f"{table}.{name}"):
            if column.stype == stype.embedding.value:
                _fill_vectors(values, out)
            else:
                embed_texts(embedder, values.to_numpy(dtype=object), values.isna().to_numpy(), out=out)
    return MultiEmbeddingTensor(len(df), len(columns), result, torch.from_numpy(offset))


def _vector_width(values: pd.Series) -> int:
    rows, cells = _vectors(values)
    return len(cells[0]) if len(rows) else 1


def _fill_vectors(values: pd.Series, out: Tensor) -> None:
    """Writes the vectors into ``out`` ``(num_rows, width)``; missing ones and such with a missing number stay zero."""
    rows, cells = _vectors(values)
    if len(rows) and len(cells[0]) != out.shape[1]:
        raise ValueError(f"its vectors have {len(cells[0])} numbers, the schema expects {out.shape[1]} in every row")
    for start in range(0, len(rows), 100_000):  # so that few vectors are held twice
        part = slice(start, start + 100_000)
        vectors = torch.from_numpy(np.array(cells[part].tolist(), dtype=np.float32))
        out[rows[part]] = torch.where(vectors.isfinite().all(dim=1, keepdim=True), vectors, 0.0)


def _vectors(values: pd.Series) -> tuple[np.ndarray, np.ndarray]:
    """Returns the rows that hold vectors, and the vectors, all of one length; an empty one counts as missing."""
    rows = np.flatnonzero(values.notna().to_numpy())
    cells = values.to_numpy(dtype=object)[rows]
    if kinds := {kind.__name__ for kind in set(map(type, cells)) if not issubclass(kind, (list, tuple, np.ndarray))}:
        raise ValueError(f"its values are of type {sorted(kinds)}: embeddings are lists of numbers")
    lengths = list_lengths(cells)
    rows, cells, lengths = rows[lengths > 0], cells[lengths > 0], lengths[lengths > 0]
    if len(odd := np.flatnonzero(lengths != lengths[:1])):
        raise ValueError(
            f"row {rows[odd[0]]} has {lengths[odd[0]]} numbers, the rows before it have {lengths[0]}: "
            "give every row the same number"
        )
    return rows, cells
