"""The hidden traits behind the demo database: who the customers and the products are.

Nothing in this module is written to disk as it is. The events are drawn from these traits, and
the tables show them only in part, so that a row alone says little about its own future.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from relbench_pretrain.unix_time import SECONDS_PER_DAY

START = np.datetime64("2021-01-04", "s")
NUM_WEEKS = 156
SECONDS_PER_WEEK = 7 * SECONDS_PER_DAY
END_SECOND = NUM_WEEKS * SECONDS_PER_WEEK

# One week is left over after the last window: RelBench wants a row after the end of the test window.
WINDOW_DAYS = 84
VAL_TIMESTAMP = START + np.timedelta64(130 * SECONDS_PER_WEEK, "s")
TEST_TIMESTAMP = START + np.timedelta64(143 * SECONDS_PER_WEEK, "s")

# Shares of the requested number of rows. With what follows from the orders (their items, shipments and reviews)
# they add up to one.
CUSTOMER_SHARE, PRODUCT_SHARE, STOCK_SHARE = 0.02, 0.01, 0.015
ORDER_SHARE, VISIT_SHARE = 0.155, 0.39

DEPARTMENT_SHARES = np.array([0.26, 0.21, 0.18, 0.14, 0.12, 0.09])
NUM_DEPARTMENTS = len(DEPARTMENT_SHARES)


@dataclass(frozen=True)
class Shop:
    """Traits of all entities, each an array with one value per row of the entity's table.

    Times are seconds since ``START``. Customers and products are sorted by the time at which they
    appear, which makes their positions their primary keys.

    Attributes:
        signed_up: When a customer joined, ``(num_customers,)``.
        activity: A customer's constant pace, heavy-tailed, mean about 1, ``(num_customers,)``.
        home: The department to which a customer's taste returns, ``(num_customers,)``.
        referred_by: The customer who brought this one, or −1, ``(num_customers,)``.
        launched: When a product came on sale, ``(num_products,)``.
        department: A product's department, ``(num_products,)``.
        quality: The quality that reviewers find in a product, standard normal, ``(num_products,)``.
        popularity: A product's constant share of attention, heavy-tailed, ``(num_products,)``.
        price: In the shop's currency, ``(num_products,)``.
        num_warehouses: Between 4 and 40.
        num_orders: Orders to expect over the whole span.
        num_visits: Visits to expect over the whole span.
    """

    signed_up: np.ndarray
    activity: np.ndarray
    home: np.ndarray
    referred_by: np.ndarray
    launched: np.ndarray
    department: np.ndarray
    quality: np.ndarray
    popularity: np.ndarray
    price: np.ndarray
    num_warehouses: int
    num_orders: float
    num_visits: float

    @property
    def num_customers(self) -> int:
        return len(self.signed_up)

    @property
    def num_products(self) -> int:
        return len(self.launched)


def draw_shop(num_rows: int, rng: np.random.Generator) -> Shop:
    """Draws the entities of a shop whose database will have about ``num_rows`` rows.

    Args:
        num_rows: Rows over all tables.
        rng: Where the randomness comes from.

    Returns:
        The traits of all entities.
    """
    return Shop(
        **_draw_customers(max(20, round(CUSTOMER_SHARE * num_rows)), rng),
        **_draw_products(max(40, round(PRODUCT_SHARE * num_rows)), rng),
        num_warehouses=int(np.clip(round(num_rows**0.2), 4, 40)),
        num_orders=ORDER_SHARE * num_rows,
        num_visits=VISIT_SHARE * num_rows,
    )


def _draw_customers(count: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
    # The shop starts with customers: many join in the first weeks.
    early = rng.random(count) < 0.4
    week = np.where(early, rng.uniform(0, 9, count), rng.uniform(0, 150, count))
    home = rng.choice(NUM_DEPARTMENTS, count, p=DEPARTMENT_SHARES)
    # A newcomer is brought by someone earlier, mostly by the early ones, and shares their taste.
    referrer = np.floor(np.arange(count) * rng.random(count) ** 2).astype(np.int64)
    referred = (rng.random(count) < 0.35) & (np.arange(count) > 0)
    alike = referred & (rng.random(count) < 0.6)
    return {
        "signed_up": np.sort(week * SECONDS_PER_WEEK).astype(np.int64),
        "activity": rng.pareto(4.0, count) + 0.6,
        "home": np.where(alike, home[referrer], home),
        "referred_by": np.where(referred, referrer, -1),
    }


def _draw_products(count: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
    week = np.where(rng.random(count) < 0.6, rng.random(count), rng.uniform(0, 140, count))
    department = rng.choice(NUM_DEPARTMENTS, count, p=DEPARTMENT_SHARES)
    # The first product of every department is there from the start, so that none is ever empty.
    week[:NUM_DEPARTMENTS] = 0.0
    department[:NUM_DEPARTMENTS] = np.arange(NUM_DEPARTMENTS)
    return {
        "launched": np.sort(week * SECONDS_PER_WEEK).astype(np.int64),
        "department": department,
        "quality": rng.normal(size=count),
        "popularity": rng.pareto(1.8, count) + 0.2,
        "price": np.exp(rng.normal(3.0 + 0.25 * department, 0.6)).round(2),
    }
