"""Type-balanced subgraphs: HGSampling (Hu et al. 2020, Heterogeneous Graph Transformer, Algorithms 1 and 2)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from torch_geometric.sampler import HeteroSamplerOutput, NodeSamplerInput

from relbench_pretrain.sampling.csc import FlatGraph, GraphIndex, RowSampler
from relbench_pretrain.sampling.kernels import (
    EMPTY,
    batch_state,
    compiled,
    draw_weighted,
    find,
    find_or_insert,
    uniform,
    visible_children,
)
from relbench_pretrain.sampling.output import flat_output

Budget = int | Sequence[int] | Mapping[str, int | Sequence[int]]


class BudgetSampler(RowSampler):
    """Base of the samplers whose tables draw rows by budgets, round by round.

    Args:
        index: The graph.
        num_per_round: How many rows each table draws per round: a number, one per round, or either of them by table.
        num_rounds: The number of rounds.
        max_children: Of a row with more child rows than this under one foreign key, that many evenly spaced ones
            from a random start enter the budgets, so a batch costs the same however large the database is.
        seed: Together with the ids of a batch's seeds it determines the batch, on any worker, in any order.

    Raises:
        ValueError: If a budget is negative, too short or names an unknown table.
    """

    def __init__(
        self, index: GraphIndex, num_per_round: Budget = 64, num_rounds: int = 3, max_children: int = 50, seed: int = 0
    ) -> None:
        if num_rounds < 1 or max_children < 1:
            raise ValueError(f"num_rounds and max_children must be at least 1, got {num_rounds} and {max_children}")
        super().__init__(index, seed)
        self.budgets = round_budgets(num_per_round, num_rounds, index.node_types)
        self.max_children = max_children


class HGSampler(BudgetSampler):
    """Draws subgraphs in which every table has about the same number of rows.

    From the seeds on, each table keeps a budget: its rows next to the rows drawn so far, each with the sum of
    1 / degree over these. In every round each table draws rows in proportion to the square of their budget, and
    the subgraph holds all edges among the rows drawn (Algorithms 1 and 2).

    Every row carries a *time limit*, its seed's, and is never later than it; where it was reached from several
    seeds, the earliest. An edge is kept in the direction in which it does not carry news from a later limit to an
    earlier one, so nothing after a row's own limit flows into it.

    See :class:`BudgetSampler` for the arguments.
    """

    _capacity = 1 << 15
    _work: Scratch | None = None

    def sample_from_nodes(self, inputs: NodeSamplerInput, **kwargs) -> HeteroSamplerOutput:
        """Draws the subgraph around a batch of seeds.

        Args:
            inputs: ``node`` holds row numbers of ``input_type``, or of all tables together
                (``index.flat.offset[table] + row``) where that is :data:`ANY_TABLE`; ``time`` the seeds' limits.

        Returns:
            The subgraph; the seeds come first within their tables.
        """
        tables, rows, limits = seed_arrays(self.index, inputs)
        distinct, limit = np.unique(limits, return_inverse=True)
        visible = self.index.visible_rows(distinct)
        ids = inputs.input_id.numpy() if inputs.input_id is not None else rows
        while True:
            work = self._working_memory(len(rows))
            enough, nodes, links = sample(
                self.index.flat, tables, rows, limit, visible, self.budgets, self.max_children,
                batch_state(self.seed, ids), work,
            )  # fmt: skip
            if enough:
                return flat_output(self.index, nodes, links, distinct, inputs)
            self._work = None
            self._capacity *= 2

    def _working_memory(self, num_seeds: int) -> Scratch:
        drawn = num_seeds + int(self.budgets.sum())
        self._capacity = max(self._capacity, 1 << (drawn - 1).bit_length())
        if self._work is None or drawn > len(self._work.newer):
            self._work = Scratch.allocate(self._capacity, drawn, self.index.flat)
        return self._work

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_work": None}  # every worker has working memory of its own


ANY_TABLE = "*"
"""The input type of seeds that are numbered over all tables."""


def round_budgets(num_per_round: Budget, num_rounds: int, tables: list[str]) -> np.ndarray:
    """Returns the budgets as an array ``(num_rounds, num_tables)``."""
    if isinstance(num_per_round, Mapping):
        if unknown := set(num_per_round) - set(tables):
            raise ValueError(f"num_per_round names unknown tables {sorted(unknown)}; the tables are {tables}")
        per_table = [num_per_round.get(table, 0) for table in tables]
    else:
        per_table = [num_per_round] * len(tables)
    columns = [[n] * num_rounds if isinstance(n, int) else list(n) for n in per_table]
    if wrong := [c for c in columns if len(c) != num_rounds or min(c) < 0]:
        raise ValueError(f"num_per_round needs {num_rounds} numbers from 0 on, one per round, got {wrong[0]}")
    return np.array(columns, dtype=np.int64).T.copy()


def seed_arrays(index: GraphIndex, inputs: NodeSamplerInput) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns table numbers, row numbers and time limits of a batch's seeds ``(num_seeds,)`` each."""
    rows = inputs.node.numpy()
    if inputs.input_type == ANY_TABLE:
        tables = np.searchsorted(index.flat.offset, rows, side="right") - 1
        rows = rows - index.flat.offset[tables]
    else:
        tables = np.full(len(rows), index.node_types.index(inputs.input_type), dtype=np.int64)
    if inputs.time is None:
        raise ValueError("seeds need a time limit: give the latest time of the graph for no limit")
    return tables, rows, inputs.time.numpy()


class Scratch(NamedTuple):
    """Working memory that lives from batch to batch: fresh memory would cost more than the sampling itself.

    Args:
        keys: Hash table of candidate rows ``(2 * capacity,)``, all empty between batches.
        slots: The candidate of each key ``(2 * capacity,)``.
        cands: Candidates: table, row, limit and, once drawn, position within the table ``(capacity, 4)``.
        weights: Their budgets ``(capacity,)``.
        entries: Candidates sorted by table ``(capacity,)``.
        squares: Their squared budgets ``(capacity,)``.
        tree: Partial sums ``(capacity + 1,)``.
        links: Links among the rows drawn ``(max_drawn * max_keys_per_table, 5)``.
        newer: Child rows seen so far per parent and foreign key ``(max_drawn, num_keys)``.
    """

    keys: np.ndarray
    slots: np.ndarray
    cands: np.ndarray
    weights: np.ndarray
    entries: np.ndarray
    squares: np.ndarray
    tree: np.ndarray
    links: np.ndarray
    newer: np.ndarray

    @classmethod
    def allocate(cls, capacity: int, max_drawn: int, graph: FlatGraph) -> Scratch:
        """Allocates working memory for ``capacity`` (a power of two) candidates and ``max_drawn`` rows."""
        per_table = int(np.diff(graph.first_key).max(initial=0))
        return cls(
            keys=np.full(2 * capacity, EMPTY, dtype=np.int64),
            slots=np.empty(2 * capacity, dtype=np.int64),
            cands=np.empty((capacity, 4), dtype=np.int64),
            weights=np.empty(capacity, dtype=np.float64),
            entries=np.empty(capacity, dtype=np.int64),
            squares=np.empty(capacity, dtype=np.float64),
            tree=np.empty(capacity + 1, dtype=np.float64),
            links=np.empty((max_drawn * per_table, 5), dtype=np.int64),
            newer=np.zeros((max_drawn, len(graph.key_child)), dtype=np.int64),
        )


@compiled
def _reach(key, table, row, limit, weight, keys, slots, cands, weights, size):
    """Adds one neighbour to the budgets. Returns the new number of candidates.

    It takes arrays one by one: handing over a tuple of them costs more than the work done here.
    """
    place = find_or_insert(keys, slots, key, size)
    if place == size:
        cands[size, 0], cands[size, 1], cands[size, 2], cands[size, 3] = table, row, limit, EMPTY
        weights[size] = weight
        return size + 1
    if cands[place, 3] == EMPTY:
        weights[place] += weight
        cands[place, 2] = min(cands[place, 2], limit)
    return size


@compiled
def sample(graph: FlatGraph, seed_table, seed_row, seed_limit, visible, budgets, max_children, state, work: Scratch):
    """HGSampling over flat arrays; see :class:`HGSampler`.

    Args:
        graph: The graph.
        seed_table: Table of each seed ``(num_seeds,)``.
        seed_row: Row of each seed ``(num_seeds,)``.
        seed_limit: Which limit each seed has, limits counted from the earliest ``(num_seeds,)``.
        visible: Leading rows of each table within each limit ``(num_limits, num_tables)``.
        budgets: Rows to draw ``(num_rounds, num_tables)``.
        max_children: See :class:`HGSampler`.
        state: The random state.
        work: Working memory.

    Returns:
        Whether the working memory sufficed; the rows drawn ``(num_drawn, 4)`` as table, row, limit and position
        within the table, in order of drawing; and the links, see :func:`_induced_links`.
    """
    drawn = np.empty(len(seed_row) + budgets.sum(), dtype=np.int64)
    positions = np.zeros(len(graph.parent_base), dtype=np.int64)
    work.keys[:] = EMPTY
    num_cands, num_drawn, expanded = 0, 0, 0
    for i in range(len(seed_row)):
        place = find(work.keys, work.slots, graph.offset[seed_table[i]] + seed_row[i])
        if place != EMPTY:  # the same seed twice is one row, under the earlier limit
            work.cands[place, 2] = min(work.cands[place, 2], seed_limit[i])
            continue
        num_cands = _reach(
            graph.offset[seed_table[i]] + seed_row[i], seed_table[i], seed_row[i], seed_limit[i], 0.0,
            work.keys, work.slots, work.cands, work.weights, num_cands,
        )  # fmt: skip
        num_drawn = _take(num_cands - 1, work.cands, positions, drawn, num_drawn)
    for r in range(len(budgets)):
        # 1. The neighbours of the rows drawn last enter the budgets (Algorithm 2).
        num_cands = _reach_neighbors(graph, drawn[expanded:num_drawn], visible, max_children, state, work, num_cands)
        if num_cands > len(work.weights):
            return False, np.empty((0, 4), dtype=np.int64), np.empty((0, 5), dtype=np.int64)
        expanded = num_drawn
        # 2. Every table draws from its budget in proportion to the squares (Algorithm 1).
        num_drawn = _draw_round(budgets[r], work, num_cands, positions, drawn, num_drawn, state)
    nodes = np.empty((num_drawn, 4), dtype=np.int64)
    for d in range(num_drawn):
        nodes[d] = work.cands[drawn[d]]
    return True, nodes, _induced_links(graph, nodes, work)


@compiled
def _take(cand, cands, positions, drawn, num_drawn):
    """Draws a candidate. Returns the new number of rows drawn."""
    table = cands[cand, 0]
    cands[cand, 3] = positions[table]
    positions[table] += 1
    drawn[num_drawn] = cand
    return num_drawn + 1


@compiled
def _reach_neighbors(graph, drawn, visible, max_children, state, work, size):
    """Adds the parents and the child rows of rows drawn to the budgets (Algorithm 2, with 1 / visible degree).

    Returns:
        The new number of candidates, or one that is larger than the working memory if that does not suffice.
    """
    keys, slots, cands, weights, offset = work.keys, work.slots, work.cands, work.weights, graph.offset
    parent, key_parent, first_key, parent_base = graph.parent, graph.key_parent, graph.first_key, graph.parent_base
    referring_offset, referring_key, key_child = graph.referring_offset, graph.referring_key, graph.key_child
    child_offset, child_offset_base = graph.child_offset, graph.child_offset_base
    child_row, child_row_base = graph.child_row, graph.child_row_base
    for cand in drawn:
        table, row, limit = cands[cand, 0], cands[cand, 1], cands[cand, 2]
        first, last = first_key[table], first_key[table + 1]
        referring = referring_key[referring_offset[table] : referring_offset[table + 1]]
        if size + last - first + len(referring) * max_children > len(weights):
            return len(weights) + 1
        base = parent_base[table] + row * (last - first)
        for k in range(first, last):
            other, into = parent[base + k - first], key_parent[k]
            if 0 <= other < visible[limit, into]:
                size = _reach(offset[into] + other, into, other, limit, 1.0, keys, slots, cands, weights, size)
        for k in referring:
            into, at = key_child[k], child_offset_base[k] + row
            begin = child_row_base[k] + child_offset[at]
            end = child_row_base[k] + child_offset[at + 1]
            degree = visible_children(child_row, begin, end, visible[limit, into])
            if degree == 0:
                continue
            count = min(degree, max_children)
            step = degree / count
            start = uniform(state) * step if degree > count else 0.0
            for c in range(count):
                other = child_row[begin + min(np.int64(start + c * step), degree - 1)]
                size = _reach(offset[into] + other, into, other, limit, 1.0 / degree, keys, slots, cands, weights, size)
    return size


@compiled
def _draw_round(budget, work, num_cands, positions, drawn, num_drawn, state):
    """Lets every table draw once. Returns the new number of rows drawn."""
    cands, weights, entries, squares = work.cands, work.weights, work.entries, work.squares
    begin = np.zeros(len(budget) + 1, dtype=np.int64)
    for c in range(num_cands):
        if cands[c, 3] == EMPTY:
            begin[cands[c, 0] + 1] += 1
    begin = np.cumsum(begin)
    fill = begin[:-1].copy()
    for c in range(num_cands):
        if cands[c, 3] == EMPTY:
            table = cands[c, 0]
            entries[fill[table]] = c
            squares[fill[table]] = weights[c] * weights[c]
            fill[table] += 1
    for t in range(len(budget)):
        size = begin[t + 1] - begin[t]
        count = min(budget[t], size)
        chosen = np.arange(count)
        if 0 < count < size:
            draw_weighted(squares[begin[t] : begin[t + 1]], count, state, chosen, work.tree)
        for i in range(count):
            num_drawn = _take(entries[begin[t] + chosen[i]], cands, positions, drawn, num_drawn)
    return num_drawn


@compiled
def _induced_links(graph, nodes, work):
    """Finds all links among the rows drawn, from the child rows alone: each names its parents.

    Returns:
        ``(num_links, 5)``: foreign key, child position, parent position, recency rank of the child among the drawn
        child rows of this parent (0 = newest), and the directions kept (1 = child to parent, 2 = back, 3 = both).
        They come from the latest child row to the earliest.
    """
    work.newer[: len(nodes)] = 0
    keys, slots, cands, links, newer = work.keys, work.slots, work.cands, work.links, work.newer
    size = 0
    for d in np.argsort(-nodes[:, 1]):  # row numbers of one table are in order of time
        table, row, limit = nodes[d, 0], nodes[d, 1], nodes[d, 2]
        first, last = graph.first_key[table], graph.first_key[table + 1]
        base = graph.parent_base[table] + row * (last - first)
        for k in range(first, last):
            parent = graph.parent[base + k - first]
            if parent < 0:
                continue
            place = find(keys, slots, graph.offset[graph.key_parent[k]] + parent)
            if place == EMPTY or cands[place, 3] == EMPTY:
                continue
            up = limit <= cands[place, 2]
            down = cands[place, 2] <= limit
            link = links[size]
            link[0], link[1], link[2], link[4] = k, nodes[d, 3], cands[place, 3], up + 2 * down
            link[3] = newer[link[2], k] if up else 0
            newer[link[2], k] += up
            size += 1
    return links[:size]
