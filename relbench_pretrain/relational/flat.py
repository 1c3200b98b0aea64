"""Tensors one after the other in one array, the form in which they are kept in a file and walked by samplers."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from itertools import accumulate
from typing import TypeVar, cast

import torch
from torch import Tensor

Name = TypeVar("Name", bound=Hashable)


def flatten(parts: dict[Name, Tensor], names: Sequence[Name]) -> Tensor:
    """Joins tensors, and lets the dictionary hold views of the result; where they lie so already, nothing is copied.

    Args:
        parts: int64 tensors of any shape, by name.
        names: Their order.

    Returns:
        All values ``(num_values,)``.
    """
    shapes = {name: parts[name].shape for name in names}
    flat = _joined([parts[name] for name in names])
    parts.update(unflatten(flat, shapes))
    return flat


def unflatten(flat: Tensor, shapes: Mapping[Name, Sequence[int]]) -> dict[Name, Tensor]:
    """Returns the views that :func:`flatten` joined.

    Args:
        flat: All values ``(num_values,)``.
        shapes: Their shapes by name, in order.

    Raises:
        RuntimeError: If there are more or fewer values.
    """
    views = flat.split([torch.Size(shape).numel() for shape in shapes.values()])
    return {name: view.view(*shape) for (name, shape), view in zip(shapes.items(), views, strict=True)}


def _joined(parts: list[Tensor]) -> Tensor:
    if not parts:
        return torch.empty(0, dtype=torch.int64)
    first = parts[0]
    places: list[int] = list(accumulate((part.numel() for part in parts), initial=cast(int, first.storage_offset())))
    begins = [part.storage_offset() for part in parts]
    one_storage = len({part.untyped_storage().data_ptr() for part in parts}) == 1
    if one_storage and begins == places[:-1] and all(part.is_contiguous() for part in parts):
        return first.as_strided((places[-1] - places[0],), (1,))
    return torch.cat([part.reshape(-1) for part in parts])
