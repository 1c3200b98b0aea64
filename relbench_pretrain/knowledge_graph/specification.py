"""Specifications of knowledge graphs, which DataModules hand over to modules and callbacks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from torch import Tensor

from relbench_pretrain.knowledge_graph.data.neighborhood import Neighborhood
from relbench_pretrain.knowledge_graph.data.queries import Direction
from relbench_pretrain.knowledge_graph.episodes import Episode
from relbench_pretrain.knowledge_graph.mre.inputs import GraphInputs
from relbench_pretrain.knowledge_graph.rankers.pair_scorer import EntityContext


@dataclass(frozen=True)
class RankingSpecification:
    """A knowledge graph whose entities are ranked for relations without triples.

    Args:
        about: The data, for a model card.
        entities: The entities' identifiers.
        names: Their names.
        num_relations: The number of relations; new ones are numbered after them.
        new_relations: The texts of new relations, to predict.
        directions: Whether tails, heads or both are ranked, in the order of the loaders.
        protocol: The candidates, for the names of metrics.
        predict_top: How many entities are predicted per query.
    """

    handed_over_by: ClassVar[str] = "datamodules.EpisodicKGDataModule or datamodules.MultimodalKGDataModule"

    about: dict[str, Any]
    entities: list[str]
    names: list[str]
    num_relations: int
    new_relations: list[str]
    directions: tuple[Direction, ...]
    protocol: str
    predict_top: int


@dataclass(frozen=True)
class EpisodicSpecification(RankingSpecification):
    """A knowledge graph for rankers that are trained in episodes.

    Args:
        relation_text: Vectors of the relations' texts, new ones included ``(num_texts, text_width)``.
        context: Returns what may be known of all entities in a stage: ``fit``, ``validate``, ``test`` or ``predict``.
        training_episodes: Returns the pool of training episodes, which is made at the first call.
    """

    handed_over_by = "datamodules.EpisodicKGDataModule"

    relation_text: Tensor
    context: Callable[[str], EntityContext]
    training_episodes: Callable[[], list[Episode]]


@dataclass(frozen=True)
class MultimodalSpecification(RankingSpecification):
    """A knowledge graph with images and texts, for multimodal relation extrapolation.

    Args:
        inputs: Images and texts of entities, and texts of relations.
        triples: The seen triples ``(num_triples, 3)``.
        neighborhood: The same, for the neighbours that the consolidator sees.
        pair_neighborhood: The triples for the neighbours that the pair extractor sees.
        phases: Epochs of fusion, extractor and generator.
        neighbors: The most neighbours of an entity that the consolidator sees.
    """

    handed_over_by = "datamodules.MultimodalKGDataModule"

    inputs: GraphInputs
    triples: np.ndarray
    neighborhood: Neighborhood
    pair_neighborhood: Neighborhood
    phases: tuple[int, int, int]
    neighbors: int
