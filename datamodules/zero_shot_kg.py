"""Zero-shot relations of a knowledge graph: episodes of seen relations to train on, unseen ones to rank."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from datamodules.same_data import SameData, digest
from relbench_pretrain.datasets.demo_graph import demo_graph_folder
from relbench_pretrain.epochs import NumberedBatches, PhaseBatches, ResumableLoader, SharedBatches
from relbench_pretrain.knowledge_graph.data.folder import read_knowledge_graph
from relbench_pretrain.knowledge_graph.data.graph import KnowledgeGraph, KnowledgeGraphError, Role, unique_triples
from relbench_pretrain.knowledge_graph.data.images import ImageEmbedder, RandomConvolutions, image_vectors
from relbench_pretrain.knowledge_graph.data.neighborhood import Neighborhood
from relbench_pretrain.knowledge_graph.data.queries import Direction
from relbench_pretrain.knowledge_graph.data.splits import hold_out_validation, zero_shot_split
from relbench_pretrain.knowledge_graph.data.texts import Rewrite, text_vectors
from relbench_pretrain.knowledge_graph.episodes import EpisodeBatches, EpisodeBuilder, RankingEpisodes, TrainingEpisodes
from relbench_pretrain.knowledge_graph.features.domain_range import first_words, last_words
from relbench_pretrain.knowledge_graph.features.lexical_overlap import LexicalOverlap
from relbench_pretrain.knowledge_graph.features.pair_features import PairFeatures
from relbench_pretrain.knowledge_graph.mre.batches import MultimodalTraining
from relbench_pretrain.knowledge_graph.mre.inputs import GraphInputs
from relbench_pretrain.knowledge_graph.rankers.pair_scorer import EntityContext
from relbench_pretrain.relational.text import HashTextEmbedder, TextEmbedder

DIRECTIONS: tuple[Direction, ...] = ("tail", "head")


class ZeroShotKGDataModule(SameData):
    """Opens a knowledge graph as a zero-shot benchmark.

    Training asks for the seen relations, each as if it were unseen: its own triples are hidden. Validation asks for
    relations that are held out whole, and the test for the unseen ones. No triple of a relation that is asked for, nor
    any validation triple in training, is among those that a model sees; in the test rankers of episodes see the
    validation relations'.

    Args:
        folder: The graph's folder, see :func:`read_knowledge_graph`, or ``demo`` for the built-in one.
        entity_texts: A table of entities' names and descriptions elsewhere.
        relation_texts: A table of relations' descriptions elsewhere, or ``wn18rr``.
        rewrite: What is done to the descriptions of unseen relations, to see how much hangs on them.
        unseen_relations: Makes a zero-shot split with so many unseen relations; 0 keeps that of the folder.
        validation_relations: How many seen relations are held out, where the folder holds none out; with 0 all are
            trained on and nothing is validated, which is for the last run, when all else has been chosen.
        split_by: How relations of a new split are chosen: ``"random"`` or ``"frequency"``.
        split_seed: Seeds the choice of relations, and the candidates of validation and test, apart from ``seed``, so
            that runs can be compared.
        direction: What is asked for in validation and test: ``"tail"``, ``"head"`` or ``"both"``. Training asks for
            both: there are few relations to learn from, and each is another one from its other end.
        num_candidates: Wrong candidates per query in validation and test; 0 ranks all entities, filtered.
        drop_duplicates: Whether a test triple that comes twice is asked for once.
        relations_per_batch: Episodes per batch.
        queries_per_relation: Queries per episode.
        negatives_per_query: Wrong candidates per query in training, drawn evenly from all entities.
        batches_per_epoch: Training batches per epoch.
        modalities: What the features of pairs may know of entities: all of ``image``, ``text`` and ``structure``, or
            some, to see what each is worth.
        image_embedder: Turns pictures into vectors for the features of pairs; random convolutions by default.
        pool_queries: Queries per relation whose features are made before training, from which batches are drawn.
        pool_negatives: Wrong candidates of each of them.
        nearest_relations: How many seen relations, nearest by text, the features of pairs are made of; 0 makes none,
            which is enough for :class:`NearestRelations`.
        eval_queries: Queries per batch in validation and test.
        max_val_queries: The most validation queries per relation.
        predict_texts: Descriptions of new relations, for ``predict``.
        predict_heads: Entities, by name or identifier, whose tails ``predict`` looks for (or heads, if ``direction``
            says so); by default ten that are often heads of the seen relations with the nearest texts.
        predict_top: How many tails ``predict`` names.
        leak_unseen: Puts the triples of validation and unseen relations among the neighbours that
            ``RelationExtrapolation`` sees of an entity, as published code does. For comparison only: the answers leak.
        training: How ``RelationExtrapolation`` is trained, in place of episodes.
        text_embedder: Turns texts into vectors; hashed words by default.
        num_workers: Processes that make batches beside the training process.
        seed: Determines the training batches.
        cache_dir: Where vectors of texts are kept.
    """

    def __init__(
        self,
        folder: str = "demo",
        entity_texts: str | None = None,
        relation_texts: str | None = None,
        rewrite: Rewrite | None = None,
        unseen_relations: int = 0,
        validation_relations: int = 20,
        split_by: Literal["random", "frequency"] = "random",
        split_seed: int = 0,
        direction: Literal["tail", "head", "both"] = "tail",
        num_candidates: int = 1000,
        drop_duplicates: bool = True,
        relations_per_batch: int = 8,
        queries_per_relation: int = 4,
        negatives_per_query: int = 100,
        batches_per_epoch: int = 100,
        pool_queries: int = 24,
        pool_negatives: int = 150,
        nearest_relations: int = 16,
        modalities: Sequence[str] = ("image", "text", "structure"),
        image_embedder: ImageEmbedder | None = None,
        eval_queries: int = 32,
        max_val_queries: int = 100,
        predict_texts: list[str] | None = None,
        predict_heads: list[str] | None = None,
        predict_top: int = 10,
        leak_unseen: bool = False,
        training: MultimodalTraining | None = None,
        text_embedder: TextEmbedder | None = None,
        num_workers: int = 0,
        seed: int = 0,
        cache_dir: str | None = None,
    ) -> None:
        super().__init__()
        self.save_hyperparameters(logger=False)
        self.embedder = text_embedder or HashTextEmbedder(256)
        self.image_embedder = image_embedder or RandomConvolutions()
        self.training, self.rewrite = training, rewrite
        self.graph: KnowledgeGraph | None = None
        self.inputs: GraphInputs | None = None
        self.described: dict[tuple[bool, Direction], PairFeatures] = {}
        self.episodes: list[TrainingEpisodes] | None = None

    @property
    def directions(self) -> tuple[Direction, ...]:
        """What is asked for."""
        return DIRECTIONS if self.hparams.direction == "both" else (self.hparams.direction,)

    @property
    def protocol(self) -> str:
        """How candidates are chosen, for the names of metrics."""
        return f"candidates_{self.hparams.num_candidates}" if self.hparams.num_candidates else "all_entities"

    def fingerprint(self) -> dict[str, str | int]:
        """Returns the sizes of the graph, and hashes of its triples, of what they are for, and of its texts."""
        graph = self.graph
        return {
            "dataset": str(self.hparams.folder),
            "entities": graph.num_entities,
            "relations": graph.num_relations,
            "triples": len(graph.triples),
            "content of triples": digest([graph.triples, *graph.entities, *graph.relations]),
            "split of relations": digest([graph.role]),
            "texts": digest([*graph.entity_texts(), *graph.relation_texts]),
            "pictures": sum(image is not None for image in graph.images),
            "vectors of pictures": digest([] if graph.image_vectors is None else [graph.image_vectors]),
        }

    @property
    def about(self) -> dict[str, Any]:
        """What a model card says of the data; no path, and none of its entities."""
        graph, hparams = self.graph, self.hparams
        found: dict[str, Any] = {
            "dataset": Path(hparams.folder).name,
            "entities": graph.num_entities,
            "relations": ", ".join(f"{len(graph.relations_of(role))} {role.name.lower()}" for role in Role),
            "text embedder": type(self.embedder).__name__,
        }
        if self.training is None:
            found |= {"nearest relations": hparams.nearest_relations, "modalities": ", ".join(hparams.modalities)}
        return found

    def prepare_data(self) -> None:
        """Fills the cache of text vectors."""
        graph, _, _ = self._read()
        if self._by_features:
            self._ends(graph)

    def _read(self) -> tuple[KnowledgeGraph, Tensor, Tensor]:
        hparams = self.hparams
        folder = demo_graph_folder() if hparams.folder == "demo" else hparams.folder
        graph = read_knowledge_graph(folder, hparams.entity_texts, hparams.relation_texts)
        if hparams.unseen_relations:
            graph = zero_shot_split(
                graph, hparams.unseen_relations, hparams.validation_relations, hparams.split_by, seed=hparams.split_seed
            )
        elif hparams.validation_relations and not len(graph.relations_of(Role.VALIDATION)):
            graph = hold_out_validation(graph, hparams.validation_relations, hparams.split_seed)
        if self.rewrite is not None:
            graph = graph.with_unseen_texts(self.rewrite)
        return (
            graph,
            text_vectors(self.embedder, graph.entity_texts(), hparams.cache_dir),
            self._vectors_of_relations(graph, lambda text: text),
        )

    def _vectors_of_relations(self, graph: KnowledgeGraph, part: Callable[[str], str]) -> Tensor:
        """Returns vectors of a part of the text of each relation, and of each new one ``(num_texts, text_width)``."""
        texts = [graph.relation_texts, *([new] if (new := self.hparams.predict_texts) else [])]
        return torch.cat([text_vectors(self.embedder, [*map(part, some)], self.hparams.cache_dir) for some in texts])

    def _ends(self, graph: KnowledgeGraph) -> Tensor:
        """Returns vectors of the first and of the last words ``(2, num_texts, text_width)``."""
        return torch.stack([self._vectors_of_relations(graph, end) for end in (first_words, last_words)])

    def setup(self, stage: str) -> None:
        """Reads the graph and the vectors of its texts.

        Raises:
            KnowledgeGraphError: If there is nothing to validate or to test on.
        """
        if self.graph is not None:
            return
        self.graph, self.entity_text, self.relation_text = self._read()
        fitted = Role.VALIDATION if self.hparams.validation_relations else None
        needed = {"fit": fitted, "validate": Role.VALIDATION, "test": Role.UNSEEN}.get(stage)
        if needed is not None and not len(self.graph.triples_of(needed)):
            remedy = "set data.validation_relations" if needed == Role.VALIDATION else "set data.unseen_relations"
            raise KnowledgeGraphError(
                f"'{self.hparams.folder}' has no triple of a relation of the role {needed.name.lower()}: {remedy}"
            )
        self.seen_triples = self.graph.triples_of(Role.SEEN)
        self.training_neighborhood = self._neighborhood(self.seen_triples)
        if self.training is not None:
            new = list(self.hparams.predict_texts or [])
            self.inputs = self.training.inputs(
                self.graph, self.entity_text, self.relation_text, new, self.hparams.cache_dir
            )
        everything = unique_triples(self.graph.triples)
        self.neighbor_graph = self._neighborhood(everything if self.hparams.leak_unseen else self.seen_triples)
        known = np.concatenate([self.seen_triples, self.graph.triples_of(Role.VALIDATION)])
        self.test_neighborhood = self._neighborhood(known)

    def _neighborhood(self, triples: np.ndarray) -> Neighborhood:
        return Neighborhood.of_triples(triples, self.graph.num_entities, self.graph.num_relations)

    def _known(self, tested: bool, direction: Direction) -> Neighborhood:
        """Returns the triples that may be known, with tails as heads where heads are asked for."""
        neighborhood = self.test_neighborhood if tested else self.training_neighborhood
        return neighborhood.mirrored() if direction == "head" else neighborhood

    @property
    def _by_features(self) -> bool:
        return self.hparams.nearest_relations > 0 and self.training is None

    @cached_property
    def _described_by(self) -> tuple[Tensor | None, Tensor, LexicalOverlap | None]:
        """What only features of pairs read: pictures, the ends of relations' texts, and the words of all texts."""
        graph, cache, new = self.graph, self.hparams.cache_dir, self.hparams.predict_texts or []
        words = None
        if "text" in self.hparams.modalities:
            words = LexicalOverlap(graph.names, graph.descriptions, [*graph.relation_texts, *new])
        return image_vectors(graph, self.image_embedder, cache), self._ends(graph), words

    def _features(self, tested: bool, direction: Direction) -> PairFeatures | None:
        if not self._by_features:
            return None
        if (tested, direction) not in self.described:
            image, ends, words = self._described_by
            self.described[tested, direction] = PairFeatures(
                self._known(tested, direction), self.entity_text, self.relation_text, self.hparams.nearest_relations,
                image, self.hparams.modalities, ends.flip(0) if direction == "head" else ends, words,
            )  # fmt: skip
        return self.described[tested, direction]

    def _builder(self, tested: bool, direction: Direction) -> EpisodeBuilder:
        known = self._known(tested, direction)
        return EpisodeBuilder(known, self._features(tested, direction), with_paths=self.training is None)

    def context(self, stage: str) -> EntityContext:
        """Returns what a model may know of the graph in a stage."""
        neighborhood = self.test_neighborhood if stage in ("test", "predict") else self.training_neighborhood
        return EntityContext.of(neighborhood, self.relation_text)

    def training_episodes(self) -> list[TrainingEpisodes]:
        """Returns the pools of training episodes by direction; they are made at the first call."""
        if self.episodes is None:
            hparams = self.hparams
            self.episodes = [
                TrainingEpisodes(
                    self.graph, self._features(False, direction), hparams.pool_queries, hparams.pool_negatives,
                    direction=direction, seed=hparams.seed,
                )
                for direction in DIRECTIONS
            ]  # fmt: skip
        return self.episodes

    def train_dataloader(self) -> ResumableLoader:
        """Episodes of seen relations, or what ``training`` makes, other ones in every epoch."""
        hparams = self.hparams
        kind = NumberedBatches if self.training is None else PhaseBatches
        order = kind(hparams.batches_per_epoch, *self.process)
        loader = DataLoader(
            self._training_batches(),
            batch_size=None,
            sampler=order,
            num_workers=hparams.num_workers,
            persistent_workers=hparams.num_workers > 0,
            generator=torch.Generator(),
        )
        return self.resumable(loader, order)

    def _training_batches(self) -> Dataset:
        hparams = self.hparams
        if self.training is not None:
            return self.training.batches(self.seen_triples, self.training_neighborhood, self.inputs, hparams.seed)
        sizes = hparams.relations_per_batch, hparams.queries_per_relation, hparams.negatives_per_query
        return EpisodeBatches(self.training_episodes(), *sizes, hparams.seed)

    def val_dataloader(self) -> list[ResumableLoader]:
        """Queries of the relations that are held out, by direction; none where none are."""
        if not len(self.graph.triples_of(Role.VALIDATION)):
            return []
        return self._loaders(Role.VALIDATION, False, self.hparams.max_val_queries)

    def test_dataloader(self) -> list[ResumableLoader]:
        """Queries of the unseen relations, by direction."""
        return self._loaders(Role.UNSEEN, True, None)

    def predict_dataloader(self) -> DataLoader:
        """Asks for tails of the new relations among all entities.

        Raises:
            KnowledgeGraphError: If no text of a relation is given, or an entity is unknown.
        """
        if not self.hparams.predict_texts:
            raise KnowledgeGraphError("there is no relation to predict: give data.predict_texts, one sentence each")
        episodes = []
        for i in range(len(self.hparams.predict_texts)):
            relation = self.graph.num_relations + i
            anchor = self._anchors(relation)
            candidate = torch.arange(self.graph.num_entities).expand(len(anchor), -1)
            episodes.append(self._builder(True, self.directions[0])(relation, anchor, candidate))
        return DataLoader(episodes, batch_size=None)  # type: ignore[arg-type]

    def _anchors(self, relation: int) -> Tensor:
        """Returns the entities whose tails are looked for."""
        if not self.hparams.predict_heads:
            context = self.context("predict")
            near = (
                (context.relation_text @ self.relation_text[relation])
                .masked_fill(~context.present, -1.0)
                .topk(min(3, self.graph.num_relations))
            )
            column = near.indices + (0 if self.directions[0] == "head" else self.graph.num_relations)
            often = near.values @ context.counts.index_select(0, column).to_dense().log1p()
            return often.topk(min(10, self.graph.num_entities)).indices
        number = {name: i for i, name in enumerate(self.graph.names)}
        number |= {entity: i for i, entity in enumerate(self.graph.entities)}
        if unknown := [name for name in self.hparams.predict_heads if name not in number]:
            raise KnowledgeGraphError(f"the graph has no entities {unknown}; give names or identifiers of its entities")
        return torch.tensor([number[name] for name in self.hparams.predict_heads])

    def _loaders(self, role: Role, tested: bool, most: int | None) -> list[ResumableLoader]:
        return [self._ranking(role, tested, most, direction) for direction in self.directions]

    def _ranking(self, role: Role, tested: bool, most: int | None, direction: Direction) -> ResumableLoader:
        """Returns the queries of one direction, the same ones every time."""
        hparams = self.hparams
        episodes = RankingEpisodes(
            self.graph, self._builder(tested, direction), role, direction, hparams.num_candidates,
            hparams.eval_queries, most, hparams.drop_duplicates, hparams.split_seed,
        )  # fmt: skip
        order = SharedBatches(len(episodes), *self.process)
        loader = DataLoader(
            episodes, batch_size=None, sampler=order, num_workers=hparams.num_workers, generator=torch.Generator()
        )
        return ResumableLoader(loader, order)
