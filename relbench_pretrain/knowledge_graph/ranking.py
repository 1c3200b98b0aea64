"""Ranks of true entities among candidates, and the metrics made of them."""

from __future__ import annotations

from collections.abc import Sequence

import numba
import numpy as np
import torch
from torch import Tensor
from torchmetrics import Metric


def realistic_ranks(
    scores: Tensor, true: Tensor, known: Tensor | None = None, candidates: Tensor | None = None
) -> Tensor:
    """Ranks the true entity of each query by the mean of the optimistic and the pessimistic rank.

    Entities that are left out are not masked but counted and subtracted again, so scores are read once and never
    written.

    Args:
        scores: Higher is better ``(num_queries, num_entities)``.
        true: The place of the true entity ``(num_queries,)``.
        known: Query and place of other true entities, which are left out (*filtered*), ``(2, num_known)``; each pair
            once. That of the true entity itself may be among them.
        candidates: Which entities are ranked, ``(num_queries, num_entities)``, or ``(num_entities,)`` for all queries
            the same; the true entity is one in any case. None for all.

    Returns:
        Ranks from 1 on, in steps of one half ``(num_queries,)``. A query whose true entity scores NaN has the last
        rank; other entities that score NaN rank below it.
    """
    target = scores.gather(1, true.unsqueeze(1))  # (num_queries, 1)
    if candidates is not None:
        ranked = candidates.expand_as(scores)
        above = ((scores > target) & ranked).sum(1)
        level = ((scores == target) & ranked).sum(1) - ranked.gather(1, true.unsqueeze(1)).squeeze(1).long()
        total = ranked.sum(1) + 1 - ranked.gather(1, true.unsqueeze(1)).squeeze(1).long()
    else:
        above, level = count_above(scores, target.squeeze(1))
        level = level - 1
        total = torch.full_like(above, scores.size(1))
    if known is not None and known.size(1):
        query, place = known
        value = scores[query, place]
        leaves = place != true[query]
        if candidates is not None:
            leaves = leaves & ranked[query, place]
        target = target.squeeze(1)[query]
        above = above.index_add(0, query, (leaves & (value > target)).to(above.dtype), alpha=-1)
        level = level.index_add(0, query, (leaves & (value == target)).to(level.dtype), alpha=-1)
        total = total.index_add(0, query, leaves.to(total.dtype), alpha=-1)
    rank = 1 + above + level.to(torch.float64) / 2
    return torch.where(scores.gather(1, true.unsqueeze(1)).squeeze(1).isnan(), total.to(rank.dtype), rank)


def count_above(scores: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Counts the scores of each row above its target, and those level with it.

    Args:
        scores: ``(num_rows, num_columns)``.
        target: ``(num_rows,)``.

    Returns:
        Both counts, int64 ``(num_rows,)``.
    """
    if scores.device.type == "cpu" and scores.dtype in (torch.float32, torch.float64) and not scores.requires_grad:
        threads = torch.get_num_threads()
        numba.set_num_threads(min(threads, numba.config.NUMBA_NUM_THREADS))  # type: ignore[attr-defined]
        above, level = _count_above(scores.numpy(), target.to(scores.dtype).numpy())
        torch.set_num_threads(threads)  # Numba sets it to its own where the two share one OpenMP
        return torch.from_numpy(above), torch.from_numpy(level)
    target = target.unsqueeze(1)
    return (scores > target).sum(1), (scores == target).sum(1)


@numba.njit(parallel=True, cache=True, nogil=True)
def _count_above(scores, target):
    """One pass over the scores, which PyTorch's comparisons and sums would need four of."""
    above = np.zeros(len(target), dtype=np.int64)
    level = np.zeros(len(target), dtype=np.int64)
    for i in numba.prange(len(target)):
        value, more, same = target[i], np.int32(0), np.int32(0)
        for j in range(scores.shape[1]):
            more += scores[i, j] > value
            same += scores[i, j] == value
        above[i], level[i] = more, same
    return above, level


class RankingMetrics(Metric):
    """Mean reciprocal rank, hits and mean rank, over all devices.

    Args:
        hits: The ranks up to which a query counts as hit.
        protocol: Put before the names of the metrics, since numbers of different protocols cannot be compared, such
            as ``"tail/candidates"``.
    """

    full_state_update = False
    count: Tensor
    reciprocal: Tensor
    ranks: Tensor
    hit: Tensor

    def __init__(self, hits: Sequence[int] = (1, 3, 5, 10), protocol: str = "") -> None:
        super().__init__()
        self.hits = list(hits)
        self.protocol = protocol
        self.add_state("count", torch.zeros((), dtype=torch.long), dist_reduce_fx="sum")
        self.add_state("reciprocal", torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("ranks", torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("hit", torch.zeros(len(self.hits), dtype=torch.long), dist_reduce_fx="sum")

    def update(self, ranks: Tensor) -> None:
        """Takes the ranks of a batch of queries ``(num_queries,)``."""
        ranks = ranks.double()
        self.count += len(ranks)
        self.reciprocal += (1 / ranks).sum()
        self.ranks += ranks.sum()
        self.hit += torch.stack([(ranks <= k).sum() for k in self.hits])

    def compute(self) -> dict[str, Tensor]:
        """Returns the metrics by name; NaN before there is a rank."""
        count = self.count.double()
        values = {"mrr": self.reciprocal / count, "mean_rank": self.ranks / count}
        values |= {f"hits@{k}": hit / count for k, hit in zip(self.hits, self.hit, strict=True)}
        prefix = f"{self.protocol}/" if self.protocol else ""
        return {f"{prefix}{name}": value.float() for name, value in values.items()}
