"""Columns to tensors: the statistics of a column, and its values under these statistics."""

from __future__ import annotations

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch_frame import TensorFrame, stype
from torch_frame.data import MultiNestedTensor
from torch_frame.data.mapper import TimestampTensorMapper
from torch_frame.data.multi_embedding_tensor import MultiEmbeddingTensor
from torch_frame.data.stats import StatType, compute_col_stats

from relbench_pretrain.relational.schema import CONSTANT_COLUMN, ColumnSchema, TableSchema, stats_to_json
from relbench_pretrain.relational.text import TextEmbedder, embed_texts

YEAR = TimestampTensorMapper.TIME_TO_INDEX["YEAR"]


def fit_column(values: pd.Series, column_stype: stype, embedder: TextEmbedder) -> ColumnSchema:
    """Computes the statistics that PyTorch Frame's encoders need, from the rows that may be seen.

    Args:
        values: The column's values in the training rows ``(num_rows,)``.
        column_stype: The column's type.
        embedder: The embedder for texts.

    Returns:
        The column's schema.
    """
    if column_stype is stype.numerical:
        stats = compute_col_stats(_numbers(values), stype.numerical)
    elif column_stype is stype.timestamp:
        stats = compute_col_stats(_datetimes(values), stype.timestamp)
    elif column_stype is stype.categorical:
        stats = {StatType.COUNT: _count(values.dropna())}
    elif column_stype is stype.multicategorical:
        stats = {StatType.MULTI_COUNT: _count(values.dropna().explode().dropna())}
    elif column_stype is stype.embedding:
        present = values.dropna()
        stats = {StatType.EMB_DIM: len(present.iloc[0]) if len(present) else 1}
    else:
        stats = {StatType.EMB_DIM: embedder(["text"]).shape[1]}
    return ColumnSchema(column_stype.value, stats_to_json(stats))


def encode_table(df: pd.DataFrame, table: TableSchema, embedder: TextEmbedder) -> TensorFrame:
    """Encodes a table under the statistics and category maps of its schema.

    Args:
        df: The rows, with at least the schema's columns.
        table: The fitted schema of the table.
        embedder: The embedder for its text columns.

    Returns:
        A TensorFrame with ``num_rows`` rows. Missing is NaN for numbers and −1 for integers; a category that
        the schema does not know is missing too; a missing text or vector is all zeros.
    """
    feats = {}
    for group, names in table.columns_by_stype().items():
        columns = [_encode_column(df, name, table.columns[name], embedder) for name in names]
        if group is stype.multicategorical:
            feats[group] = MultiNestedTensor.cat(columns, dim=1)
        elif group is stype.embedding:
            feats[group] = MultiEmbeddingTensor.from_tensor_list(columns)
        else:
            feats[group] = torch.stack(columns, dim=1)  # (num_rows, num_columns, ...)
    return TensorFrame(feats, {k: list(v) for k, v in table.columns_by_stype().items()})


def _encode_column(df: pd.DataFrame, name: str, column: ColumnSchema, embedder: TextEmbedder):
    kind = stype(column.stype)
    if name == CONSTANT_COLUMN:
        return torch.ones(len(df))
    values = df[name]
    if kind is stype.numerical:
        return torch.from_numpy(_numbers(values).to_numpy(dtype=np.float32, na_value=np.nan).copy())
    if kind is stype.timestamp:
        return _encode_times(_datetimes(values), column)
    if kind is stype.categorical:
        return torch.from_numpy(_codes(values, column.stats["COUNT"][0]))
    if kind is stype.multicategorical:
        return _encode_lists(values, column.stats["MULTI_COUNT"][0])
    if kind is stype.embedding:
        return _encode_vectors(name, values, column.stats["EMB_DIM"])
    return embed_texts(embedder, values.to_numpy(dtype=object), values.isna().to_numpy())


def _numbers(values: pd.Series) -> pd.Series:
    """Numbers as float64, infinite ones as missing."""
    if values.dtype == object:
        values = pd.to_numeric(values, errors="coerce")
    values = values.astype("Float64").astype("float64") if values.isna().any() else values.astype("float64")
    return values.mask(np.isinf(values))


def _datetimes(values: pd.Series) -> pd.Series:
    values = pd.to_datetime(values, errors="coerce")
    return values.dt.tz_convert("UTC").dt.tz_localize(None) if values.dt.tz is not None else values


def _encode_times(values: pd.Series, column: ColumnSchema) -> Tensor:
    parts = TimestampTensorMapper.to_tensor(values)  # (num_rows, 7)
    first_year = column.stats["YEAR_RANGE"][0]
    present = parts[:, YEAR] >= 0
    # The positional encoding of the year starts at the first fitted year and knows nothing before it.
    parts[:, YEAR] = torch.where(present, parts[:, YEAR].clamp(min=first_year), parts[:, YEAR])
    return parts


def _count(values: pd.Series) -> tuple[list, list]:
    """Categories and their counts, most frequent first and ties by name, so that codes never depend on row order."""
    counts = values.map(_plain_category).value_counts()
    order = sorted(counts.items(), key=lambda item: (-item[1], str(item[0])))
    return [category for category, _ in order], [int(n) for _, n in order]


def _plain_category(value):
    """A category as JSON keeps it: whole numbers are one category whatever their type."""
    if isinstance(value, (bool, np.bool_)):
        return str(bool(value))
    if isinstance(value, (int, np.integer)):
        return int(value)
    if isinstance(value, (float, np.floating)):
        return int(value) if float(value).is_integer() else float(value)
    return str(value)


def _codes(values: pd.Series, categories: list) -> np.ndarray:
    if len(categories) == 0:
        return np.full(len(values), -1, dtype=np.int64)
    index = {category: code for code, category in enumerate(categories)}
    codes, distinct = pd.factorize(values)  # each distinct value is looked up once
    lookup = np.array([index.get(_plain_category(v), -1) for v in distinct] + [-1], dtype=np.int64)
    return lookup[codes]


def _encode_lists(values: pd.Series, categories: list) -> MultiNestedTensor:
    missing = values.isna().to_numpy()
    flat = values.mask(values.isna(), pd.Series([[]] * len(values), index=values.index)).reset_index(drop=True).explode()
    codes = _codes(flat, categories)
    row = flat.index.to_numpy()
    known = codes >= 0
    row, codes = np.append(row[known], np.flatnonzero(missing)), np.append(codes[known], np.full(missing.sum(), -1))
    order = np.lexsort((codes, row))
    offset = np.concatenate([[0], np.cumsum(np.bincount(row, minlength=len(values)))])
    return MultiNestedTensor(len(values), 1, torch.from_numpy(codes[order]), torch.from_numpy(offset))


def _encode_vectors(name: str, values: pd.Series, width: int) -> Tensor:
    result = np.zeros((len(values), width), dtype=np.float32)
    present = np.flatnonzero(values.notna().to_numpy())
    try:
        result[present] = np.stack([np.asarray(v, dtype=np.float32) for v in values.iloc[present]]) if len(present) else 0
    except ValueError as error:
        raise ValueError(f"embedding column '{name}' must hold {width} numbers in every row ({error})") from error
    return torch.from_numpy(result)
