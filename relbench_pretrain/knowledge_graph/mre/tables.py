"""Vectors of all entities and relations of a graph, as learner and consolidator see them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from relbench_pretrain.knowledge_graph.data.neighborhood import Neighborhood
from relbench_pretrain.knowledge_graph.mre.batches import edges_to, sample_neighbors
from relbench_pretrain.knowledge_graph.mre.consolidator import StructureConsolidator
from relbench_pretrain.knowledge_graph.mre.inputs import GraphInputs
from relbench_pretrain.knowledge_graph.mre.learner import Learner
from relbench_pretrain.knowledge_graph.mre.modalities import ModalityInput, ModalityInputs


class GraphTables(NamedTuple):
    """Vectors of a graph.

    Args:
        entity: Entities with their neighbours ``(num_entities, channels)``.
        text: Texts of relations, new ones included ``(num_relations, relation_width)``.
        relation: The same where entities are ``(num_relations, channels)``.
    """

    entity: Tensor
    text: Tensor
    relation: Tensor


@torch.no_grad()
def encode_entities(learner: Learner, inputs: GraphInputs, number: int, device: torch.device) -> Tensor:
    """Encodes all entities, the last few included.

    Args:
        learner: The learner.
        inputs: What is said of them.
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


@torch.no_grad()
def encode_graph(
    learner: Learner,
    consolidator: StructureConsolidator,
    inputs: GraphInputs,
    neighborhood: Neighborhood,
    neighbors: int,
    device: torch.device,
) -> GraphTables:
    """Encodes all entities with their neighbours, and all relations.

    Args:
        learner: The learner.
        consolidator: The consolidator.
        inputs: What is said of them.
        neighborhood: The triples that may be seen.
        neighbors: The most neighbours of an entity; which ones is always drawn alike.
        device: Where to encode.

    Returns:
        The vectors, on the device.
    """
    number = len(neighborhood.degree)
    vectors = encode_entities(learner, inputs, number, device)
    modes = [part.training for part in (learner, consolidator)]
    learner.eval(), consolidator.eval()
    parts = []
    for start in range(0, number, 2048):  # a message is as wide as all bases together
        target = np.arange(start, min(start + 2048, number))
        row, edge = sample_neighbors(neighborhood, target, neighbors, np.random.default_rng(start))
        source = len(target) + neighborhood.neighbor[edge]  # the targets come first, and then all entities
        edges = (part.to(device) for part in edges_to(neighborhood, row, edge, source))
        parts.append(consolidator(torch.cat([vectors[target], vectors]), *edges, len(target)))
    entity = torch.cat(parts)
    said = inputs.of_relations(torch.arange(len(inputs.relation)))
    text = learner.encode_relations(_moved(said, device))
    tables = GraphTables(entity, text, consolidator.relations(text))
    learner.train(modes[0]), consolidator.train(modes[1])
    return tables


def _moved(inputs: ModalityInputs, device: torch.device) -> ModalityInputs:
    return {name: ModalityInput(*(part.to(device) for part in reading)) for name, reading in inputs.items()}
