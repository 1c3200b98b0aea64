"""Layers for groups of rows (tables, edge types), each group with parameters of its own.

A row encoder is many small layers on a few hundred rows of each table. On a CPU most of their time
goes into the operations around the matrix products: random numbers drawn one at a time, and a module call
and several nodes in the autograd graph per step and table. Here one node does a layer of all
groups, group after group, while a group's rows are still in the processor's cache. The values are
those of the modules that the functions are given; autograd casts gradients to the parameters' type.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable


def grouped_layer(
    xs: Sequence[Tensor],
    linears: Sequence[nn.Linear] | None,
    norms: Sequence[nn.LayerNorm],
    *,
    messages: Sequence[Tensor] | None = None,
    shortcuts: Sequence[Tensor] | None = None,
    dropout: float = 0.0,
) -> list[Tensor]:
    """Computes shortcut + dropout(ReLU(norm(linear(x) + message))) for each group.

    Args:
        xs: Per group ``(num_rows, in_channels)``.
        linears: Linear maps with a bias; None for none.
        norms: Layer norms, all with the same ``eps``.
        messages: Per group ``(num_rows, channels)``, added before the norm; None for nothing.
        shortcuts: Per group ``(num_rows, channels)``, added at last; None for nothing.
        dropout: Probability with which an element is set to zero; 0 outside training.

    Returns:
        Per group ``(num_rows, channels)``.
    """
    absent = [None] * len(xs)
    maps = absent if linears is None else linears
    groups = zip(xs, maps, norms, messages or absent, shortcuts or absent, strict=True)
    flat: list[Tensor | None] = []
    for x, linear, norm, message, shortcut in groups:
        flat += [x, None, None] if linear is None else [to_autocast(x), linear.weight, linear.bias]
        flat += [norm.weight, norm.bias, message, shortcut]
    return list(_GroupedLayer.apply(norms[0].eps, dropout, *flat)) if flat else []


def grouped_linear(x: Tensor, sizes: Sequence[int], linears: Sequence[nn.Linear]) -> Tensor:
    """Applies to each group of rows its own linear map.

    Args:
        x: ``(num_rows, in_channels)``, the groups one after the other.
        sizes: Number of rows of each group.
        linears: One map per group, without a bias.

    Returns:
        ``(num_rows, out_channels)``.
    """
    return _GroupedLinear.apply(to_autocast(x), list(sizes), *[linear.weight for linear in linears])


def to_autocast(x: Tensor) -> Tensor:
    """Casts to the type of the autocast region, if there is one."""
    device = x.device.type
    return x.to(torch.get_autocast_dtype(device)) if torch.is_autocast_enabled(device) else x


class _GroupedLayer(torch.autograd.Function):
    ARGUMENTS = 7  # of each group: x, weight, bias, norm weight, norm bias, message, shortcut

    @staticmethod
    def forward(ctx: Any, eps: float, dropout: float, *flat: Tensor | None) -> tuple[Tensor, ...]:
        groups = _chunks(flat, _GroupedLayer.ARGUMENTS)
        outs: list[Tensor] = []
        saved: list[Tensor | None] = []
        scale = 1.0
        for group in groups:
            out, tensors, scale = _layer(group, eps, dropout)
            outs.append(out)
            saved += tensors
        ctx.save_for_backward(*saved)
        ctx.scale = scale
        return tuple(outs)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        needed = _chunks(ctx.needs_input_grad[2:], _GroupedLayer.ARGUMENTS)
        saved = _chunks(ctx.saved_tensors, len(ctx.saved_tensors) // len(grads))
        out: list[Tensor | None] = [None, None]
        for grad, tensors, need in zip(grads, saved, needed, strict=True):
            out += _layer_gradients(grad, tensors, ctx.scale, need)
        return tuple(out)


def _chunks(flat: Sequence[Any], size: int) -> list[Sequence[Any]]:
    return [flat[i : i + size] for i in range(0, len(flat), size)]


def _layer(group: Sequence[Any], eps: float, dropout: float) -> tuple[Tensor, tuple[Tensor | None, ...], float]:
    """Returns the output of a group, what its gradient needs, and what the dropout multiplied by."""
    x, weight, bias, norm_weight, norm_bias, message, shortcut = group
    hidden, scale = x, 1.0
    if weight is not None:
        weight = weight.to(x.dtype)
        hidden = torch.addmm(bias.to(x.dtype), x, weight.t())
    if message is not None:
        hidden = hidden + message
    if hidden.device.type != "cpu":  # only the CPU normalises in a type other than the parameters'
        hidden = hidden.to(norm_weight.dtype)
    out, mean, rstd = torch.native_layer_norm(hidden, hidden.shape[1:], norm_weight, norm_bias, eps)
    out.relu_()
    if dropout > 0.0:
        keep, probability = keep_mask(out, dropout)
        scale = 1.0 / probability
        out.mul_(keep).mul_(scale)
    saved = (x, weight, hidden, out, mean, rstd, norm_weight, norm_bias)
    return out if shortcut is None else out + shortcut, saved, scale


def _layer_gradients(grad: Tensor, saved: Sequence[Any], scale: float, need: Sequence[bool]) -> list[Tensor | None]:
    """Returns the gradients of a group's arguments."""
    x, weight, hidden, out, mean, rstd, norm_weight, norm_bias = saved
    # An element is positive if the ReLU let it through and the dropout kept it.
    inner = torch.ops.aten.threshold_backward(grad.to(out.dtype).contiguous(), out, 0)
    if scale != 1.0:
        inner.mul_(scale)
    inner, *norm_grads = torch.ops.aten.native_layer_norm_backward(
        inner, hidden, hidden.shape[1:], mean, rstd, norm_weight, norm_bias, [True] * 3
    )
    ends = [inner if need[5] else None, grad if need[6] else None]
    if weight is None:
        return [inner, None, None, *norm_grads, *ends]
    inner = inner.to(x.dtype)
    return [inner @ weight if need[0] else None, inner.t() @ x, inner.sum(0), *norm_grads, *ends]


class _GroupedLinear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, sizes: list[int], *weights: Tensor) -> Tensor:
        ctx.sizes = sizes
        cast = [weight.to(x.dtype) for weight in weights]
        out = x.new_empty(x.size(0), cast[0].size(0))
        for rows, weight, target in zip(x.split(sizes), cast, out.split(sizes), strict=True):
            torch.mm(rows, weight.t(), out=target)
        ctx.save_for_backward(x, *cast)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, *weights = ctx.saved_tensors
        grads = grad.contiguous().split(ctx.sizes)
        grad_weights = [g.t() @ rows for g, rows in zip(grads, x.split(ctx.sizes), strict=True)]
        grad_x = None
        if ctx.needs_input_grad[0]:
            grad_x = torch.empty_like(x)
            for g, weight, target in zip(grads, weights, grad_x.split(ctx.sizes), strict=True):
                torch.mm(g, weight, out=target)
        return grad_x, None, *grad_weights


def keep_mask(like: Tensor, dropout: float) -> tuple[Tensor, float]:
    """Draws which elements a dropout keeps.

    The CPU draws one Bernoulli number at a time, which costs more than the matrix product beside
    it. Each 64-bit random number is cut into four here, so the probability is a multiple of 1/65536.

    Returns:
        Ones and zeros of the shape and type of ``like``, and the exact probability of a one.
    """
    if like.device.type != "cpu":
        return torch.empty_like(like).bernoulli_(1.0 - dropout), 1.0 - dropout
    dropped = min(round(dropout * 2**16), 2**16 - 1)
    bits = torch.empty(-(-like.numel() // 4), dtype=torch.int64).random_(-(2**63), None)
    bits = bits.view(torch.int16)[: like.numel()].view(like.shape)
    keep = torch.ge(bits, dropped - 2**15, out=torch.empty_like(like, memory_format=torch.contiguous_format))
    return keep, 1.0 - dropped / 2**16
