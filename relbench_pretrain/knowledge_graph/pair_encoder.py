"""Scores a head and its candidates under a relation that is known by its text alone."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from relbench_pretrain.knowledge_graph.neighborhood import Paths
from relbench_pretrain.knowledge_graph.pair_scorer import EntityContext, PairScorer

NUM_SIMILARITIES = 6
NUM_ANALOGIES = 6
NUM_NEAREST = 5


class RelationAffinity(nn.Module):
    """What every seen relation, in either direction, means for a relation that is asked for: φ(q, r).

    A perceptron on how near the texts are, on products of their projections, and on a learned vector of the seen
    relation. Relations without triples, and the hidden one, mean nothing: their vectors are zero.

    Args:
        text_width: Width of the vectors of texts.
        num_relations: The number of relations.
        channels: Width of the result.
        dropout: Dropout rate.
        text_channels: Width of the projections of texts.
        relation_channels: Width of the learned vectors.
    """

    def __init__(
        self,
        text_width: int,
        num_relations: int,
        channels: int,
        dropout: float = 0.2,
        text_channels: int = 32,
        relation_channels: int = 16,
    ) -> None:
        super().__init__()
        self.query = nn.Linear(text_width, text_channels, bias=False)
        self.key = nn.Linear(text_width, text_channels, bias=False)
        self.relation = nn.Embedding(2 * num_relations, relation_channels)
        nn.init.zeros_(self.relation.weight)  # so that a relation that training did not meet is told by its text alone
        self.dropout = nn.Dropout(dropout)
        self.layers = nn.Sequential(
            nn.Linear(text_channels + relation_channels + NUM_SIMILARITIES + 1, 64),
            nn.GELU(),
            nn.Dropout(dropout),
            nn.Linear(64, channels),
        )

    def forward(self, query: Tensor, relation_text: Tensor, usable: Tensor) -> Tensor:
        """Computes φ(q, r) of all directed relations.

        Args:
            query: Text vector of the relation that is asked for ``(text_width,)``.
            relation_text: Those of all relations ``(num_relations, text_width)``.
            usable: Which relations may be used ``(num_relations,)``.

        Returns:
            ``(2 * num_relations, channels)``.
        """
        cosine = relation_text @ query
        known = cosine.masked_fill(~usable, -1.0)
        nearest = known.max()
        similar = torch.stack(
            [
                cosine,
                (known / 0.03).softmax(0),
                (known / 0.1).softmax(0),
                (known >= known.topk(min(3, len(known))).values[-1]).to(cosine.dtype),
                (known - nearest).clamp(min=-1.0),
                nearest.expand_as(known),
            ],
            dim=1,
        )  # (num_relations, NUM_SIMILARITIES)
        # Entries of vectors of length 1 are small: their products are brought to about 1.
        product = self.dropout(self.query(query) * self.key(relation_text) * 20)
        text = torch.cat([product, similar], dim=1).repeat(2, 1)
        backwards = torch.zeros(len(text), 1, device=text.device, dtype=text.dtype)
        backwards[len(relation_text) :] = 1.0
        out = self.layers(torch.cat([text, self.dropout(self.relation.weight), backwards], dim=1))
        return out * usable.repeat(2).unsqueeze(1)


class PairEncoder(PairScorer):
    """Reads what joins a head and a candidate, what the candidate is, and what both texts say, for one relation.

    Of every edge and every path over one entity between the two, of the candidate's edges and of the head's it sums
    how their relations bear on the one asked for (:class:`RelationAffinity`); paths over entities of many edges count
    less (as in the index of Adamic and Adar). A perceptron makes a score of it, together with products of projected
    texts. It knows no entity by heart, and of relations only those that have triples.

    Args:
        channels: Width of every sum.
        text_channels: Width of projected texts.
        relation_channels: Width of what is learned of each seen relation by name.
        hidden_channels: Width of the perceptron.
        dropout: Dropout rate.
        relation_dropout: Share of the seen relations that mean nothing in a training episode, drawn anew each time.
            Many relations have a twin under another name, whose triples answer alone; an unseen relation seldom has.
    """

    def __init__(
        self,
        channels: int = 32,
        text_channels: int = 32,
        relation_channels: int = 16,
        hidden_channels: int = 128,
        dropout: float = 0.2,
        relation_dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.relation_dropout = relation_dropout
        self.channels = channels
        self.text_channels = text_channels
        self.relation_channels = relation_channels
        self.hidden_channels = hidden_channels
        self.dropout = dropout
        self.built: tuple[int, int] | None = None

    def build(self, text_width: int, num_relations: int) -> None:
        """Creates the parameters; a second call changes nothing.

        Raises:
            ValueError: If it was built for another graph before.
        """
        if self.built is not None:
            if self.built != (text_width, num_relations):
                raise ValueError(
                    f"this network was built for texts of width {self.built[0]} and {self.built[1]} relations, not for "
                    f"{text_width} and {num_relations}"
                )
            return
        self.built = (text_width, num_relations)

        def affinity() -> RelationAffinity:
            return RelationAffinity(
                text_width, num_relations, self.channels, self.dropout, self.text_channels, self.relation_channels
            )

        def projection() -> nn.Linear:
            return nn.Linear(text_width, self.text_channels, bias=False)

        self.edge, self.first, self.second, self.candidate, self.head = (affinity() for _ in range(5))
        self.text_query, self.text_tail, self.text_head, self.text_other = (projection() for _ in range(4))
        width = 7 * self.channels + 2 * self.text_channels + 5 + NUM_ANALOGIES
        self.score = nn.Sequential(
            nn.LayerNorm(width),
            nn.Linear(width, self.hidden_channels),
            nn.GELU(),
            nn.Dropout(self.dropout),
            nn.Linear(self.hidden_channels, 64),
            nn.GELU(),
            nn.Linear(64, 1),
        )

    def forward(
        self,
        context: EntityContext,
        query: Tensor,
        head: Tensor,
        candidate: Tensor,
        paths: Paths,
        hidden: int = -1,
        reverse: bool = False,
    ) -> Tensor:
        """Scores candidates; see :meth:`PairScorer.forward`."""
        usable = context.present.clone()
        num_relations = len(usable)
        degree, breadth = context.profile.expm1().sum(1), context.profile.sum(1)
        if 0 <= hidden < num_relations:
            usable[hidden] = False
            # What the hidden relation adds to degrees would give its entities away.
            lost = context.profile[:, [hidden, hidden + num_relations]]
            degree, breadth = (degree - lost.expm1().sum(1)).clamp(min=0), breadth - lost.sum(1)
        if self.training and self.relation_dropout:
            usable &= torch.rand(num_relations, device=usable.device) >= self.relation_dropout
        edge, first, second, tail, given = (
            # Sums over many edges want more than half precision.
            _turned(part(query, context.relation_text, usable).float(), reverse)
            for part in (self.edge, self.first, self.second, self.candidate, self.head)
        )
        shape = candidate.shape
        place = candidate.clamp(min=0).flatten()
        # 1. What joins them.
        cell = paths.path[:, 0] * shape[1] + paths.path[:, 1]
        weight = 1 / (2 + degree[paths.path[:, 4]]).log()
        step = first[paths.path[:, 2]] * second[paths.path[:, 3]] * weight.unsqueeze(1)
        joined = step.new_zeros(shape.numel(), self.channels).index_add(0, cell, step)
        number = weight.new_zeros(shape.numel()).index_add(0, cell, weight)
        direct = step.new_zeros(shape.numel(), self.channels).index_add(
            0, paths.edge[:, 0] * shape[1] + paths.edge[:, 1], edge[paths.edge[:, 2]]
        )
        # 2. What both are.
        log_degree = (1 + degree).log()
        bearing = context.profile[place] @ tail  # (num_queries * num_candidates, channels)
        own = (context.profile[head] @ given).repeat_interleave(shape[1], 0)
        spread = (1 + breadth[place].unsqueeze(1)) / 5
        of_head, of_tail = log_degree[head].repeat_interleave(shape[1]).unsqueeze(1), log_degree[place].unsqueeze(1)
        # 3. What their texts say; of each entity once, however many queries it is a candidate of.
        met, own_place = place.unique(return_inverse=True)
        text, head_text = context.entity_text[met], context.entity_text[head]
        says = (self.text_tail(text) * self.text_query(query) * 20)[own_place]
        alike = self.text_head(head_text).repeat_interleave(shape[1], 0) * self.text_other(text)[own_place] * 20
        near = (head_text @ text.T).gather(1, own_place.view(shape)).view(-1, 1)
        scalar = torch.cat(
            [
                (text @ query)[own_place].unsqueeze(1),
                near,
                of_tail / 5,
                number.log1p().unsqueeze(1),
                of_head / 5,
                self._analogies(context, query, head, place.view(shape), usable, reverse).flatten(0, 1),
            ],
            dim=1,
        )
        features = [
            joined.asinh(),
            (joined / (of_head + 1)).asinh(),
            (joined / (of_tail + 1)).asinh(),
            direct.asinh(),
            bearing.asinh(),
            bearing / spread,
            own.asinh(),
            says,
            alike,
            scalar,
        ]
        score = self.score(torch.cat(features, dim=1)).view(shape)
        return score.masked_fill(candidate < 0, -torch.inf)

    def _analogies(
        self, context: EntityContext, query: Tensor, head: Tensor, candidate: Tensor, usable: Tensor, reverse: bool
    ) -> Tensor:
        """Compares candidates with what the relations of the nearest texts join.

        Returns:
            In both directions how near the candidate's text is to those of their tails, and how often they lead from
            heads whose texts are like the head's to the candidate ``(num_queries, num_candidates, NUM_ANALOGIES)``.
        """
        cosine = (context.relation_text @ query).float().masked_fill(~usable, -1.0)
        near = cosine.topk(min(NUM_NEAREST, len(cosine)))
        weight = (near.values / 0.05).softmax(0) * usable[near.indices]  # where few are left, topk finds others too
        rows = [torch.arange(int(context.first[r]), int(context.first[r + 1])) for r in near.indices.tolist()]
        share = torch.cat([w.expand(len(r)) / max(len(r), 1) ** 0.5 for w, r in zip(weight, rows, strict=True)])
        places = torch.cat(rows).to(candidate.device)
        ends = [context.head[places], context.tail[places]]
        given = context.entity_text[head]
        found = []
        for source, target in (ends[::-1], ends) if reverse else (ends, ends[::-1]):
            weight = share.new_zeros(len(context.entity_text)).index_add(0, target, share)
            met = weight.nonzero().flatten()
            center = F.normalize((weight[met].sqrt() @ context.entity_text[met]).float(), dim=0)
            like = (given @ context.entity_text[source].T).float().clamp(min=0) ** 4 * share
            total = like.new_zeros(len(head), len(weight)).index_add(1, target, like)
            found += [
                (context.entity_text @ center)[candidate],
                (total.gather(1, candidate) * 20).asinh(),
                total.gather(1, candidate) / (total.amax(1, keepdim=True) + 1e-6),
            ]
        return torch.stack(found, dim=-1)


def _turned(affinity: Tensor, reverse: bool) -> Tensor:
    """Exchanges the directions of all relations."""
    return affinity.roll(len(affinity) // 2, 0) if reverse else affinity
