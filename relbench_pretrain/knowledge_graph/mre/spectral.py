"""A spectrally normalised linear layer that can be pickled, which PyTorch's parametrised one cannot."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class SpectralLinear(nn.Linear):
    """A linear layer whose weight is divided by its largest singular value (Miyato et al. 2018).

    A step of power iteration for each forward pass in training keeps track of it.

    Args:
        in_features: Width of the input.
        out_features: Width of the output.
    """

    left: Tensor

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__(in_features, out_features)
        self.register_buffer("left", F.normalize(torch.randn(out_features), dim=0))
        for _ in range(15):
            self._iterate()

    @torch.no_grad()
    def _iterate(self) -> None:
        right = F.normalize(self.weight.T @ self.left, dim=0)
        self.left.copy_(F.normalize(self.weight @ right, dim=0))

    def forward(self, input: Tensor) -> Tensor:
        """Transforms ``(..., in_features)`` to ``(..., out_features)``."""
        if self.training:
            self._iterate()
        left = self.left.clone()  # the next pass moves it before this one is differentiated
        size = (left @ self.weight).norm()
        return F.linear(input, self.weight / size, self.bias)
