"""Pairs of entities of the seen relations, drawn on the device."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from relbench_pretrain.knowledge_graph.data.neighborhood import Neighborhood
from relbench_pretrain.knowledge_graph.mre.batches import sample_neighbors
from relbench_pretrain.knowledge_graph.mre.generator import PairExtractor


class RelationPairs(nn.Module):
    """The pairs of each relation, to draw from.

    Args:
        triples: The seen triples ``(num_triples, 3)``.
        num_relations: The number of relations.
        min_pairs: Relations with fewer pairs are not drawn.
    """

    pairs: Tensor
    start: Tensor
    relations: Tensor
    weight: Tensor

    def __init__(self, triples: np.ndarray, num_relations: int, min_pairs: int = 2) -> None:
        super().__init__()
        triples = triples[np.argsort(triples[:, 1], kind="stable")]
        start = np.searchsorted(triples[:, 1], np.arange(num_relations + 1))
        count = np.diff(start)
        relations = np.flatnonzero(count >= min_pairs)
        if not len(relations):
            raise ValueError(f"no seen relation has {min_pairs} triples: there are no pairs to learn from")
        self.register_buffer("pairs", torch.from_numpy(triples[:, [0, 2]].copy()), persistent=False)
        self.register_buffer("start", torch.from_numpy(start), persistent=False)
        self.register_buffer("relations", torch.from_numpy(relations), persistent=False)
        # A compromise between the few large relations and the many small ones.
        self.register_buffer("weight", torch.from_numpy(np.sqrt(count[relations])).float(), persistent=False)

    def draw_relations(self, number: int, generator: torch.Generator) -> Tensor:
        """Draws different relations ``(number,)``, fewer where there are not so many."""
        number = min(number, len(self.relations))
        return self.relations[torch.multinomial(self.weight, number, generator=generator)]

    def draw(self, relation: Tensor, number: int, generator: torch.Generator) -> Tensor:
        """Draws pairs of relations ``(num_relations, number, 2)``."""
        begin, end = self.start[relation], self.start[relation + 1]
        share = torch.rand(len(relation), number, device=begin.device, generator=generator)
        place = begin.unsqueeze(1) + (share * (end - begin).unsqueeze(1)).long()
        return self.pairs[place.minimum(end.unsqueeze(1) - 1)]


class NeighborTable(nn.Module):
    """Some neighbours of every entity, sampled once.

    Args:
        neighborhood: The graph.
        number: The most neighbours of an entity.
        seed: Seeds the draw.
    """

    neighbor: Tensor
    relation: Tensor

    def __init__(self, neighborhood: Neighborhood, number: int = 50, seed: int = 0) -> None:
        super().__init__()
        entities = np.arange(len(neighborhood.degree))
        row, edge = sample_neighbors(neighborhood, entities, number, np.random.default_rng(seed))
        column = np.arange(len(row)) - np.searchsorted(row, entities)[row]
        table = np.full((2, len(entities), number), -1, dtype=np.int64)
        table[0, row, column] = neighborhood.neighbor[edge]
        table[1, row, column] = neighborhood.relation[edge] % neighborhood.num_relations
        self.register_buffer("neighbor", torch.from_numpy(table[0]), persistent=False)
        self.register_buffer("relation", torch.from_numpy(table[1]), persistent=False)

    def mean(self, vectors: Tensor, entity: Tensor, hidden: Tensor | None = None) -> Tensor:
        """Returns the means of neighbours' vectors, zero where there are none.

        Args:
            vectors: Vectors of all entities ``(num_entities, channels)``.
            entity: The entities ``(num_chosen,)``.
            hidden: A relation for each whose edges do not count ``(num_chosen,)``.

        Returns:
            ``(num_chosen, channels)``.
        """
        neighbor = self.neighbor[entity]
        counts = neighbor >= 0
        if hidden is not None:
            counts = counts & (self.relation[entity] != hidden.unsqueeze(1))
        weight = counts / counts.sum(1, keepdim=True).clamp(min=1)
        return torch.einsum("en,enc->ec", weight.to(vectors.dtype), vectors[neighbor.clamp(min=0)])


def pair_vectors(
    extractor: PairExtractor,
    vectors: Tensor,
    neighbors: NeighborTable,
    pair: Tensor,
    relation: Tensor,
    hide: bool = True,
) -> Tensor:
    """Returns E of pairs of seen relations.

    Args:
        extractor: The extractor.
        vectors: Vectors of all entities ``(num_entities, channels)``.
        neighbors: Their neighbours.
        pair: Heads and tails ``(num_relations, number, 2)``.
        relation: Their relations ``(num_relations,)``.
        hide: Whether neighbours under the relation itself are left out, as those under an unseen one are.

    Returns:
        ``(num_relations, number, channels)``.
    """
    shape = pair.shape[:2]
    hidden = relation.repeat_interleave(shape[1]) if hide else None
    shares = []
    for side in (0, 1):
        entity = pair[..., side].flatten()
        shares.append(extractor.share(side, vectors[entity], neighbors.mean(vectors, entity, hidden)))
    return extractor(*shares).view(*shape, -1)
