"""Layers whose rows belong to groups (tables, edge types), each group with parameters of its own.

A database has many tables with few rows each in a mini-batch, so one small operation per table and
layer is mostly overhead. Here the rows of all groups lie one after the other in one matrix: what
needs no parameters runs once over all of it, and matrix products write straight into their slice.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx, once_differentiable


def grouped_linear(x: Tensor, sizes: Sequence[int], layers: Sequence[nn.Linear]) -> Tensor:
    """Applies to each group of rows its own linear map.

    Args:
        x: ``(num_rows, in_channels)``, the groups one after the other.
        sizes: Number of rows of each group.
        layers: One layer per group, all with or all without a bias.

    Returns:
        ``(num_rows, out_channels)``, in the type of the autocast region if there is one.
    """
    device = x.device.type
    if torch.is_autocast_enabled(device):
        x = x.to(torch.get_autocast_dtype(device))
    biases = [layer.bias for layer in layers if layer.bias is not None]
    return _GroupedLinear.apply(x, list(sizes), *[layer.weight for layer in layers], *biases)


def grouped_norm_relu(
    x: Tensor, sizes: Sequence[int], norms: Sequence[nn.LayerNorm], dropout: float = 0.0
) -> Tensor:
    """Applies to each group of rows its own layer norm, then ReLU, then dropout.

    Args:
        x: ``(num_rows, channels)``, the groups one after the other.
        sizes: Number of rows of each group.
        norms: One layer per group, all with the same ``eps``.
        dropout: Probability with which an element is set to zero; 0 outside training.

    Returns:
        ``(num_rows, channels)``.
    """
    if x.device.type != "cpu":  # only the CPU's kernel normalises in a type other than the parameters'
        x = x.to(norms[0].weight.dtype)
    parameters = [norm.weight for norm in norms] + [norm.bias for norm in norms]
    return _GroupedNormReLU.apply(x, list(sizes), norms[0].eps, dropout, *parameters)


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


class _GroupedNormReLU(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: FunctionCtx, x: Tensor, sizes: list[int], eps: float, dropout: float, *parameters: Tensor
    ) -> Tensor:
        weights, biases = parameters[: len(sizes)], parameters[len(sizes) :]
        shape = (x.size(1),)
        normed = [
            torch.native_layer_norm(rows, shape, weight, bias, eps)
            for rows, weight, bias in zip(x.split(sizes), weights, biases, strict=True)
        ]
        out = torch.cat([values for values, _, _ in normed]).relu_()
        if dropout > 0.0:
            keep, probability = keep_mask(out, dropout)
            out.mul_(keep).mul_(1.0 / probability)
            ctx.scale = 1.0 / probability
        else:
            ctx.scale = 1.0
        ctx.save_for_backward(x, out, *parameters, *[s for _, *stats in normed for s in stats])
        ctx.sizes, ctx.shape = sizes, shape
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, out, *saved = ctx.saved_tensors
        n = len(ctx.sizes)
        weights, biases, means, rstds = saved[:n], saved[n : 2 * n], saved[2 * n :: 2], saved[2 * n + 1 :: 2]
        # An element is positive if the ReLU let it through and the dropout kept it.
        grad = torch.ops.aten.threshold_backward(grad.contiguous(), out, 0)
        if ctx.scale != 1.0:
            grad.mul_(ctx.scale)
        groups = zip(grad.split(ctx.sizes), x.split(ctx.sizes), means, rstds, weights, biases, strict=True)
        grads = [
            torch.ops.aten.native_layer_norm_backward(g, rows, ctx.shape, mean, rstd, weight, bias, [True] * 3)
            for g, rows, mean, rstd, weight, bias in groups
        ]
        grad_x, grad_weights, grad_biases = zip(*grads, strict=True)
        return torch.cat(grad_x), None, None, None, *grad_weights, *grad_biases


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
