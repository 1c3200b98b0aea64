"""Tables of different sizes, side by side in padded blocks, and the similarities within each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from typing import NamedTuple, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor

from relbench_pretrain.contrastive.infonce import at_least_float32

Key = TypeVar("Key")

PADDED_ROWS = 256
"""Up to this many rows, tables share a block: one batched product beats one call per table."""

CHUNK_SIMILARITIES = 2**22
"""The most similarities that are computed at a time (16 MB in float32)."""


class Side(NamedTuple):
    """The anchors, or the candidates, of a block of tables.

    Args:
        rows: Vectors, ``(num_tables, num_rows, channels)``.
        valid: False for padding and for rows that take no part, bool, ``(num_tables, num_rows)``.
        labels: Where any label of an anchor equals that of a candidate, the candidate is no
            negative of it. Each int64, ``(num_tables, num_rows)``.
    """

    rows: Tensor
    valid: Tensor
    labels: Sequence[Tensor]


def blocks(sizes: Mapping[Key, int]) -> Iterator[list[Key]]:
    """Yields the keys in blocks: small ones of about a size together, then each larger one alone; none with size 0.

    Args:
        sizes: Number of rows by table (or by foreign key, the larger of its two tables).
    """
    least = 0
    for most in (PADDED_ROWS // 2, PADDED_ROWS):  # two classes of sizes, lest small tables are padded to large ones
        if small := [key for key, size in sizes.items() if least < size <= most]:
            yield small
        least = most
    yield from ([key] for key, size in sizes.items() if size > PADDED_ROWS)


def pack(rows: Sequence[Tensor], row_id: Sequence[Tensor], *labels: Sequence[Tensor]) -> Side:
    """Packs tables into one side of a block, with the row numbers as first label.

    Args:
        rows: By table, ``(num_rows, channels)``.
        row_id: By table, at least 0; a row with a negative number takes no part, ``(num_rows,)``.
        labels: Further labels, each by table, ``(num_rows,)``.
    """
    ids = pad_stack(row_id, value=-1)
    return Side(pad_stack(rows), ids >= 0, [ids, *map(pad_stack, labels)])


def pad_stack(tensors: Sequence[Tensor], value: int = 0) -> Tensor:
    """Stacks tensors of different numbers of rows, ``(num_tensors, largest number of rows, ...)``.

    Args:
        tensors: Each ``(num_rows, ...)``.
        value: Fills the missing rows. It reaches the device as a kernel's argument, so
            that padding does not wait for it.
    """
    size = max(len(tensor) for tensor in tensors)
    return torch.stack([_pad(tensor, size - len(tensor), value) for tensor in tensors])


def _pad(tensor: Tensor, missing: int, value: int) -> Tensor:
    return F.pad(tensor, [0, 0] * (tensor.dim() - 1) + [0, missing], value=value) if missing else tensor


def similarity(anchor: Tensor, candidate: Tensor, temperature: float) -> Tensor:
    """Computes dot products over the temperature in float32 at least, also under autocast.

    Rounding a dot product of 100 to bfloat16 would move it by up to 0.25.

    Args:
        anchor: ``(num_tables, num_anchors, channels)``.
        candidate: ``(num_tables, num_candidates, channels)``.
        temperature: The divisor.

    Returns:
        ``(num_tables, num_anchors, num_candidates)``.
    """
    device = anchor.device.type  # there are devices without autocast
    with torch.autocast(device, enabled=False) if torch.amp.is_autocast_available(device) else nullcontext():
        return (at_least_float32(anchor) / temperature) @ at_least_float32(candidate).mT


def negatives(anchor: Side, candidate: Side) -> Tensor:
    """Returns which candidates are negatives of which anchors, bool, ``(num_tables, num_anchors, num_candidates)``."""
    # As bytes: on the CPU a product is vectorised under broadcasting, and a logical "and" is not.
    mine, theirs = anchor.valid.view(torch.uint8), candidate.valid.view(torch.uint8)
    mask = (mine.unsqueeze(-1) * theirs.unsqueeze(-2)).view(torch.bool)
    for label, other in zip(anchor.labels, candidate.labels, strict=True):
        mask &= label.unsqueeze(-1) != other.unsqueeze(-2)
    return mask


def similarity_chunks(anchor: Side, candidate: Side, temperature: float) -> Iterator[tuple[slice, Tensor, Tensor]]:
    """Yields slices of the anchors with their similarities and their negatives, in bounded memory.

    A chunk holds at most :data:`CHUNK_SIMILARITIES` similarities (or one anchor's). They are
    freed with the chunk, as a product keeps its factors only; what lasts until ``backward`` is
    what the caller keeps: after sampling, 12 bytes for each sampled negative.
    """
    num_tables, num_anchors = anchor.valid.shape
    step = max(1, CHUNK_SIMILARITIES // (num_tables * max(1, candidate.valid.size(1))))
    for start in range(0, num_anchors, step):
        rows = slice(start, start + step)
        part = anchor if step >= num_anchors else _narrow(anchor, rows)
        yield rows, similarity(part.rows, candidate.rows, temperature), negatives(part, candidate)


def _narrow(side: Side, rows: slice) -> Side:
    return Side(side.rows[:, rows], side.valid[:, rows], [label[:, rows] for label in side.labels])
