"""Opening a RelBench database: by name, from a folder, or the built-in demo."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pandas as pd
import pandas.api.types as ptypes
import pyarrow as pa
import pyarrow.parquet as pq
import relbench
import yaml
from huggingface_hub.errors import GatedRepoError, HFValidationError, LocalEntryNotFoundError, RepositoryNotFoundError
from relbench.base import Database, Dataset
from relbench.load import RelBenchDataset
from relbench.manifest import TableSpec

from relbench_pretrain.datasets.shop.database import DEMO_VERSION, MIN_ROWS, write_demo_database
from relbench_pretrain.errors import UserError
from relbench_pretrain.files import CACHE_VARIABLE, atomic_folder, cache_root
from relbench_pretrain.relational.database_check import (
    DatabaseReport,
    DatabaseWarning,
    ForeignKeyReport,
    check_database,
)
from relbench_pretrain.relational.key_columns import DatabaseError, foreign_key_index

__all__ = [
    "DatabaseError",
    "DatabaseReport",
    "DatabaseWarning",
    "DatasetError",
    "ForeignKeyReport",
    "check_database",
    "foreign_key_index",
    "load_database",
    "open_dataset",
]

DEMO_ROWS = {"demo": 20_000, "demo-small": 5_000}
LOCAL_HINT = (
    "without a network, a local folder in RelBench's format (manifest.yaml, db/*.parquet) works, and so does 'demo'"
)


class DatasetError(UserError, RuntimeError):
    """A dataset that cannot be opened. The message says what was tried and what to do."""


def open_dataset(dataset: str | Path, *, cache_dir: Path | None = None) -> RelBenchDataset:
    """Opens a dataset; its tables are not read yet.

    Args:
        dataset: A RelBench name (``rel-f1``), a Hub address (``org/repo`` or ``org/repo/folder``), a local folder,
            or the built-in demo: ``demo``, ``demo-small``, ``demo:ROWS`` or ``demo:ROWS:SEED``. A folder called
            ``demo`` is opened as ``./demo``.
        cache_dir: Where demo databases are kept; ``RELBENCH_PRETRAIN_CACHE`` or ``~/.cache/relbench_pretrain``
            by default.

    Returns:
        RelBench's dataset object, with its tasks.

    Raises:
        DatasetError: If there is no such dataset, the Hub cannot be reached, or files are missing or unreadable.
        DatabaseError: If a table lacks a column that the manifest names.
    """
    if isinstance(dataset, str) and (dataset in DEMO_ROWS or dataset.startswith("demo:")):
        return _open_folder(_demo_folder(dataset, cache_dir))
    if _is_path(dataset):
        return _open_folder(Path(dataset).expanduser().absolute())
    return _open_from_hub(str(dataset))


def load_database(dataset: str | Path | Dataset, *, cache_dir: Path | None = None) -> Database:
    """Loads and checks a whole database, rows after the test time included.

    Foreign keys that dangle become null, as RelBench does it, after :func:`check_database` has warned about them.
    Columns of plain Python dates become datetimes.

    Args:
        dataset: The dataset, or its name or folder as :func:`open_dataset` takes it.
        cache_dir: As in :func:`open_dataset`.

    Returns:
        The database. Cut it with ``upto`` wherever later rows must not be seen.

    Raises:
        DatasetError: If it cannot be opened or read.
        DatabaseError: If :func:`check_database` finds a fault.
    """
    if not isinstance(dataset, Dataset):
        dataset = open_dataset(dataset, cache_dir=cache_dir)
    try:
        # Not get_db(): that drops dangling keys in silence and stops at the first wrong primary key.
        db = dataset.make_db()
    except (OSError, ValueError, KeyError, pa.ArrowException) as error:
        raise DatasetError(f"{dataset} cannot be read: {_reason(error)}") from error
    for table in db.table_dict.values():
        table.df = _with_datetimes(table.df, table.time_col)
    report = check_database(db)
    for (name, column), found in report.foreign_keys.items():
        if found.num_dangling:
            df = db.table_dict[name].df
            index = foreign_key_index(df[column], report.num_rows[found.parent])
            df[column] = df[column].where(index >= 0)
    return db


def _with_datetimes(df: pd.DataFrame, time_col: str | None) -> pd.DataFrame:
    """Turns Parquet's dates into datetimes; in a time column they stay, because RelBench's tasks fail on them."""
    if not df.columns.is_unique:
        return df  # the check says so
    objects = [column for column in df.select_dtypes("object") if column != time_col]
    dates = [column for column in objects if ptypes.infer_dtype(df[column], skipna=True) == "date"]
    return df.astype(dict.fromkeys(dates, "datetime64[s]")) if dates else df


def _is_path(dataset: str | Path) -> bool:
    text = os.fspath(dataset)
    return isinstance(dataset, Path) or text.startswith((".", "~")) or os.path.isabs(text) or os.path.exists(text)


def _open_folder(folder: Path) -> RelBenchDataset:
    if not folder.exists():
        raise DatasetError(f"The folder {folder} does not exist: check the path, which is taken from {Path.cwd()}")
    manifest = folder / "manifest.yaml"
    if not manifest.is_file():
        raise DatasetError(
            f"{manifest} is missing, so {folder} is no RelBench folder: "
            "choose the folder that holds manifest.yaml and db/, or write one"
        )
    try:
        dataset = relbench.load_dataset(folder)
    except (yaml.YAMLError, KeyError, ValueError, TypeError, AttributeError, OSError) as error:
        raise DatasetError(f"{manifest} is no manifest of RelBench 3: {_reason(error)}; correct it") from error
    _check_files(dataset)
    return dataset


def _check_files(dataset: RelBenchDataset) -> None:
    if not dataset.manifest.tables:
        raise DatasetError(f"{dataset.dataset_dir / 'manifest.yaml'} names no table: list them under 'tables'")
    for name, spec in dataset.manifest.tables.items():
        path = dataset.db_dir / f"{name}.parquet"
        if not path.is_file():
            raise DatasetError(
                f"{path} is missing, but the manifest lists table {name!r}: add the file, or remove the entry"
            )
        try:
            columns = pq.read_schema(path).names
        except (pa.ArrowException, OSError) as error:
            raise DatasetError(f"{path} is no readable Parquet file: {_reason(error)}; write it again") from error
        _check_manifest_columns(path, name, spec, columns)


def _check_manifest_columns(path: Path, name: str, spec: TableSpec, columns: list[str]) -> None:
    for column in (spec.pkey, spec.time_col, *spec.fkeys):
        if column is not None and column not in columns:
            raise DatabaseError(
                f"Table {name!r} has no column {column!r}, which the manifest names; {path} holds {columns}: "
                "correct the manifest, or add the column"
            )


def _open_from_hub(name: str) -> RelBenchDataset:
    try:
        dataset = relbench.load_dataset(name)
    except (RepositoryNotFoundError, GatedRepoError, HFValidationError) as error:
        raise DatasetError(
            f"The Hub has no dataset {name!r} that you may read: check the name; {LOCAL_HINT}"
        ) from error
    except FileNotFoundError as error:
        if isinstance(error, LocalEntryNotFoundError):
            raise _unreachable(name, error) from error
        raise DatasetError(
            f"The Hub has no manifest.yaml for {name!r}, so it is no RelBench 3 dataset: check the name; {LOCAL_HINT}"
        ) from error
    except (yaml.YAMLError, KeyError, ValueError, TypeError, AttributeError) as error:
        raise DatasetError(f"The manifest of {name!r} is none of RelBench 3: {_reason(error)}") from error
    except Exception as error:  # the Hub's client raises its HTTP library's own errors
        raise _unreachable(name, error) from error
    _check_files(dataset)
    return dataset


def _unreachable(name: str, error: Exception) -> DatasetError:
    return DatasetError(
        f"No folder {name!r} exists, and the Hub cannot be reached to look for a dataset of that name "
        f"({_reason(error)}). Check the network and the name; {LOCAL_HINT}"
    )


def _reason(error: Exception) -> str:
    return f"{type(error).__name__}: {(str(error).strip().splitlines() or [''])[0]}"


def _demo_folder(dataset: str, cache_dir: Path | None) -> Path:
    """Returns the folder of a demo database, which is written at its first use."""
    num_rows, seed = _parse_demo(dataset)
    cache = Path(cache_dir or cache_root()).expanduser().absolute()
    folder = cache / f"demo-{num_rows}-{seed}-v{DEMO_VERSION}"
    if (folder / "manifest.yaml").is_file():
        return folder
    try:
        with atomic_folder(folder) as part:
            write_demo_database(part, num_rows, seed)
    except OSError as error:
        raise DatasetError(
            f"{cache} cannot be written to ({_reason(error)}): set {CACHE_VARIABLE} to a folder that can"
        ) from error
    return folder


def _parse_demo(dataset: str) -> tuple[int, int]:
    if dataset in DEMO_ROWS:
        return DEMO_ROWS[dataset], 0
    match = re.fullmatch(r"demo:([0-9][0-9_]*)(?::([0-9]+))?", dataset)
    if match is None or int(match[1]) < MIN_ROWS:
        raise DatasetError(
            f"{dataset!r} is no demo database: write demo, demo-small, demo:ROWS or demo:ROWS:SEED "
            f"with at least {MIN_ROWS} rows, e.g. demo:20000:7"
        )
    return int(match[1]), int(match[2] or 0)
