"""Deterministic semantic types of columns."""

from __future__ import annotations

import re
from collections.abc import Mapping

import numpy as np
import pandas as pd
import pandas.api.types as ptypes
from relbench.base import Table
from torch_frame import stype

MAX_CATEGORIES = 1_000
"""A string column with more distinct values than this is text, whatever its size."""

MAX_CATEGORY_SHARE = 0.5
"""A string column in which more than this share of the rows is distinct is text."""

MIN_TEXT_WORDS = 4
"""Strings that hardly repeat and have fewer words than this on average are names, codes or addresses of their rows.
They are left out: a network learns them by heart and is worse on rows that it has not seen."""

CODE_COLUMN = re.compile(r"(?:^|_)(?i:id|code|type|status|category|flag)$|[a-z](?:Id|ID|Code|Type|Status|Category|Flag)$")
"""Names that say that an integer is a code rather than a quantity."""

StypeOverrides = Mapping[str, Mapping[str, str | None]]
"""Column types by table and column, as written in YAML; null leaves a column out."""


def infer_stype(name: str, values: pd.Series) -> stype | None:
    """Infers the semantic type of one column from all its values, the same on every machine.

    Dates are timestamps, booleans categories, lists of numbers of one length embeddings and other lists
    multicategorical. Numbers are numerical, except integers whose name says that they are codes. Strings
    are categories while their values repeat, text if they hardly do and have several words, and have no type
    otherwise: names and addresses of rows are left out unless an override asks for them.

    Args:
        name: The column's name.
        values: The column's values ``(num_rows,)``.

    Returns:
        The type, or None where no value is there to tell and for names and addresses of rows.
    """
    values = values.dropna()
    if values.empty:
        return None
    if ptypes.is_datetime64_any_dtype(values.dtype):
        return stype.timestamp
    if ptypes.is_bool_dtype(values.dtype):
        return stype.categorical
    if ptypes.is_numeric_dtype(values.dtype):
        return stype.categorical if _is_code(name, values) else stype.numerical
    if isinstance(values.iloc[0], (list, tuple, np.ndarray)):
        return _infer_list_stype(values)
    if not isinstance(values.iloc[0], str):
        return stype.categorical
    distinct = values.nunique()
    if distinct <= MAX_CATEGORIES and distinct <= max(MAX_CATEGORY_SHARE * len(values), 2):
        return stype.categorical
    return stype.text_embedded if _is_prose(values) else None


def _is_prose(values: pd.Series) -> bool:
    """Whether strings say something, rather than name their row: names and addresses have few words."""
    sample = values.iloc[:: max(1, len(values) // 10_000)]
    return float(sample.str.split().str.len().mean()) >= MIN_TEXT_WORDS


def _is_code(name: str, values: pd.Series) -> bool:
    if not CODE_COLUMN.search(name) or values.nunique() > MAX_CATEGORIES:
        return False
    return bool((values.astype("float64") % 1 == 0).all())


def _infer_list_stype(values: pd.Series) -> stype:
    lengths = values.map(len)
    numeric = isinstance(values.iloc[0], np.ndarray) and values.iloc[0].dtype.kind == "f"
    numeric = numeric or (len(values.iloc[0]) > 0 and all(isinstance(v, float) for v in values.iloc[0]))
    return stype.embedding if numeric and lengths.nunique() == 1 else stype.multicategorical


def infer_table_stypes(table_name: str, table: Table, overrides: StypeOverrides | None = None) -> dict[str, stype]:
    """Infers the types of all feature columns of a table; keys are never features.

    Args:
        table_name: The table's name, for messages and overrides.
        table: The rows to infer from.
        overrides: Types that win over the inferred ones.

    Returns:
        The type of each feature column, in column order.

    Raises:
        ValueError: If an override names a key, an unknown column or an unknown type.
    """
    chosen = dict((overrides or {}).get(table_name, {}))
    keys = {table.pkey_col, *table.fkey_col_to_pkey_table}
    for column, value in chosen.items():
        if column not in table.df.columns or column in keys:
            raise ValueError(
                f"stypes: table '{table_name}' has no feature column '{column}'; "
                f"its feature columns are {[c for c in table.df.columns if c not in keys]}"
            )
        if value is not None and value not in SUPPORTED:
            raise ValueError(f"stypes: '{table_name}.{column}' cannot be '{value}'; choose from {sorted(SUPPORTED)}")
    result = {}
    for column in table.df.columns:
        if column in keys:
            continue
        if column in chosen:
            found = None if chosen[column] is None else stype(chosen[column])
        else:
            found = infer_stype(column, table.df[column])
        if found is not None:
            result[column] = found
    return result


SUPPORTED = {"numerical", "categorical", "multicategorical", "timestamp", "text_embedded", "embedding"}
