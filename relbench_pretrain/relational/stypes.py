"""Deterministic semantic types of columns."""

from __future__ import annotations

import re
from collections.abc import Mapping
from operator import attrgetter

import numpy as np
import pandas as pd
from relbench.base import Table
from torch_frame import stype

from relbench_pretrain.errors import UserError
from relbench_pretrain.relational.cells import (
    DURATIONS,
    NUMBERS,
    TIMES,
    flatten_lists,
    kind_of,
    list_lengths,
    to_numbers,
)

MAX_CATEGORIES = 1_000
"""A column with more distinct values than this is not categorical, whatever its size."""

MAX_CATEGORY_SHARE = 0.5
"""Nor is a string column in which more than this share of the rows is distinct."""

MAX_SINGLE_SHARE = 0.5
"""Nor one in which more than this share of the distinct values comes only once."""

MIN_TEXT_WORDS = 4
"""Strings that are no categories and have fewer words than this on average are names, codes or addresses.
They are left out: a network memorises them and is worse on rows that it has not seen."""

SAMPLED_TEXTS = 10_000
"""The most texts whose words are counted; they are chosen by hash, so the order of the rows does not matter."""

CODE_COLUMN = re.compile(
    r"(?:^|_)(?i:id|code|type|status|category|flag)$|[a-z](?:Id|ID|Code|Type|Status|Category|Flag)$"
)
"""Names that say that an integer is a code rather than a quantity."""

YEAR_COLUMN = re.compile(r"(?:^|_|[a-z](?=[A-Z]))(?i:year_?(?:id|code))$")
"""The exception: years go on after the last one that was seen, so they are quantities even where they are keys."""

MIN_CLOCK_CORRELATION = 0.99
"""A number whose ranks agree this well with those of time is a clock."""

MIN_CLOCK_ROWS = 10
"""Fewer numbers may agree with time by chance."""

SUPPORTED = {"numerical", "categorical", "multicategorical", "timestamp", "text_embedded", "embedding"}
"""The column types that an override may name."""

StypeOverrides = Mapping[str, Mapping[str, str | None]]
"""Column types by table and column, as written in YAML; null leaves a column out."""


class StypeError(UserError, ValueError):
    """Column types that were asked for and cannot be; the message names table and column."""


def infer_stype(name: str, values: pd.Series) -> stype | None:
    """Infers the semantic type of one column from all its values, the same on every machine and in any row order.

    Dates are timestamps, booleans categories. Numbers and durations are numerical, except integers whose name says
    that they are codes. Strings are categories while their values repeat, otherwise text if they have several words,
    and else have no type: names and addresses of rows are left out unless an override asks for them. Lists of
    fractions are embeddings if they have one length and have no type otherwise; other lists are multicategorical. A
    pandas Categorical of numbers is what it says; one of strings is judged like strings, since files often store
    strings that way.

    Args:
        name: The column's name.
        values: The column's values ``(num_rows,)``.

    Returns:
        The type, or None where there is no value, for names and addresses of rows, and for values that
        no network can use.
    """
    values = values.dropna()
    kind = kind_of(values)
    if kind in TIMES:
        return stype.timestamp
    if kind == "boolean":
        return stype.categorical
    if kind in NUMBERS:
        declared = isinstance(values.dtype, pd.CategoricalDtype) and values.nunique() <= MAX_CATEGORIES
        return stype.categorical if declared or _is_code(name, values) else stype.numerical
    if kind in DURATIONS:
        return stype.numerical
    if kind == "list":
        return _infer_list_stype(values)
    return None if kind == "empty" else _infer_string_stype(values, kind)


def _is_code(name: str, values: pd.Series) -> bool:
    if not CODE_COLUMN.search(name) or YEAR_COLUMN.search(name):
        return False
    numbers = pd.unique(to_numbers(values))  # infinite ones are NaN, which no remainder is equal to
    return len(numbers) <= MAX_CATEGORIES and bool((numbers % 1 == 0).all())


def _infer_list_stype(values: pd.Series) -> stype | None:
    cells = values.to_numpy(dtype=object)
    lengths = list_lengths(cells)
    one_length = len(np.unique(lengths[lengths > 0])) == 1
    arrays = set(map(type, cells)) == {np.ndarray}
    dtypes = {dtype.kind for dtype in set(map(attrgetter("dtype"), cells))} if arrays else set()
    if one_length and dtypes == {"f"}:
        return stype.embedding  # without copying all of it
    try:
        elements = flatten_lists(values)[1]
        if (kind := kind_of(elements)) in NUMBERS - {"integer"}:
            if one_length and not dtypes & {"i", "u"}:
                return stype.embedding
            return None if (to_numbers(elements) % 1 != 0).any() else stype.multicategorical  # integers with gaps
        return stype.multicategorical if kind != "empty" and elements.nunique() else None
    except (TypeError, ValueError):
        return None  # lists of lists or of records


def _infer_string_stype(values: pd.Series, kind: str) -> stype | None:
    try:
        codes, distinct = pd.factorize(values)  # without a Categorical's unused categories
    except TypeError:
        return None  # records
    counts = np.bincount(codes)
    few = len(distinct) <= MAX_CATEGORIES and len(distinct) <= max(MAX_CATEGORY_SHARE * len(values), 2)
    # A frequent value beside many that come once is a placeholder beside names.
    if few and (len(distinct) <= 2 or (counts == 1).mean() <= MAX_SINGLE_SHARE):
        return stype.categorical
    return stype.text_embedded if kind == "string" and _is_prose(np.asarray(distinct, dtype=object)) else None


def _is_prose(distinct: np.ndarray) -> bool:
    """Whether strings say something, rather than name their row: names and addresses have few words."""
    if len(distinct) > SAMPLED_TEXTS:
        keys = pd.util.hash_array(distinct, categorize=False)
        distinct = distinct[np.argpartition(keys, SAMPLED_TEXTS)[:SAMPLED_TEXTS]]
    return float(np.mean([len(text.split()) for text in distinct])) >= MIN_TEXT_WORDS


def infer_table_stypes(
    table_name: str, table: Table, overrides: StypeOverrides | None = None, calendar: bool = True
) -> dict[str, stype]:
    """Infers the types of all feature columns of a table; keys are never features.

    Args:
        table_name: The table's name, for messages and overrides.
        table: The rows to infer from.
        overrides: Types that win over the inferred ones.
        calendar: Whether points in time may be features: timestamps, and numbers that count on with the time of
            their rows. What is learned of them does not carry over to times that come later.

    Returns:
        The type of each feature column, in column order.

    Raises:
        StypeError: If an override names a key, an unknown column or an unknown type.
    """
    chosen = dict((overrides or {}).get(table_name, {}))
    keys = {table.pkey_col, *table.fkey_col_to_pkey_table}
    features = [column for column in table.df.columns if column not in keys]
    for column, value in chosen.items():
        if column not in features:
            raise StypeError(
                f"stypes: table '{table_name}' has no feature column '{column}'; its feature columns are {features}"
            )
        if value is not None and value not in SUPPORTED:
            choice = f"choose from {sorted(SUPPORTED)}, or null"
            raise StypeError(f"stypes: '{table_name}.{column}' cannot be '{value}'; {choice}")
    result = {}
    for column in features:
        if column in chosen:
            found = None if chosen[column] is None else stype(chosen[column])
        else:
            found = infer_stype(column, table.df[column])
            if not calendar and (found is stype.timestamp or (found is stype.numerical and _counts_on(column, table))):
                found = None
        if found is not None:
            result[column] = found
    return result


def _counts_on(column: str, table: Table) -> bool:
    """Whether a number runs along with the time of its rows, as a year or a running number does."""
    if table.time_col is None:
        return False
    number, time = to_numbers(table.df[column]), table.df[table.time_col].to_numpy()
    ranks = pd.DataFrame({"number": number, "time": time}).dropna().rank()
    if len(ranks) < MIN_CLOCK_ROWS or ranks["number"].nunique() < 3 or ranks["time"].nunique() < 2:
        return False
    # Many rows of one year tie: compare with the best that these ranks could do in another order.
    best = np.corrcoef(np.sort(ranks, axis=0), rowvar=False)[0, 1]
    return bool(np.corrcoef(ranks, rowvar=False)[0, 1] >= MIN_CLOCK_CORRELATION * best)
