"""Temporal neighbour sampling: a tree of earlier rows around every seed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

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
    find,
    grown,
    grown_rows,
    insert,
    visible_children,
)
from relbench_pretrain.sampling.output import flat_output

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
        visible_until: No row later than this UNIX time is visible, whatever the seed's time (the *frozen* regime);
            None for each seed's own time (the *rolling* regime). Ages are counted from the seed's time in both.
        seed: Together with the ids of a batch's seeds it determines the batch.

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
    ) -> None:
        if strategy not in ("last", "uniform"):
            raise ValueError(f"strategy must be 'last' or 'uniform', got '{strategy}'")
        if follow < 0:
            raise ValueError(f"follow must be 0 (all rows) or more, got {follow}")
        super().__init__(index, seed)
        self.fanouts = fanout_array(fanouts, index.graph.schema.foreign_keys)
        self.last = strategy == "last"
        self.follow = follow
        self.visible_until = visible_until

    def sample_from_nodes(self, inputs: NodeSamplerInput, **kwargs) -> HeteroSamplerOutput:
        """Samples the subgraphs of a batch of seeds; seed ``b`` is row ``b`` of its table.

        Args:
            inputs: ``node`` holds row numbers of ``input_type``, ``time`` the seeds' times in UNIX seconds.

        Returns:
            The subgraphs, with the seed of each row in ``batch``.
        """
        tables, rows, times = seed_arrays(self.index, inputs)
        state = batch_state(self.seed, inputs.input_id.numpy() if inputs.input_id is not None else rows)
        limits = times if self.visible_until is None else np.minimum(times, self.visible_until)
        visible = self.index.visible_rows(limits)
        nodes, links = sample(
            self.index.flat, tables, rows, visible, self.fanouts, self.last, self.follow, state
        )  # fmt: skip
        return flat_output(self.index, nodes, links, times, inputs, disjoint=True)


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


@compiled
def sample(graph: FlatGraph, seed_table, seed_row, visible, fanouts, last, follow, state):
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

    Returns:
        Rows ``(num_nodes, 4)`` and links ``(num_links, 5)`` in the form of :func:`output.flat_output`.
    """
    num_keys, num_seeds = len(graph.key_child), len(seed_row)
    positions = np.zeros(len(graph.parent_base), dtype=np.int64)
    nodes = np.empty((max(64 * num_seeds, 1024), 4), dtype=np.int64)
    modes = np.empty(len(nodes), dtype=np.int64)
    links = np.empty((max(128 * num_seeds, 1024), 5), dtype=np.int64)
    marks = np.full(_marks_size(fanouts), EMPTY, dtype=np.int64)
    chosen = np.empty(len(marks), dtype=np.int64)
    for b in range(num_seeds):
        nodes[b, 0], nodes[b, 1], nodes[b, 2] = seed_table[b], seed_row[b], b
        nodes[b, 3] = positions[seed_table[b]]
        modes[b] = LEADS
        positions[seed_table[b]] += 1
    size, num_links = num_seeds, 0
    keys = np.full(1024, EMPTY, dtype=np.int64)
    slots = np.empty(1024, dtype=np.int64)
    for b in range(num_seeds):
        own = size
        keys[:] = EMPTY
        insert(keys, slots, graph.offset[seed_table[b]] + seed_row[b], b)
        begin, end = b, b + 1
        for hop in range(len(fanouts)):
            for i in range(begin, end):
                if modes[i] == ENDS:
                    continue
                needed = _neighbor_bound(graph, nodes[i, 0], nodes[i, 1], fanouts[hop])
                while size + needed > len(nodes):
                    nodes, modes = grown_rows(nodes), grown(modes)
                while num_links + needed > len(links):
                    links = grown_rows(links)
                if 2 * (size - own + 1 + needed) > len(keys):
                    keys, slots = _rehashed(graph, nodes, b, own, size, 4 * (size - own + 1 + needed))
                size, num_links = _visit(
                    graph, i, visible[b], fanouts[hop], last, follow, state, keys, slots,
                    nodes, modes, size, links, num_links, positions, marks, chosen,
                )  # fmt: skip
            begin, end = (own, size) if hop == 0 else (end, size)
    return nodes[:size].copy(), _sorted_by_key(links[:num_links], num_keys)


@compiled
def _marks_size(fanouts):
    size = 16
    for fanout in fanouts.ravel():
        while size < 2 * fanout:
            size *= 2
    return size


@compiled
def _neighbor_bound(graph, table, row, fanout):
    """At most how many neighbours one visit adds."""
    bound = graph.first_key[table + 1] - graph.first_key[table]
    for i in range(graph.referring_offset[table], graph.referring_offset[table + 1]):
        k = graph.referring_key[i]
        at = graph.child_offset_base[k] + row
        degree = graph.child_offset[at + 1] - graph.child_offset[at]
        bound += degree if fanout[k] < 0 else min(degree, fanout[k])
    return bound


@compiled
def _rehashed(graph, nodes, seed, own, size, capacity):
    """A larger hash table of the rows that one seed has reached."""
    slots_needed = 1024
    while slots_needed < capacity:
        slots_needed *= 2
    keys = np.full(slots_needed, EMPTY, dtype=np.int64)
    slots = np.empty(slots_needed, dtype=np.int64)
    insert(keys, slots, graph.offset[nodes[seed, 0]] + nodes[seed, 1], seed)
    for i in range(own, size):
        insert(keys, slots, graph.offset[nodes[i, 0]] + nodes[i, 1], i)
    return keys, slots


@compiled
def _visit(
    graph, at, visible, fanout, last, follow, state, keys, slots,
    nodes, modes, size, links, num_links, positions, marks, chosen,
):  # fmt: skip
    """Samples the neighbours of one row. Returns the new numbers of rows and links."""
    table, row, mode = nodes[at, 0], nodes[at, 1], modes[at]
    first, final = graph.first_key[table], graph.first_key[table + 1]
    base = graph.parent_base[table] + row * (final - first)
    for k in range(first, final):
        parent = graph.parent[base + k - first]
        if parent < 0 or parent >= visible[graph.key_parent[k]]:
            continue
        place = _place(graph, graph.key_parent[k], parent, mode + (mode == PARENTS_ONLY), at, keys, slots, nodes, modes, positions, size)
        size += place == size
        links[num_links, 0], links[num_links, 1], links[num_links, 2] = k, nodes[at, 3], nodes[place, 3]
        links[num_links, 3], links[num_links, 4] = 0, 2
        num_links += 1
    if mode == PARENTS_ONLY:
        return size, num_links
    for i in range(graph.referring_offset[table], graph.referring_offset[table + 1]):
        k = graph.referring_key[i]
        child = graph.key_child[k]
        offset = graph.child_offset_base[k] + row
        begin = graph.child_row_base[k] + graph.child_offset[offset]
        end = graph.child_row_base[k] + graph.child_offset[offset + 1]
        degree = visible_children(graph.child_row, begin, end, visible[child])
        count = degree if fanout[k] < 0 else min(degree, fanout[k])
        uniform = not last and count < degree
        if uniform:
            draw_uniform(count, degree, state, chosen, marks)
        for c in range(count):
            rank = chosen[c] if uniform else c
            leads = LEADS if follow == 0 or rank < follow else PARENTS_ONLY
            child_row = graph.child_row[begin + degree - 1 - rank]
            place = _place(graph, child, child_row, leads, at, keys, slots, nodes, modes, positions, size)
            size += place == size
            links[num_links, 0], links[num_links, 1], links[num_links, 2] = k, nodes[place, 3], nodes[at, 3]
            links[num_links, 3], links[num_links, 4] = rank, 1
            num_links += 1
    return size, num_links


@compiled
def _place(graph, table, row, mode, at, keys, slots, nodes, modes, positions, size):
    """Finds a row within the seed's subgraph, or adds it at ``size``. The freest way of going on wins."""
    key = graph.offset[table] + row
    place = find(keys, slots, key)
    if place == EMPTY:
        place = size
        insert(keys, slots, key, place)
        nodes[place, 0], nodes[place, 1], nodes[place, 2] = table, row, nodes[at, 2]
        nodes[place, 3] = positions[table]
        modes[place] = mode
        positions[table] += 1
    elif mode < modes[place]:
        modes[place] = mode
    return place


@compiled
def _sorted_by_key(links, num_keys):
    """Sorts links by foreign key, keeping their order within each."""
    begin = np.zeros(num_keys + 1, dtype=np.int64)
    for i in range(len(links)):
        begin[links[i, 0] + 1] += 1
    begin = np.cumsum(begin)
    result = np.empty_like(links)
    for i in range(len(links)):
        result[begin[links[i, 0]]] = links[i]
        begin[links[i, 0]] += 1
    return result
