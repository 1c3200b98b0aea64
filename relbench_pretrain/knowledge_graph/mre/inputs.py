"""ModalityInputs of all entities and relations of a graph: their pictures and texts as tensors."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from relbench_pretrain.knowledge_graph.data.graph import KnowledgeGraph, KnowledgeGraphError, Role
from relbench_pretrain.knowledge_graph.data.images import read_images
from relbench_pretrain.knowledge_graph.mre.modalities import ModalityInput, ModalityInputs, ModalitySpec
from relbench_pretrain.knowledge_graph.mre.tokenizers import TextTokenizer


class GraphInputs:
    """What pictures and texts say of a graph's entities, and texts of its relations.

    Args:
        image: Values of the pictures and which entities have one, or None.
        text: Values of the entities' texts and which have one, or None.
        relation: Values of the texts of relations ``(num_relations, ...)``.
        specs: What the inputs look like.
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
        """Reads pictures and texts.

        Args:
            graph: The graph.
            entity_text: Vectors of the entities' texts ``(num_entities, text_width)``.
            relation_text: Those of relations, and of new ones behind them ``(num_relations, text_width)``.
            new_relations: Texts of the new ones.
            tokenizer: Makes words of texts; without one, texts are their vectors.
            image_size: Width and height that pictures are brought to; 0 takes the vectors of pictures.
            use_images: Whether entities have pictures.
            use_texts: Whether entities have texts.
            cache_dir: Where pictures of one size are kept.

        Raises:
            KnowledgeGraphError: If a picture cannot be read, or pictures have no size.
        """
        specs: dict[str, ModalitySpec] = {}
        image = _image_reading(graph, image_size, cache_dir, specs) if use_images else None
        texts = graph.entity_texts()
        if tokenizer is None:
            entity, relation = entity_text, relation_text
            specs["text"] = ModalitySpec("vector", relation_text.size(1))
        else:
            # Not from those of other relations, which may be rewritten or new when a model is tested.
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
    # Pictures lie on disk: only those asked for are read.
    return torch.from_numpy(values[index.numpy()]) if isinstance(values, np.ndarray) else values[index]


def _image_reading(
    graph: KnowledgeGraph, size: int, cache_dir: str | None, specs: dict[str, ModalitySpec]
) -> ModalityInput | None:
    if size and any(graph.images):
        specs["image"] = ModalitySpec("picture", size)
        present = torch.tensor([path is not None for path in graph.images])
        return ModalityInput(read_images(graph.images, size, cache_dir), present)  # type: ignore[arg-type]
    if graph.image_vectors is None:
        if any(graph.images):
            raise KnowledgeGraphError(
                "the graph has pictures and no vectors of them: set data.training.image_size to a size in pixels, or "
                "data.training.use_images to false"
            )
        return None
    vectors = torch.from_numpy(graph.image_vectors)
    specs["image"] = ModalitySpec("vector", vectors.size(1))
    present = ~vectors.isnan().any(1)
    return ModalityInput(torch.nn.functional.normalize(vectors.nan_to_num()), present)
