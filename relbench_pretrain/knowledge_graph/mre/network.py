"""All parts of multimodal relation extrapolation as one network."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from relbench_pretrain.knowledge_graph.mre.consolidator import StructureConsolidator, TripleScore
from relbench_pretrain.knowledge_graph.mre.generator import Critic, PairExtractor, RelationGenerator
from relbench_pretrain.knowledge_graph.mre.learner import Learner
from relbench_pretrain.knowledge_graph.mre.modalities import ModalityInputs, ModalitySpec
from relbench_pretrain.pretrained import SharedNetwork
from relbench_pretrain.pretrained.card import CardText


class ExtrapolationNetwork(SharedNetwork):
    """The network of multimodal relation extrapolation, MRE (Cai et al. 2024).

    Args:
        learner: Makes vectors of entities and relations from images and texts.
        consolidator: Lets entities see their neighbours.
        score: How triples are scored.
        extractor: Makes vectors of pairs.
        generator: Makes vectors of relations from text and noise.
        critic: Distinguishes pairs from generated vectors.
    """

    card = CardText(
        "multimodal relation extrapolation: vectors of relations from texts",
        "knowledge-graph",
        "To begin a run with its learner: `--model.learner_weights {name}`.\n\n",
    )

    def __init__(
        self,
        learner: Learner,
        consolidator: StructureConsolidator,
        score: TripleScore,
        extractor: PairExtractor,
        generator: RelationGenerator,
        critic: Critic,
    ) -> None:
        super().__init__()
        self.learner, self.consolidator, self.score = learner, consolidator, score
        self.extractor, self.generator, self.critic = extractor, generator, critic
        self.specs: dict[str, ModalitySpec] | None = None
        self.sizes = (0, 0)

    def build(self, specs: dict[str, ModalitySpec], sizes: tuple[int, int]) -> None:
        """Creates the parameters; a second call changes nothing.

        Args:
            specs: The form of each modality's inputs.
            sizes: The number of entities, and of relations.
        """
        self.specs, self.sizes = specs, sizes
        self.learner.build(specs, sizes[0])
        self.consolidator.build(self.learner.entity_width, self.learner.relation_width, sizes[1])
        self.generator.build(self.learner.relation_width)
        self.critic.build(sizes[1])

    def built_for(self) -> dict[str, Any] | None:
        """Returns the specs of inputs, and the numbers of entities and relations."""
        if self.specs is None:
            return None
        return {"specs": {name: list(spec) for name, spec in self.specs.items()}, "sizes": list(self.sizes)}

    def build_for(self, description: dict[str, Any]) -> None:
        """Creates the parameters for inputs and sizes."""
        specs = {name: ModalitySpec.of_stored(spec) for name, spec in description["specs"].items()}
        self.build(specs, tuple(description["sizes"]))

    def forward(self, inputs: ModalityInputs, number: int = 20, generator: torch.Generator | None = None) -> Tensor:
        """Generates vectors of relations from their texts.

        Args:
            inputs: The texts.
            number: Vectors of each.
            generator: Draws the noise.

        Returns:
            ``(num_relations, number, channels)``.
        """
        return self.generator(self.learner.encode_relations(inputs), number, generator)
