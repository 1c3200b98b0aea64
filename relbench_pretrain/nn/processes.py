"""What data parallel processes have to agree on."""

from __future__ import annotations

import torch.distributed as dist
from torch import Tensor


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
