"""Vectors of all entities and relations of a graph, computed by learner, consolidator and pair extractor."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from relbench_pretrain.knowledge_graph.data.neighborhood import Neighborhood
from relbench_pretrain.knowledge_graph.mre.batches import edges_to, sample_neighbors
from relbench_pretrain.knowledge_graph.mre.consolidator import StructureConsolidator
from relbench_pretrain.knowledge_graph.mre.generator import PairExtractor
from relbench_pretrain.knowledge_graph.mre.inputs import GraphInputs
from relbench_pretrain.knowledge_graph.mre.learner import Learner
from relbench_pretrain.knowledge_graph.mre.modalities import ModalityInput, ModalityInputs
from relbench_pretrain.knowledge_graph.mre.pairs import NeighborTable, RelationPairs, pair_vectors


class GraphTables(NamedTuple):
    """Vectors of all entities and relations of a graph.

    Args:
        entity: Entities with their neighbours ``(num_entities, channels)``.
        text: Texts of relations, new ones included ``(num_relations, relation_width)``.
        relation: The same in the space of entities ``(num_relations, channels)``.
    """

    entity: Tensor
    text: Tensor
    relation: Tensor


@torch.no_grad()
def encode_entities(learner: Learner, inputs: GraphInputs, number: int, device: torch.device) -> Tensor:
    """Encodes all entities of a graph, some hundreds at a time.

    Args:
        learner: The learner.
        inputs: Images and texts of entities, and texts of relations.
        number: How many there are.
        device: Where to encode.

    Returns:
        Vectors on the device ``(number, entity_width)``.
    """
    was_training = learner.training
    learner.eval()
    chunks = torch.arange(number).split(512)
    found = [learner.encode_entities(c.to(device), _moved(inputs.of_entities(c), device)) for c in chunks]
    learner.train(was_training)
    return torch.cat(found)


class GraphVectors:
    """Vectors of the whole graph, computed when they are asked for, and again when their parts have learned.

    Args:
        learner: The learner.
        consolidator: The consolidator.
        extractor: The pair extractor E.
        inputs: Images and texts of entities, and texts of relations.
        neighborhood: The triples for the neighbours that the consolidator sees.
        number: The most neighbours of an entity that it sees.
        pairs: The pairs of each seen relation.
        neighbors: The neighbours of each entity that the extractor sees.
        hide_relation: Whether these leave out neighbours under the relation of the pair.
    """

    def __init__(
        self,
        learner: Learner,
        consolidator: StructureConsolidator,
        extractor: PairExtractor,
        inputs: GraphInputs,
        neighborhood: Neighborhood,
        number: int,
        pairs: RelationPairs,
        neighbors: NeighborTable,
        hide_relation: bool,
    ) -> None:
        self.learner, self.consolidator, self.inputs = learner, consolidator, inputs
        self.neighborhood, self.number = neighborhood, number
        self.extractor, self.pairs, self.neighbors, self.hide_relation = extractor, pairs, neighbors, hide_relation
        self.forget()

    def forget(self) -> None:
        """Drops all vectors, as learner or consolidator have learned."""
        self._tables: GraphTables | None = None
        self.forget_pairs()

    def forget_pairs(self) -> None:
        """Drops the vectors of pairs, as the extractor has learned."""
        self._pivots: Tensor | None = None
        self._shares: list[Tensor] | None = None

    @property
    def device(self) -> torch.device:
        """The device of the vectors."""
        return self.neighbors.neighbor.device

    @property
    def tables(self) -> GraphTables:
        """Vectors of all entities and relations."""
        if self._tables is None:
            self._tables = self._encoded()
        return self._tables

    @torch.no_grad()
    def _encoded(self) -> GraphTables:
        """Encodes all entities with their neighbours, drawn with the same seeds every time, and all relations."""
        learner, consolidator, neighborhood, device = self.learner, self.consolidator, self.neighborhood, self.device
        vectors = encode_entities(learner, self.inputs, len(neighborhood.degree), device)
        modes = [part.training for part in (learner, consolidator)]
        learner.eval(), consolidator.eval()
        parts = []
        for start in range(0, len(vectors), 2048):  # a message is as wide as all bases together
            target = np.arange(start, min(start + 2048, len(vectors)))
            row, edge = sample_neighbors(neighborhood, target, self.number, np.random.default_rng(start))
            source = len(target) + neighborhood.neighbor[edge]  # the targets come first, and then all entities
            edges = (part.to(device) for part in edges_to(neighborhood, row, edge, source))
            parts.append(consolidator(torch.cat([vectors[target], vectors]), *edges, len(target)))
        texts = self.inputs.of_relations(torch.arange(len(self.inputs.relation)))
        text = learner.encode_relations(_moved(texts, device))
        tables = GraphTables(torch.cat(parts), text, consolidator.relations(text))
        learner.train(modes[0]), consolidator.train(modes[1])
        return tables

    @property
    def pivots(self) -> Tensor:
        """The mean of E over pairs of each seen relation ``(num_relations, channels)``; zero of others."""
        if self._pivots is None:
            generator = torch.Generator(self.device).manual_seed(0)
            self._pivots = torch.zeros(len(self.pairs.start) - 1, self.extractor.channels, device=self.device)
            with torch.no_grad():
                for relation in self.pairs.relations.split(16):
                    pair = self.pairs.draw(relation, 256, generator)
                    self._pivots[relation] = self.of_pairs(pair, relation).float().mean(1)
        return self._pivots

    @property
    def shares(self) -> list[Tensor]:
        """The summand of each entity in E as a head, and as a tail ``2 x (num_entities, channels)``."""
        if self._shares is None:
            with torch.no_grad():
                everyone = torch.arange(len(self.neighbors.neighbor), device=self.device)
                parts = [[self._share(side, entity) for entity in everyone.split(4096)] for side in (0, 1)]
                self._shares = [torch.cat(part) for part in parts]
        return self._shares

    def _share(self, side: int, entity: Tensor) -> Tensor:
        vectors = self.tables.entity
        return self.extractor.share(side, vectors[entity], self.neighbors.mean(vectors, entity))

    def of_pairs(self, pair: Tensor, relation: Tensor) -> Tensor:
        """Returns E of pairs of seen relations; see :func:`pair_vectors`."""
        return pair_vectors(self.extractor, self.tables.entity, self.neighbors, pair, relation, self.hide_relation)


def _moved(inputs: ModalityInputs, device: torch.device) -> ModalityInputs:
    return {name: ModalityInput(*(part.to(device) for part in values)) for name, values in inputs.items()}
