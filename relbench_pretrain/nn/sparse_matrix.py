"""A sparse matrix times a dense one, for lookups, means over neighbours and their gradients."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


class SparseMatrix:
    """A sparse matrix without gradients of its own, given by its entries in any order.

    The product with a dense matrix is an embedding bag with weights: one pass that reads and adds,
    without a copy of the rows per entry. It has kernels for every floating point type on the CPU
    and on GPUs, adds in a fixed order, and is one to two orders of magnitude faster on the CPU than
    gathering and scattering. The gradient is the product with the transposed matrix, in the same way.

    Args:
        row: ``(num_entries,)``.
        col: ``(num_entries,)``.
        value: ``(num_entries,)``; entries of the same row and column add up.
        num_rows: Number of rows.
        num_cols: Number of columns.
    """

    def __init__(self, row: Tensor, col: Tensor, value: Tensor, num_rows: int, num_cols: int) -> None:
        row, order = torch.sort(row, stable=True)
        self._row, self.col, self.value = row, col[order], value[order]
        self.pointer = row.new_zeros(num_rows + 1)
        torch.cumsum(torch.bincount(row, minlength=num_rows), 0, out=self.pointer[1:])
        self.num_rows, self.num_cols = num_rows, num_cols

    @classmethod
    def lookup(cls, index: Tensor, num_cols: int) -> SparseMatrix:
        """Returns the matrix whose product is the rows ``index`` of the dense matrix."""
        row = torch.arange(len(index), device=index.device)
        return cls(row, index, torch.ones(len(index), device=index.device), len(index), num_cols)

    @cached_property
    def transposed(self) -> SparseMatrix:
        """The transposed matrix, computed when the first gradient needs it."""
        return SparseMatrix(self.col, self._row, self.value, self.num_cols, self.num_rows)

    def __matmul__(self, dense: Tensor) -> Tensor:
        """Returns the product with ``(num_cols, channels)``, of shape ``(num_rows, channels)``."""
        return _SparseProduct.apply(dense, self)

    def multiply(self, dense: Tensor) -> Tensor:
        """Returns the product without a gradient."""
        value = self.value.to(dense.dtype)
        return torch.embedding_bag(
            dense.contiguous(), self.col, self.pointer, mode=0, per_sample_weights=value, include_last_offset=True
        )[0]


class _SparseProduct(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, dense: Tensor, matrix: SparseMatrix) -> Tensor:
        ctx.matrix = matrix
        return matrix.multiply(dense)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        return ctx.matrix.transposed.multiply(grad), None
