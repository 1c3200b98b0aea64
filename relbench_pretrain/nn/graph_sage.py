"""GraphSAGE on a heterogeneous graph, evaluated as sparse and dense matrix products."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from typing import Literal

import torch
from torch import Tensor, nn
from torch_geometric.nn.module_dict import ModuleDict

from relbench_pretrain.nn.grouped_layers import grouped_layer, grouped_linear, to_autocast
from relbench_pretrain.nn.messages import Edges, Messages, plan_messages
from relbench_pretrain.nn.subgraph import Subgraph
from relbench_pretrain.relational.schema import EdgeType, GraphSchema


class GraphEncoder(nn.Module, ABC):
    """Passes messages among the rows of a subgraph; has no parameters until :meth:`build`."""

    @abstractmethod
    def build(self, schema: GraphSchema, channels: int) -> None:
        """Creates the layers; a second call does nothing."""

    def row_names(self) -> dict[str, list]:
        """Returns, by parameter whose rows belong to tables or paths, what each row belongs to."""
        return {}

    @abstractmethod
    def forward(self, x: dict[str, Tensor], graph: Subgraph) -> dict[str, Tensor]:
        """Encodes the rows in their graph.

        Args:
            x: Per table ``(num_rows, ..., channels)``; the dimensions between, if any, are views.
            graph: The edges between the rows.

        Returns:
            The same for the target rows, or for all rows if the graph names no targets.
        """


class GraphSAGE(GraphEncoder):
    """Heterogeneous GraphSAGE (Hamilton et al. 2017), the functions of RelBench's ``HeteroGraphSAGE``.

    Per layer, x_i' = ReLU(LayerNorm(W_t x_i + b_t + sum over edge types r of W_r mean over neighbours
    j of x_j)), t being the table of i; a row without neighbours under r gets nothing from it. RelBench
    has one root map and one bias per edge type and adds them up, which is W_t and b_t here, so a
    table that no edge type reaches still has them and keeps its own rows' features.

    Args:
        num_layers: Number of layers.
        aggr: Whether the neighbours under an edge type are averaged or added.
    """

    def __init__(self, num_layers: int = 2, aggr: Literal["mean", "sum"] = "mean") -> None:
        super().__init__()
        if aggr not in ("mean", "sum") or num_layers < 1:
            raise ValueError(f"aggr must be 'mean' or 'sum' and num_layers at least 1, got {aggr!r} and {num_layers}")
        self.num_layers = num_layers
        self.aggr = aggr
        self.layers = nn.ModuleList()
        self.tables: list[str] = []
        self._from_parent: dict[EdgeType, bool] = {}

    def build(self, schema: GraphSchema, channels: int) -> None:
        """Creates the layers; a second call does nothing."""
        if self.tables:
            return
        self.tables = schema.node_types
        for key in schema.foreign_keys:
            self._from_parent |= {key.edge_type: False, key.reverse_edge_type: True}
        for _ in range(self.num_layers):
            self.layers.append(_Layer(self.tables, list(self._from_parent), channels))

    def forward(self, x: dict[str, Tensor], graph: Subgraph) -> dict[str, Tensor]:
        """Encodes the rows in their graph, see :meth:`GraphEncoder.forward`."""
        self._check(x, graph)
        sizes = {name: len(x[name]) for name in self.tables if name in x}
        if not sizes:
            return {}
        flat = to_autocast(torch.cat([x[name] for name in sizes]))
        shape = flat.shape[1:]
        targets = [graph.num_targets.get(name, 0) for name in sizes] if graph.num_targets else None
        edges = Edges.number(graph, sizes, self._from_parent, flat)
        flat = flat.flatten(1)  # (num_rows, num_views * channels)
        plan = plan_messages(edges, list(sizes.values()), targets, self.num_layers, self.aggr == "mean")
        for layer, messages in zip(self.layers, plan, strict=True):
            flat = layer(flat, list(sizes), messages)
        rows = flat.unflatten(1, shape).split(messages.sizes)  # (num_rows, ..., channels) again
        return dict(zip(sizes, rows, strict=True))

    def _check(self, x: dict[str, Tensor], graph: Subgraph) -> None:
        if unknown := set(x) - set(self.tables):
            raise ValueError(f"no layers for the tables {sorted(unknown)}; build() was called for {self.tables}")
        for edge_type in graph.edge_index:
            if edge_type not in self._from_parent or edge_type[0] not in x or edge_type[2] not in x:
                raise ValueError(
                    f"edges {edge_type} belong to no foreign key of the schema, or x lacks one of their tables "
                    f"(it has {list(x)}); encode both tables or leave the edges out"
                )
        for name, rows in x.items():
            if len(rows) != graph.num_nodes.get(name, len(rows)):
                raise ValueError(f"table {name!r} has {len(rows)} rows, but the graph has {graph.num_nodes[name]}")


class _Layer(nn.Module):
    def __init__(self, tables: list[str], edge_types: list[EdgeType], channels: int) -> None:
        super().__init__()
        self.root = ModuleDict({table: nn.Linear(channels, channels) for table in tables})
        self.neighbours = ModuleDict({e: nn.Linear(channels, channels, bias=False) for e in edge_types})
        self.norm = ModuleDict({table: nn.LayerNorm(channels) for table in tables})
        # A root map stands for the sum of one per edge type, so it starts as a sum of as many.
        with torch.no_grad():
            for table, number in Counter(target for _, _, target in edge_types).items():
                for extra in [nn.Linear(channels, channels) for _ in range(number - 1)]:
                    self.root[table].weight += extra.weight
                    self.root[table].bias += extra.bias

    def forward(self, x: Tensor, tables: list[str], messages: Messages) -> Tensor:
        channels = self.norm[tables[0]].normalized_shape[0]
        num_views = x.size(1) // channels
        sent = (messages.gather @ x).view(-1, channels)  # (num_slots * num_views, channels)
        if len(self.neighbours):
            sent = grouped_linear(sent, [n * num_views for n in messages.slots], list(self.neighbours.values()))
        received = messages.scatter @ sent.view(-1, x.size(1))  # (num_outputs, num_views * channels)
        rows = x if messages.rows is None else x[messages.rows]
        out = grouped_layer(
            [own.reshape(-1, channels) for own in rows.split(messages.sizes)],
            [self.root[table] for table in tables],
            [self.norm[table] for table in tables],
            messages=[part.view(-1, channels) for part in received.split(messages.sizes)],
        )
        return torch.cat(out).view(len(rows), x.size(1))
