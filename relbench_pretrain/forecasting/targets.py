"""Targets of forecasting: how many child rows a row gets after a point in time, and the values of the next one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch_frame import TensorFrame, stype

from relbench_pretrain.relational.schema import ForeignKey
from relbench_pretrain.sampling.csc import GraphIndex
from relbench_pretrain.sampling.seeds import SeedRows
from relbench_pretrain.unix_time import ALWAYS, SECONDS_PER_DAY

NUM_CLASSES = 16
"""Every target is a choice among at most so many classes; those of a number are its quantiles."""

COUNT_BOUNDS = np.array([1, 2, 3, 5, 9, 17, 33, 65])
"""Where the classes of numbers of rows begin: none, one, two, three or four, and so on."""

MIN_ENTROPY = 0.1
"""Targets of less entropy, in nats, are left out."""


@dataclass(frozen=True)
class Forecasts:
    """Rows at points in time, with the targets to forecast for each.

    Args:
        seeds: The rows and the points in time, table after table.
        target: Per table with timed child rows the class of every target, int8, −1 where it is not known
            ``(num_seeds_of_table, num_targets)``.
        names: The names of the targets by table.
    """

    seeds: SeedRows
    target: dict[str, Tensor]
    names: dict[str, list[str]]

    def chance(self) -> dict[str, Tensor]:
        """Computes the loss of guessing by frequency, the entropy of every target in nats ``(num_targets,)``.

        It is infinite where there is little to forecast, because the target hardly ever differs or is never known:
        over so small an entropy a few surprises would outweigh all other targets.
        """
        result = {}
        for table, target in self.target.items():
            count = torch.stack([(target == k).sum(0) for k in range(NUM_CLASSES)]).double()
            share = count / count.sum(0).clamp(min=1)
            entropy = -torch.special.xlogy(share, share).sum(0)
            result[table] = entropy.where(entropy > MIN_ENTROPY, torch.inf).float()
        return result


class Children(NamedTuple):
    """The child rows under one foreign key, in an order in which one search finds a row and a time.

    Args:
        row: The child rows, parent by parent and in order of time ``(num_children,)``.
        moment: The distinct times, ascending ``(num_moments,)``.
        place: parent · (num_moments + 1) + the place of its time in ``moment``, ascending ``(num_children,)``.
    """

    row: np.ndarray
    moment: np.ndarray
    place: np.ndarray

    @classmethod
    def under(cls, index: GraphIndex, key: ForeignKey) -> Children:
        """Collects the child rows of a foreign key."""
        graph = index.graph
        row = graph.child_row[key].numpy()
        time = graph.time[key.child].numpy()[row]
        parent = np.repeat(np.arange(graph.num_rows[key.parent]), np.diff(graph.child_offset[key].numpy()))
        moment = np.unique(time)
        place = parent * (len(moment) + 1) + np.searchsorted(moment, time)
        order = np.argsort(place, kind="stable")
        return cls(row[order], moment, place[order])

    def until(self, parent: np.ndarray, time: np.ndarray) -> np.ndarray:
        """Returns the place after the last child row of each parent that is not later ``(num_parents,)``."""
        moment = np.searchsorted(self.moment, time, side="right")
        return np.searchsorted(self.place, parent * (len(self.moment) + 1) + moment)

    def parent_and_time(self) -> tuple[np.ndarray, np.ndarray]:
        """Returns parent and time of all child rows ``(num_children,)``."""
        parent, moment = np.divmod(self.place, len(self.moment) + 1)
        return parent, self.moment[moment] if len(self.moment) else moment


def forecasts(
    index: GraphIndex,
    classes: dict[str, Tensor],
    columns: dict[str, list[str]],
    horizons: Sequence[int],
    after: int | None,
    until: int,
    seed: int = 0,
    max_per_table: int = 1_000_000,
) -> Forecasts:
    """Collects rows at points in time within a span, with their targets.

    Every event of a row, a child row of it, gives one point in time: the event's and a lag, drawn evenly in its
    logarithm from a day to the longest horizon. Targets are the number of child rows within each horizon, and the
    values of the next one, one of them at random where several bear its time. Nothing is looked up after the span,
    and no number of rows of a table before its first one.

    Args:
        index: The graph.
        classes: The classes of every table's columns, as :func:`column_classes` gives them.
        columns: Their names.
        horizons: Days.
        after: Points in time are later than this (UNIX seconds), or None.
        until: The end of the span; what comes later is not known.
        seed: Seeds the lags.
        max_per_table: The most points in time of a table; beyond it some are drawn.

    Returns:
        The rows, points in time and targets.

    Raises:
        ValueError: If the span has none.
    """
    rng = np.random.default_rng(seed)
    schema, tables = index.graph.schema, index.node_types
    target, names, rows, times = {}, {}, [], []
    for number, table in enumerate(tables):
        keys = [k for k in schema.foreign_keys if k.parent == table and schema.tables[k.child].time_column]
        children = [Children.under(index, key) for key in keys]
        row, time = _points(index.graph.time[table].numpy(), children, max(horizons), after, until, rng)
        if len(row) > max_per_table:
            chosen = np.sort(rng.choice(len(row), max_per_table, replace=False))
            row, time = row[chosen], time[chosen]
        if keys:
            parts = [
                _targets(child, row, time, classes[key.child], horizons, until, rng)
                for key, child in zip(keys, children, strict=True)
            ]
            found = np.concatenate(parts, axis=1)
            known = (found >= 0).any(1)
            row, time, target[table] = row[known], time[known], torch.from_numpy(found[known])
            names[table] = [
                f"{key.child}.{key.column}: {what}"
                for key in keys
                for what in [*(f"rows in {h} days" for h in horizons), *columns[key.child]]
            ]
        rows.append(row + index.flat.offset[number])
        times.append(time)
    count = np.array([len(part) for part in rows])
    if count.sum() == 0:
        raise ValueError(f"nothing that has a time happens between the times {after} and {until}: nothing to forecast")
    seeds = SeedRows(
        index.flat.offset[:-1], count, torch.from_numpy(np.concatenate(rows)), torch.from_numpy(np.concatenate(times))
    )
    return Forecasts(seeds, target, names)


def _points(
    born: np.ndarray, children: list[Children], horizon: int, after: int | None, until: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Draws the points in time of a table. Returns rows and UNIX seconds ``(num_points,)``, in order of row and event.

    Args:
        born: Times of the table's rows.
        children: Their child rows, key by key.
        horizon: The longest lag in days.
        after: See :func:`forecasts`.
        until: See :func:`forecasts`.
        rng: Draws the lags.
    """
    if not children:
        return np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64)
    parts = [np.stack(child.parent_and_time()) for child in children]
    row, event = np.unique(np.concatenate(parts, axis=1), axis=1)
    time = event + (SECONDS_PER_DAY * np.exp(rng.uniform(0, np.log(horizon), len(event)))).astype(np.int64)
    usable = (event <= until) & (time < until) & (event != ALWAYS) & (born[row] <= time)
    if after is not None:
        usable &= time > after
    return row[usable], time[usable]


def _targets(
    children: Children,
    row: np.ndarray,
    time: np.ndarray,
    classes: Tensor,
    horizons: Sequence[int],
    until: int,
    rng: np.random.Generator,
) -> np.ndarray:
    """Returns the targets under one foreign key, int8 ``(num_points, num_horizons + num_columns)``."""
    begin = children.until(row, time)
    ends = [np.minimum(time + days * SECONDS_PER_DAY, until) for days in horizons]
    # Before a table's first row none was recorded, which says nothing of those to come.
    recorded = time >= (children.moment[0] if len(children.moment) else until)
    counts = [
        np.where(
            recorded & (time + days * SECONDS_PER_DAY <= until),
            np.digitize(children.until(row, end) - begin, COUNT_BOUNDS),
            -1,
        )
        for days, end in zip(horizons, ends, strict=True)
    ]
    # The next child row, within the longest horizon and the span.
    last = children.until(row, ends[int(np.argmax(horizons))])
    found = begin < last
    place = np.where(found, begin, 0)
    values = np.full((len(row), classes.size(1)), -1, dtype=np.int8)
    if found.any():
        _, moment = children.parent_and_time()
        same = children.until(row, moment[place])
        place = (place + rng.integers(0, np.maximum(same - place, 1)))[found]
        values[found] = classes[torch.from_numpy(children.row[place])].numpy()
    return np.concatenate([np.stack(counts, axis=1).astype(np.int8), values], axis=1)


def column_classes(frame: TensorFrame, fitted_rows: int) -> tuple[list[str], Tensor]:
    """Sorts the values of a table's numerical and categorical columns into classes.

    Numbers go by their quantiles, categories by their frequency: all but the most frequent share a class. Columns of
    other types are left out.

    Args:
        frame: The table's features.
        fitted_rows: How many leading rows quantiles and frequencies are taken from.

    Returns:
        The names of the columns, and the classes, int8, −1 for a missing value ``(num_rows, num_columns)``.
    """
    names: list[str] = []
    columns = [torch.empty(frame.num_rows, 0, dtype=torch.int8)]
    for kind, of_column in ((stype.numerical, _quantiles), (stype.categorical, _most_frequent)):
        for i, name in enumerate(frame.col_names_dict.get(kind, [])):
            names.append(name)
            values = frame.feat_dict[kind][:, i].numpy()
            columns.append(torch.from_numpy(of_column(values, fitted_rows).astype(np.int8)).unsqueeze(1))
    return names, torch.cat(columns, dim=1)


def _quantiles(values: np.ndarray, fitted_rows: int) -> np.ndarray:
    known = values[:fitted_rows][~np.isnan(values[:fitted_rows])]
    if not len(known):
        return np.full(len(values), -1)
    bounds = np.unique(np.quantile(known, np.arange(1, NUM_CLASSES) / NUM_CLASSES))
    return np.where(np.isnan(values), -1, np.searchsorted(bounds, values, side="right"))


def _most_frequent(values: np.ndarray, fitted_rows: int) -> np.ndarray:
    known = values[:fitted_rows][values[:fitted_rows] >= 0]
    frequency = np.bincount(known, minlength=int(values.max(initial=0)) + 1)
    place = np.empty(len(frequency), dtype=np.int64)
    place[np.argsort(-frequency, kind="stable")] = np.arange(len(frequency))
    return np.where(values < 0, -1, np.minimum(place[values], NUM_CLASSES - 1))
