"""Base of the DataModules of knowledge graphs: texts, splits, loaders of queries to rank, and prediction."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from datamodules.base import ResumableDataModule, digest
from relbench_pretrain.datasets.demo_graph import demo_graph_folder
from relbench_pretrain.epochs import NumberedBatches, ResumableLoader, SharedBatches
from relbench_pretrain.knowledge_graph.data.folder import read_knowledge_graph
from relbench_pretrain.knowledge_graph.data.graph import KnowledgeGraph, KnowledgeGraphError, Role
from relbench_pretrain.knowledge_graph.data.neighborhood import Neighborhood
from relbench_pretrain.knowledge_graph.data.queries import Direction
from relbench_pretrain.knowledge_graph.data.splits import hold_out_validation, zero_shot_split
from relbench_pretrain.knowledge_graph.data.texts import Rewrite, text_vectors
from relbench_pretrain.knowledge_graph.episodes import EpisodeBuilder, RankingEpisodes
from relbench_pretrain.knowledge_graph.rankers.pair_scorer import EntityContext
from relbench_pretrain.relational.text import HashTextEmbedder, TextEmbedder

DIRECTIONS: tuple[Direction, ...] = ("tail", "head")


class KnowledgeGraphDataModule(ResumableDataModule):
    """A knowledge graph as a zero-shot benchmark: validation ranks relations held out whole, the test unseen ones.

    No triple of a relation that is ranked, nor any validation triple in training, is among those that a model sees; in
    the test the triples of validation relations are. Subclasses bring the training batches, and take these
    arguments besides their own.

    Args:
        folder: The graph's folder, see :func:`read_knowledge_graph`, or ``demo`` for the built-in one.
        entity_texts: A table of entities' names and descriptions elsewhere.
        relation_texts: A table of relations' descriptions elsewhere, or ``wn18rr``.
        rewrite: Rewrites the descriptions of unseen relations, to see how much depends on them.
        unseen_relations: Makes a zero-shot split with so many unseen relations; 0 keeps that of the folder.
        validation_relations: How many seen relations are held out, where the folder holds none out; with 0 all are
            trained on and nothing is validated, which is for the last run, when all else has been chosen.
        split_by: How relations of a new split are chosen: ``"random"`` or ``"frequency"``.
        split_seed: Seeds the choice of relations, and the candidates of validation and test, apart from ``seed``, so
            that runs can be compared.
        direction: The ends that are ranked in validation and test: ``"tail"``, ``"head"`` or ``"both"``.
        num_candidates: Negatives per query in validation and test; 0 ranks all entities, filtered.
        drop_duplicates: Whether a test triple that comes twice is asked for once.
        batches_per_epoch: Training batches per epoch.
        eval_queries: Queries per batch in validation and test.
        max_val_queries: The most validation queries per relation.
        predict_texts: Descriptions of new relations, for ``predict``.
        predict_heads: Entities, by name or identifier, whose tails ``predict`` looks for (or heads, if ``direction``
            says so); by default ten that are often heads of the seen relations with the nearest texts.
        predict_top: How many entities ``predict`` names.
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
        batches_per_epoch: int = 100,
        eval_queries: int = 32,
        max_val_queries: int = 100,
        predict_texts: list[str] | None = None,
        predict_heads: list[str] | None = None,
        predict_top: int = 10,
        text_embedder: TextEmbedder | None = None,
        num_workers: int = 0,
        seed: int = 0,
        cache_dir: str | None = None,
    ) -> None:
        super().__init__()
        self.save_hyperparameters(logger=False)  # with those of the subclass that is made
        self.rewrite = rewrite
        self.embedder = text_embedder or HashTextEmbedder(256)

    @property
    def directions(self) -> tuple[Direction, ...]:
        """Whether tails, heads or both are ranked."""
        return DIRECTIONS if self.hparams.direction == "both" else (self.hparams.direction,)

    def fingerprint(self) -> dict[str, str | int]:
        """Returns the sizes of the graph, and hashes of its triples, of the relations' roles, of texts and images."""
        graph = self.graph
        return {
            "dataset": str(self.hparams.folder),
            "entities": graph.num_entities,
            "relations": graph.num_relations,
            "triples": len(graph.triples),
            "content of triples": digest([graph.triples, *graph.entities, *graph.relations]),
            "split of relations": digest([graph.role]),
            "texts": digest([*graph.entity_texts(), *graph.relation_texts]),
            "images": sum(image is not None for image in graph.images),
            "vectors of images": digest([] if graph.image_vectors is None else [graph.image_vectors]),
        }

    @property
    def about(self) -> dict[str, Any]:
        """The data, for a model card; no path, and none of its entities."""
        graph = self.graph
        return {
            "dataset": Path(self.hparams.folder).name,
            "entities": graph.num_entities,
            "relations": ", ".join(f"{len(graph.relations_of(role))} {role.name.lower()}" for role in Role),
            "text embedder": type(self.embedder).__name__,
        }

    def ranking(self) -> dict[str, Any]:
        """Returns the fields of a :class:`RankingSpecification`."""
        candidates = self.hparams.num_candidates
        return {
            "about": self.about,
            "entities": self.graph.entities,
            "names": self.graph.names,
            "num_relations": self.graph.num_relations,
            "new_relations": list(self.hparams.predict_texts or []),
            "directions": self.directions,
            "protocol": f"candidates_{candidates}" if candidates else "all_entities",
            "predict_top": self.hparams.predict_top,
        }

    def prepare_data(self) -> None:
        """Fills the cache of text vectors."""
        self.read()

    def read(self) -> tuple[KnowledgeGraph, Tensor, Tensor]:
        """Returns the graph, split, and vectors of the texts of its entities and of its and of new relations."""
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
        entity_text = text_vectors(self.embedder, graph.entity_texts(), hparams.cache_dir)
        return graph, entity_text, self.relation_vectors(graph, lambda text: text)

    def relation_vectors(self, graph: KnowledgeGraph, part: Callable[[str], str]) -> Tensor:
        """Returns vectors of a part of the text of each relation, and of each new one ``(num_texts, text_width)``."""
        texts = [graph.relation_texts, *([new] if (new := self.hparams.predict_texts) else [])]
        return torch.cat([text_vectors(self.embedder, [*map(part, some)], self.hparams.cache_dir) for some in texts])

    def setup(self, stage: str) -> None:
        """Reads the graph and the vectors of its texts.

        Raises:
            KnowledgeGraphError: If there is nothing to validate or to test on.
        """
        if hasattr(self, "graph"):
            return
        self.graph, self.entity_text, self.relation_text = self.read()
        fitted = Role.VALIDATION if self.hparams.validation_relations else None
        needed = {"fit": fitted, "validate": Role.VALIDATION, "test": Role.UNSEEN}.get(stage)
        if needed is not None and not len(self.graph.triples_of(needed)):
            remedy = "set data.validation_relations" if needed == Role.VALIDATION else "set data.unseen_relations"
            raise KnowledgeGraphError(
                f"'{self.hparams.folder}' has no triple of a relation of the role {needed.name.lower()}: {remedy}"
            )
        self.seen_triples = self.graph.triples_of(Role.SEEN)
        self.training_neighborhood = self.neighborhood(self.seen_triples)
        known = np.concatenate([self.seen_triples, self.graph.triples_of(Role.VALIDATION)])
        self.test_neighborhood = self.neighborhood(known)

    def neighborhood(self, triples: np.ndarray) -> Neighborhood:
        """Sorts some of the graph's triples for lookup."""
        return Neighborhood.of_triples(triples, self.graph.num_entities, self.graph.num_relations)

    @abstractmethod
    def builder(self, tested: bool, direction: Direction) -> EpisodeBuilder:
        """Returns the builder of the episodes to rank.

        Args:
            tested: Whether they are for test and prediction, where the triples of validation relations may be seen.
            direction: Whether tails or heads are ranked.
        """

    @abstractmethod
    def training_batches(self) -> tuple[Dataset, NumberedBatches]:
        """Returns the training batches, and the order in which this process takes them."""

    def train_dataloader(self) -> ResumableLoader:
        """Batches for training, other ones in every epoch."""
        batches, order = self.training_batches()
        workers = self.hparams.num_workers
        loader = DataLoader(
            batches,
            batch_size=None,
            sampler=order,
            num_workers=workers,
            persistent_workers=workers > 0,
            generator=torch.Generator(),
        )
        return self.resumable(loader, order)

    def val_dataloader(self) -> list[ResumableLoader]:
        """Queries of the validation relations, by direction; none where there are none."""
        if not len(self.graph.triples_of(Role.VALIDATION)):
            return []
        return [self._ranking(Role.VALIDATION, direction) for direction in self.directions]

    def test_dataloader(self) -> list[ResumableLoader]:
        """Queries of the unseen relations, by direction."""
        return [self._ranking(Role.UNSEEN, direction) for direction in self.directions]

    def _ranking(self, role: Role, direction: Direction) -> ResumableLoader:
        """Returns the queries of one direction, the same ones every time."""
        hparams, tested = self.hparams, role == Role.UNSEEN
        episodes = RankingEpisodes(
            self.graph, self.builder(tested, direction), role, direction, hparams.num_candidates, hparams.eval_queries,
            None if tested else hparams.max_val_queries, hparams.drop_duplicates, hparams.split_seed,
        )  # fmt: skip
        order = SharedBatches(len(episodes), *self.process)
        loader = DataLoader(
            episodes, batch_size=None, sampler=order, num_workers=hparams.num_workers, generator=torch.Generator()
        )
        return ResumableLoader(loader, order)

    def predict_dataloader(self) -> DataLoader:
        """Queries of the new relations, among all entities.

        Raises:
            KnowledgeGraphError: If no text of a relation is given, or an entity is unknown.
        """
        if not self.hparams.predict_texts:
            raise KnowledgeGraphError("there is no relation to predict: give data.predict_texts, one sentence each")
        build, episodes = self.builder(True, self.directions[0]), []
        for i in range(len(self.hparams.predict_texts)):
            relation = self.graph.num_relations + i
            anchor = self._anchors(relation)
            episodes.append(build(relation, anchor, torch.arange(self.graph.num_entities).expand(len(anchor), -1)))
        return DataLoader(cast(Dataset, episodes), batch_size=None)

    def _anchors(self, relation: int) -> Tensor:
        """Returns the entities whose tails, or heads, are predicted."""
        if not self.hparams.predict_heads:
            context = EntityContext.of(self.test_neighborhood, self.relation_text)
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
