"""Zero-shot relations of a knowledge graph: in episodes for rankers of pairs, in phases for the multimodal model."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from datamodules.knowledge_graph import DIRECTIONS, KnowledgeGraphDataModule
from relbench_pretrain.epochs import NumberedBatches, PhaseBatches
from relbench_pretrain.knowledge_graph.data.graph import KnowledgeGraph, unique_triples
from relbench_pretrain.knowledge_graph.data.images import ImageEmbedder, RandomConvolutions, image_vectors
from relbench_pretrain.knowledge_graph.data.neighborhood import Neighborhood
from relbench_pretrain.knowledge_graph.data.queries import Direction
from relbench_pretrain.knowledge_graph.episodes import EpisodeBatches, EpisodeBuilder, TrainingEpisodes
from relbench_pretrain.knowledge_graph.features.domain_range import first_words, last_words
from relbench_pretrain.knowledge_graph.features.lexical_overlap import LexicalOverlap
from relbench_pretrain.knowledge_graph.features.pair_features import PairFeatures
from relbench_pretrain.knowledge_graph.mre.batches import MultimodalTraining, PhasedBatches
from relbench_pretrain.knowledge_graph.rankers.pair_scorer import EntityContext
from relbench_pretrain.knowledge_graph.specification import EpisodicSpecification, MultimodalSpecification
from relbench_pretrain.renamed import translated


class EpisodicKGDataModule(KnowledgeGraphDataModule):
    """A knowledge graph for training in episodes, where a seen relation is treated as unseen: its triples are hidden.

    Validation ranks relations that are held out whole, and the test unseen ones. Training asks for tails and for heads,
    whatever ``direction`` says: there are few relations to learn from, and each is another one from its other end.
    ``EpisodicExtrapolation`` takes it.

    Args:
        folder: The graph's folder, see :func:`read_knowledge_graph`, or ``demo`` for the built-in one.
        relations_per_batch: Episodes per batch.
        queries_per_relation: Queries per episode.
        negatives_per_query: Negatives per query in training, drawn uniformly from all entities.
        pool_queries: Queries per relation whose features are computed before training, from which batches are drawn.
        pool_negatives: Negatives of each of them.
        nearest_relations: How many seen relations, nearest by text, the features of pairs are made of; 0 makes none,
            which is enough for :class:`NearestRelations`.
        modalities: The modalities of entities that the features of pairs may read: all of ``image``, ``text`` and
            ``structure``, or some, to compare their use.
        image_embedder: Turns images into vectors for the features of pairs; random convolutions by default.
        **kwargs: See :class:`KnowledgeGraphDataModule`.
    """

    def __init__(
        self,
        folder: str = "demo",
        relations_per_batch: int = 8,
        queries_per_relation: int = 4,
        negatives_per_query: int = 100,
        pool_queries: int = 24,
        pool_negatives: int = 150,
        nearest_relations: int = 16,
        modalities: Sequence[str] = ("image", "text", "structure"),
        image_embedder: ImageEmbedder | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(folder, **kwargs)
        self.image_embedder = image_embedder or RandomConvolutions()
        self.computed: dict[tuple[bool, Direction], PairFeatures] = {}

    @property
    def about(self) -> dict[str, Any]:
        """The data, for a model card; no path, and none of its entities."""
        hparams = self.hparams
        own = {"nearest relations": hparams.nearest_relations, "modalities": ", ".join(hparams.modalities)}
        return super().about | own

    @property
    def specification(self) -> EpisodicSpecification:
        """The description of the graph, once it is set up."""
        return EpisodicSpecification(
            **self.ranking(),
            relation_text=self.relation_text,
            context=self.context,
            training_episodes=lambda: [episode for pool in self.training_pools for episode in pool.pool],
        )

    def context(self, stage: str) -> EntityContext:
        """Returns the relations of all entities that a model may know in a stage."""
        return EntityContext.of(self._known(stage in ("test", "predict")), self.relation_text)

    def prepare_data(self) -> None:
        """Fills the cache of text vectors."""
        graph, _, _ = self.read()
        if self.hparams.nearest_relations:
            self._ends(graph)

    def _known(self, tested: bool, direction: Direction = "tail") -> Neighborhood:
        """Returns the triples that may be known, with tails as heads where heads are ranked."""
        neighborhood = self.test_neighborhood if tested else self.training_neighborhood
        return neighborhood.mirrored() if direction == "head" else neighborhood

    def _ends(self, graph: KnowledgeGraph) -> Tensor:
        """Returns vectors of the first and of the last words of relations' texts ``(2, num_texts, text_width)``."""
        return torch.stack([self.relation_vectors(graph, end) for end in (first_words, last_words)])

    @cached_property
    def _inputs_of_features(self) -> tuple[Tensor | None, Tensor, LexicalOverlap | None]:
        """Image vectors, the ends of relations' texts, and the words of all texts, for the features of pairs."""
        graph, cache, new = self.graph, self.hparams.cache_dir, self.hparams.predict_texts or []
        words = None
        if "text" in self.hparams.modalities:
            words = LexicalOverlap(graph.names, graph.descriptions, [*graph.relation_texts, *new])
        return image_vectors(graph, self.image_embedder, cache), self._ends(graph), words

    def _pair_features(self, tested: bool, direction: Direction) -> PairFeatures | None:
        if not self.hparams.nearest_relations:
            return None
        if (tested, direction) not in self.computed:
            image, ends, words = self._inputs_of_features
            self.computed[tested, direction] = PairFeatures(
                self._known(tested, direction), self.entity_text, self.relation_text, self.hparams.nearest_relations,
                image, self.hparams.modalities, ends.flip(0) if direction == "head" else ends, words,
            )  # fmt: skip
        return self.computed[tested, direction]

    def builder(self, tested: bool, direction: Direction) -> EpisodeBuilder:
        """Returns the builder of the episodes to rank, with paths and features of pairs."""
        return EpisodeBuilder(self._known(tested, direction), self._pair_features(tested, direction))

    @cached_property
    def training_pools(self) -> list[TrainingEpisodes]:
        """The pools of training episodes, one for tails and one for heads."""
        hparams = self.hparams
        return [
            TrainingEpisodes(
                self.graph, self._pair_features(False, direction), hparams.pool_queries, hparams.pool_negatives,
                direction=direction, seed=hparams.seed,
            )
            for direction in DIRECTIONS
        ]  # fmt: skip

    def training_batches(self) -> tuple[EpisodeBatches, NumberedBatches]:
        """Returns batches of episodes by number."""
        hparams = self.hparams
        sizes = hparams.relations_per_batch, hparams.queries_per_relation, hparams.negatives_per_query
        batches = EpisodeBatches(self.training_pools, *sizes, hparams.seed)
        return batches, NumberedBatches(hparams.batches_per_epoch, *self.process)


class MultimodalKGDataModule(KnowledgeGraphDataModule):
    """A knowledge graph with images and texts for ``RelationExtrapolation``, which is trained in phases.

    Validation ranks relations that are held out whole, and the test unseen ones.

    Args:
        folder: The graph's folder, see :func:`read_knowledge_graph`, or ``demo`` for the built-in one.
        training: The phases in which the parts of the model are trained, and the inputs that they read.
        leak_unseen: Whether the neighbours of an entity, for the pair extractor, include those in triples of validation
            and unseen relations, as in published code. For comparison only: the answers leak.
        **kwargs: See :class:`KnowledgeGraphDataModule`.
    """

    def __init__(
        self, folder: str = "demo", training: MultimodalTraining | None = None, leak_unseen: bool = False, **kwargs: Any
    ) -> None:
        super().__init__(folder, **kwargs)
        self.training = training or MultimodalTraining()

    @property
    def specification(self) -> MultimodalSpecification:
        """The description of the graph, its images and its texts, once it is set up."""
        return MultimodalSpecification(
            **self.ranking(),
            inputs=self.inputs,
            triples=self.seen_triples,
            neighborhood=self.training_neighborhood,
            pair_neighborhood=self.pair_neighborhood,
            phases=self.training.epochs,
            neighbors=self.training.neighbors,
        )

    def setup(self, stage: str) -> None:
        """Reads the graph, its images and its texts.

        Raises:
            KnowledgeGraphError: If there is nothing to validate or to test on, or an image cannot be read.
        """
        if hasattr(self, "graph"):
            return
        super().setup(stage)
        new = list(self.hparams.predict_texts or [])
        self.inputs = self.training.inputs(
            self.graph, self.entity_text, self.relation_text, new, self.hparams.cache_dir
        )
        leaked = unique_triples(self.graph.triples) if self.hparams.leak_unseen else self.seen_triples
        self.pair_neighborhood = self.neighborhood(leaked)

    def builder(self, tested: bool, direction: Direction) -> EpisodeBuilder:
        """Returns the builder of the episodes to rank, without paths and features, which the model does not read."""
        return EpisodeBuilder(self.test_neighborhood, with_paths=False)

    def training_batches(self) -> tuple[PhasedBatches, PhaseBatches]:
        """Returns batches by epoch and number."""
        batches = self.training.batches(self.seen_triples, self.training_neighborhood, self.inputs, self.hparams.seed)
        return batches, PhaseBatches(self.hparams.batches_per_epoch, *self.process)


def ZeroShotKGDataModule(folder: str = "demo", **options: Any) -> KnowledgeGraphDataModule:
    """Returns the DataModule that the options ask for; earlier versions had one of this name for both systems.

    Args:
        folder: See :class:`EpisodicKGDataModule`.
        **options: With ``training`` those of :class:`MultimodalKGDataModule`, else of :class:`EpisodicKGDataModule`;
            those of the other are left out.
    """
    path = f"datamodules.{ZeroShotKGDataModule.__name__}"
    found = translated({"class_path": path, "init_args": {"folder": folder, **options}})
    return globals()[found["class_path"].rpartition(".")[2]](**found["init_args"])
