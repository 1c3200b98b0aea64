"""The structure consolidator: entities aggregate their neighbours, and are trained by the scores of triples."""

from __future__ import annotations

from abc import abstractmethod

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch_geometric.nn import MessagePassing


class SpectralLinear(nn.Linear):
    """A linear layer whose weight is divided by its largest singular value (Miyato et al. 2018).

    A step of power iteration for each forward pass in training keeps track of it.

    Args:
        in_features: Width of the input.
        out_features: Width of the output.
    """

    left: Tensor

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__(in_features, out_features)
        self.register_buffer("left", F.normalize(torch.randn(out_features), dim=0))
        for _ in range(15):
            self._iterate()

    @torch.no_grad()
    def _iterate(self) -> None:
        right = F.normalize(self.weight.T @ self.left, dim=0)
        self.left.copy_(F.normalize(self.weight @ right, dim=0))

    def forward(self, input: Tensor) -> Tensor:
        """Transforms ``(..., in_features)`` to ``(..., out_features)``."""
        if self.training:
            self._iterate()
        left = self.left.clone()  # the next pass moves it before this one is differentiated
        size = (left @ self.weight).norm()
        return F.linear(input, self.weight / size, self.bias)


class BasisConv(MessagePassing):
    """A relational graph convolution whose weights are mixtures of a few bases (Schlichtkrull et al. 2018, Eq. 2, 3).

    The same as PyG's ``RGCNConv(num_bases=...)`` without its loop over relations: messages are mixed before they are
    added up, and all bases are one matrix product.

    Args:
        in_channels: Width of the input.
        out_channels: Width of the output.
        num_relations: The number of directed relations.
        num_bases: The number of bases.
    """

    def __init__(self, in_channels: int, out_channels: int, num_relations: int, num_bases: int) -> None:
        super().__init__(aggr="sum", node_dim=0)
        self.num_relations = num_relations
        self.share = nn.Parameter(torch.empty(num_relations, num_bases))
        self.bases = nn.Linear(num_bases * in_channels, out_channels, bias=False)
        self.root = nn.Linear(in_channels, out_channels)
        nn.init.xavier_uniform_(self.share)

    def forward(self, x: Tensor, edge_index: Tensor, edge_type: Tensor, num_targets: int) -> Tensor:
        """Aggregates the neighbours of the targets.

        Args:
            x: Vectors of the nodes; the targets come first ``(num_nodes, in_channels)``.
            edge_index: Source and target of each edge ``(2, num_edges)``.
            edge_type: Its directed relation ``(num_edges,)``.
            num_targets: How many nodes are targets.

        Returns:
            ``(num_targets, out_channels)``.
        """
        cell = edge_index[1] * self.num_relations + edge_type
        number = torch.zeros(num_targets * self.num_relations, device=x.device).index_add(
            0, cell, torch.ones(len(cell), device=x.device)
        )
        share = self.share[edge_type] / number[cell].unsqueeze(1)  # the mean over neighbours of one relation
        mixed = self.propagate(edge_index, x=x, share=share.to(x.dtype), size=(len(x), num_targets))
        return self.bases(mixed) + self.root(x[:num_targets])

    def message(self, x_j: Tensor, share: Tensor) -> Tensor:
        """Spreads each message over the bases ``(num_edges, num_bases * in_channels)``."""
        return (share.unsqueeze(2) * x_j.unsqueeze(1)).flatten(1)


class StructureConsolidator(nn.Module):
    """Vectors of entities from themselves and their neighbours, those of relations from their texts.

    Cai et al. 2024, Section III-B: one relational graph convolution with LeakyReLU for entities, two spectrally
    normalised linear layers for relations. Where the data gives no neighbours, the convolution is a linear layer.

    Args:
        channels: Width of the result.
        num_bases: Bases of the convolution.
        slope: Slope of the LeakyReLU.
    """

    def __init__(self, channels: int = 200, num_bases: int = 30, slope: float = 0.2) -> None:
        super().__init__()
        self.channels, self.num_bases, self.slope = channels, num_bases, slope
        self.convolution: BasisConv | None = None

    def build(self, entity_width: int, relation_width: int, num_relations: int) -> None:
        """Creates the parameters; a second call changes nothing."""
        if self.convolution is None:
            self.convolution = BasisConv(entity_width, self.channels, 2 * num_relations, self.num_bases)
            self.relation = nn.Sequential(
                SpectralLinear(relation_width, self.channels), SpectralLinear(self.channels, self.channels)
            )

    def forward(self, x: Tensor, edge_index: Tensor, edge_type: Tensor, num_targets: int) -> Tensor:
        """Consolidates entities; see :meth:`BasisConv.forward`."""
        assert self.convolution is not None
        return F.leaky_relu(self.convolution(x, edge_index, edge_type, num_targets), self.slope)

    def relations(self, vectors: Tensor) -> Tensor:
        """Maps the vectors of relations' texts into the space of entities ``(num_relations, channels)``."""
        return self.relation(vectors)


class TripleScore(nn.Module):
    """Base of the scores of triples, with the loss of negatives."""

    @abstractmethod
    def forward(self, head: Tensor, relation: Tensor, tail: Tensor) -> Tensor:
        """Scores triples of vectors ``(..., channels)``, which may be broadcast; higher is likelier ``(...)``."""

    @abstractmethod
    def loss(self, positive: Tensor, negative: Tensor) -> Tensor:
        """Returns the loss of each negative.

        Args:
            positive: Scores of the true triples ``(num_triples, 1)``.
            negative: Scores of the negatives ``(num_triples, num_negatives)``.
        """


class TransE(TripleScore):
    """−‖h + r − t‖₁ with a margin (Bordes et al. 2013).

    Args:
        margin: By how much a true triple should score higher.
    """

    def __init__(self, margin: float = 3.0) -> None:
        super().__init__()
        self.margin = margin

    def forward(self, head: Tensor, relation: Tensor, tail: Tensor) -> Tensor:
        return -(head + relation - tail).abs().sum(-1)

    def loss(self, positive: Tensor, negative: Tensor) -> Tensor:
        return F.relu(self.margin + negative - positive)


class DistMult(TripleScore):
    """⟨h, r, t⟩ with a logistic loss (Yang et al. 2015)."""

    def forward(self, head: Tensor, relation: Tensor, tail: Tensor) -> Tensor:
        return (head * relation * tail).sum(-1)

    def loss(self, positive: Tensor, negative: Tensor) -> Tensor:
        return (F.softplus(-positive) + F.softplus(negative)) / 2


class KnownTriples(nn.Module):
    """Looks up on the device whether triples are known.

    Args:
        triples: The known ones ``(num_triples, 3)``.
        num_entities: The number of entities.
        num_relations: The number of relations.
    """

    key: Tensor

    def __init__(self, triples: Tensor, num_entities: int, num_relations: int) -> None:
        super().__init__()
        self.num_entities, self.num_relations = num_entities, num_relations
        self.register_buffer("key", self._key(*triples.unbind(1)).sort().values, persistent=False)

    def _key(self, head: Tensor, relation: Tensor, tail: Tensor) -> Tensor:
        return (head * self.num_relations + relation) * self.num_entities + tail

    def forward(self, head: Tensor, relation: Tensor, tail: Tensor) -> Tensor:
        """Returns which triples of numbers are known, in the shape of the arguments."""
        key = self._key(head, relation, tail)
        return self.key[torch.searchsorted(self.key, key).clamp(max=len(self.key) - 1)] == key


def structure_loss(
    score: TripleScore,
    known: KnownTriples,
    entity: Tensor,
    number: Tensor,
    triple: Tensor,
    relation: Tensor,
    relation_number: Tensor,
    num_negatives: int = 10,
    penalty: float = 1e-3,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Compares triples with negatives that are drawn on the device from the entities of the batch.

    Half of them have another head, half another tail; those that are known triples do not count.

    Args:
        score: Scores triples.
        known: Looks up known triples.
        entity: Vectors of the entities of the batch ``(num_entities, channels)``.
        number: Their numbers ``(num_entities,)``.
        triple: Head and tail of each true triple, as rows of ``entity`` ``(2, num_triples)``.
        relation: Vectors of the relations of the triples ``(num_triples, channels)``.
        relation_number: Their numbers ``(num_triples,)``.
        num_negatives: Negatives per true triple.
        penalty: Weight of the mean squared entry of all vectors.
        generator: Draws the negatives.

    Returns:
        The mean loss over negatives, with the penalty.
    """
    head, tail = triple
    shape = (len(head), num_negatives)
    drawn = torch.randint(len(entity), shape, device=entity.device, generator=generator)
    of_head = torch.rand(shape, device=entity.device, generator=generator) < 0.5
    negative_head = torch.where(of_head, drawn, head.unsqueeze(1))
    negative_tail = torch.where(of_head, tail.unsqueeze(1), drawn)
    counts = ~known(number[negative_head], relation_number.unsqueeze(1), number[negative_tail])
    positive = score(entity[head], relation, entity[tail]).unsqueeze(1)
    negative = score(entity[negative_head], relation.unsqueeze(1), entity[negative_tail])
    loss = (score.loss(positive, negative) * counts).sum() / counts.sum().clamp(min=1)
    return loss + penalty * (entity.square().mean() + relation.square().mean())
