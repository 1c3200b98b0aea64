"""HGSampling in tensor operations, so that graph, features and batches never leave the device."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch_geometric.data import HeteroData
from torch_geometric.sampler import HeteroSamplerOutput, NodeSamplerInput

from relbench_pretrain.relational.time import ALWAYS
from relbench_pretrain.sampling.csc import GraphIndex, RowSampler
from relbench_pretrain.sampling.device_graph import DeviceGraph, Frontier, upload
from relbench_pretrain.sampling.hgsampling import ANY_TABLE, Budget, round_budgets, seed_arrays
from relbench_pretrain.sampling.kernels import batch_state
from relbench_pretrain.sampling.loader import join_batch
from relbench_pretrain.sampling.output import NO_AGE, SampledTimes

WEIGHT_OF_ONE = 1 << 44
"""Budgets are whole numbers: a sum of floats would depend on the order in which a device adds them."""

LAST = torch.iinfo(torch.int64).max


class DeviceHGSampler(RowSampler):
    """The subgraphs of :class:`HGSampler`, drawn on the device that holds the graph.

    Same arguments, same distribution, other draws: a batch follows from the seed, the ids of its seeds and the kind
    of device. Shapes are those of the largest batch, as if every row drawn had ``max_children`` child rows under
    every foreign key, and what is not there is masked: so the host waits for the device only once per batch, for
    the numbers of rows and edges.

    Args:
        index: The graph.
        num_per_round: How many rows each table draws per round: a number, one per round, or either of them by table.
        num_rounds: The number of rounds.
        max_children: Of a row with more child rows than this under one foreign key, that many evenly spaced ones
            from a random start enter the budgets. Time and memory grow with it.
        seed: Together with the ids of a batch's seeds it determines the batch.
        device: Where the graph is copied to.

    Raises:
        ValueError: If a budget is negative, too short or names an unknown table.
    """

    def __init__(
        self,
        index: GraphIndex,
        num_per_round: Budget = 64,
        num_rounds: int = 3,
        max_children: int = 50,
        seed: int = 0,
        device: torch.device | str = "cuda",
    ) -> None:
        if num_rounds < 1 or max_children < 1:
            raise ValueError(f"num_rounds and max_children must be at least 1, got {num_rounds} and {max_children}")
        super().__init__(index, seed)
        self.budgets = round_budgets(num_per_round, num_rounds, index.node_types)
        self.graph = DeviceGraph.from_index(index, torch.device(device))
        self.max_children = max(1, min(max_children, self.graph.max_degree))
        places = np.minimum(self.budgets, np.diff(index.flat.offset))  # no table can draw more rows than it has
        self._tables = [np.repeat(np.arange(places.shape[1]), row) for row in places]
        self._frontiers = [Frontier.of_tables(tables, index.flat) for tables in self._tables]
        self._on_device = [Frontier(*upload(frontier, self.graph.device)) for frontier in self._frontiers]
        self._first = torch.full((self.graph.num_rows + 1,), LAST, device=self.graph.device)
        self._generator = torch.Generator(self.graph.device)

    def sample_from_nodes(self, inputs: NodeSamplerInput, **kwargs) -> HeteroSamplerOutput:
        """Draws the subgraph around a batch of seeds.

        Args:
            inputs: What :meth:`HGSampler.sample_from_nodes` takes, on the host.

        Returns:
            The subgraph, on the device; the seeds come first within their tables.
        """
        ids = inputs.input_id if inputs.input_id is not None else inputs.node
        self._generator.manual_seed(int(batch_state(self.seed, ids.numpy())[0] >> np.uint64(1)))
        plan, capacity = self._plan(inputs)
        pool = Pool(self._first, capacity, self.graph.num_rows)
        try:
            rows, limits = self._draw(plan, pool)
            links = self._induced_links(plan, rows, limits, pool)
        finally:
            pool.forget()
        return self._output(plan, rows, limits, links, inputs)

    def _plan(self, inputs: NodeSamplerInput) -> tuple[Plan, int]:
        """Lays a batch out on the host, as far as it follows from its seeds, and uploads it.

        Returns:
            The plan, and for how many rows reached there must be room.
        """
        flat = self.index.flat
        tables, rows, limits = seed_arrays(self.index, inputs)
        times, limit = np.unique(limits, return_inverse=True)
        # The same seed twice is one row, under the earlier limit.
        rows, first, again = np.unique(flat.offset[tables] + rows, return_index=True, return_inverse=True)
        earliest = np.full(len(rows), len(times))
        np.minimum.at(earliest, again, limit)
        order = np.argsort(first)
        tables = tables[first[order]]
        frontier = Frontier.of_tables(tables, flat)
        sizes = np.bincount(tables, minlength=len(flat.parent_base))
        positions = []
        for tables_drawn, last in zip(self._tables, [frontier, *self._frontiers], strict=False):
            sizes = sizes + last.num_reached(flat, self.max_children)
            positions.append(_first_positions(tables_drawn, sizes))
        all_tables = np.concatenate([tables, *self._tables])
        by_table = np.argsort(all_tables, kind="stable")
        bounds = np.searchsorted(all_tables[by_table], np.arange(len(sizes) + 1))
        visible = self.index.visible_rows(times)
        arrays = [rows[order], earliest[order], *frontier, times, visible, by_table, bounds, tables, np.concatenate(positions)]
        return Plan(*upload(arrays, self.graph.device)), int(sizes.sum())

    def _draw(self, plan: Plan, pool: Pool) -> tuple[Tensor, Tensor]:
        """Draws round by round. Returns rows (``num_rows`` for none) and limits of all places ``(num_places,)``."""
        rows, limits = [plan.rows], [plan.limits]
        pool.add(plan.rows, torch.zeros_like(plan.rows), plan.limits, plan.tables)
        pool.place[: len(plan.rows)] = torch.arange(len(plan.rows), device=self.graph.device)
        frontier, num_places = plan.frontier, len(plan.rows)
        positions = plan.positions.split([len(tables) for tables in self._tables])
        for position, following in zip(positions, self._on_device, strict=True):
            # 1. The neighbours of the rows drawn last enter the budgets (Algorithm 2).
            self._reach_children(frontier, rows[-1], limits[-1], plan.visible, pool)
            self._reach_parents(frontier, rows[-1], limits[-1], plan.visible, pool)
            # 2. Every table draws from its budget in proportion to the squares (Algorithm 1).
            row, limit = pool.draw(position, num_places, len(plan.bounds), self._generator)
            rows.append(row)
            limits.append(limit)
            frontier, num_places = following, num_places + len(row)
        return torch.cat(rows), torch.cat(limits)

    def _reach_children(self, frontier: Frontier, rows: Tensor, limits: Tensor, visible: Tensor, pool: Pool) -> None:
        """Adds 1 / visible degree to the budgets of evenly spaced child rows from a random start."""
        graph, key = self.graph, frontier.child_key
        row, limit, table = rows[frontier.child_place], limits[frontier.child_place], graph.key_child[key]
        begin, degree = graph.children(row, key, visible[limit, table])
        count = degree.clamp(max=self.max_children)
        start = torch.randint(LAST, degree.shape, generator=self._generator, device=graph.device) % degree.clamp(min=1)
        step = torch.arange(self.max_children, device=graph.device)
        at = begin[:, None] + (start[:, None] + step * degree[:, None]) // count.clamp(min=1)[:, None]
        there = step < count[:, None]  # (num_pairs, max_children)
        child = graph.child[torch.where(there, at, 0)] % graph.stride + graph.offset[table][:, None]
        weight = torch.where(there, WEIGHT_OF_ONE // degree.clamp(min=1)[:, None], 0)
        pool.add(torch.where(there, child, graph.num_rows), weight, limit[:, None], table[:, None])

    def _reach_parents(self, frontier: Frontier, rows: Tensor, limits: Tensor, visible: Tensor, pool: Pool) -> None:
        """Adds 1 to the budgets of the visible parents."""
        graph, key = self.graph, frontier.parent_key
        limit, table = limits[frontier.parent_place], graph.key_parent[key]
        parent = graph.parents(rows[frontier.parent_place], key)
        there = parent < graph.offset[table] + visible[limit, table]
        pool.add(torch.where(there, parent, graph.num_rows), there * WEIGHT_OF_ONE, limit, table)

    def _induced_links(self, plan: Plan, rows: Tensor, limits: Tensor, pool: Pool) -> Links:
        """Finds all links among the rows drawn, from the child rows alone: each names its parents."""
        sizes = [len(plan.rows), *(len(tables) for tables in self._tables)]
        begins = np.cumsum([0, *sizes]).tolist()
        frontiers = [plan.frontier, *self._on_device]
        child = torch.cat([f.parent_place + begin for f, begin in zip(frontiers, begins, strict=False)])
        key = torch.cat([f.parent_key for f in frontiers])
        parent = pool.places(self.graph.parents(rows[child], key))
        linked = parent >= 0
        # Key after key, and parent after parent the child rows that were drawn, the latest first.
        family = torch.where(linked, key * len(rows) + parent, len(self.graph.key_child) * len(rows))
        order = torch.argsort(family * (self.graph.num_rows + 1) + self.graph.num_rows - rows[child])
        family, child, parent, linked = family[order], child[order], parent[order], linked[order]
        up = linked & (limits[child] <= limits[parent])
        down = linked & (limits[parent] <= limits[child])
        newer = up.cumsum(0) - up.long()
        begins_family = torch.cat([linked[:1], family[1:] != family[:-1]])
        rank = newer - torch.where(begins_family, newer, 0).cummax(0).values
        return Links(key[order], child, parent, rank, up, down)

    def _output(
        self, plan: Plan, rows: Tensor, limits: Tensor, links: Links, inputs: NodeSamplerInput
    ) -> HeteroSamplerOutput:
        """Leaves out the places that stayed empty, and splits what is there by table and edge type."""
        graph, schema = self.graph, self.index.graph.schema
        there = rows[plan.by_table] < graph.num_rows
        before = torch.cat([there.new_zeros(1, dtype=torch.int64), there.cumsum(0)])
        begin = before[plan.bounds]
        position = torch.empty_like(rows)
        position[plan.by_table] = before[:-1] - begin[plan.tables[plan.by_table]]
        num_edges = torch.zeros((2, len(graph.key_child)), dtype=torch.int64, device=graph.device)
        num_edges.index_add_(1, links.key, torch.stack([links.up, links.down]).long())
        counts = torch.cat([begin.diff(), num_edges.view(-1)]).tolist()  # here the host waits for the device
        num_nodes, num_up, num_down = _split(counts, [len(schema.tables), *num_edges.shape[1:] * 2])
        kept = plan.by_table[_front(there, sum(num_nodes))]
        ages = graph.age(rows[kept], plan.times[limits[kept]])
        locals_ = rows[kept] - graph.offset[plan.tables[kept]]
        ...
