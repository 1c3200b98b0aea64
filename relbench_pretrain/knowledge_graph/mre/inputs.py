"""Inputs of all entities and relations of a graph: their images and texts as tensors, and the tokenizers of texts."""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import tokenizers
import torch
from torch import Tensor

from relbench_pretrain.knowledge_graph.data.graph import KnowledgeGraph, KnowledgeGraphError, Role
from relbench_pretrain.knowledge_graph.data.images import read_images
from relbench_pretrain.knowledge_graph.mre.modalities import ModalityInput, ModalityInputs, ModalitySpec


class TextTokenizer(ABC):
    """Turns texts into numbers of words, 0 for none.

    Args:
        length: The most words of a text; the rest is cut off.
    """

    def __init__(self, length: int) -> None:
        if length < 1:
            raise ValueError(f"length must be positive, got {length}")
        self.length = length

    @abstractmethod
    def prepare(self, texts: Sequence[str]) -> tokenizers.Tokenizer:
        """Returns the tokenizer for a graph's texts."""

    def __call__(self, texts: Sequence[str], known: Sequence[str]) -> tuple[Tensor, int, str]:
        """Tokenizes texts.

        Args:
            texts: The texts.
            known: Those that the vocabulary may be built from.

        Returns:
            Numbers of words ``(num_texts, length)``, how many numbers there are, 0 included, and a hash of the
            vocabulary.
        """
        tokenizer = self.prepare(known)
        tokenizer.no_padding()
        tokenizer.enable_truncation(self.length)
        numbers = np.zeros((len(texts), self.length), dtype=np.int64)
        for row, encoding in zip(numbers, tokenizer.encode_batch(list(texts)), strict=True):
            row[: len(encoding.ids)] = np.array(encoding.ids, dtype=np.int64) + 1
        words = sorted(tokenizer.get_vocab().items())
        digest = hashlib.sha256(json.dumps(words).encode()).hexdigest()[:12]
        return torch.from_numpy(numbers), tokenizer.get_vocab_size() + 1, digest


class GraphWords(TextTokenizer):
    """The words of the graph's own texts, in lower case; rare ones are one and the same unknown word.

    Args:
        length: The most words of a text.
        min_frequency: How often a word must come to be known.
    """

    def __init__(self, length: int = 64, min_frequency: int = 2) -> None:
        super().__init__(length)
        self.min_frequency = min_frequency

    def prepare(self, texts: Sequence[str]) -> tokenizers.Tokenizer:
        tokenizer = tokenizers.Tokenizer(tokenizers.models.WordLevel(unk_token="[UNK]"))
        tokenizer.normalizer = tokenizers.normalizers.Lowercase()
        tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
        trainer = tokenizers.trainers.WordLevelTrainer(
            min_frequency=self.min_frequency, special_tokens=["[UNK]"], show_progress=False
        )
        tokenizer.train_from_iterator(texts, trainer)
        return tokenizer


class PretrainedTokenizer(TextTokenizer):
    """A Hugging Face tokenizer, by the name of a model on the Hub or a folder with its ``tokenizer.json``.

    Args:
        model: Name or folder.
        length: The most tokens of a text, special ones included.
    """

    def __init__(self, model: str, length: int = 64) -> None:
        super().__init__(length)
        self.model = model

    def prepare(self, texts: Sequence[str]) -> tokenizers.Tokenizer:
        path = Path(self.model)
        try:
            if path.is_dir():
                return tokenizers.Tokenizer.from_file(str(path / "tokenizer.json"))
            return tokenizers.Tokenizer.from_pretrained(self.model)
        except Exception as error:  # the library raises bare Exception
            raise KnowledgeGraphError(
                f"no tokenizer '{self.model}' ({error}): give the name of a model on the Hub, or a folder with a "
                "tokenizer.json"
            ) from None


class GraphInputs:
    """Images and texts of a graph's entities, and texts of its relations, as tensors.

    Args:
        image: Values of the images and which entities have one, or None.
        text: Values of the entities' texts and which have one, or None.
        relation: Values of the texts of relations ``(num_relations, ...)``.
        specs: The form of each modality's inputs.
    """

    def __init__(
        self, image: ModalityInput | None, text: ModalityInput | None, relation: Tensor, specs: dict[str, ModalitySpec]
    ) -> None:
        self.entity = {name: part for name, part in (("image", image), ("text", text)) if part is not None}
        self.relation, self.specs = relation, specs

    @classmethod
    def of(
        cls,
        graph: KnowledgeGraph,
        entity_text: Tensor,
        relation_text: Tensor,
        new_relations: Sequence[str] = (),
        tokenizer: TextTokenizer | None = None,
        image_size: int = 0,
        use_images: bool = True,
        use_texts: bool = True,
        cache_dir: str | None = None,
    ) -> GraphInputs:
        """Reads images and texts.

        Args:
            graph: The graph.
            entity_text: Vectors of the entities' texts ``(num_entities, text_width)``.
            relation_text: Those of relations, and of new ones behind them ``(num_relations, text_width)``.
            new_relations: Texts of the new ones.
            tokenizer: Makes words of texts; without one, texts are their vectors.
            image_size: Width and height in pixels that images are resized to; 0 takes the vectors of images.
            use_images: Whether images of entities are read.
            use_texts: Whether texts of entities are read.
            cache_dir: Where resized images are kept.

        Raises:
            KnowledgeGraphError: If an image cannot be read, or there are images and neither a size nor vectors of them.
        """
        specs: dict[str, ModalitySpec] = {}
        image = _image_input(graph, image_size, cache_dir, specs) if use_images else None
        texts = graph.entity_texts()
        if tokenizer is None:
            entity, relation = entity_text, relation_text
            specs["text"] = ModalitySpec("vector", relation_text.size(1))
        else:
            # Without those of other relations, which may be rewritten or new when a model is tested.
            known = [*texts, *(graph.relation_texts[r] for r in graph.relations_of(Role.SEEN))]
            numbers, vocabulary, digest = tokenizer([*texts, *graph.relation_texts, *new_relations], known)
            entity, relation = numbers[: len(texts)], numbers[len(texts) :]
            specs["text"] = ModalitySpec("words", numbers.size(1), vocabulary, digest)
        rows = zip(graph.entities, graph.names, graph.descriptions, strict=True)
        present = torch.tensor([bool(text) or name != entity for entity, name, text in rows])
        return cls(image, ModalityInput(entity, present) if use_texts else None, relation, specs)

    def of_entities(self, number: Tensor | np.ndarray) -> ModalityInputs:
        """Returns the inputs of entities by their numbers ``(num_chosen,)``."""
        index = torch.as_tensor(number)
        parts = {name: (_rows(part.values, index), part.present[index]) for name, part in self.entity.items()}
        return {name: ModalityInput(self._trimmed(name, values), present) for name, (values, present) in parts.items()}

    def of_relations(self, number: Tensor | np.ndarray) -> ModalityInputs:
        """Returns the inputs of relations by their numbers ``(num_chosen,)``."""
        index = torch.as_tensor(number)
        return {
            "text": ModalityInput(self._trimmed("text", self.relation[index]), torch.ones(len(index), dtype=torch.bool))
        }

    def _trimmed(self, name: str, values: Tensor) -> Tensor:
        """Cuts words off that none of the texts has."""
        if self.specs[name].kind != "words":
            return values
        return values[:, : max(1, int((values > 0).sum(1).max()) if len(values) else 1)]


def _rows(values: Tensor | np.ndarray, index: Tensor) -> Tensor:
    # Images lie on disk: only those of the batch are read.
    return torch.from_numpy(values[index.numpy()]) if isinstance(values, np.ndarray) else values[index]


def _image_input(
    graph: KnowledgeGraph, size: int, cache_dir: str | None, specs: dict[str, ModalitySpec]
) -> ModalityInput | None:
    if size and any(graph.images):
        specs["image"] = ModalitySpec("image", size)
        present = torch.tensor([path is not None for path in graph.images])
        return ModalityInput(read_images(graph.images, size, cache_dir), present)  # type: ignore[arg-type]
    if graph.image_vectors is None:
        if any(graph.images):
            raise KnowledgeGraphError(
                "the graph has images and no vectors of them: set data.training.image_size to a size in pixels, or "
                "data.training.use_images to false"
            )
        return None
    vectors = torch.from_numpy(graph.image_vectors)
    specs["image"] = ModalitySpec("vector", vectors.size(1))
    present = ~vectors.isnan().any(1)
    return ModalityInput(torch.nn.functional.normalize(vectors.nan_to_num()), present)
