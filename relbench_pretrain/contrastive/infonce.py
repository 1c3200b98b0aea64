"""InfoNCE for anchors with different numbers of negatives, in tensors of fixed shape."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

_NO_CANDIDATE = -1e30
"""The similarity of a candidate that is left out. Finite, so that a row that has nothing else
gives no NaN, and far below any dot product over a temperature."""


class AnchorLosses(NamedTuple):
    """The loss of each anchor and the number of negatives that it really had.

    An anchor without a negative keeps its place, with loss 0 and 0 negatives, and is not counted.
    Places are never removed: their number would have to travel from the device to the host.

    Args:
        loss: One loss per anchor, at least float32, ``(num_anchors,)``.
        num_negatives: The negatives of each anchor, int64, ``(num_anchors,)``.
    """

    loss: Tensor
    num_negatives: Tensor

    @property
    def sum(self) -> Tensor:
        """The summed loss, a scalar."""
        return self.loss.sum()

    @property
    def count(self) -> Tensor:  # type: ignore[override]  # hides tuple.count, which nothing needs here
        """The number of anchors with at least one negative, an int64 scalar."""
        return (self.num_negatives > 0).sum()

    @property
    def chance(self) -> Tensor:
        """The loss of uniform guessing, ``ln(num_negatives + 1)``, ``(num_anchors,)``."""
        return (self.num_negatives + 1).to(self.loss.dtype).log()

    @property
    def normalized_sum(self) -> Tensor:
        """The sum of loss / chance (the paper's Equation 6), a scalar; over ``count`` it is 1.0 for guessing."""
        return (self.loss / self.chance.where(self.num_negatives > 0, 1.0)).sum()

    @classmethod
    def concatenate(cls, losses: Sequence[AnchorLosses]) -> AnchorLosses:
        """Pools the anchors of several tables or edge types.

        Raises:
            ValueError: If there is nothing to pool; :meth:`of_no_anchor` makes an empty part.
        """
        if not losses:
            raise ValueError("No losses to concatenate: add AnchorLosses.of_no_anchor(tensors)")
        return cls(
            torch.cat([part.loss.flatten() for part in losses]),
            torch.cat([part.num_negatives.flatten() for part in losses]),
        )

    @classmethod
    def of_no_anchor(cls, *tensors: Tensor) -> AnchorLosses:
        """Makes the losses of no anchor, on the device of the tensors and with a gradient path to them.

        So a batch without a pair can go through ``backward``, and a parameter that the batch did
        not use gets a gradient of zero, which data parallel training waits for.
        """
        loss = torch.cat([at_least_float32(tensor.flatten()[:0]) for tensor in tensors])
        return cls(loss, loss.new_zeros(0, dtype=torch.int64))

    @classmethod
    def of_anchors(cls, positive: Tensor, log_sum: Tensor, num_negatives: Tensor) -> AnchorLosses:
        """Makes the losses softplus(log-sum-exp of the negatives − positive).

        That is −log softmax at the positive, over the positive and the negatives.

        Args:
            positive: Similarity to the positive, ``(num_anchors,)``.
            log_sum: Log-sum-exp of the similarities to the negatives, ``(num_anchors,)``.
            num_negatives: Number of negatives; 0 also for an anchor that has no positive, ``(num_anchors,)``.
        """
        loss = -F.logsigmoid(at_least_float32(positive) - log_sum)
        return cls(loss.where(num_negatives > 0, 0.0), num_negatives)


def info_nce(
    positive: Tensor,
    similarity: Tensor,
    is_negative: Tensor,
    max_negatives: int | None = None,
    generator: torch.Generator | None = None,
) -> AnchorLosses:
    """Computes −log softmax at the positive, over the positive and the negatives of each anchor.

    It is computed in float32 at least, whatever autocast says. Leading dimensions are welcome.

    Args:
        positive: Similarity of each anchor to its positive, over the temperature, ``(num_anchors,)``.
        similarity: The same to each candidate, ``(num_anchors, num_candidates)``.
        is_negative: Which candidates are negatives, bool, ``(num_anchors, num_candidates)``. Every
            anchor has a candidate that is none, as a rule its positive.
        max_negatives: The most negatives that an anchor may have; None for no limit.
        generator: Draws them where there are more.
    """
    similarity, is_negative = sample_negatives(similarity, is_negative, max_negatives, generator)
    log_sum = negative_logsumexp(similarity, is_negative)
    return AnchorLosses.of_anchors(positive, log_sum, count(is_negative))


def negative_logsumexp(similarity: Tensor, is_negative: Tensor, dim: int = -1) -> Tensor:
    """Computes the log-sum-exp over the negatives along ``dim``.

    Args:
        similarity: ``(num_anchors, num_candidates)``, with any leading dimensions.
        is_negative: Which candidates count, bool, the same shape.
        dim: The dimension of the candidates.

    Returns:
        ``(num_anchors,)``; where there is no negative a large negative number with gradient 0.
    """
    return _NegativeLogSumExp.apply(at_least_float32(similarity), is_negative, dim)


def count(is_negative: Tensor, dim: int = -1) -> Tensor:
    """Counts the negatives along ``dim``; int64, by way of int32, which is twice as fast."""
    return is_negative.sum(dim, dtype=torch.int32).long()


class _NegativeLogSumExp(torch.autograd.Function):
    """Softmax is both the way to the log-sum-exp and its gradient, so it is computed once."""

    @staticmethod
    def forward(ctx: Any, similarity: Tensor, is_negative: Tensor, dim: int) -> Tensor:
        similarity = similarity.where(is_negative, _NO_CANDIDATE)
        weight = similarity.softmax(dim)
        ctx.save_for_backward(weight)
        ctx.dim = dim
        # The largest weight is exp(max − log-sum-exp) and at least 1 / num_candidates.
        return similarity.amax(dim) - weight.amax(dim).log()

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        (weight,) = ctx.saved_tensors
        return weight * grad.unsqueeze(ctx.dim), None, None


def sample_negatives(
    similarity: Tensor, is_negative: Tensor, max_negatives: int | None, generator: torch.Generator | None = None
) -> tuple[Tensor, Tensor]:
    """Draws ``max_negatives`` of each anchor's negatives, uniformly and without replacement.

    Nothing is drawn when there cannot be more than that many, since one candidate is no negative.

    Args:
        similarity: ``(num_anchors, num_candidates)``, with any leading dimensions.
        is_negative: Which candidates are negatives, bool, the same shape.
        max_negatives: The most negatives that an anchor keeps; None for all.
        generator: The source of randomness, on the device of ``similarity``.

    Returns:
        Similarities and mask of the drawn candidates, ``(num_anchors, max_negatives)``; an anchor
        with fewer negatives has all of them, and False in the places that are left over.
    """
    if max_negatives is None or similarity.size(-1) <= max_negatives + 1:
        return similarity, is_negative
    with torch.no_grad():
        # The largest of independent uniform keys are a uniform draw; others have keys below all of them.
        key = torch.rand(similarity.shape, generator=generator, device=similarity.device)
        index = key.where(is_negative, -1.0).topk(max_negatives, dim=-1, sorted=False).indices
    return similarity.gather(-1, index), is_negative.gather(-1, index)


def at_least_float32(tensor: Tensor) -> Tensor:
    """Returns the tensor in float32 if it is of half precision, or as it is."""
    return tensor.float() if tensor.dtype in (torch.float16, torch.bfloat16) else tensor
