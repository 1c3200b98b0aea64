"""HGSampling in tensor operations, so that graph, features and batches never leave the device."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Sampler
from torch_geometric.data import HeteroData
from torch_geometric.sampler import HeteroSamplerOutput, NodeSamplerInput

from relbench_pretrain.sampling.csc import GraphIndex
from relbench_pretrain.sampling.device_draw import LAST, Links, Pool, front
from relbench_pretrain.sampling.device_graph import DeviceGraph, Frontier, upload
from relbench_pretrain.sampling.hgsampling import ANY_TABLE, BudgetSampler, seed_arrays
from relbench_pretrain.sampling.kernels import batch_state
from relbench_pretrain.sampling.loader import join_batch
from relbench_pretrain.sampling.output import SampledTimes

WEIGHT_OF_ONE = 1 << 44
"""Budgets are whole numbers: a sum of floats would depend on the order in which a device adds them."""


class DeviceHGSampler(BudgetSampler):
    """The subgraphs of :class:`HGSampler`, drawn on the device that holds the graph.

    Same arguments, same distribution, other draws: a batch follows from the seed, the ids of its seeds and the kind
    of device. Shapes are those of the largest batch, as if every row drawn had ``max_children`` child rows under
    every foreign key, and what is not there is masked: so the host waits for the device only once per batch, for
    the numbers of rows and edges.

    Args:
        index: The graph.
        *args: See :class:`BudgetSampler`; time and memory grow with ``max_children``.
        device: Where the graph is copied to.
        **kwargs: The same by name.
    """

    def __init__(self, index: GraphIndex, *args: Any, device: torch.device | str = "cuda", **kwargs: Any) -> None:
        super().__init__(index, *args, **kwargs)
        self.graph = DeviceGraph.from_index(index, torch.device(device))
        # No more room than the whole database can fill. So rows later than every limit may change which rows are
        # drawn where tables or families are that small, though not with what probability.
        self.max_children = max(1, min(self.max_children, self.graph.max_degree))
        places = np.minimum(self.budgets, np.diff(index.flat.offset))
        self._tables = [np.repeat(np.arange(places.shape[1]), row) for row in places]
        self._frontiers = [self._frontier(tables) for tables in self._tables]
        self._on_device = [frontier.to(self.graph.device) for frontier in self._frontiers]
        self._all_rounds = self._frontier(np.concatenate(self._tables)).to(self.graph.device)
        self._first = torch.full((self.graph.num_rows + 1,), LAST, device=self.graph.device)
        self._generator = torch.Generator(self.graph.device)

    def sample_from_nodes(self, inputs: NodeSamplerInput, **kwargs) -> HeteroSamplerOutput:
        """Draws the subgraph around a batch of seeds.

        Args:
            inputs: The seeds, on the host; see :meth:`HGSampler.sample_from_nodes`.

        Returns:
            The subgraph, on the device; the seeds come first within their tables.
        """
        ids = inputs.input_id if inputs.input_id is not None else inputs.node
        self._generator.manual_seed(int(batch_state(self.seed, ids.numpy())[0] >> np.uint64(1)))
        plan, capacity = self._plan(inputs)
        pool = Pool(self._first, capacity, no_row=self.graph.num_rows, no_limit=len(plan.times))
        try:
            drawn = self._draw(plan, pool)
            links = self._induced_links(plan, drawn, pool)
        finally:
            pool.forget()
        return self._output(plan, drawn, links, inputs)

    def _frontier(self, tables: np.ndarray) -> Frontier:
        return Frontier.of_tables(tables, self.index.flat, self.graph.keys)

    def _plan(self, inputs: NodeSamplerInput) -> tuple[Plan, int]:
        """Lays a batch out on the host, as far as it follows from its seeds, and uploads it.

        Returns:
            The plan, and for how many rows reached there must be room.
        """
        num_tables = len(self.index.node_types)
        tables, rows, limits = seed_arrays(self.index, inputs)
        times, limits = np.unique(limits, return_inverse=True)
        tables, seeds = _distinct(tables, self.index.flat.offset[tables] + rows, limits)
        frontier = self._frontier(tables)
        sizes, positions = np.bincount(tables, minlength=num_tables), []
        for drawn, last in zip(self._tables, [frontier, *self._frontiers], strict=False):
            sizes = sizes + last.num_reached(num_tables, self.max_children).numpy()
            positions.append(_first_positions(drawn, sizes))
        tables = np.concatenate([tables, *self._tables])
        by_table = np.argsort(tables, kind="stable")
        bounds = np.searchsorted(tables[by_table], np.arange(num_tables + 1))
        visible = np.append(self.index.visible_rows(times), np.zeros((1, num_tables), dtype=np.int64), axis=0)
        layout = [seeds, times, visible, tables, by_table, bounds, np.concatenate(positions)]
        parts = upload([*frontier, *(torch.from_numpy(part) for part in layout)], self.graph.device)
        return Plan(Frontier(*parts[: len(frontier)]), *parts[len(frontier) :]), int(sizes.sum())

    def _draw(self, plan: Plan, pool: Pool) -> Tensor:
        """Draws round by round. Returns row and limit of every place ``(2, num_places)``."""
        num_places = plan.seeds.shape[1]
        rows, limits = plan.seeds
        pool.add(rows, limits, torch.zeros_like(rows), plan.tables[:num_places])
        pool.place[:num_places] = torch.arange(num_places, device=self.graph.device)
        drawn, frontier = [plan.seeds], plan.frontier
        positions = plan.positions.split([len(tables) for tables in self._tables])
        for position, following in zip(positions, self._on_device, strict=True):
            # 1. The neighbours of the rows drawn last enter the budgets (Algorithm 2).
            pool.add(*self._neighbors(frontier, drawn[-1], plan.visible))
            # 2. Every table draws from its budget in proportion to the squares (Algorithm 1).
            drawn.append(pool.draw(position, num_places, len(plan.bounds), self._generator))
            frontier, num_places = following, num_places + len(position)
        return torch.cat(drawn, dim=1)

    def _neighbors(self, frontier: Frontier, drawn: Tensor, visible: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Returns row, limit, weight (1 / visible degree) and table of all visible neighbours ``(num_neighbors,)``.

        Of many child rows it takes evenly spaced ones from a random start. What is not there is ``num_rows``.
        """
        graph = self.graph
        # Child rows (num_pairs, max_children)
        rows, limit = drawn[:, frontier.child_place]
        family, begin, degree = graph.families(frontier, rows, visible[limit, frontier.child_table])
        some = degree.clamp(min=1)
        count = some.clamp(max=self.max_children)
        start = torch.randint(LAST, some.shape, generator=self._generator, device=graph.device) % some
        step = torch.arange(self.max_children, device=graph.device)
        at = begin[:, None] + (start[:, None] + step * some[:, None]) // count[:, None]
        there = step < degree[:, None]
        child = graph.child[torch.where(there, at, 0)] + (frontier.child_first - family)[:, None]
        child = torch.where(there, child, graph.num_rows)
        child_weight = there * (WEIGHT_OF_ONE // some)[:, None]
        # Parents (num_pairs,)
        rows, parent_limit = drawn[:, frontier.parent_place]
        parent = graph.parents(frontier, rows)
        there = (parent >= 0) & (parent < visible[parent_limit, frontier.parent_table])
        parent = torch.where(there, frontier.parent_first + parent, graph.num_rows)
        return (
            torch.cat([child.view(-1), parent]),
            torch.cat([limit.repeat_interleave(self.max_children), parent_limit]),
            torch.cat([child_weight.view(-1), there * WEIGHT_OF_ONE]),
            torch.cat([frontier.child_table.repeat_interleave(self.max_children), frontier.parent_table]),
        )

    def _induced_links(self, plan: Plan, drawn: Tensor, pool: Pool) -> Links:
        """Finds all links among the rows drawn, from the child rows alone: each names its parents."""
        graph, (rows, limits), num_seeds = self.graph, drawn, plan.seeds.shape[1]
        pairs = Frontier(*(torch.cat(parts) for parts in zip(plan.frontier, self._all_rounds, strict=True)))
        child = torch.cat([plan.frontier.parent_place, self._all_rounds.parent_place + num_seeds])
        parent = graph.parents(pairs, rows[child])
        parent = pool.places(torch.where(parent >= 0, pairs.parent_first + parent, graph.num_rows))
        linked = (parent >= 0) & (rows[child] < graph.num_rows)
        # Foreign key by foreign key, parent by parent, and of one parent's child rows the latest first.
        unlinked = len(graph.keys.width) * len(rows)
        family = torch.where(linked, pairs.parent_key * len(rows) + parent, unlinked)
        order = torch.argsort(family * (graph.num_rows + 1) - rows[child])
        family, key, child, parent = torch.stack([family, pairs.parent_key, child, parent])[:, order]
        up = (family < unlinked) & (limits[child] <= limits[parent])
        down = (family < unlinked) & (limits[parent] <= limits[child])
        newer = up.cumsum(0) - up.long()
        begins = torch.cat([up.new_zeros(1), family[1:] != family[:-1]])[: len(family)]
        rank = newer - torch.where(begins, newer, 0).cummax(0).values
        return Links(key, child, parent, rank, up, down)

    def _output(self, plan: Plan, drawn: Tensor, links: Links, inputs: NodeSamplerInput) -> HeteroSamplerOutput:
        """Leaves out what turned out not to be there, and splits the rest by table and edge type."""
        graph, tables, edge_types = self.graph, self.index.node_types, self.index.edge_types
        num_keys = len(edge_types) // 2
        rows, limits = drawn
        there = rows[plan.by_table] < graph.num_rows
        before = torch.cat([plan.bounds[:1], there.cumsum(0)])
        begin = before[plan.bounds]
        position = torch.empty_like(rows)
        position[plan.by_table] = before[:-1] - begin[plan.tables[plan.by_table]]
        sizes = torch.cat([begin.diff(), links.num_edges(num_keys)]).tolist()  # here the host waits for the device
        num_nodes, num_edges = sizes[: len(tables)], sizes[len(tables) :]
        place = plan.by_table[front(there, sum(num_nodes))]
        node = (rows[place] - graph.offset[plan.tables[place]]).split(num_nodes)
        node_age = graph.age(rows[place], plan.times[limits[place]]).split(num_nodes)
        source, target, rank = links.directed(sum(num_edges[:num_keys]), sum(num_edges[num_keys:]))
        edge_age = graph.age(rows[source], plan.times[limits[target]]).split(num_edges)
        times = SampledTimes(
            age=_named(tables, node_age),
            edge_rank=_named(edge_types, rank.split(num_edges)),
            edge_age=_named(edge_types, edge_age),
        )
        return HeteroSamplerOutput(
            node=_named(tables, node),
            row=_named(edge_types, position[source].split(num_edges)),
            col=_named(edge_types, position[target].split(num_edges)),
            edge=None,
            metadata=(inputs.input_id, inputs.time, times),
        )


class Plan(NamedTuple):
    """The layout of a batch, made before it is sampled. Every row has a *place*: first the seeds, then round by round.

    Args:
        frontier: The seeds to go on from, on the device.
        seeds: Row number over all tables, and the time limit, counted from the earliest ``(2, num_seeds)``.
        times: The limits in UNIX seconds ``(num_limits,)``.
        visible: Leading rows of each table within each limit; a last row says none ``(num_limits + 1, num_tables)``.
        tables: The table of each place ``(num_places,)``.
        by_table: The places sorted by table ``(num_places,)``.
        bounds: Where each table begins in ``by_table`` ``(num_tables + 1,)``.
        positions: For each place after the seeds, where its row will stand among the candidates of its round, once
            they are sorted by table and arrival; −1 if there cannot be as many ``(num_places - num_seeds,)``.
    """

    frontier: Frontier
    seeds: Tensor
    times: Tensor
    visible: Tensor
    tables: Tensor
    by_table: Tensor
    bounds: Tensor
    positions: Tensor


def _distinct(tables: np.ndarray, rows: np.ndarray, limits: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Leaves out seeds that are there twice, but for the earliest of their limits.

    Args:
        tables: The table of each seed ``(num_seeds,)``.
        rows: Its row number over all tables ``(num_seeds,)``.
        limits: Its limit ``(num_seeds,)``.

    Returns:
        Tables ``(num_distinct,)``, and row numbers with limits ``(2, num_distinct)``, in the order given.
    """
    distinct, first, again = np.unique(rows, return_index=True, return_inverse=True)
    earliest = limits[first]
    np.minimum.at(earliest, again, limits)
    order = np.argsort(first)
    return tables[first[order]], np.stack([distinct[order], earliest[order]])


def _first_positions(tables: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """Returns where the first rows of each table stand among candidates sorted by table.

    Args:
        tables: The table of each row to draw, in order of the tables ``(num_drawn,)``.
        sizes: The number of entries of each table ``(num_tables,)``.

    Returns:
        Positions ``(num_drawn,)``, −1 where a table has fewer entries than rows to draw.
    """
    rank = np.arange(len(tables)) - np.searchsorted(tables, tables)
    begin = np.cumsum(sizes) - sizes
    return np.where(rank < sizes[tables], begin[tables] + rank, -1)


def _named(names: list, parts: tuple[Tensor, ...]) -> dict:
    return dict(zip(names, parts, strict=True))


class DeviceLoader:
    """Makes the batches of :class:`RelationalLoader` on the device of a :class:`DeviceHGSampler`.

    It takes no workers: there is nothing for them to prepare or to copy. Columns of lists (multicategorical) make the
    host wait for the device a few times more, because the lists differ in length.

    Args:
        node_sampler: The sampler.
        input_nodes: Table and row numbers of the seeds; the table is ``ANY_TABLE`` if rows are numbered over all.
        input_time: Time limit of each seed in UNIX seconds ``(num_seeds,)``.
        batch_sampler: Yields the seeds of each batch, such as :class:`SeedSampler`.
        input_id: A number for each seed that the batch's randomness is derived from; its place by default.
        transform: Applied to each batch, on the device.
    """

    def __init__(
        self,
        node_sampler: DeviceHGSampler,
        input_nodes: tuple[str, Tensor],
        input_time: Tensor,
        batch_sampler: Sampler[list[int]],
        input_id: Tensor | None = None,
        transform: Callable[[HeteroData], HeteroData] | None = None,
    ) -> None:
        self.node_sampler = node_sampler
        self.input_data = NodeSamplerInput(input_id, input_nodes[1], input_time, input_nodes[0])
        self.batch_sampler = batch_sampler
        self.transform = transform

    def __len__(self) -> int:
        return len(self.batch_sampler)  # type: ignore[arg-type]  # torch's samplers promise no length

    def __iter__(self) -> Iterator[HeteroData]:
        for seeds in self.batch_sampler:
            yield self(seeds)

    def __call__(self, seeds: list[int]) -> HeteroData:
        """Makes the batch of some seeds, given by their places among all."""
        sampler, table = self.node_sampler, self.input_data.input_type
        out = sampler.sample_from_nodes(self.input_data[torch.tensor(seeds)])
        data = join_batch(sampler.graph.graph, out, table, sampler.seed)
        if table != ANY_TABLE:  # these two came with the seeds, from the host
            for name in ("input_id", "seed_time"):
                data[table][name] = data[table][name].to(sampler.graph.device)
        return data if self.transform is None else self.transform(data)
