"""How much of their space embeddings use."""

from __future__ import annotations

import torch
from torch import Tensor


def spread(x: Tensor) -> float:
    """Measures how far apart directions are: 0 when all are the same, 1 when they point everywhere alike.

    It is the root of the mean squared distance of the unit-length vectors from their mean, which for directions
    that cancel out is 1.

    Args:
        x: Embeddings ``(num_rows, channels)``.

    Returns:
        The spread.
    """
    unit = torch.nn.functional.normalize(x.float(), dim=1)
    return float((unit - unit.mean(0)).square().sum(1).mean().sqrt())


def effective_rank(x: Tensor) -> float:
    """Computes the effective rank of centred embeddings, exp of the entropy of the singular values' shares.

    Source: Roy and Vetterli 2007, The effective rank: a measure of effective dimensionality.

    Args:
        x: Embeddings ``(num_rows, channels)``.

    Returns:
        Between 1, all on a line, and ``min(num_rows - 1, channels)``; 0 for rows that are all the same.
    """
    values = torch.linalg.svdvals((x - x.mean(0)).double())
    if values.sum() < 1e-12 * max(x.abs().max().item(), 1e-30) * len(x):
        return 0.0
    return float(torch.special.entr(values / values.sum()).sum().exp())
