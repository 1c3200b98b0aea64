"""Images and texts of entities and relations, cut into the tokens of a transformer."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from relbench_pretrain.renamed import KINDS


class ModalityInput(NamedTuple):
    """The input of one modality for some entities or relations, here *things*.

    Args:
        values: Images, uint8 ``(num_things, 3, size, size)``; numbers of words, 0 for none ``(num_things, length)``;
            or vectors ``(num_things, width)``.
        present: Which of them have an input of this modality ``(num_things,)``.
    """

    values: Tensor
    present: Tensor


ModalityInputs = dict[str, ModalityInput]
"""By modality, ``"image"`` or ``"text"``; one that is not there, such as the image of a relation, has no entry."""


class ModalitySpec(NamedTuple):
    """The form of a modality's inputs, from which its layers are built.

    Args:
        kind: ``"image"``, ``"words"`` or ``"vector"``.
        size: Width and height of images, the longest text, or the width of vectors.
        vocabulary: How many numbers of words there are.
        digest: A hash of the vocabulary, in which those of the same size differ.
    """

    kind: Literal["image", "words", "vector"]
    size: int
    vocabulary: int = 0
    digest: str = ""

    @classmethod
    def of_stored(cls, values: Sequence) -> ModalitySpec:
        """Makes it of the values in a checkpoint or an exported folder."""
        return cls(KINDS.get(values[0], values[0]), *values[1:])


class Modality(nn.Module):
    """Base of the layers that make tokens of a modality's inputs, and predict masked tokens.

    Args:
        length: The most tokens of an input; a batch may have fewer.
        width: Width of the encoder.
        decoder_width: Width of the decoder.
        positions: Positions of the tokens ``(length, num_axes)``.
    """

    position: Tensor
    decoder_position: Tensor

    def __init__(self, length: int, width: int, decoder_width: int, positions: Tensor) -> None:
        super().__init__()
        self.length = length
        self.kind = nn.Parameter(torch.randn(width) * 0.02)
        self.decoder_kind = nn.Parameter(torch.randn(decoder_width) * 0.02)
        self.missing = nn.Parameter(torch.randn(width) * 0.02)
        self.register_buffer("position", sine_positions(positions, width), persistent=False)
        self.register_buffer("decoder_position", sine_positions(positions, decoder_width), persistent=False)

    @abstractmethod
    def cut(self, values: Tensor) -> Tensor:
        """Cuts values into pieces ``(num_things, num_pieces, ...)``."""

    @abstractmethod
    def embed(self, pieces: Tensor) -> Tensor:
        """Makes tokens of pieces ``(num_things, num_pieces, width)``, without their positions."""

    @abstractmethod
    def loss(self, decoded: Tensor, pieces: Tensor) -> Tensor:
        """Returns the error of each piece that was predicted ``(num_things, num_pieces)``."""

    def occupied(self, pieces: Tensor, present: Tensor) -> Tensor:
        """Returns which pieces there are ``(num_things, num_pieces)``."""
        return present.unsqueeze(1).expand(-1, pieces.size(1))

    def tokens(self, pieces: Tensor, index: Tensor | None = None) -> Tensor:
        """Embeds pieces with position and modality.

        Args:
            pieces: All pieces ``(num_things, num_pieces, ...)``.
            index: Which of them; None for all ``(num_things, num_chosen)``.

        Returns:
            ``(num_things, num_chosen, width)``.
        """
        place = self.position.to(self.kind.dtype)
        if index is None:
            return self.embed(pieces) + place[: pieces.size(1)] + self.kind
        chosen = pieces.gather(1, index.view(*index.shape, *[1] * (pieces.dim() - 2)).expand(-1, -1, *pieces.shape[2:]))
        return self.embed(chosen) + place[index] + self.kind


class Patches(Modality):
    """Square patches of images, predicted in mean squared error of values scaled to about −1 to 1.

    Args:
        size: Width and height of the images in pixels.
        patch: Those of a patch; they must divide the image.
        width: Width of the encoder.
        decoder_width: Width of the decoder.

    Raises:
        ValueError: If patches do not fill the image.
    """

    def __init__(self, size: int, patch: int, width: int, decoder_width: int) -> None:
        if size % patch:
            raise ValueError(f"patches of {patch} pixels do not fill images of {size}: choose a divisor of {size}")
        side = size // patch
        row = torch.arange(side).repeat_interleave(side)
        column = torch.arange(side).repeat(side)
        super().__init__(side**2, width, decoder_width, torch.stack([row, column], dim=1))
        self.patch = patch
        self.input = nn.Linear(3 * patch**2, width)
        self.output = nn.Linear(decoder_width, 3 * patch**2)

    def cut(self, values: Tensor) -> Tensor:
        side, patch = values.size(-1) // self.patch, self.patch
        return values.view(-1, 3, side, patch, side, patch).permute(0, 2, 4, 1, 3, 5).reshape(len(values), side**2, -1)

    def embed(self, pieces: Tensor) -> Tensor:
        return self.input(self._scaled(pieces))

    def loss(self, decoded: Tensor, pieces: Tensor) -> Tensor:
        return (self.output(decoded) - self._scaled(pieces)).float().square().mean(-1)

    def _scaled(self, pieces: Tensor) -> Tensor:
        return pieces.to(self.input.weight.dtype) / 127.5 - 1


class Words(Modality):
    """Words of texts, predicted in cross-entropy.

    Args:
        length: The longest text in words.
        vocabulary: How many numbers of words there are, that of no word included.
        width: Width of the encoder.
        decoder_width: Width of the decoder.
    """

    def __init__(self, length: int, vocabulary: int, width: int, decoder_width: int) -> None:
        super().__init__(length, width, decoder_width, torch.arange(length).unsqueeze(1))
        self.input = nn.Embedding(vocabulary, width, padding_idx=0)
        nn.init.normal_(self.input.weight, std=0.02)
        self.output = nn.Linear(decoder_width, vocabulary)

    def cut(self, values: Tensor) -> Tensor:
        return values

    def occupied(self, pieces: Tensor, present: Tensor) -> Tensor:
        return (pieces > 0) & present.unsqueeze(1)

    def embed(self, pieces: Tensor) -> Tensor:
        return self.input(pieces)

    def loss(self, decoded: Tensor, pieces: Tensor) -> Tensor:
        logits = self.output(decoded).float().flatten(0, 1)
        return F.cross_entropy(logits, pieces.flatten(), reduction="none").view(pieces.shape)


def scaled(vectors: Tensor) -> Tensor:
    """Brings the entries of vectors of length 1 to about 1 ``(num_things, width)``."""
    return vectors * vectors.size(1) ** 0.5


class VectorPieces(Modality):
    """Vectors that another model made, cut into pieces, predicted in mean squared error.

    They stand in where pixels or a language model are not at hand.

    Args:
        size: Width of the vectors.
        pieces: How many pieces; the last is filled up with zeros.
        width: Width of the encoder.
        decoder_width: Width of the decoder.
    """

    def __init__(self, size: int, pieces: int, width: int, decoder_width: int) -> None:
        pieces = min(pieces, size)
        super().__init__(pieces, width, decoder_width, torch.arange(pieces).unsqueeze(1))
        self.size, self.piece = size, -(-size // pieces)
        self.input = nn.Linear(self.piece, width)
        self.output = nn.Linear(decoder_width, self.piece)

    def cut(self, values: Tensor) -> Tensor:
        filled = F.pad(scaled(values), (0, self.piece * self.length - self.size))
        return filled.view(len(values), self.length, self.piece)

    def embed(self, pieces: Tensor) -> Tensor:
        return self.input(pieces.to(self.input.weight.dtype))

    def loss(self, decoded: Tensor, pieces: Tensor) -> Tensor:
        return (self.output(decoded) - pieces).float().square().mean(-1)


def modality_of(spec: ModalitySpec, patch: int, pieces: int, width: int, decoder_width: int) -> Modality:
    """Builds the layers of a modality."""
    if spec.kind == "image":
        return Patches(spec.size, patch, width, decoder_width)
    if spec.kind == "words":
        return Words(spec.size, spec.vocabulary, width, decoder_width)
    return VectorPieces(spec.size, pieces, width, decoder_width)


def sine_positions(positions: Tensor, width: int) -> Tensor:
    """Returns sines and cosines of positions (Vaswani et al. 2017), each axis in its own share of the width.

    Args:
        positions: ``(num_positions, num_axes)``.
        width: Width of the result.

    Returns:
        ``(num_positions, width)``; entries left over are zero.
    """
    share = width // (2 * positions.size(1))
    rate = 10000 ** (-torch.arange(share) / max(share, 1))
    angle = positions.unsqueeze(2) * rate  # (num_positions, num_axes, share)
    wave = torch.cat([angle.sin(), angle.cos()], dim=2).flatten(1)
    return F.pad(wave, (0, width - wave.size(1)))
