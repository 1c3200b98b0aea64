"""The life of the demo shop, week by week: visits, orders, deliveries and reviews.

Every customer is engaged or not at any moment, and drifts around that. The state decides how often
a customer comes and buys, and it shows in what the customer does: in the length and the source of
visits, in discounts, in ratings. It changes by chance and by experience: late deliveries and poor
products drive people away. So the next months can be read from recent rows around a customer, less
well from all rows, and hardly from the customer's own row.
"""

from __future__ import annotations

import numpy as np

from relbench_pretrain.datasets.shop.traits import (
    DEPARTMENT_SHARES,
    END_SECOND,
    NUM_DEPARTMENTS,
    NUM_WEEKS,
    SECONDS_PER_WEEK,
    Shop,
)
from relbench_pretrain.unix_time import SECONDS_PER_DAY

Columns = dict[str, np.ndarray]

LEAVE_RATE, RETURN_RATE = 1 / 130, 1 / 110  # chance per week to lose and to regain interest
ORDER_PULL, VISIT_PULL = 2.3, 0.5  # how strongly the mood sets the pace
NEED_WEEKS, MAX_NEED = 6, 1.5  # the need for an order grows from 0 after the last one, up to a limit
TASTE_RATE = 1 / 40  # chance per week to turn to another department
LOYALTY = 0.75  # share of visits and items within the department of the moment
NUM_REMEMBERED = 4  # products that a customer has in mind, half of all items are among them
EXTRA_ITEMS = 0.4  # items per order beyond the first
REVIEW_RATE = 0.23  # reviews per item


class ShopLife:
    """Draws all events of a shop.

    Args:
        shop: The traits of customers, products and warehouses.
        rng: Where the randomness comes from.
    """

    def __init__(self, shop: Shop, rng: np.random.Generator) -> None:
        self.shop = shop
        self.rng = rng
        customers, products = shop.num_customers, shop.num_products
        self.engaged = rng.random(customers) < 0.6
        self.wobble = 0.4 * rng.normal(size=customers)
        self.mood = np.zeros(customers)  # from the first week on: engaged or not, plus wobble
        self.experience = np.zeros(customers)
        self.upcoming = np.zeros(customers)
        self.taste = shop.home.copy()
        self.remembered = np.full((customers, NUM_REMEMBERED), -1)
        self.trend = 0.5 * rng.normal(size=products)
        self.demand = np.zeros(products)  # from the first week on: cumulative, in order of the shelf
        self.slowness = rng.normal(size=shop.num_warehouses)
        # Products in order of department: one cumulative sum then serves all departments.
        self.shelf = np.argsort(shop.department, kind="stable")
        self.shelf_ends = np.cumsum(np.bincount(shop.department, minlength=NUM_DEPARTMENTS))
        self.last_order = np.full(customers, -NEED_WEEKS)
        self.num_orders = 0

    def run(self) -> dict[str, Columns]:
        """Lives through all weeks.

        Returns:
            For ``visits``, ``orders``, ``order_items``, ``shipments`` and ``reviews`` the columns
            that the state of the shop decides, in order of time. Times are seconds since the start.
        """
        log: dict[str, list[Columns]] = {}
        pace = self._weekly_pace()
        for week in range(NUM_WEEKS):
            self._change_minds()
            self._restock(week)
            events = self._visit(week, self.shop.num_visits * pace[week])
            events |= self._order(week, self.shop.num_orders * pace[week])
            for name, columns in events.items():
                log.setdefault(name, []).append(columns)
        tables = {name: _concatenate(parts) for name, parts in log.items()}
        tables["shipments"] = _in_order_of_time(tables["shipments"])
        tables["reviews"] = _with_replies(_in_order_of_time(tables["reviews"]), self.rng)
        return tables

    def _weekly_pace(self) -> np.ndarray:
        """Each week's share of all events: the customers there are, and the season."""
        joined = np.bincount(self.shop.signed_up // SECONDS_PER_WEEK, self.shop.activity, minlength=NUM_WEEKS)
        season = 1 + 0.1 * np.sin(2 * np.pi * np.arange(NUM_WEEKS) / 52)
        pace = np.cumsum(joined) * season
        return pace / pace.sum()

    def _change_minds(self) -> None:
        rng, count = self.rng, self.shop.num_customers
        self.experience = np.clip(0.9 * self.experience + self.upcoming, -3, 3)
        rate = np.where(self.engaged, LEAVE_RATE * np.exp(-self.experience), RETURN_RATE * np.exp(self.experience))
        self.engaged ^= rng.random(count) < rate
        self.wobble = 0.82 * self.wobble + 0.23 * rng.normal(size=count)
        self.mood = np.where(self.engaged, 1.0, -1.0) + self.wobble
        elsewhere = rng.choice(NUM_DEPARTMENTS, count, p=DEPARTMENT_SHARES)
        turned = np.where(rng.random(count) < 0.4, self.shop.home, elsewhere)
        self.taste = np.where(rng.random(count) < TASTE_RATE, turned, self.taste)

    def _restock(self, week: int) -> None:
        rng, shop = self.rng, self.shop
        self.trend = 0.96 * self.trend + 0.14 * rng.normal(size=shop.num_products)
        self.slowness = 0.95 * self.slowness + 0.31 * rng.normal(size=shop.num_warehouses)
        age = week * SECONDS_PER_WEEK - shop.launched
        # Word of mouth: quality shows in sales only after some months.
        known = np.clip(age / (26 * SECONDS_PER_WEEK), 0, 1)
        weight = shop.popularity * np.exp(self.trend + 0.5 * known * shop.quality) * (age >= 0)
        self.demand = np.cumsum(weight[self.shelf])

    def _rates(self, week: int, total: float, pace: np.ndarray, pull: float) -> np.ndarray:
        """Expected events per customer this week, ``total`` in sum."""
        joined = self.shop.signed_up < week * SECONDS_PER_WEEK
        weight = joined * pace * np.exp(pull * self.mood)
        return weight * (total / max(weight.sum(), 1.0))

    def _draw_events(self, week: int, rates: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Who comes and when, in order of time, both ``(num_events,)``."""
        who = np.repeat(np.arange(len(rates)), self.rng.poisson(rates))
        when = week * SECONDS_PER_WEEK + self.rng.integers(0, SECONDS_PER_WEEK, len(who))
        order = np.argsort(when, kind="stable")
        return who[order], when[order]

    def _choose(self, who: np.ndarray) -> np.ndarray:
        """Products in demand, mostly of the department that each customer likes just now."""
        rng = self.rng
        anywhere = rng.choice(NUM_DEPARTMENTS, len(who), p=DEPARTMENT_SHARES)
        department = np.where(rng.random(len(who)) < LOYALTY, self.taste[who], anywhere)
        edges = np.concatenate([[0.0], self.demand[self.shelf_ends - 1]])
        low, high = edges[department], edges[department + 1]
        place = np.searchsorted(self.demand, low + (high - low) * rng.random(len(who)), "right")
        return self.shelf[np.minimum(place, self.shelf_ends[department] - 1)]

    def _remember(self, who: np.ndarray, product: np.ndarray) -> None:
        self.remembered[who, self.rng.integers(0, NUM_REMEMBERED, len(who))] = product

    def _visit(self, week: int, total: float) -> dict[str, Columns]:
        rng = self.rng
        who, when = self._draw_events(week, self._rates(week, total, self.shop.activity**0.7, VISIT_PULL))
        product = self._choose(who)
        self._remember(who, product)
        mood = self.mood[who]
        visits = {
            "customer": who,
            "product": product,
            "time": when,
            "seconds": np.exp(4 + 0.8 * mood + 0.5 * rng.normal(size=len(who))).round(1),
            "from_newsletter": rng.random(len(who)) < 1 / (1 + np.exp(-mood)),
        }
        return {"visits": visits}

    def _order(self, week: int, total: float) -> dict[str, Columns]:
        rng = self.rng
        due = np.minimum((week - self.last_order) / NEED_WEEKS, MAX_NEED)
        who, when = self._draw_events(week, self._rates(week, total, self.shop.activity * due, ORDER_PULL))
        self.last_order[who] = week
        number = self.num_orders + np.arange(len(who))
        self.num_orders += len(who)
        delivery = self._deliver(number, when)
        discount = 0.2 - 0.07 * self.mood[who] + 0.07 * rng.normal(size=len(who))
        orders = {
            "customer": who,
            "time": when,
            "warehouse": delivery.pop("order_warehouse"),
            "promised_days": delivery.pop("promised_days"),
            "discount": np.clip(discount, 0, 0.6).round(2),
        }
        late = np.zeros(len(who))
        late[delivery["order"] - self.num_orders + len(who)] = delivery["days_late"] > 1
        self.upcoming = -0.6 * np.bincount(who, late, minlength=len(self.mood))  # type: ignore[assignment]
        items, reviews = self._fill_baskets(who, when, number)
        return {
            "orders": orders,
            "order_items": items,
            "shipments": _until_the_end(delivery),
            "reviews": _until_the_end(reviews),
        }

    def _deliver(self, number: np.ndarray, when: np.ndarray) -> Columns:
        """The shipments of orders; an order without a warehouse is picked up and has none."""
        rng, count = self.rng, len(number)
        warehouse = rng.integers(0, self.shop.num_warehouses, count)
        promised = rng.choice([2, 3, 5], count)
        noise = rng.normal(size=count)
        days = promised * np.exp(0.35 * self.slowness[warehouse] + 0.3 * noise - 0.1)
        picked_up = rng.random(count) < 0.1
        sent = ~picked_up
        return {
            "order_warehouse": np.where(picked_up, -1, warehouse),
            "promised_days": promised,
            "order": number[sent],
            "warehouse": warehouse[sent],
            "time": when[sent] + (days[sent] * SECONDS_PER_DAY).astype(np.int64),
            "days_late": (days - promised)[sent].round(1),
        }

    def _fill_baskets(self, who: np.ndarray, when: np.ndarray, number: np.ndarray) -> tuple[Columns, Columns]:
        rng = self.rng
        size = 1 + rng.poisson(EXTRA_ITEMS, len(who))
        buyer, time = np.repeat(who, size), np.repeat(when, size)
        fresh = self._choose(buyer)
        known = self.remembered[buyer, rng.integers(0, NUM_REMEMBERED, len(buyer))]
        product = np.where((known >= 0) & (rng.random(len(buyer)) < 0.5), known, fresh)
        self._remember(buyer, product)
        quality = self.shop.quality[product]
        self.upcoming += 0.4 * np.bincount(buyer, quality, minlength=len(self.mood))
        items = {
            "order": np.repeat(number, size),
            "product": product,
            "time": time,
            "quantity": 1 + rng.poisson(0.3, len(buyer)),
        }
        verdict = 2.4 + 0.7 * quality + 0.8 * self.mood[buyer] + 0.6 * rng.normal(size=len(buyer))
        delay = rng.gamma(2.0, 5.0, len(buyer)) * SECONDS_PER_DAY
        reviews = {
            "customer": buyer,
            "product": product,
            "time": time + delay.astype(np.int64),
            "rating": np.clip(np.round(verdict), 1, 5).astype(np.int64),
        }
        kept = rng.random(len(buyer)) < REVIEW_RATE
        return items, {name: values[kept] for name, values in reviews.items()}


def _concatenate(parts: list[Columns]) -> Columns:
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _until_the_end(columns: Columns) -> Columns:
    """Leaves out what would happen after the last week: nobody could have recorded it."""
    kept = columns["time"] < END_SECOND
    return {name: values[kept] for name, values in columns.items()}


def _in_order_of_time(columns: Columns) -> Columns:
    order = np.argsort(columns["time"], kind="stable")
    return {name: values[order] for name, values in columns.items()}


def _with_replies(reviews: Columns, rng: np.random.Generator) -> Columns:
    """Lets every fourth review answer the one before it about the same product."""
    product = reviews["product"]
    by_product = np.argsort(product, kind="stable")
    reply_to = np.full(len(product), -1)
    same = product[by_product[1:]] == product[by_product[:-1]]
    reply_to[by_product[1:][same]] = by_product[:-1][same]
    answers = rng.random(len(product)) < 0.25
    return {**reviews, "reply_to": np.where(answers, reply_to, -1)}
