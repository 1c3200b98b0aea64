"""Temporal neighbour sampling: a tree of earlier rows around every seed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
from torch_geometric.sampler import HeteroSamplerOutput, NodeSamplerInput

from relbench_pretrain.relational.schema import ForeignKey
from relbench_pretrain.sampling.csc import FlatGraph, GraphIndex, RowSampler
from relbench_pretrain.sampling.hgsampling import seed_arrays
from relbench_pretrain.sampling.kernels import (
    EMPTY,
    batch_state,
    compiled,
    draw_uniform,
    find_or_insert,
    visible_children,
)
from relbench_pretrain.sampling.output import DOWN, UP, flat_output

Fanout = int | Mapping[str, int]


class TemporalNeighborSampler(RowSampler):
    """Samples the earlier rows around each seed, hop by hop, one disjoint subgraph per seed.

    From every row it goes to all its parents and, under each foreign key that refers to it, to some of its child
    rows, none of them later than the seed's time. A row that is reached twice from one seed is there once, with
    all the edges over which it was reached.

    Args:
        index: The graph.
        fanouts: Child rows per row and foreign key, one entry per hop; an entry is a number or a mapping from
            ``"child.column"`` to a number, in which ``"*"`` stands for all other foreign keys. −1 takes all.
            A number of 0 takes no child rows; parents are always taken.
        strategy: ``"last"`` takes the most recent rows, ``"uniform"`` any of the visible ones.
        follow: Only the ``follow`` most recent child rows of each row lead on to child rows of others; the other
            ones lead to their parents alone, and those no further. 0 lets all rows lead on, as GraphSAGE wants.
        visible_until: No row later than this UNIX time is visible, whatever the seed's time (the *cutoff* regime);
            None for each seed's own time (the *rolling* regime). Ages are counted from the seed's time in both.
        seed: Together with the ids of a batch's seeds it determines the batch.
        max_staleness: For about half of the seeds the view ends up to so many seconds, drawn evenly, before their
            time, so that a network learns to judge rows that are not fresh; 0 for none.

    Raises:
        ValueError: If fan-outs are missing, negative or name an unknown foreign key.
    """

    def __init__(
        self,
        index: GraphIndex,
        fanouts: Sequence[Fanout] = (128, 64),
        strategy: Literal["last", "uniform"] = "uniform",
        follow: int = 0,
        visible_until: int | None = None,
        seed: int = 0,
        max_staleness: int = 0,
    ) -> None:
        if strategy not in ("last", "uniform"):
            raise ValueError(f"strategy must be 'last' or 'uniform', got '{strategy}'")
        if follow < 0:
            raise ValueError(f"follow must be 0 (all rows) or more, got {follow}")
        if max_staleness < 0:
            raise ValueError(f"max_staleness must be 0 or more, got {max_staleness}")
        super().__init__(index, seed)
        self.fanouts = fanout_array(fanouts, index.graph.schema.foreign_keys)
        self.last = strategy == "last"
        self.follow = follow
        self.visible_until = visible_until
        self.max_staleness = max_staleness
        self._work: Scratch | None = None

    def sample_from_nodes(self, inputs: NodeSamplerInput, **kwargs) -> HeteroSamplerOutput:
        """Samples the subgraphs of a batch of seeds; seed ``b`` is row ``b`` of its table.

        Args:
            inputs: ``node`` holds row numbers of ``input_type``, ``time`` the seeds' times in UNIX seconds.

        Returns:
            The subgraphs, with the seed of each row in ``batch``.
        """
        tables, rows, times = seed_arrays(self.index, inputs)
        ids = inputs.input_id.numpy() if inputs.input_id is not None else rows
        limits = self._limits(times, ids)
        visible = self.index.visible_rows(limits)
        if self._work is None or len(rows) > len(self._work.nodes):
            self._work = Scratch.allocate(max(1 << 14, 64 * len(rows)), self.fanouts)
        while True:
            enough, nodes, links = sample(
                self.index.flat, tables, rows, visible, self.fanouts, self.last, self.follow,
                batch_state(self.seed, ids), self._work,
            )  # fmt: skip
            if enough:
                return flat_output(self.index, nodes, links, times, inputs, disjoint=True)
            self._work = Scratch.allocate(2 * len(self._work.nodes), self.fanouts)

    def _limits(self, times: np.ndarray, ids: np.ndarray) -> np.ndarray:
        """Returns the last second that each seed sees ``(num_seeds,)``."""
        if self.max_staleness:
            random = np.random.default_rng(batch_state(self.seed + 2, ids)[0])
            lag = random.uniform(0, self.max_staleness, len(times)) * random.integers(0, 2, len(times))
            times = times - lag.astype(np.int64)
        return times if self.visible_until is None else np.minimum(times, self.visible_until)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_work": None}  # every worker has working memory of its own


def fanout_array(fanouts: Sequence[Fanout], keys: list[ForeignKey]) -> np.ndarray:
    """Returns the fan-outs as an array ``(num_hops, num_keys)``, with −1 for all."""
    if not fanouts:
        raise ValueError("fanouts needs one entry per hop, got none")
    names = [f"{key.child}.{key.column}" for key in keys]
    result = np.zeros((len(fanouts), len(keys)), dtype=np.int64)
    for hop, fanout in enumerate(fanouts):
        if isinstance(fanout, Mapping):
            if unknown := set(fanout) - {*names, "*"}:
                raise ValueError(f"fanouts names unknown foreign keys {sorted(unknown)}; the database has {names}")
            result[hop] = [fanout.get(name, fanout.get("*", 0)) for name in names]
        else:
            result[hop] = fanout
    if result.size and result.min() < -1:
        raise ValueError(f"a fan-out must be −1 (all rows) or more, got {result.min()}")
    return result


LEADS, PARENTS_ONLY, ENDS = 0, 1, 2
"""How a row goes on: to parents and child rows, to parents, or not at all."""

FEW_ROWS = 512
"""Entries of the hash table with which every seed begins: emptying a large one would cost more than a small sample."""


class Scratch(NamedTuple):
    """Working memory that lives from batch to batch: fresh memory would cost more than the sampling itself.

    Rows and links are 32 bits wide, to stay in the processor's cache; no table has 2³¹ rows.

    Args:
        keys: Hash table of the rows reached from one seed ``(at least 2 * capacity,)``.
        slots: The position in ``nodes`` of each key.
        nodes: Rows: table, row, seed, position within the table ``(capacity, 4)``.
        modes: How each row goes on ``(capacity,)``.
        links: Links in the form of :func:`output.flat_output` ``(4 * capacity, 5)``.
        marks: For :func:`draw_uniform`, all empty between draws.
        chosen: Positions drawn.
    """

    keys: np.ndarray
    slots: np.ndarray
    nodes: np.ndarray
    modes: np.ndarray
    links: np.ndarray
    marks: np.ndarray
    chosen: np.ndarray

    @classmethod
    def allocate(cls, capacity: int, fanouts: np.ndarray) -> Scratch:
        """Allocates working memory for ``capacity`` rows."""
        table = 1 << (2 * capacity - 1).bit_length()
        marks = 1 << max(4, (2 * int(fanouts.max(initial=0)) - 1).bit_length())
        return cls(
            keys=np.empty(table, dtype=np.int64),
            slots=np.empty(table, dtype=np.int64),
            nodes=np.empty((capacity, 4), dtype=np.int32),
            modes=np.empty(capacity, dtype=np.int8),
            links=np.empty((4 * capacity, 5), dtype=np.int32),
            marks=np.full(marks, EMPTY, dtype=np.int64),
            chosen=np.empty(marks, dtype=np.int64),
        )


@compiled
def sample(graph: FlatGraph, seed_table, seed_row, visible, fanouts, last, follow, state, work: Scratch):
    """Temporal neighbour sampling over flat arrays; see :class:`TemporalNeighborSampler`.

    Args:
        graph: The graph.
        seed_table: Table of each seed ``(num_seeds,)``.
        seed_row: Row of each seed ``(num_seeds,)``.
        visible: Leading rows of each table that each seed sees ``(num_seeds, num_tables)``.
        fanouts: Child rows per hop and foreign key ``(num_hops, num_keys)``.
        last: Whether to take the most recent rows.
        follow: See :class:`TemporalNeighborSampler`.
        state: The random state.
        work: Working memory.

    Returns:
        Whether the working memory sufficed; rows ``(num_nodes, 4)`` and links ``(num_links, 5)`` in the form of
        :func:`output.flat_output`, both parts of the working memory.
    """
    nodes, modes = work.nodes, work.modes
    positions = np.zeros(len(graph.parent_base), dtype=np.int64)
    for b in range(len(seed_row)):
        nodes[b, 0], nodes[b, 1], nodes[b, 2], nodes[b, 3] = seed_table[b], seed_row[b], b, positions[seed_table[b]]
        modes[b] = LEADS
        positions[seed_table[b]] += 1
    size, num_links = len(seed_row), 0
    for b in range(len(seed_row)):
        own, begin, end = size, b, b + 1
        keys, slots = _hashed(graph.offset, nodes, b, own, size, FEW_ROWS, work)
        for hop in range(len(fanouts)):
            for children in (False, True):
                at = begin
                while True:
                    if children:
                        at, size, num_links = _visit_children(
                            graph, visible, fanouts[hop], last, follow, state,
                            work, keys, slots, positions, b, own, at, end, size, num_links,
                        )  # fmt: skip
                    else:
                        at, size, num_links = _visit_parents(
                            graph, visible, work, keys, slots, positions, b, own, at, end, size, num_links
                        )
                    if at == end:
                        break
                    if len(keys) == len(work.keys):
                        return False, nodes[:0], work.links[:0]
                    keys, slots = _hashed(graph.offset, nodes, b, own, size, 2 * len(keys), work)
            begin, end = (own, size) if hop == 0 else (end, size)
    return True, nodes[:size], work.links[:num_links]


@compiled
def _hashed(offset, nodes, seed, own, size, length, work):
    """Builds a hash table with ``length`` entries of the rows that one seed has reached."""
    keys, slots = work.keys[:length], work.slots[:length]
    keys[:] = EMPTY
    find_or_insert(keys, slots, offset[nodes[seed, 0]] + nodes[seed, 1], seed)
    for i in range(own, size):
        find_or_insert(keys, slots, offset[nodes[i, 0]] + nodes[i, 1], i)
    return keys, slots


@compiled
def _visit_parents(graph, visible, work, keys, slots, positions, seed, own, begin, end, size, num_links):
    """Reaches the parents of the rows from ``begin`` to ``end``.

    Returns:
        Where it stopped for lack of room, ``end`` if nowhere, and the new numbers of rows and links.
    """
    nodes, modes, links, offset = work.nodes, work.modes, work.links, graph.offset
    parent, key_parent, first_key, parent_base = graph.parent, graph.key_parent, graph.first_key, graph.parent_base
    room = min(own - 1 + len(keys) // 2, len(nodes))
    for i in range(begin, end):
        table = nodes[i, 0]
        first, final = first_key[table], first_key[table + 1]
        if modes[i] == ENDS:
            continue
        if size + final - first > room or num_links + final - first > len(links):
            return i, size, num_links
        base = parent_base[table] + nodes[i, 1] * (final - first)
        mode = ENDS if modes[i] == PARENTS_ONLY else LEADS
        for k in range(first, final):
            row, other = parent[base + k - first], key_parent[k]
            if 0 <= row < visible[seed, other]:
                place = _place(
                    offset[other] + row, other, row, mode, seed, keys, slots, nodes, modes, positions, end, size
                )
                size += place == size
                links[num_links, 0], links[num_links, 1], links[num_links, 2] = k, nodes[i, 3], nodes[place, 3]
                links[num_links, 3], links[num_links, 4] = 0, DOWN
                num_links += 1
    return end, size, num_links


@compiled
def _visit_children(
    graph, visible, fanout, last, follow, state, work, keys, slots, positions, seed, own, begin, end, size, num_links
):
    """Reaches child rows of the rows from ``begin`` to ``end``. Returns what :func:`_visit_parents` does."""
    nodes, modes, links, offset = work.nodes, work.modes, work.links, graph.offset
    referring_offset, referring_key, key_child = graph.referring_offset, graph.referring_key, graph.key_child
    child_offset, child_offset_base = graph.child_offset, graph.child_offset_base
    child_row, child_row_base, chosen, marks = graph.child_row, graph.child_row_base, work.chosen, work.marks
    room = min(own - 1 + len(keys) // 2, len(nodes))
    for i in range(begin, end):
        if modes[i] != LEADS:
            continue
        table, row, needed = nodes[i, 0], nodes[i, 1], 0
        for j in range(referring_offset[table], referring_offset[table + 1]):
            place = child_offset_base[referring_key[j]] + row
            degree = child_offset[place + 1] - child_offset[place]
            needed += degree if fanout[referring_key[j]] < 0 else min(degree, fanout[referring_key[j]])
        if size + needed > room or num_links + needed > len(links):
            return i, size, num_links
        for j in range(referring_offset[table], referring_offset[table + 1]):
            k = referring_key[j]
            child, place = key_child[k], child_offset_base[k] + row
            start = child_row_base[k] + child_offset[place]
            stop = child_row_base[k] + child_offset[place + 1]
            degree = visible_children(child_row, start, stop, visible[seed, child])
            count = degree if fanout[k] < 0 else min(degree, fanout[k])
            uniform = not last and count < degree
            if uniform:
                draw_uniform(count, degree, state, chosen, marks)
            for c in range(count):
                rank = chosen[c] if uniform else c
                mode = LEADS if follow == 0 or rank < follow else PARENTS_ONLY
                other = child_row[start + degree - 1 - rank]
                place = _place(
                    offset[child] + other, child, other, mode, seed, keys, slots, nodes, modes, positions, end, size
                )
                size += place == size
                links[num_links, 0], links[num_links, 1], links[num_links, 2] = k, nodes[place, 3], nodes[i, 3]
                links[num_links, 3], links[num_links, 4] = rank, UP
                num_links += 1
    return end, size, num_links


@compiled
def _place(key, table, row, mode, seed, keys, slots, nodes, modes, positions, settled, size):
    """Finds a row within the seed's subgraph, or adds it at ``size``.

    Of several ways of going on the freest wins, but not for rows before ``settled``, whose turn has come already.
    Arrays come one by one: handing over a tuple of them costs more than the work done here.
    """
    place = find_or_insert(keys, slots, key, size)
    if place == size:
        nodes[size, 0], nodes[size, 1], nodes[size, 2], nodes[size, 3] = table, row, seed, positions[table]
        modes[size] = mode
        positions[table] += 1
    elif place >= settled:
        modes[place] = min(mode, modes[place])
    return place
