"""Base of the rankers of pairs under a relation that is known by its text alone, and the simplest of them."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from relbench_pretrain.knowledge_graph.data.neighborhood import Neighborhood
from relbench_pretrain.knowledge_graph.episodes import Episode
from relbench_pretrain.pretrained import SharedNetwork
from relbench_pretrain.pretrained.card import CardText


class EntityContext(NamedTuple):
    """The texts of seen relations, and how often each entity occurs with each of them, as far as rankers may know.

    Args:
        relation_text: Vectors of the relations' texts, of length 1 ``(num_relations, text_width)``.
        present: Which relations have triples ``(num_relations,)``.
        counts: Edges of each entity under each directed relation, as :meth:`Neighborhood.counts` has them, sparse
            ``(2 * num_relations, num_entities)``.
    """

    relation_text: Tensor
    present: Tensor
    counts: Tensor

    @classmethod
    def of(cls, neighborhood: Neighborhood, relation_text: Tensor) -> EntityContext:
        """Computes it from the triples that may be seen and the vectors of texts."""
        found = neighborhood.counts().T.tocoo()
        place = torch.stack([torch.from_numpy(found.row).long(), torch.from_numpy(found.col).long()])
        counts = torch.sparse_coo_tensor(place, torch.from_numpy(found.data), found.shape, check_invariants=True)
        number = torch.sparse.sum(counts, 1).to_dense()[: neighborhood.num_relations]
        return cls(relation_text[: neighborhood.num_relations], number > 0, counts.coalesce())


class PairScorer(SharedNetwork):
    """Base of the rankers of candidates for a relation that has no triples."""

    card = CardText(
        "a ranker of pairs of entities under relations that are known by their texts alone", "knowledge-graph"
    )

    @abstractmethod
    def forward(self, episode: Episode, query: Tensor, context: EntityContext) -> Tensor:
        """Scores candidates.

        Args:
            episode: The queries, for one relation whose triples are hidden.
            query: Text vector of the relation ``(text_width,)``.
            context: What may be known of all entities and seen relations.

        Returns:
            Scores, −inf for no candidate ``(num_queries, num_candidates)``.
        """

    def loss(self, episode: Episode, query: Tensor, context: EntityContext) -> Tensor:
        """Returns the cross-entropy of the true candidates of a training episode."""
        return F.cross_entropy(self(episode, query, context).float(), episode.answer)

    def prepare(self, episodes: Sequence[Episode]) -> None:
        """Fits whatever needs all training episodes at once, before the first of them is trained on."""


def features_of(episode: Episode) -> Tensor:
    """Returns the features of the pairs of an episode.

    Raises:
        ValueError: If it has none.
    """
    if episode.features is None:
        raise ValueError("the episodes have no features of pairs: set data.nearest_relations to 1 or more, such as 16")
    return episode.features


class NearestRelations(PairScorer):
    """Ranks candidates by how often they occur with the seen relations whose texts are nearest.

    On which side they occur does not count, since a near text may well be that of the inverse relation. It learns
    nothing: test it without a checkpoint, where :class:`PairRanker` would stand.

    Args:
        number: How many seen relations.
        joined: Added to the score of a candidate that an edge, or a path over one entity, joins with the head, in the
            unit of ln(1 + number of triples); 0 ignores the structure between the two.
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
