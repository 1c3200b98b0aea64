"""Training batches of the multimodal model, and the phases that they come in."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from relbench_pretrain.knowledge_graph.data.graph import KnowledgeGraph
from relbench_pretrain.knowledge_graph.data.neighborhood import Neighborhood
from relbench_pretrain.knowledge_graph.mre.inputs import GraphInputs, TextTokenizer
from relbench_pretrain.knowledge_graph.mre.modalities import ModalityInputs


@dataclass
class EgoSubgraph:
    """The ego subgraphs of some entities: these with some of their neighbours.

    Args:
        number: Entities, the targets first and then neighbours, each once ``(num_nodes,)``.
        num_targets: How many are targets.
        edge_index: Neighbour and target of each edge, as rows of ``number`` ``(2, num_edges)``.
        edge_type: The directed relation from neighbour to target ``(num_edges,)``.
        inputs: Inputs of the targets.
    """

    number: Tensor
    num_targets: int
    edge_index: Tensor
    edge_type: Tensor
    inputs: ModalityInputs


@dataclass
class FusionBatch:
    """Triples to train learner and consolidator on.

    Args:
        around: The entities of the triples with neighbours.
        triple: Head and tail of each triple, as rows of ``around.number`` ``(2, num_triples)``.
        relation: The relations in the batch ``(num_relations,)``.
        relation_row: Which of them each triple has ``(num_triples,)``.
        relation_inputs: Their inputs.
        seed: Seeds all random numbers of the step.
    """

    around: EgoSubgraph
    triple: Tensor
    relation: Tensor
    relation_row: Tensor
    relation_inputs: ModalityInputs
    seed: int


@dataclass
class ExtractorBatch:
    """A step of the pair extractor, whose pairs are drawn on the device.

    Args:
        seed: Seeds all random numbers of the step.
    """

    seed: int


@dataclass
class AdversarialBatch:
    """A step of critic and generator, whose pairs are drawn on the device.

    Args:
        seed: Seeds all random numbers of the step.
    """

    seed: int


def sample_neighbors(
    neighborhood: Neighborhood, entity: np.ndarray, number: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Draws edges of entities, without replacement, each edge of an entity as likely as the others.

    Args:
        neighborhood: The graph.
        entity: The entities ``(num_chosen,)``.
        number: The most edges of each.
        rng: Draws them.

    Returns:
        Which of ``entity`` each edge belongs to, and the edge ``(2 x (num_edges,))``.
    """
    begin, degree = neighborhood.indptr[entity], neighborhood.degree[entity]
    # One edge from each of as many equal parts of an entity's edges: never the same twice, and nothing to sort.
    parts = np.minimum(degree, number)
    row = np.repeat(np.arange(len(entity)), parts)
    part = np.arange(len(row)) - np.repeat(np.cumsum(parts) - parts, parts)
    low, high = part * degree[row] / parts[row], (part + 1) * degree[row] / parts[row]
    place = np.floor(low + rng.random(len(row)) * (high - low)).astype(np.int64)
    shift = (rng.random(len(entity)) * degree).astype(np.int64)  # neighbours are sorted: parts begin anywhere
    most = max(int(degree.max(initial=0)), 1)
    key = np.unique(row * most + (place + shift[row]) % degree[row])  # two parts may share the edge on their border
    row, place = key // most, key % most
    return row, begin[row] + place


def edges_to(
    neighborhood: Neighborhood, row: np.ndarray, edge: np.ndarray, source: np.ndarray
) -> tuple[Tensor, Tensor]:
    """Returns sampled edges as they lead from neighbour to entity.

    Args:
        neighborhood: The graph.
        row: The entity of each edge ``(num_edges,)``.
        edge: The edges ``(num_edges,)``.
        source: Their neighbours, in any numbering ``(num_edges,)``.

    Returns:
        Source and entity ``(2, num_edges)``, and the directed relation ``(num_edges,)``.
    """
    kind = (neighborhood.relation[edge] + neighborhood.num_relations) % (2 * neighborhood.num_relations)
    return torch.from_numpy(np.stack([source, row])), torch.from_numpy(kind)


def ego_subgraph(
    neighborhood: Neighborhood, inputs: GraphInputs, target: np.ndarray, number: int, rng: np.random.Generator
) -> EgoSubgraph:
    """Collects entities, each given once, with their inputs and sampled neighbours."""
    row, edge = sample_neighbors(neighborhood, target, number, rng)
    neighbor = neighborhood.neighbor[edge]
    place = np.full(len(neighborhood.indptr) - 1, -1, dtype=np.int64)
    place[target] = np.arange(len(target))
    new = np.unique(neighbor[place[neighbor] < 0])
    place[new] = len(target) + np.arange(len(new))
    edge_index, edge_type = edges_to(neighborhood, row, edge, place[neighbor])
    return EgoSubgraph(
        number=torch.from_numpy(np.concatenate([target, new])),
        num_targets=len(target),
        edge_index=edge_index,
        edge_type=edge_type,
        inputs=inputs.of_entities(target),
    )


class PhasedBatches(Dataset):
    """Training batches by epoch and number: phases of learner, pair extractor and generator, over and over.

    Args:
        triples: The seen triples ``(num_triples, 3)``.
        neighborhood: The same as a graph.
        inputs: Inputs of entities and relations.
        epochs: Epochs of each of the three phases.
        triples_per_batch: Triples of a batch.
        neighbors: The most neighbours of each entity.
        seed: The seed.
    """

    def __init__(
        self,
        triples: np.ndarray,
        neighborhood: Neighborhood,
        inputs: GraphInputs,
        epochs: tuple[int, int, int],
        triples_per_batch: int,
        neighbors: int,
        seed: int,
    ) -> None:
        self.triples, self.neighborhood, self.inputs = triples, neighborhood, inputs
        self.ends = np.cumsum(epochs)
        self.triples_per_batch = triples_per_batch
        self.neighbors, self.seed = neighbors, seed

    def __getitem__(self, place: tuple[int, int]) -> FusionBatch | ExtractorBatch | AdversarialBatch:
        epoch, number = place
        rng = np.random.default_rng([self.seed, number])
        seed = int(rng.integers(1 << 62))
        phase = int(np.searchsorted(self.ends, epoch % self.ends[-1], side="right"))
        if phase == 0:
            return self.fusion_batch(rng, seed)
        return ExtractorBatch(seed) if phase == 1 else AdversarialBatch(seed)

    def fusion_batch(self, rng: np.random.Generator, seed: int) -> FusionBatch:
        """Draws triples with the ego subgraphs of their entities."""
        chosen = self.triples[rng.integers(0, len(self.triples), self.triples_per_batch)]
        target, place = np.unique(chosen[:, [0, 2]], return_inverse=True)
        relation, row = np.unique(chosen[:, 1], return_inverse=True)
        return FusionBatch(
            around=ego_subgraph(self.neighborhood, self.inputs, target, self.neighbors, rng),
            triple=torch.from_numpy(place.reshape(-1, 2).T.copy()),
            relation=torch.from_numpy(relation),
            relation_row=torch.from_numpy(row.reshape(-1)),
            relation_inputs=self.inputs.of_relations(relation),
            seed=seed,
        )


class MultimodalTraining:
    """How ``RelationExtrapolation`` is trained: the phases of its parts, and the inputs that it reads of a graph.

    Learner and consolidator come first, then the pair extractor, then generator and critic; after the last epoch of
    these the first phase comes again, so that short phases train all parts jointly.

    Args:
        fusion_epochs: Epochs of learner and consolidator.
        extractor_epochs: Epochs of the pair extractor.
        adversarial_epochs: Epochs of generator and critic; with 0 relations are ranked by the consolidator alone.
        triples_per_batch: Triples of a batch.
        neighbors: The most neighbours of an entity that the consolidator sees; 0 for none.
        image_size: Width and height in pixels that images are resized to; 0 takes vectors of images.
        tokenizer: Splits texts into words; without one, texts are the vectors of ``data.text_embedder``.
        use_images: Whether images of entities are read.
        use_texts: Whether texts of entities are read.

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
        """Reads images and texts; see :meth:`GraphInputs.of`."""
        return GraphInputs.of(
            graph, entity_text, relation_text, new_relations, self.tokenizer, self.image_size, self.use_images,
            self.use_texts, cache_dir,
        )  # fmt: skip

    def batches(self, triples: np.ndarray, neighborhood: Neighborhood, inputs: GraphInputs, seed: int) -> PhasedBatches:
        """Returns the training batches; see :class:`PhasedBatches`."""
        return PhasedBatches(triples, neighborhood, inputs, self.epochs, self.triples_per_batch, self.neighbors, seed)
