"""Tensors of all data parallel processes: gathered rows, with gradients for their owners, and means."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor


def gather_rows(x: Tensor, group: Any = None) -> Tensor:
    """Gathers the rows of all processes, however many each of them has.

    The gradient of a row is the sum of what all processes' losses say about it, so that
    the processes together compute what one process with all rows would. Every process has to
    call it, also one without rows, and to include the result in what it calls ``backward`` on.

    Args:
        x: The rows of this process, ``(num_rows, ...)``; the other dimensions agree.
        group: The process group; None for the default one.

    Returns:
        This process's rows first, then those of the others by rank, ``(sum of num_rows, ...)``;
        ``x`` itself where there is one process.
    """
    return gather_tables([x], group)[0]


def gather_tables(tables: Sequence[Tensor], group: Any = None) -> list[Tensor]:
    """Does for several tables what :func:`gather_rows` does for one, in the same two messages.

    Args:
        tables: The tables of this process, each ``(num_rows, ...)``; all dimensions but the first
            and the types agree, also between processes.
        group: The process group; None for the default one.
    """
    if not tables or not (dist.is_available() and dist.is_initialized()) or dist.get_world_size(group) == 1:
        return list(tables)
    sizes = _gather_sizes(tables, group)
    rank = dist.get_rank(group)
    order = [rank] + [other for other in range(len(sizes)) if other != rank]
    pooled = _GatherRows.apply(torch.cat(list(tables)), [sum(row) for row in sizes], order, group)
    parts = pooled.split([size for other in order for size in sizes[other]])  # by process, then by table
    return [torch.cat(parts[k :: len(tables)]) for k in range(len(tables))]


def _gather_sizes(tables: Sequence[Tensor], group: Any) -> list[list[int]]:
    """Returns the number of rows by rank and table."""
    mine = torch.tensor([len(table) for table in tables], device=tables[0].device)
    sizes = [torch.empty_like(mine) for _ in range(dist.get_world_size(group))]
    dist.all_gather(sizes, mine, group=group)
    return torch.stack(sizes).tolist()


class _GatherRows(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, sizes: list[int], order: list[int], group: Any) -> Tensor:
        """Gathers rows, padded to the same number everywhere.

        Args:
            ctx: Autograd's context.
            x: Rows of this process, ``(sizes[rank], ...)``.
            sizes: Number of rows by rank.
            order: The ranks in the order of the result.
            group: The process group.
        """
        ctx.sizes, ctx.order, ctx.group = sizes, order, group
        padded = x.new_zeros(max(sizes), *x.shape[1:])
        padded[: len(x)] = x
        parts = [torch.empty_like(padded) for _ in sizes]
        dist.all_gather(parts, padded, group=group)
        return torch.cat([parts[rank][: sizes[rank]] for rank in order])

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None, None]:
        total = grad.new_zeros(len(ctx.sizes), max(ctx.sizes), *grad.shape[1:])
        for rank, part in zip(ctx.order, grad.split([ctx.sizes[rank] for rank in ctx.order]), strict=True):
            total[rank, : len(part)] = part
        dist.all_reduce(total, group=ctx.group)
        own = ctx.order[0]
        return total[own, : ctx.sizes[own]], None, None, None


def process_mean(x: Tensor) -> Tensor:
    """Returns the mean over all processes of the default group, in which each has its own value.

    A sum over a process's own rows, divided by the mean number of rows, is after averaging over processes what one
    process with all rows computes. No gradient passes.

    Args:
        x: Floating point or integer, of the same shape on all processes.

    Returns:
        Floating point, of the same shape; ``x`` itself where there is one process.
    """
    if not dist.is_available() or not dist.is_initialized() or dist.get_world_size() == 1:
        return x
    total = x.detach().float().clone()
    dist.all_reduce(total)
    return total / dist.get_world_size()
