"""The masked multimodal autoencoder: masked patches and words are predicted from the visible ones."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from relbench_pretrain.knowledge_graph.mre.learner import Learner, LearnerLosses
from relbench_pretrain.knowledge_graph.mre.modalities import (
    Modality,
    ModalityInputs,
    ModalitySpec,
    VectorPieces,
    modality_of,
    scaled,
)


@dataclass
class _Visible:
    """The tokens of a modality that were left visible.

    Args:
        index: The tokens chosen ``(num_things, num_slots)``.
        filled: Which slots hold one ``(num_things, num_slots)``.
        masked: Which tokens were masked ``(num_things, num_pieces)``.
    """

    index: Tensor
    filled: Tensor
    masked: Tensor


class M3AE(Learner):
    """A transformer over patches and words at once, trained to predict three quarters of them from the rest.

    After Geng et al. 2022 and Cai et al. 2024, Section III-A. Only visible tokens are encoded. The vector of a thing is
    the [CLS] token with nothing masked. Where an entity has no image or no text, a learned token stands for that;
    relations have no image and no token for it. Where texts are vectors that another model made, those of relations
    are taken as they are: there are too few relations to learn from them what a new text means.

    The defaults are the small model of the paper.

    Args:
        width: Width of the encoder.
        depth: Its blocks.
        heads: Its heads.
        decoder_width: Width of the decoder.
        decoder_depth: Its blocks.
        decoder_heads: Its heads.
        patch: Width and height of a patch in pixels.
        vector_pieces: Pieces of a vector, where inputs are vectors.
        mask_ratio: Share of the tokens that are masked.
        temperature: Temperature of the contrast between image and text.
        dropout: Dropout rate.
    """

    def __init__(
        self,
        width: int = 384,
        depth: int = 12,
        heads: int = 6,
        decoder_width: int = 512,
        decoder_depth: int = 8,
        decoder_heads: int = 16,
        patch: int = 16,
        vector_pieces: int = 8,
        mask_ratio: float = 0.75,
        temperature: float = 0.05,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        if not 0 < mask_ratio < 1:
            raise ValueError(f"mask_ratio must be between 0 and 1, got {mask_ratio}")
        self.width = self.entity_width = self.relation_width = width
        self.depth, self.heads = depth, heads
        self.decoder_depth, self.decoder_heads, self.dropout = decoder_depth, decoder_heads, dropout
        self.decoder_width = decoder_width
        self.patch, self.vector_pieces = patch, vector_pieces
        self.mask_ratio, self.temperature = mask_ratio, temperature
        self.cls = nn.Parameter(torch.randn(width) * 0.02)
        self.encoder = _transformer(width, depth, heads, dropout)
        self.to_decoder = nn.Linear(width, decoder_width)
        self.mask = nn.Parameter(torch.randn(decoder_width) * 0.02)
        self.decoder = _transformer(decoder_width, decoder_depth, decoder_heads, dropout)
        self.modalities = nn.ModuleDict()

    def build(self, specs: dict[str, ModalitySpec], num_entities: int) -> None:
        if self.modalities:
            return
        for name, spec in specs.items():
            parts = (self.patch, self.vector_pieces, self.encoder_width, self.decoder_width)
            self.modalities[name] = modality_of(spec, *parts)
        if "text" in specs and specs["text"].kind == "vector":
            self.relation_width = specs["text"].size

    @property
    def encoder_width(self) -> int:
        """Width of the encoder."""
        return len(self.cls)

    def encode_entities(self, number: Tensor, inputs: ModalityInputs) -> Tensor:
        return self.encode(inputs, len(number))

    def encode_relations(self, inputs: ModalityInputs) -> Tensor:
        values = inputs["text"].values
        if isinstance(self.modalities["text"], VectorPieces):
            return scaled(values)
        return self.encode(inputs, len(values))

    def encode(self, inputs: ModalityInputs, number: int) -> Tensor:
        """Returns the [CLS] tokens of things of which all is visible.

        Args:
            inputs: The inputs; where there are none, all things have the same vector.
            number: How many things there are.

        Returns:
            ``(number, width)``.
        """
        tokens, filled = [], []
        for name, (values, present) in inputs.items():
            modality: Modality = self.modalities[name]  # type: ignore[assignment]
            pieces = modality.cut(values)
            part = _with_missing(modality.tokens(pieces), modality.occupied(pieces, present), modality.missing, present)
            tokens.append(part[0])
            filled.append(part[1])
        return self._encoded(tokens, filled, number)[:, 0]

    def losses(self, inputs: ModalityInputs, generator: torch.Generator | None = None) -> LearnerLosses:
        """Masks inputs of entities and predicts the masked tokens.

        Args:
            inputs: The inputs.
            generator: Draws the mask.

        Returns:
            By modality the mean loss over masked tokens, and as ``"contrast"`` that between mean visible patches
            and mean visible words of entities that have both (symmetric InfoNCE).
        """
        if not inputs:
            return {}
        pieces, kept, tokens, filled = {}, {}, [], []
        for name, (values, present) in inputs.items():
            modality: Modality = self.modalities[name]  # type: ignore[assignment]
            pieces[name] = modality.cut(values)
            kept[name] = self._mask(modality.occupied(pieces[name], present), generator)
            visible = modality.tokens(pieces[name], kept[name].index)
            part = _with_missing(visible, kept[name].filled, modality.missing, present)
            tokens.append(part[0])
            filled.append(part[1])
        encoded = self._encoded(tokens, filled, len(tokens[0]))
        sizes = [1, *(part.size(1) for part in tokens)]
        cls, *parts = encoded.split(sizes, dim=1)
        result = self._reconstruction(cls, dict(zip(inputs, parts, strict=True)), pieces, kept)
        if len(parts) == 2:
            means = [_mean(part, kept[name].filled) for name, part in zip(inputs, parts, strict=True)]
            both = torch.stack([kept[name].filled[:, 0] for name in inputs]).all(0)
            result["contrast"] = symmetric_infonce(means[0], means[1], both, self.temperature)
        return result

    def _mask(self, occupied: Tensor, generator: torch.Generator | None) -> _Visible:
        """Draws the tokens that stay visible: a share of those of each thing, and at least one."""
        length = occupied.size(1)
        noise = torch.rand(occupied.shape, device=occupied.device, generator=generator)
        order = noise.masked_fill(~occupied, 2.0).argsort(dim=1)
        share = 1 - self.mask_ratio
        keep = (occupied.sum(1, keepdim=True) * share).round().clamp(min=1)
        slots = max(1, round(length * share))
        filled = (torch.arange(slots, device=occupied.device) < keep) & occupied.gather(1, order[:, :slots])
        stays = torch.zeros_like(occupied).scatter(1, order[:, :slots], filled)
        return _Visible(order[:, :slots], filled, occupied & ~stays)

    def _encoded(self, tokens: list[Tensor], filled: list[Tensor], number: int) -> Tensor:
        cls = self.cls.expand(number, 1, -1)
        padding = torch.cat([torch.zeros_like(cls[..., 0], dtype=torch.bool), *(~part for part in filled)], dim=1)
        return self.encoder(torch.cat([cls, *tokens], dim=1), src_key_padding_mask=padding)

    def _reconstruction(
        self, cls: Tensor, visible: dict[str, Tensor], pieces: dict[str, Tensor], kept: dict[str, _Visible]
    ) -> LearnerLosses:
        full, padding = [self.to_decoder(cls)], [torch.zeros_like(cls[..., 0], dtype=torch.bool)]
        for name, part in visible.items():
            modality: Modality = self.modalities[name]  # type: ignore[assignment]
            index, filled, masked = kept[name].index, kept[name].filled, kept[name].masked
            known = torch.where(filled.unsqueeze(2), self.to_decoder(part), self.mask.to(part.dtype))
            length = masked.size(1)
            whole = self.mask.to(known.dtype).repeat(len(part), length, 1)
            whole = whole.scatter(1, index.unsqueeze(2).expand_as(known), known)
            full.append(whole + modality.decoder_position[:length].to(whole.dtype) + modality.decoder_kind)
            padding.append(~(masked.scatter(1, index, filled | masked.gather(1, index))))
        decoded = self.decoder(torch.cat(full, dim=1), src_key_padding_mask=torch.cat(padding, dim=1))
        parts = decoded.split([part.size(1) for part in full], dim=1)[1:]
        result = {}
        for name, part in zip(visible, parts, strict=True):
            modality = self.modalities[name]  # type: ignore[assignment]
            loss, masked = modality.loss(part, pieces[name]), kept[name].masked
            result[name] = (loss * masked).sum() / masked.sum().clamp(min=1)
        return result


def symmetric_infonce(first: Tensor, second: Tensor, valid: Tensor, temperature: float) -> Tensor:
    """Returns the mean of both directions' InfoNCE between rows of the same number, among valid rows.

    Args:
        first: ``(num_rows, width)``.
        second: ``(num_rows, width)``.
        valid: Which rows count, as anchors and as negatives ``(num_rows,)``.
        temperature: The temperature.
    """
    score = F.normalize(first.float(), dim=1) @ F.normalize(second.float(), dim=1).T / temperature
    score = score.masked_fill(~(valid.unsqueeze(1) & valid), -1e4)
    own = torch.arange(len(score), device=score.device)
    both = F.cross_entropy(score, own, reduction="none") + F.cross_entropy(score.T, own, reduction="none")
    return (both * valid).sum() / (2 * valid.sum().clamp(min=1))


def _with_missing(tokens: Tensor, filled: Tensor, missing: Tensor, present: Tensor) -> tuple[Tensor, Tensor]:
    """Puts the token that stands for a missing input where there is none."""
    first = torch.zeros_like(filled)
    first[:, 0] = True
    lacks = first & ~present.unsqueeze(1)
    return torch.where(lacks.unsqueeze(2), missing.to(tokens.dtype), tokens), filled | lacks


def _mean(tokens: Tensor, filled: Tensor) -> Tensor:
    weight = filled.unsqueeze(2).to(tokens.dtype)
    return (tokens * weight).sum(1) / weight.sum(1).clamp(min=1)


def _transformer(width: int, depth: int, heads: int, dropout: float) -> nn.TransformerEncoder:
    if width % heads:
        raise ValueError(f"{heads} heads do not divide a width of {width}")
    layer = nn.TransformerEncoderLayer(
        width, heads, 4 * width, dropout, activation="gelu", batch_first=True, norm_first=True
    )
    return nn.TransformerEncoder(layer, depth, nn.LayerNorm(width), enable_nested_tensor=False)


class Fuse(nn.Module):
    """Base of the layers that fuse the vectors of two modalities."""

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
    """A mixture of both, entry by entry, in shares computed from both."""

    def build(self, width: int) -> None:
        self.layer = nn.Linear(2 * width, width)

    def forward(self, image: Tensor, text: Tensor) -> Tensor:
        share = self.layer(torch.cat([image, text], dim=1)).sigmoid()
        return share * image + (1 - share) * text


class LateFusion(Learner):
    """One masked autoencoder for images and one for texts, whose vectors are fused; for comparison with a shared one.

    Args:
        image: Encodes images.
        text: Encodes texts, of relations too; it must be as wide as the other.
        fuse: Fuses their vectors.

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
            raise ValueError("LateFusion wants images of entities, and the data have none: use M3AE")
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
