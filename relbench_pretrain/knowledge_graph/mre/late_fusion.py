"""Pictures and texts encoded apart, and brought together at the end: what a shared encoder is compared with."""

from __future__ import annotations

from abc import abstractmethod

import torch
from torch import Tensor, nn

from relbench_pretrain.knowledge_graph.mre.learner import Learner, LearnerLosses
from relbench_pretrain.knowledge_graph.mre.m3ae import M3AE, symmetric_infonce
from relbench_pretrain.knowledge_graph.mre.modalities import ModalityInputs, ModalitySpec


class Fuse(nn.Module):
    """Base of how the vectors of two modalities become one."""

    @abstractmethod
    def build(self, width: int) -> None:
        """Creates the parameters for vectors of a width."""

    @abstractmethod
    def forward(self, image: Tensor, text: Tensor) -> Tensor:
        """Fuses vectors ``(num_entities, width)`` to ``(num_entities, width)``."""


class Concatenation(Fuse):
    """A linear layer over both vectors."""

    def build(self, width: int) -> None:
        self.layer = nn.Linear(2 * width, width)

    def forward(self, image: Tensor, text: Tensor) -> Tensor:
        return self.layer(torch.cat([image, text], dim=1))


class Gate(Fuse):
    """A share of each, entry by entry, that both decide on."""

    def build(self, width: int) -> None:
        self.layer = nn.Linear(2 * width, width)

    def forward(self, image: Tensor, text: Tensor) -> Tensor:
        share = self.layer(torch.cat([image, text], dim=1)).sigmoid()
        return share * image + (1 - share) * text


class LateFusion(Learner):
    """One masked autoencoder for pictures and one for texts, whose vectors are fused.

    Args:
        image: Encodes pictures.
        text: Encodes texts, of relations too; it must be as wide as the other.
        fuse: Brings both together.

    Raises:
        ValueError: If the widths differ.
    """

    def __init__(self, image: M3AE, text: M3AE, fuse: Fuse) -> None:
        super().__init__()
        if image.encoder_width != text.encoder_width:
            raise ValueError(f"image is {image.encoder_width} wide and text {text.encoder_width}: make them equal")
        self.image, self.text, self.fuse = image, text, fuse
        self.entity_width = self.relation_width = text.encoder_width
        self.built = False

    def build(self, specs: dict[str, ModalitySpec], num_entities: int) -> None:
        if self.built:
            return
        if "image" not in specs:
            raise ValueError("LateFusion wants pictures of entities, and the data has none: use M3AE")
        self.image.build({"image": specs["image"]}, num_entities)
        self.text.build({"text": specs["text"]}, num_entities)
        self.relation_width = self.text.relation_width
        self.fuse.build(self.entity_width)
        self.built = True

    def encode_entities(self, number: Tensor, inputs: ModalityInputs) -> Tensor:
        return self.fuse(*self._both(inputs))

    def encode_relations(self, inputs: ModalityInputs) -> Tensor:
        return self.text.encode_relations(inputs)

    def losses(self, inputs: ModalityInputs, generator: torch.Generator | None = None) -> LearnerLosses:
        result: LearnerLosses = {}
        for name, learner in (("image", self.image), ("text", self.text)):
            result |= learner.losses({name: inputs[name]}, generator)
        present = inputs["image"].present & inputs["text"].present
        result["contrast"] = symmetric_infonce(*self._both(inputs), present, self.text.temperature)
        return result

    def _both(self, inputs: ModalityInputs) -> tuple[Tensor, Tensor]:
        if set(inputs) != {"image", "text"}:
            raise ValueError("LateFusion wants both inputs: set data.training.use_images and use_texts, or use M3AE")
        number = len(inputs["text"].values)
        image, text = ({name: inputs[name]} for name in ("image", "text"))
        return self.image.encode(image, number), self.text.encode(text, number)
