"""Simple rankings of the tails of unseen relations, which any model has to beat."""

from __future__ import annotations

import torch
from torch import Tensor

from relbench_pretrain.knowledge_graph.neighborhood import Paths
from relbench_pretrain.knowledge_graph.pair_scorer import EntityContext, PairScorer


class NearestRelations(PairScorer):
    """Ranks candidates by how often they occur with the seen relations whose texts are nearest.

    On which side they occur does not count, since a near text may well be that of the inverse relation. It learns
    nothing: test it without a checkpoint, where :class:`PairEncoder` would stand.

    Args:
        number: How many seen relations.
        joined: What a candidate gains that an edge, or a path over one entity, joins with the head, in the unit of
            ln(1 + number of triples); 0 leaves the structure between the two out.
    """

    def __init__(self, number: int = 5, joined: float = 0.0) -> None:
        super().__init__()
        self.number = number
        self.joined = joined

    def build(self, text_width: int, num_relations: int) -> None:
        """Nothing is to be created."""

    def forward(
        self,
        context: EntityContext,
        query: Tensor,
        head: Tensor,
        candidate: Tensor,
        paths: Paths,
        hidden: int = -1,
        reverse: bool = False,
    ) -> Tensor:
        """Scores candidates; see :meth:`PairScorer.forward`."""
        usable = context.present.clone()
        if 0 <= hidden < len(usable):
            usable[hidden] = False
        near = (
            (context.relation_text @ query).masked_fill(~usable, -torch.inf).topk(min(self.number, int(usable.sum())))
        )
        either = context.profile[:, near.indices] + context.profile[:, near.indices + len(usable)]
        score = (either @ near.values)[candidate.clamp(min=0)]
        if self.joined:
            met = torch.zeros(candidate.numel(), device=score.device)
            met[paths.edge[:, 0] * candidate.size(1) + paths.edge[:, 1]] = 1
            met[paths.path[:, 0] * candidate.size(1) + paths.path[:, 1]] = 1
            score = score + self.joined * met.view_as(score)
        return score.masked_fill(candidate < 0, -torch.inf)
