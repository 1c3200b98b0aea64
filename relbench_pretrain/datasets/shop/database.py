"""A seeded demo database of any size: a shop, written as a RelBench folder."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from relbench.manifest import DatasetManifest

from relbench_pretrain.datasets.shop.events import ShopLife
from relbench_pretrain.datasets.shop.tables import TABLES, shop_tables
from relbench_pretrain.datasets.shop.tasks import write_tasks
from relbench_pretrain.datasets.shop.traits import TEST_TIMESTAMP, VAL_TIMESTAMP, draw_shop

MIN_ROWS = 1_000
DEMO_VERSION = 1
"""Raised whenever the same size and seed give other values; cached databases carry it in their name."""

DESCRIPTION = """A made-up shop over three years: customers, products, orders, shipments, visits and reviews.
Customers gain and lose interest over time. That shows in their recent rows and in those of their
products and shipments, hardly in their own row."""


def write_demo_database(folder: str | Path, num_rows: int = 20_000, seed: int = 0) -> Path:
    """Writes a database of a shop with five tasks, the same for the same size and seed.

    Ten tables: with and without primary keys, times and features; two foreign keys to one parent, keys
    that refer to their own table, keys with gaps; numbers, categories, lists of categories, texts and
    further times, each with missing values; times in three units. The tasks are ``customer-churn``
    (binary), ``customer-department`` (six classes), ``product-sales`` (regression), ``customer-products``
    (recommendation) and ``review-rating`` (autocomplete regression).

    Args:
        folder: A folder that does not exist yet, or is empty.
        num_rows: Rows over all tables, met to within a few per cent.
        seed: The seed of everything.

    Returns:
        The folder; ``relbench.load_dataset`` opens it.

    Raises:
        ValueError: If ``num_rows`` is too small for the tasks, or ``seed`` is negative.
        FileExistsError: If the folder holds anything.
    """
    if num_rows < MIN_ROWS:
        raise ValueError(f"num_rows is {num_rows}, but the tasks need at least {MIN_ROWS} rows: ask for more")
    if seed < 0:
        raise ValueError(f"seed is {seed}: choose a number that is not negative")
    folder = Path(folder)
    if folder.exists() and any(folder.iterdir()):
        raise FileExistsError(f"{folder} is not empty: remove it, or write the demo database elsewhere")
    _write_tables(folder / "db", num_rows, seed)
    manifest = DatasetManifest(
        name=f"demo-{num_rows}-{seed}",
        val_timestamp=str(VAL_TIMESTAMP.astype("datetime64[D]")),
        test_timestamp=str(TEST_TIMESTAMP.astype("datetime64[D]")),
        description=DESCRIPTION,
        tables=TABLES,
    )
    write_tasks(folder, manifest)
    manifest.save(folder / "manifest.yaml")  # last: a folder with a manifest is complete
    return folder


def _write_tables(folder: Path, num_rows: int, seed: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    # One stream per stage: a change in one of them leaves the draws of the others as they are.
    shop_rng, event_rng, table_rng = (np.random.default_rng(s) for s in np.random.SeedSequence(seed).spawn(3))
    shop = draw_shop(num_rows, shop_rng)
    tables = shop_tables(shop, ShopLife(shop, event_rng).run(), table_rng)
    for name, table in tables.items():
        pq.write_table(table, folder / f"{name}.parquet")
