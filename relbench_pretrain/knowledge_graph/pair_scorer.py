"""What scores pairs of entities under a relation that is known by its text alone."""

from __future__ import annotations

from abc import abstractmethod
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from relbench_pretrain.knowledge_graph.neighborhood import Neighborhood, Paths


class EntityContext(NamedTuple):
    """What is known of all entities and seen relations.

    Args:
        entity_text: Vectors of the entities' texts, of length 1 ``(num_entities, text_width)``.
        relation_text: The same of the relations ``(num_relations, text_width)``.
        profile: Edges of each entity under each directed relation, as :meth:`Neighborhood.profile` counts them, in
            ln(1 + number) ``(num_entities, 2 * num_relations)``.
        present: Which relations have triples ``(num_relations,)``.
        head: Head of every triple, relation by relation ``(num_triples,)``.
        tail: Its tail ``(num_triples,)``.
        first: Where the triples of each relation begin ``(num_relations + 1,)``.
    """

    entity_text: Tensor
    relation_text: Tensor
    profile: Tensor
    present: Tensor
    head: Tensor
    tail: Tensor
    first: Tensor

    @classmethod
    def of(cls, neighborhood: Neighborhood, entity_text: Tensor, relation_text: Tensor) -> EntityContext:
        """Collects it from a graph of seen triples and the vectors of texts."""
        present = torch.zeros(neighborhood.num_relations, dtype=torch.bool)
        present[torch.from_numpy(neighborhood.relation % neighborhood.num_relations).unique()] = True
        source = np.repeat(np.arange(len(neighborhood.degree)), neighborhood.degree)
        forward = neighborhood.relation < neighborhood.num_relations
        order = np.argsort(neighborhood.relation[forward], kind="stable")
        head, relation, tail = (
            torch.from_numpy(part[forward][order]) for part in (source, neighborhood.relation, neighborhood.neighbor)
        )
        first = torch.searchsorted(relation, torch.arange(neighborhood.num_relations + 1))
        texts = (entity_text, relation_text[: neighborhood.num_relations])
        return cls(*texts, neighborhood.profile(), present, head, tail, first)


class PairScorer(nn.Module):
    """Base of what ranks candidates for a relation that has no triples."""

    @abstractmethod
    def build(self, text_width: int, num_relations: int) -> None:
        """Creates the parameters; a second call changes nothing.

        Args:
            text_width: Width of the vectors of texts.
            num_relations: The number of relations.
        """

    @abstractmethod
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
        """Scores candidates.

        Args:
            context: The graph.
            query: Text vector of the relation ``(text_width,)``.
            head: The entity given ``(num_queries,)``.
            candidate: ``(num_queries, num_candidates)``, −1 for none.
            paths: What joins them, without the hidden relation.
            hidden: The relation whose triples are hidden, −1 for none.
            reverse: Whether the tail is given and heads are candidates: then all relations change direction.

        Returns:
            Scores, −inf for no candidate ``(num_queries, num_candidates)``.
        """
