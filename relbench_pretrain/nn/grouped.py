"""Layers for groups of rows (tables, edge types), each group with parameters of its own.

A database has many tables with few rows each in a mini-batch, so a network of one small module per
table spends its time on overhead and on passes over memory. Here one call does the work of a layer
for all groups, group after group, while a group's rows are still in the processor's cache.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx, once_differentiable


def grouped_linear(x: Tensor, sizes: Sequence[int], maps: Sequence[nn.Linear]) -> Tensor:
    """Applies to each group of rows its own linear map.

    Args:
        x: ``(num_rows, in_channels)``, the groups one after the other.
        sizes: Number of rows of each group.
        maps: One layer per group, all with or all without a bias.

    Returns:
        ``(num_rows, out_channels)``, in the type of the autocast region if there is one.
    """
    biases = [layer.bias for layer in maps if layer.bias is not None]
    return _GroupedLinear.apply(_autocast(x), list(sizes), *[layer.weight for layer in maps], *biases)


def grouped_layer(
    xs: Sequence[Tensor],
    maps: Sequence[nn.Linear] | None,
    norms: Sequence[nn.LayerNorm],
    *,
    messages: Sequence[Tensor] | None = None,
    shortcuts: Sequence[Tensor] | None = None,
    dropout: float = 0.0,
) -> list[Tensor]:
    """Computes shortcut + dropout(ReLU(norm(map(x) + message))) for each group.

    Args:
        xs: Per group ``(num_rows, channels)``.
        maps: Linear maps with a bias, from channels to channels; None for none.
        norms: Layer norms.
        messages: What is added before the norm, shaped like the result; None for nothing.
        shortcuts: What is added at last, shaped like the result; None for nothing.
        dropout: Probability with which an element is set to zero; 0 outside training.

    Returns:
        Per group ``(num_rows, channels)``.
    """
    if maps is not None:
        xs = [_autocast(x) for x in xs]
    elif xs[0].device.type != "cpu":  # only the CPU normalises in a type other than the parameters'
        xs = [x.to(norms[0].weight.dtype) for x in xs]
    tensors = [*xs, *[norm.weight for norm in norms], *[norm.bias for norm in norms]]
    if maps is not None:
        tensors += [*[layer.weight for layer in maps], *[layer.bias for layer in maps]]
    plan = _Plan(len(xs), maps is not None, messages is not None, shortcuts is not None, norms[0].eps, dropout)
    return list(_GroupedLayer.apply(plan, *tensors, *(messages or []), *(shortcuts or [])))


def _autocast(x: Tensor) -> Tensor:
    device = x.device.type
    return x.to(torch.get_autocast_dtype(device)) if torch.is_autocast_enabled(device) else x


class _GroupedLinear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: FunctionCtx, x: Tensor, sizes: list[int], *parameters: Tensor) -> Tensor:
        weights = [weight.to(x.dtype) for weight in parameters[: len(sizes)]]
        biases = [bias.to(x.dtype) for bias in parameters[len(sizes) :]]
        out = x.new_empty(x.size(0), weights[0].size(0))
        for i, (rows, target) in enumerate(zip(x.split(sizes), out.split(sizes), strict=True)):
            if biases:
                torch.addmm(biases[i], rows, weights[i].t(), out=target)
            else:
                torch.mm(rows, weights[i].t(), out=target)
        ctx.save_for_backward(x, *weights)
        ctx.sizes, ctx.has_bias, ctx.dtype = sizes, bool(biases), parameters[0].dtype
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, *weights = ctx.saved_tensors
        grads = grad.contiguous().split(ctx.sizes)
        grad_x = None
        if ctx.needs_input_grad[0]:
            grad_x = torch.empty_like(x)
            for rows, weight, target in zip(grads, weights, grad_x.split(ctx.sizes), strict=True):
                torch.mm(rows, weight, out=target)
        grad_weights = [g.t() @ rows for g, rows in zip(grads, x.split(ctx.sizes), strict=True)]
        grad_biases = [g.sum(0) for g in grads] if ctx.has_bias else []
        return grad_x, None, *[g.to(ctx.dtype) for g in grad_weights + grad_biases]


@dataclass
class _Plan:
    groups: int
    has_map: bool
    has_message: bool
    has_shortcut: bool
    eps: float
    dropout: float

    def unpack(self, tensors: Sequence[Tensor]) -> list[Sequence[Tensor | None]]:
        """Splits a flat list into xs, norm weights and biases, map weights and biases, messages, shortcuts."""
        present = [True] * 3 + [self.has_map] * 2 + [self.has_message, self.has_shortcut]
        rest, parts = iter(tensors), []
        for there in present:
            parts.append([next(rest) if there else None for _ in range(self.groups)])
        return parts


class _GroupedLayer(torch.autograd.Function):
    @staticmethod
    def forward(ctx: FunctionCtx, plan: _Plan, *tensors: Tensor) -> tuple[Tensor, ...]:
        outs, saved = [], []
        parts = plan.unpack(tensors)
        masks, scale = keep_masks(parts[0], plan.dropout)
        for x, norm_weight, norm_bias, weight, bias, message, shortcut, mask in zip(*parts, masks, strict=True):
            if weight is not None:
                weight = weight.to(x.dtype)
                hidden = torch.addmm(bias.to(x.dtype), x, weight.t())
            else:
                hidden = x
            if message is not None:
                hidden = hidden + message
            out, mean, rstd = torch.native_layer_norm(hidden, hidden.shape[1:], norm_weight, norm_bias, plan.eps)
            out.relu_()
            if mask is not None:
                out.mul_(mask).mul_(scale)
            saved += [x, weight, hidden, out, mean, rstd, norm_weight, norm_bias]
            outs.append(out if shortcut is None else out + shortcut)
        ctx.save_for_backward(*saved)
        ctx.plan, ctx.scale, ctx.dtype = plan, scale, parts[1][0].dtype
        return tuple(outs)
