"""How the multimodal model is trained on a graph, as one part that a configuration names."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from relbench_pretrain.knowledge_graph.data.graph import KnowledgeGraph
from relbench_pretrain.knowledge_graph.data.neighborhood import Neighborhood
from relbench_pretrain.knowledge_graph.mre.batches import PhasedBatches
from relbench_pretrain.knowledge_graph.mre.inputs import GraphInputs
from relbench_pretrain.knowledge_graph.mre.tokenizers import TextTokenizer


class MultimodalTraining:
    """What ``RelationExtrapolation`` reads of a graph, and in which order its parts are trained.

    Learner and consolidator come first, then the pair extractor, then generator and critic; after the last epoch of
    these the first phase comes again, so that short phases train all parts jointly.

    Args:
        fusion_epochs: Epochs of learner and consolidator.
        extractor_epochs: Epochs of the pair extractor.
        adversarial_epochs: Epochs of generator and critic; with 0 relations are ranked by the consolidator alone.
        triples_per_batch: Triples of a batch.
        neighbors: The most neighbours of an entity that the consolidator sees; 0 for none.
        image_size: Width and height that pictures are brought to; 0 takes vectors of pictures.
        tokenizer: Makes words of texts; without one, texts are the vectors of ``data.text_embedder``.
        use_images: Whether entities have pictures.
        use_texts: Whether entities have texts.

    Raises:
        ValueError: If no phase has an epoch.
    """

    def __init__(
        self,
        fusion_epochs: int = 10,
        extractor_epochs: int = 5,
        adversarial_epochs: int = 10,
        triples_per_batch: int = 128,
        neighbors: int = 4,
        image_size: int = 256,
        tokenizer: TextTokenizer | None = None,
        use_images: bool = True,
        use_texts: bool = True,
    ) -> None:
        self.epochs = (fusion_epochs, extractor_epochs, adversarial_epochs)
        if min(self.epochs) < 0 or not fusion_epochs:
            raise ValueError(f"fusion_epochs must be positive and no other negative, got {self.epochs}")
        if adversarial_epochs and not extractor_epochs:
            raise ValueError("the generator imitates pairs: give extractor_epochs, too")
        self.triples_per_batch, self.neighbors, self.image_size = triples_per_batch, neighbors, image_size
        self.tokenizer, self.use_images, self.use_texts = tokenizer, use_images, use_texts

    def inputs(
        self,
        graph: KnowledgeGraph,
        entity_text: Tensor,
        relation_text: Tensor,
        new_relations: list[str],
        cache_dir: str | None,
    ) -> GraphInputs:
        """Reads pictures and texts; see :meth:`GraphInputs.of`."""
        return GraphInputs.of(
            graph, entity_text, relation_text, new_relations, self.tokenizer, self.image_size, self.use_images,
            self.use_texts, cache_dir,
        )  # fmt: skip

    def batches(
        self,
        triples: np.ndarray,
        neighborhood: Neighborhood,
        inputs: GraphInputs,
        seed: int,
    ) -> PhasedBatches:
        """Returns the training batches; see :class:`PhasedBatches`."""
        return PhasedBatches(
            triples,
            neighborhood,
            inputs,
            self.epochs,
            self.triples_per_batch,
            self.neighbors,
            seed,
        )
