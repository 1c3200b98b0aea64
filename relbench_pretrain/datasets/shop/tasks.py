"""The tasks of the demo shop; their labels follow from the database by the SQL given here."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
from relbench.base import Database, Dataset, Table
from relbench.load import build_task
from relbench.manifest import KIND_AUTOCOMPLETE, KIND_FORECAST, DatasetManifest, TaskManifest

from relbench_pretrain.datasets.shop.traits import WINDOW_DAYS

_WINDOW = "> ts.timestamp AND {column} <= ts.timestamp + INTERVAL '{{timedelta}}'"


def _within(column: str) -> str:
    return f"{column} {_WINDOW.format(column=column)}"


_CHURN = f"""
WITH seen AS (
  SELECT customer_id, ordered_at AS time FROM orders
  UNION ALL SELECT customer_id, visited_at FROM visits WHERE customer_id IS NOT NULL
), active AS (
  SELECT DISTINCT ts.timestamp, seen.customer_id FROM timestamps ts JOIN seen
    ON seen.time <= ts.timestamp AND seen.time > ts.timestamp - 2 * INTERVAL '{{timedelta}}'
), buyers AS (
  SELECT DISTINCT ts.timestamp, o.customer_id FROM timestamps ts JOIN orders o ON {_within("o.ordered_at")}
)
SELECT a.timestamp, CAST(a.customer_id AS BIGINT) AS customer_id,
  CAST(b.customer_id IS NULL AS BIGINT) AS churn
FROM active a LEFT JOIN buyers b ON b.timestamp = a.timestamp AND b.customer_id = a.customer_id
"""

# Amounts are summed as decimals: sums of floats depend on their order, and ties would be broken by chance.
_DEPARTMENT = f"""
WITH spent AS (
  SELECT ts.timestamp, o.customer_id, coalesce(c.parent_id, c.category_id) AS department,
    sum(CAST(i.quantity * i.unit_price AS DECIMAL(12, 2))) AS amount
  FROM timestamps ts JOIN orders o ON {_within("o.ordered_at")}
  JOIN customers u ON u.customer_id = o.customer_id AND u.signed_up_at <= ts.timestamp
  JOIN order_items i ON i.order_id = o.order_id
  JOIN products p ON p.product_id = i.product_id
  JOIN categories c ON c.category_id = p.category_id
  GROUP BY ALL
)
SELECT timestamp, CAST(customer_id AS BIGINT) AS customer_id, CAST(department AS BIGINT) AS department
FROM spent
QUALIFY row_number() OVER (PARTITION BY timestamp, customer_id ORDER BY amount DESC, department) = 1
"""

_SALES = f"""
WITH sold AS (
  SELECT ts.timestamp, i.product_id, sum(i.quantity) AS units
  FROM timestamps ts JOIN order_items i ON {_within("i.ordered_at")}
  GROUP BY ALL
)
SELECT ts.timestamp, p.product_id, CAST(coalesce(s.units, 0) AS DOUBLE) AS units
FROM timestamps ts JOIN products p ON p.launched_at <= ts.timestamp
LEFT JOIN sold s ON s.timestamp = ts.timestamp AND s.product_id = p.product_id
"""

_BASKET = f"""
SELECT ts.timestamp, CAST(o.customer_id AS BIGINT) AS customer_id,
  list(DISTINCT CAST(i.product_id AS BIGINT)) AS product_id
FROM timestamps ts JOIN orders o ON {_within("o.ordered_at")}
JOIN customers u ON u.customer_id = o.customer_id AND u.signed_up_at <= ts.timestamp
JOIN order_items i ON i.order_id = o.order_id
JOIN products p ON p.product_id = i.product_id AND p.launched_at <= ts.timestamp
GROUP BY ts.timestamp, o.customer_id
"""


def _forecast(name: str, task_type: str, description: str, sql: str, **columns) -> TaskManifest:
    return TaskManifest(
        name=name,
        kind=KIND_FORECAST,
        task_type=task_type,
        description=description,
        time_col="timestamp",
        timedelta=f"{WINDOW_DAYS} days",
        sql=sql,
        **columns,
    )


_CUSTOMER = {"entity_table": "customers", "entity_col": "customer_id"}

TASKS = (
    _forecast(
        "customer-churn",
        "binary_classification",
        f"Whether a customer seen in the last {2 * WINDOW_DAYS} days orders nothing in the next.",
        _CHURN,
        target_col="churn",
        **_CUSTOMER,
    ),
    _forecast(
        "customer-department",
        "multiclass_classification",
        f"The department in which a customer spends most in the next {WINDOW_DAYS} days.",
        _DEPARTMENT,
        target_col="department",
        **_CUSTOMER,
    ),
    _forecast(
        "product-sales",
        "regression",
        f"Units of a product sold in the next {WINDOW_DAYS} days.",
        _SALES,
        entity_table="products",
        entity_col="product_id",
        target_col="units",
    ),
    _forecast(
        "customer-products",
        "recommendation",
        f"Products that a customer buys in the next {WINDOW_DAYS} days.",
        _BASKET,
        src_entity_table="customers",
        src_entity_col="customer_id",
        dst_entity_table="products",
        dst_entity_col="product_id",
        target_col="product_id",
        eval_k=10,
    ),
    TaskManifest(
        name="review-rating",
        kind=KIND_AUTOCOMPLETE,
        task_type="regression",
        description="The rating that a review gives, without its text.",
        entity_table="reviews",
        target_col="rating",
        remove_columns=[["reviews", "text"]],
    ),
)
"""Every task of the demo database. An autocomplete task needs no label files."""


class _LabelSource(Dataset):
    """The columns of a database folder that labels need, so that texts never enter memory."""

    def __init__(self, folder: Path, manifest: DatasetManifest) -> None:
        self.folder, self.manifest = folder, manifest
        self.val_timestamp = pd.Timestamp(manifest.val_timestamp)
        self.test_timestamp = pd.Timestamp(manifest.test_timestamp)
        self.db = Database({name: self._read(name) for name in manifest.tables})

    def _read(self, name: str) -> Table:
        spec = self.manifest.tables[name]
        amounts = ["quantity", "unit_price"] if name == "order_items" else []
        columns = [column for column in (spec.pkey, spec.time_col) if column]
        df = pd.read_parquet(self.folder / "db" / f"{name}.parquet", columns=[*columns, *spec.fkeys, *amounts])
        return Table(df, dict(spec.fkeys), spec.pkey, spec.time_col)

    def make_db(self) -> Database:
        return Database(dict(self.db.table_dict))


def write_tasks(folder: Path, manifest: DatasetManifest) -> None:
    """Writes all tasks, and the labels of the forecast tasks, into a database folder.

    Args:
        folder: The database folder, with its tables in place.
        manifest: The manifest of the database.
    """
    source = _LabelSource(folder, manifest)
    for task_manifest in TASKS:
        task_folder = folder / "tasks" / task_manifest.name
        task_manifest.save(task_folder / "manifest.yaml")
        if task_manifest.kind == KIND_AUTOCOMPLETE:
            continue
        task = build_task(source, task_manifest, regenerate=True)
        for split in ("train", "val", "test"):
            table = task.get_table(split, mask_input_cols=False, db=source.db)
            table.df.reset_index(drop=True).to_parquet(task_folder / f"{split}.parquet")
