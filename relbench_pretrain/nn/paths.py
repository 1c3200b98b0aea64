"""Foreign key paths: which rows lie around a row, by which path, and in what order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from relbench_pretrain.nn.subgraph import Subgraph
from relbench_pretrain.relational.schema import EdgeType, GraphSchema


class TokenGroup(NamedTuple):
    """Targets whose numbers of tokens are within a factor of two, so that hardly any padding is needed.

    Args:
        target: The targets ``(size,)``.
        token: Their tokens, any token where there is none ``(size, width)``.
        padding: Where there is none ``(size, width)``.
    """

    target: Tensor
    token: Tensor
    padding: Tensor


class Tokens(NamedTuple):
    """The rows around each target, target by target, the target itself first.

    Args:
        node: Positions among the rows of all tables ``(num_tokens,)``.
        path: Path numbers ``(num_tokens,)``.
        rank: Recency ranks, 0 for the newest and for parents ``(num_tokens,)``.
        age: Seconds from the row's time to the target's time limit, −1 without a time and for the target
            itself ``(num_tokens,)``.
        target: Which target each token belongs to ``(num_tokens,)``.
        place: Its place among the target's tokens ``(num_tokens,)``.
        first: The token of each target itself ``(num_targets,)``.
        groups: Targets with about the same number of tokens, see :class:`TokenGroup`; together all of them.
    """

    node: Tensor
    path: Tensor
    rank: Tensor
    age: Tensor
    target: Tensor
    place: Tensor
    first: Tensor
    groups: list[TokenGroup]


class PathVocabulary(nn.Module):
    """Numbers all foreign key paths from each table up to some length.

    Edge types are numbered as in ``schema.edge_types``; a path walks against them, from a row to the rows whose
    messages it receives.

    Args:
        schema: The schema.
        max_length: The longest path, in foreign keys.

    Attributes:
        names: Of each path the table that it starts from and the edge types that it walks.
    """

    next_path: Tensor

    def __init__(self, schema: GraphSchema, max_length: int) -> None:
        super().__init__()
        self.schema = schema
        end = list(schema.node_types)  # the table at the end of each path
        self.names: list[tuple[str | EdgeType, ...]] = [(table,) for table in end]
        steps: list[tuple[int, int, int]] = []
        frontier = range(len(end))
        for _ in range(max_length):
            first_new = len(end)
            for path in frontier:
                for number, (source, _, target) in enumerate(schema.edge_types):
                    if target == end[path]:
                        steps.append((path, number, len(end)))
                        end.append(source)
                        self.names.append((*self.names[path], schema.edge_types[number]))
            frontier = range(first_new, len(end))
        self.num_paths = len(end)
        table = torch.full((len(end), len(schema.edge_types)), -1, dtype=torch.int64)
        for path, number, following in steps:
            table[path, number] = following
        self.register_buffer("next_path", table, persistent=False)


class _Edges(NamedTuple):
    """All edges of a subgraph, sorted by where they end; those into one row by edge type and rank."""

    source: Tensor
    edge_type: Tensor
    rank: Tensor
    age: Tensor
    first: Tensor  # (num_rows + 1,) where the edges into each row begin
    from_child: Tensor


def walk_paths(
    paths: PathVocabulary,
    graph: Subgraph,
    num_targets: Mapping[str, int],
    rows_per_hop: Sequence[int],
    follow: int,
    max_tokens: int,
) -> Tokens:
    """Walks from each target along all paths at once.

    Parents are always reached. Child rows are reached while their recency rank is below ``rows_per_hop`` of the hop,
    and lead on while it is below ``follow``. A row that is reached twice from one target counts once, the first time.

    Args:
        paths: The paths.
        graph: The sampled edges, with ranks and ages.
        num_targets: How many leading rows of each table are targets.
        rows_per_hop: Child rows per row and foreign key, hop by hop.
        follow: How many of them lead on.
        max_tokens: Tokens per target at most.

    Returns:
        The tokens of all targets, table by table in schema order.
    """
    tables = paths.schema.node_types
    starts = torch.tensor([0] + [graph.num_nodes[t] for t in tables]).cumsum(0)
    device = paths.next_path.device
    edges = _all_edges(paths.schema, graph, dict(zip(tables, starts.tolist(), strict=False)), int(starts[-1]), device)
    counts = [num_targets.get(table, 0) for table in tables]
    node = torch.cat([torch.arange(s, s + n) for s, n in zip(starts.tolist(), counts, strict=False)]).to(device)
    target = torch.arange(len(node), device=device)
    path = torch.repeat_interleave(torch.arange(len(tables)), torch.tensor(counts)).to(device)
    zeros = torch.zeros_like(node)
    reached = [(target, node, path, zeros, torch.full((len(node),), -1.0, device=device))]
    frontier = (target, node, path)
    for limit in rows_per_hop:
        found, leads = _one_hop(paths, edges, frontier, limit, follow)
        reached.append(found)
        frontier = tuple(part[leads] for part in found[:3])
    walked = [torch.cat(parts) for parts in zip(*reached, strict=True)]
    return _layout(walked, len(node), int(starts[-1]), max_tokens)


def _all_edges(schema: GraphSchema, graph: Subgraph, starts: dict[str, int], num_rows: int, device) -> _Edges:
    source, target, number, rank, age, from_child = [], [], [], [], [], []
    for i, edge_type in enumerate(schema.edge_types):
        src, dst = graph.edge_index[edge_type]
        source.append(src + starts[edge_type[0]])
        target.append(dst + starts[edge_type[2]])
        number.append(torch.full_like(src, i))
        from_child.append(torch.full_like(src, i % 2 == 0, dtype=torch.bool))
        rank.append(graph.rank[edge_type])
        age.append(graph.age[edge_type])
    ends, ranks = torch.cat(target), torch.cat(rank)
    order = torch.argsort(ranks, stable=True)
    order = order[torch.argsort(ends[order], stable=True)]
    first = torch.zeros(num_rows + 1, dtype=torch.int64, device=device)
    first[1:] = torch.bincount(ends, minlength=num_rows).cumsum(0)
    return _Edges(
        source=torch.cat(source)[order],
        edge_type=torch.cat(number)[order],
        rank=ranks[order],
        age=torch.cat(age)[order],
        first=first,
        from_child=torch.cat(from_child)[order],
    )


def _one_hop(paths: PathVocabulary, edges: _Edges, frontier, limit: int, follow: int):
    """Follows all edges into the frontier's rows. Returns the rows reached, and which of them lead on."""
    target, node, path = frontier
    degree = edges.first[node + 1] - edges.first[node]
    origin = torch.repeat_interleave(torch.arange(len(node), device=node.device), degree)
    place = torch.arange(len(origin), device=node.device) - (degree.cumsum(0) - degree)[origin]
    edge = edges.first[node[origin]] + place
    keep = ~edges.from_child[edge] | (edges.rank[edge] < limit)
    origin, edge = origin[keep], edge[keep]
    rank = edges.rank[edge]
    following = paths.next_path[path[origin], edges.edge_type[edge]]
    leads = ~edges.from_child[edge] | (rank < follow)
    return (target[origin], edges.source[edge], following, rank, edges.age[edge]), leads


def _layout(walked: list[Tensor], num_targets: int, num_rows: int, max_tokens: int) -> Tokens:
    """Drops rows that were reached before and puts the tokens in order of targets."""
    target, node, path, rank, age = walked
    key = target * num_rows + node
    order = torch.argsort(key, stable=True)  # equal keys stay in the order in which they were reached
    again = torch.zeros_like(order, dtype=torch.bool)
    again[order[1:]] = key[order[1:]] == key[order[:-1]]
    kept = (~again).nonzero().squeeze(1)
    kept = kept[torch.argsort(target[kept], stable=True)]
    counts = torch.bincount(target[kept], minlength=num_targets)
    place = torch.arange(len(kept), device=target.device) - (counts.cumsum(0) - counts)[target[kept]]
    fits = place < max_tokens
    kept, place = kept[fits], place[fits]
    counts = counts.clamp(max=max_tokens)
    first = counts.cumsum(0) - counts
    return Tokens(node[kept], path[kept], rank[kept], age[kept], target[kept], place, first, _groups(counts, first))


def _groups(counts: Tensor, first: Tensor) -> list[TokenGroup]:
    """Groups targets by the power of two above their number of tokens."""
    level = (counts - 1).clamp(min=1).double().log2().floor().long()  # 2: 0, 3 and 4: 1, 5 to 8: 2, ...
    groups = []
    for value in level.unique().tolist():
        target = (level == value).nonzero().squeeze(1)
        place = torch.arange(int(counts[target].max()), device=counts.device)
        padding = place >= counts[target].unsqueeze(1)
        groups.append(TokenGroup(target, first[target].unsqueeze(1) + place.where(~padding, 0), padding))
    return groups
