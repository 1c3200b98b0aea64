"""Simple rankings of the tails of unseen relations, which any model has to beat."""

from __future__ import annotations

import torch
from torch import Tensor

from relbench_pretrain.knowledge_graph.episodes import Episode
from relbench_pretrain.knowledge_graph.rankers.pair_scorer import EntityContext, PairScorer


class NearestRelations(PairScorer):
    """Ranks candidates by how often they occur with the seen relations whose texts are nearest.

    On which side they occur does not count, since a near text may well be that of the inverse relation. It learns
    nothing: test it without a checkpoint, where :class:`PairRanker` would stand.

    Args:
        number: How many seen relations.
        joined: What a candidate gains that an edge, or a path over one entity, joins with the head, in the unit of
            ln(1 + number of triples); 0 leaves the structure between the two out.
    """

    def __init__(self, number: int = 5, joined: float = 0.0) -> None:
        super().__init__()
        self.number = number
        self.joined = joined

    def forward(self, episode: Episode, query: Tensor, context: EntityContext) -> Tensor:
        """Scores candidates; see :meth:`PairScorer.forward`."""
        usable, candidate = context.present.clone(), episode.candidate
        usable[episode.relation : episode.relation + 1] = False  # new relations are numbered after all others
        near = (
            (context.relation_text @ query).masked_fill(~usable, -torch.inf).topk(min(self.number, int(usable.sum())))
        )
        both = torch.cat([near.indices, near.indices + len(usable)])
        times = context.counts.index_select(0, both).to_dense().log1p()
        score = (near.values.repeat(2) @ times)[candidate.clamp(min=0)]
        if self.joined:
            edge, path = episode.paths
            met = torch.zeros(candidate.numel(), device=score.device)
            met[edge[:, 0] * candidate.size(1) + edge[:, 1]] = 1
            met[path[:, 0] * candidate.size(1) + path[:, 1]] = 1
            score = score + self.joined * met.view_as(score)
        return score.masked_fill(candidate < 0, -torch.inf)
