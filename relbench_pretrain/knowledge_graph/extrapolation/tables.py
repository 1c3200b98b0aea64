"""Vectors of all entities and relations of a graph, as learner and consolidator see them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from relbench_pretrain.knowledge_graph.extrapolation.batches import surroundings
from relbench_pretrain.knowledge_graph.extrapolation.consolidator import StructureConsolidator
from relbench_pretrain.knowledge_graph.extrapolation.learner import Learner
from relbench_pretrain.knowledge_graph.extrapolation.modalities import Reading
from relbench_pretrain.knowledge_graph.extrapolation.readings import GraphReadings
from relbench_pretrain.knowledge_graph.neighborhood import Neighborhood


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
def encode_graph(
    learner: Learner,
    consolidator: StructureConsolidator,
    readings: GraphReadings,
    neighborhood: Neighborhood,
    neighbors: int,
    device: torch.device,
    size: int = 512,
) -> GraphTables:
    """Encodes all entities and relations, the last few included.

    Args:
        learner: The learner.
        consolidator: The consolidator.
        readings: What is said of them.
        neighborhood: The triples that may be seen.
        neighbors: The most neighbours of an entity; which ones is always drawn alike.
        device: Where to encode.
        size: Entities at a time.

    Returns:
        The vectors, on the device.
    """
    was_training = learner.training
    learner.eval()
    parts = []
    for start in range(0, len(neighborhood.degree), size):
        target = np.arange(start, min(start + size, len(neighborhood.degree)))
        around = surroundings(neighborhood, readings, target, neighbors, np.random.default_rng(start))
        said = {name: Reading(*(t.to(device) for t in part)) for name, part in around.readings.items()}
        x = learner.encode_entities(around.number.to(device), said)
        parts.append(consolidator(x, around.edge_index.to(device), around.edge_type.to(device), len(target)))
    said = readings.of_relations(torch.arange(len(readings.relation)))
    text = learner.encode_relations({name: Reading(*(t.to(device) for t in part)) for name, part in said.items()})
    learner.train(was_training)
    return GraphTables(torch.cat(parts), text, consolidator.relations(text))
