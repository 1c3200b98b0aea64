"""The demo shop as tables: every column type there is, with gaps in each."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from relbench.manifest import TableSpec

from relbench_pretrain.datasets.shop import words as text
from relbench_pretrain.datasets.shop.events import Columns
from relbench_pretrain.datasets.shop.traits import START, Shop
from relbench_pretrain.unix_time import SECONDS_PER_DAY

TABLES = {
    "warehouses": TableSpec(pkey="warehouse_id"),
    "categories": TableSpec(pkey="category_id", fkeys={"parent_id": "categories"}),
    "products": TableSpec(pkey="product_id", time_col="launched_at", fkeys={"category_id": "categories"}),
    "stock": TableSpec(fkeys={"product_id": "products", "warehouse_id": "warehouses"}),
    "customers": TableSpec(pkey="customer_id", time_col="signed_up_at", fkeys={"referred_by": "customers"}),
    "orders": TableSpec(
        pkey="order_id", time_col="ordered_at", fkeys={"customer_id": "customers", "warehouse_id": "warehouses"}
    ),
    "order_items": TableSpec(time_col="ordered_at", fkeys={"order_id": "orders", "product_id": "products"}),
    "shipments": TableSpec(
        pkey="shipment_id",
        time_col="delivered_at",
        fkeys={"order_id": "orders", "from_warehouse_id": "warehouses", "via_warehouse_id": "warehouses"},
    ),
    "visits": TableSpec(time_col="visited_at", fkeys={"customer_id": "customers", "product_id": "products"}),
    "reviews": TableSpec(
        pkey="review_id",
        time_col="reviewed_at",
        fkeys={"customer_id": "customers", "product_id": "products", "reply_to": "reviews"},
    ),
}
"""Keys and times of all tables, as RelBench's manifest states them."""


def shop_tables(shop: Shop, events: dict[str, Columns], rng: np.random.Generator) -> dict[str, pa.Table]:
    """Writes the shop and its events down as tables.

    Args:
        shop: The traits of all entities.
        events: The events by table, in order of time.
        rng: For what neither decides: names, texts, gaps.

    Returns:
        The tables by name, in the order of :data:`TABLES`. Times come in nanoseconds, microseconds and
        milliseconds; foreign keys are nullable integers.
    """
    tables = {
        "warehouses": _warehouses(shop, rng),
        "categories": _categories(),
        "products": _products(shop, rng),
        "stock": _stock(shop, rng),
        "customers": _customers(shop, rng),
        "orders": _orders(events["orders"], rng),
        "order_items": _order_items(shop, events["order_items"], rng),
        "shipments": _shipments(shop, events["shipments"], rng),
        "visits": _visits(events["visits"], rng),
        "reviews": _reviews(shop, events["reviews"], rng),
    }
    return {name: _with_nullable_integers(table, TABLES[name]) for name, table in tables.items()}


def _with_nullable_integers(table: pa.Table, spec: TableSpec) -> pa.Table:
    """Lets pandas read keys and ratings with gaps as Int64, as it does from RelBench's own files."""
    nullable = [name for name in table.column_names if name in spec.fkeys or name == "rating"]
    empty = table.slice(0, 0).to_pandas().astype(dict.fromkeys(nullable, "Int64"))
    return table.replace_schema_metadata(pa.Schema.from_pandas(empty, preserve_index=False).metadata)


def _numbers(values: np.ndarray, missing: float = 0.0, rng: np.random.Generator | None = None) -> pa.Array:
    return pa.array(values, mask=rng.random(len(values)) < missing if rng else None)


def _key(values: np.ndarray) -> pa.Array:
    """A foreign key, null where it is negative."""
    return pa.array(values.astype(np.int64), mask=values < 0)


def _times(seconds: np.ndarray, unit: str, mask: np.ndarray | None = None) -> pa.Array:
    return pa.array((START + seconds.astype("timedelta64[s]")).astype(f"datetime64[{unit}]"), mask=mask)


def _warehouses(shop: Shop, rng: np.random.Generator) -> pa.Table:
    count = shop.num_warehouses
    return pa.table(
        {
            "warehouse_id": np.arange(count),
            "city": text.pick(text.CITIES, np.arange(count) % len(text.CITIES)),
            "capacity": _numbers(rng.integers(20, 400, count) * 100.0, 0.2, rng),
        }
    )


def _categories() -> pa.Table:
    names = text.DEPARTMENTS + [name for group in text.CATEGORIES for name in group]
    parents = [-1] * len(text.DEPARTMENTS)
    parents += [department for department, group in enumerate(text.CATEGORIES) for _ in group]
    return pa.table({"category_id": np.arange(len(names)), "parent_id": _key(np.array(parents)), "name": names})


def _products(shop: Shop, rng: np.random.Generator) -> pa.Table:
    count, department = shop.num_products, shop.department
    sizes = np.array([len(group) for group in text.CATEGORIES])
    first = len(sizes) + np.concatenate([[0], np.cumsum(sizes)[:-1]])
    category = first[department] + rng.integers(0, sizes[department])
    return pa.table(
        {
            "product_id": np.arange(count),
            "category_id": _key(np.where(rng.random(count) < 0.03, -1, category)),
            "launched_at": _times(shop.launched, "ns"),
            "title": text.product_titles(category - len(sizes), rng),
            "brand": text.choose(text.BRANDS, count, rng, missing=0.05),
            "price": shop.price,
            "weight_kg": _numbers(rng.lognormal(0, 1, count).round(2), 0.1, rng),
            "tags": text.product_tags(department, rng, missing=0.1),
        }
    )


def _stock(shop: Shop, rng: np.random.Generator) -> pa.Table:
    """Which warehouse keeps which product: nothing but two keys."""
    copies = 1 + rng.poisson(0.5, shop.num_products)
    product = np.repeat(np.arange(shop.num_products), copies)
    warehouse = rng.integers(0, shop.num_warehouses, len(product))
    return pa.table({"product_id": product, "warehouse_id": warehouse})


def _customers(shop: Shop, rng: np.random.Generator) -> pa.Table:
    count = shop.num_customers
    birth_day = rng.normal(-40 * 365, 12 * 365, count).clip(-90 * 365, -18 * 365).astype(np.int64)
    keen = 1 / (1 + np.exp(-np.log(shop.activity)))  # the one weak hint at the pace of a customer
    channel = np.where(shop.referred_by >= 0, len(text.CHANNELS) - 1, rng.integers(0, 4, count))
    return pa.table(
        {
            "customer_id": np.arange(count),
            "referred_by": _key(shop.referred_by),
            "signed_up_at": _times(shop.signed_up, "us"),
            "birth_date": _times(birth_day * SECONDS_PER_DAY, "ms", mask=rng.random(count) < 0.15),
            "country": text.choose(text.COUNTRIES, count, rng, missing=0.04, skew=1.0),
            "channel": text.pick(text.CHANNELS, channel),
            "newsletter": rng.random(count) < keen,
        }
    )


def _orders(orders: Columns, rng: np.random.Generator) -> pa.Table:
    count = len(orders["time"])
    promised = orders["time"] + orders["promised_days"] * SECONDS_PER_DAY
    return pa.table(
        {
            "order_id": np.arange(count),
            "customer_id": _key(orders["customer"]),
            "warehouse_id": _key(orders["warehouse"]),
            "ordered_at": _times(orders["time"], "us"),
            "promised_at": _times(promised, "ms", mask=orders["warehouse"] < 0),
            "payment": text.choose(text.PAYMENTS, count, rng, missing=0.03, skew=0.7),
            "discount": _numbers(orders["discount"], 0.1, rng),
            "gift_note": text.gift_notes(count, rng, missing=0.85),
        }
    )


def _order_items(shop: Shop, items: Columns, rng: np.random.Generator) -> pa.Table:
    price = shop.price[items["product"]] * rng.uniform(0.9, 1.1, len(items["time"]))
    return pa.table(
        {
            "order_id": _key(items["order"]),
            "product_id": _key(items["product"]),
            "ordered_at": _times(items["time"], "us"),
            "quantity": items["quantity"],
            "unit_price": price.round(2),
        }
    )


def _shipments(shop: Shop, shipments: Columns, rng: np.random.Generator) -> pa.Table:
    count = len(shipments["time"])
    via = (shipments["warehouse"] + rng.integers(1, shop.num_warehouses, count)) % shop.num_warehouses
    return pa.table(
        {
            "shipment_id": np.arange(count),
            "order_id": _key(shipments["order"]),
            "from_warehouse_id": _key(shipments["warehouse"]),
            "via_warehouse_id": _key(np.where(rng.random(count) < 0.6, -1, via)),
            "delivered_at": _times(shipments["time"], "us"),
            "days_late": shipments["days_late"],
        }
    )


def _visits(visits: Columns, rng: np.random.Generator) -> pa.Table:
    count = len(visits["time"])
    anonymous = rng.random(count) < 0.06
    elsewhere = rng.integers(1, len(text.SOURCES), count)
    return pa.table(
        {
            "customer_id": _key(np.where(anonymous, -1, visits["customer"])),
            "product_id": _key(visits["product"]),
            "visited_at": _times(visits["time"], "ms"),
            "seconds": _numbers(visits["seconds"], 0.05, rng),
            "device": text.choose(text.DEVICES, count, rng, missing=0.02),
            "source": text.pick(text.SOURCES, np.where(visits["from_newsletter"], 0, elsewhere)),
        }
    )


def _reviews(shop: Shop, reviews: Columns, rng: np.random.Generator) -> pa.Table:
    count = len(reviews["time"])
    words = text.review_texts(reviews["rating"], shop.department[reviews["product"]], rng)
    return pa.table(
        {
            "review_id": np.arange(count),
            "customer_id": _key(reviews["customer"]),
            "product_id": _key(reviews["product"]),
            "reply_to": _key(reviews["reply_to"]),
            "reviewed_at": _times(reviews["time"], "us"),
            "rating": _numbers(reviews["rating"], 0.03, rng),
            "text": pc.if_else(pa.array(rng.random(count) < 0.15), pa.scalar(None, pa.string()), words),
        }
    )
