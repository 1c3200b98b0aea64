"""Learners of vectors of entities and relations from images and texts: their base, and a plain table."""

from __future__ import annotations

from abc import abstractmethod

import torch
from torch import Tensor, nn

from relbench_pretrain.knowledge_graph.mre.modalities import ModalityInputs, ModalitySpec, scaled

LearnerLosses = dict[str, Tensor]


class Learner(nn.Module):
    """Base of the multimodal learners.

    Args:
        entity_width: Width of the vectors of entities, known from the start or after :meth:`build`.
        relation_width: Width of those of relations.
    """

    entity_width: int
    relation_width: int

    @abstractmethod
    def build(self, specs: dict[str, ModalitySpec], num_entities: int) -> None:
        """Creates the parameters that depend on the graph; a second call changes nothing.

        Args:
            specs: The form of each modality's inputs.
            num_entities: The number of entities.
        """

    @abstractmethod
    def encode_entities(self, number: Tensor, inputs: ModalityInputs) -> Tensor:
        """Returns vectors of entities.

        Args:
            number: The entities ``(num_chosen,)``.
            inputs: Their inputs.

        Returns:
            ``(num_chosen, entity_width)``.
        """

    @abstractmethod
    def encode_relations(self, inputs: ModalityInputs) -> Tensor:
        """Returns vectors of relations from their texts ``(num_chosen, relation_width)``."""

    @abstractmethod
    def losses(self, inputs: ModalityInputs, generator: torch.Generator | None = None) -> LearnerLosses:
        """Returns the losses on inputs of entities by name, ``"image"``, ``"text"`` and ``"contrast"``."""


class EntityTable(Learner):
    """A learned vector for each entity, and the vector of each relation's text as it is: nothing multimodal.

    This is the starting point of ZSGAN (Qin et al. 2020), and the model without images and texts of entities.

    Args:
        width: Width of the vectors of entities.
    """

    def __init__(self, width: int = 200) -> None:
        super().__init__()
        self.width = self.entity_width = width
        self.table: nn.Embedding | None = None

    def build(self, specs: dict[str, ModalitySpec], num_entities: int) -> None:
        if specs["text"].kind != "vector":
            raise ValueError(
                "EntityTable takes relations from vectors of their texts: leave data.training.tokenizer out"
            )
        self.relation_width = specs["text"].size
        if self.table is None:
            self.table = nn.Embedding(num_entities, self.entity_width)
            nn.init.xavier_uniform_(self.table.weight)

    def encode_entities(self, number: Tensor, inputs: ModalityInputs) -> Tensor:
        assert self.table is not None
        return self.table(number)

    def encode_relations(self, inputs: ModalityInputs) -> Tensor:
        return scaled(inputs["text"].values)

    def losses(self, inputs: ModalityInputs, generator: torch.Generator | None = None) -> LearnerLosses:
        return {}
