"""Features of a head and a candidate under a relation that has a text but no triples; nothing here is learned."""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor

from relbench_pretrain.knowledge_graph.data.neighborhood import Neighborhood, Paths, find_paths
from relbench_pretrain.knowledge_graph.features.domain_range import OF_HEAD, PREDICTED, DomainRangeRegression
from relbench_pretrain.knowledge_graph.features.lexical_overlap import WORDS, LexicalOverlap
from relbench_pretrain.knowledge_graph.features.rules import Rules

# Features of a candidate under each of the nearest relations ...
RANGE = ("times", "share", "profile", "text", "image")
ANALOGIES = ("heads alike by text", "heads alike by profile", "heads alike by neighbours", "heads alike by image")
EDGES = ("edge", "confidence of edges", "coverage of edges")
PATHS = ("confidence of paths", "all confidence of paths", "coverage of paths", "all coverage of paths")
OWN = ("text like the head's neighbours", "image like the head's neighbours")
# ... is summed with weights of five kinds: by text alone in both directions, and as far as the head fits.
WEIGHTS = ("forward", "backward", "has", "has, wider", "fits")
HEAD = ("nearest that it has", "best fit", "fits", "fit forward", "fit backward", "times forward")
PAIR = (
    "degree", "relations", "head's degree", "text to relation", "text to head", "text to both", "weight of paths",
    "number of paths", "joined", "profile to head", "neighbours to head", "image to head", "is the head", "nearest",
    "text to words of the range", "text to words of the domain",
)  # fmt: skip
NAMES = (
    *(f"{name} ({weight})" for weight in WEIGHTS for name in (*RANGE, *ANALOGIES, *EDGES, *PATHS, *OWN)),
    *(f"head: {name}" for name in HEAD),
    *PAIR,
    *PREDICTED,
    *(f"head in {name}" for name in OF_HEAD),
    *WORDS,
)
NUM_FEATURES = len(NAMES)
MODALITIES = ("image", "text", "structure")


def modality_mask(modalities: Collection[str]) -> np.ndarray:
    """Returns which features depend on some of the modalities alone, 0 or 1 ``(NUM_FEATURES,)``.

    Raises:
        ValueError: If a modality is unknown.
    """
    if unknown := set(modalities) - set(MODALITIES):
        raise ValueError(f"there are no modalities {sorted(unknown)}: they are {', '.join(MODALITIES)}")
    structural = tuple(f"({weight})" for weight in WEIGHTS[2:])  # these depend on the head's relations

    def needs(name: str) -> set[str]:
        needed = set(name.split()) & set(MODALITIES)
        if {"like", "heads"} & set(name.split()) or name.endswith(structural):
            needed.add("structure")
        return needed or (set() if name in ("is the head", "nearest") else {"structure"})

    return np.array([needs(name) <= set(modalities) for name in NAMES], np.float32)


class Nearest(NamedTuple):
    """The seen relations with the nearest texts, first all forwards and then all backwards.

    Args:
        directed: The directed relations ``(2 * number,)``.
        cosine: Cosine similarity of their texts ``(2 * number,)``.
        mask: 0 for the hidden relation, else 1 ``(2 * num_relations,)``.
        hidden: The directed relations that are hidden, none or two.
    """

    directed: np.ndarray
    cosine: np.ndarray
    mask: np.ndarray
    hidden: np.ndarray


class PairFeatures:
    """Computes features of pairs of a head and a candidate from the seen relations with the nearest texts.

    They are how often the candidate is a tail of these, and how similar to their tails; the tails that they give to
    similar heads; and the edges and paths between the pair, with their confidence as rules (:class:`Rules`). To this
    come domain and range, predicted from the relation's text (:class:`DomainRangeRegression`), and the lexical overlap
    of the texts of both entities (:class:`LexicalOverlap`). No feature depends on the triples of a hidden relation, nor
    identifies an entity, relation or word: what is learned from them under one relation holds under another.

    Args:
        neighborhood: The triples that may be known.
        entity_text: Vectors of the entities' texts, of length 1 ``(num_entities, text_width)``.
        relation_text: The same of the relations, and perhaps of new ones after them ``(num_texts, text_width)``.
        num_nearest: How many of the seen relations.
        entity_image: Vectors of the entities' images, of length 1 or zero ``(num_entities, image_width)``; None for
            no images.
        modalities: The modalities of entities that may be read; features that need another one are 0.
        ends: Vectors of the words of the relations' texts that name the range, and of those that name the domain
            ``(2, num_texts, text_width)``; None takes the whole texts.
        words: Compares texts word by word; None leaves this out, and its features are 0.
    """

    def __init__(
        self,
        neighborhood: Neighborhood,
        entity_text: Tensor,
        relation_text: Tensor,
        num_nearest: int = 16,
        entity_image: Tensor | None = None,
        modalities: Collection[str] = MODALITIES,
        ends: Tensor | None = None,
        words: LexicalOverlap | None = None,
    ) -> None:
        self.modality_mask = modality_mask(modalities)
        self.neighborhood = neighborhood
        self.num_relations, self.num_nearest = neighborhood.num_relations, num_nearest
        self.num_entities = len(neighborhood.degree)
        self.entity_text = entity_text.float().numpy()
        image = torch.zeros(self.num_entities, 1) if entity_image is None else entity_image.float()
        self.entity_image = image.numpy()
        self.relation_text = relation_text.float().numpy()
        self.counts = neighborhood.counts()
        met = np.asarray((self.counts > 0).sum(0)).ravel()
        self.kinds = (self.counts > 0).astype(np.float32).tocsr()
        # Rare relations characterise an entity better than those that most have.
        self.profile = (self.kinds @ sp.diags(np.log((self.num_entities + 1) / (met + 1)))).tocsr().astype(np.float32)
        self.rules = Rules(neighborhood, self.counts)
        self.pairs_of = self._pairs_of()
        self.sought_and_given = np.stack([self.relation_text] * 2) if ends is None else ends.float().numpy()
        self.words = words
        views = self.entity_text, self.entity_image
        self.domain_range = DomainRangeRegression(
            self.counts, self.kinds, self.profile, views, self.relation_text, self.sought_and_given
        )
        self.members, self.square = self.domain_range.members, self.domain_range.square
        self.last: tuple[int, Nearest, np.ndarray, np.ndarray] | None = None

    def _pairs_of(self) -> list[tuple[np.ndarray, np.ndarray]]:
        """Returns head and tail of the triples of each relation."""
        head, relation, tail = self.neighborhood.triples()
        order = np.argsort(relation, kind="stable")
        cut = np.searchsorted(relation[order], np.arange(1, self.num_relations))
        return list(zip(np.split(head[order], cut), np.split(tail[order], cut), strict=True))

    def __call__(self, relation: int, head: Tensor, candidate: Tensor, paths: Paths | None = None) -> Tensor:
        """Computes the features of pairs under a relation whose triples, if it has any, are hidden.

        Args:
            relation: Number of its text.
            head: ``(num_queries,)``.
            candidate: ``(num_queries, num_candidates)``, −1 for none.
            paths: The edges and paths between the pairs, where they have been looked for already.

        Returns:
            ``(num_queries, num_candidates, NUM_FEATURES)``; the rows of no candidate mean nothing.
        """
        given, place = head.numpy(), candidate.clamp(min=0).numpy()
        near, of_range, predicted = self._of_relation(relation)
        weight, of_head = self._weights(near, of_range, given)  # (num_queries, num_weights, 2 * num_nearest)
        alike = self._similarities(near, given)
        if paths is None:
            paths = find_paths(self.neighborhood, head, candidate, relation)
        joined, number = self._paths(near, weight, candidate.shape, paths)
        # Queries share most of their candidates: the features of each are computed once for all of them.
        met, row = np.unique(place, return_inverse=True)
        cell = row.reshape(place.shape), np.arange(len(given))[:, None]
        parts = [
            _summed(weight, of_range[met])[cell],
            self._analogies(near, weight, alike, given, met)[cell],
            joined,
            self._neighbors(near, weight, given, met)[cell],
        ]
        seen = np.concatenate(parts, axis=-1).reshape(*place.shape, -1)
        expected = predicted[given][:, [PREDICTED.index(name) for name in OF_HEAD]]
        of_head, expected = (np.broadcast_to(v[:, None], (*place.shape, v.shape[1])) for v in (of_head, expected))
        pair = self._pair(near, relation, given, place, alike, number)
        words = np.zeros((*place.shape, len(WORDS))) if self.words is None else self.words(relation, given, place)
        columns = [seen, of_head, pair, predicted[place], expected, words]
        features = np.concatenate(columns, axis=-1, dtype=np.float32, casting="same_kind")
        features *= self.modality_mask
        return torch.from_numpy(features)

    def _of_relation(self, relation: int) -> tuple[Nearest, np.ndarray, np.ndarray]:
        """Computes the part that does not depend on queries, and keeps it for the next ones of the same relation."""
        if self.last is None or self.last[0] != relation:
            near = self._nearest(self.relation_text[relation], relation)
            self.last = relation, near, self._ranges(near), self.domain_range(relation, near.mask)
        return self.last[1:]

    def _nearest(self, query: np.ndarray, hidden: int) -> Nearest:
        usable = self.rules.number > 0
        mask = np.ones(2 * self.num_relations, dtype=np.float32)
        gone = np.array([hidden, hidden + self.num_relations] if hidden < self.num_relations else [], dtype=int)
        mask[gone] = 0
        usable = usable & (mask[: self.num_relations] > 0)
        if not usable.any():
            raise ValueError("no relation but the hidden one has triples: there is nothing to predict it from")
        cosine = np.where(usable, self.relation_text[: self.num_relations] @ query, -np.inf)
        chosen = np.argsort(-cosine, kind="stable")[: min(self.num_nearest, int(usable.sum()))]
        both = np.concatenate([chosen, chosen + self.num_relations])
        return Nearest(both, np.tile(cosine[chosen], 2), mask, gone)

    def _ranges(self, near: Nearest) -> np.ndarray:
        """Returns how well every entity fits the range of each relation ``(num_entities, 5, 2 * num_nearest)``."""
        chosen, column = near.directed, np.arange(len(near.directed))
        times = self.counts[:, chosen].toarray()
        members = self.members[:, chosen]
        # The mean profile of its tails, without the hidden relation and without being a tail of it, which they all are.
        center = np.asarray((self.profile.T @ members).todense()) * near.mask[:, None]
        center[chosen, column] = 0
        length = (self.square @ near.mask)[:, None] - self.square[:, chosen].toarray()
        alike = (self.profile @ center) / np.sqrt(np.maximum(length, 1e-3)) / (np.linalg.norm(center, axis=0) + 1e-6)
        views = []
        for vectors in (self.entity_text, self.entity_image):
            middle = members.T @ vectors
            middle /= np.linalg.norm(middle, axis=1, keepdims=True) + 1e-6
            views.append(vectors @ middle.T)
        share = times / np.maximum(times.sum(0), 1)
        return np.stack([np.log1p(times), share, alike, *views], axis=1).astype(np.float32)

    def _weights(self, near: Nearest, of_range: np.ndarray, head: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Weighs the nearest relations for each head.

        Returns:
            Weights, summing to 1 ``(num_queries, num_weights, 2 * num_nearest)``, and the features of the heads
            ``(num_queries, len(HEAD))``.
        """
        half = len(near.directed) // 2
        # The domain of a relation is the range of its inverse.
        times, alike = (
            np.roll(of_range[head, i], half, axis=1) for i in (RANGE.index("times"), RANGE.index("profile"))
        )
        forward, has = np.arange(2 * half) < half, times > 0
        narrow, medium, wide = (np.exp((near.cosine - near.cosine.max()) / t) for t in (0.05, 0.1, 0.15))
        weight = np.stack(
            [
                np.broadcast_to(narrow * forward, has.shape),
                np.broadcast_to(narrow * ~forward, has.shape),
                narrow * (has + 0.03),
                wide * (has + 0.03),
                medium * (np.maximum(alike, 0) ** 2 + 0.01),
            ],
            axis=1,
        )
        weight /= weight.sum(2, keepdims=True)
        fit = np.einsum("qsk,qk->qs", weight[:, [4, 0, 1]], alike)
        of_head = [(near.cosine * has).max(1), alike.max(1), *fit.T, (weight[:, 0] * times).sum(1)]
        return weight.astype(np.float32), np.stack(of_head, axis=1)

    def _similarities(self, near: Nearest, head: np.ndarray) -> np.ndarray:
        """Returns similarities of all to each head: by text, profile, neighbours, image ``(4, num_queries, ·)``."""
        text, image = (vectors[head] @ vectors.T for vectors in (self.entity_text, self.entity_image))
        kept = self.profile[head] @ sp.diags(near.mask)
        length = np.sqrt(np.maximum(self.square @ near.mask, 1e-3))
        profile = np.asarray((kept @ self.profile.T).todense()) / length[head][:, None] / length
        edge = near.mask[self.neighborhood.relation]
        degree = self._degree(near)
        rare = edge / np.log(2 + degree[self.neighborhood.neighbor])
        shape = (self.num_entities, self.num_entities)
        link = sp.csr_matrix((rare, self.neighborhood.neighbor, self.neighborhood.indptr), shape=shape)
        link.sum_duplicates()
        length = np.sqrt(np.asarray(link.power(2).sum(1)).ravel()) + 1e-6
        neighbor = np.asarray((link[head] @ link.T).todense()) / length[head][:, None] / length
        return np.stack([text, profile, neighbor, image]).astype(np.float32)

    def _degree(self, near: Nearest) -> np.ndarray:
        lost = np.asarray(self.counts[:, near.hidden].sum(1)).ravel()
        return self.neighborhood.degree - lost

    def _analogies(
        self, near: Nearest, weight: np.ndarray, alike: np.ndarray, head: np.ndarray, met: np.ndarray
    ) -> np.ndarray:
        """Returns how often similar heads have the candidates as tails ``(num_met, num_queries, num_weights, 4)``."""
        used = alike if self.entity_image.any() else alike[:-1]
        kinds, queries, half = *used.shape[:2], len(near.directed) // 2
        like = np.maximum(used, 0)
        like[[0, 1, *range(3, kinds)]] **= 4  # all texts, profiles and images are a little similar
        like[:, np.arange(queries), head] = 0
        row_of = np.full(self.num_entities, -1)
        row_of[met] = np.arange(len(met))
        result = np.zeros((len(met), queries, weight.shape[1], len(alike)), np.float32)
        for k, relation in enumerate(near.directed):
            ends = self.pairs_of[relation % self.num_relations]
            source, target = ends if k < half else ends[::-1]
            from_, column = np.unique(source, return_inverse=True)
            to, row = np.unique(target, return_inverse=True)
            link = sp.csr_matrix((np.ones(len(row), np.float32), (row, column)), shape=(len(to), len(from_)))
            total = link @ like[:, :, from_].reshape(-1, len(from_)).T  # (num_targets, kinds * num_queries)
            total /= total.max(0) + 1e-6
            asked = row_of[to] >= 0
            total = total[asked].reshape(-1, kinds, queries).transpose(0, 2, 1)
            result[row_of[to[asked]], ..., :kinds] += weight[:, :, k, None] * total[:, :, None]
        return result

    def _paths(
        self, near: Nearest, weight: np.ndarray, shape: torch.Size, found: Paths
    ) -> tuple[np.ndarray, np.ndarray]:
        """Computes the features of the edges and the paths between the pairs.

        Returns:
            Those by relation ``(num_queries, num_candidates, num_weights, 7)``, and the weight of all paths, their
            number, and whether an edge joins the pair ``(num_queries, num_candidates, 3)``.
        """
        edge, path = found.edge.numpy(), found.path.numpy()
        result = np.zeros((shape.numel(), weight.shape[1], len(EDGES) + len(PATHS)), np.float32)
        number = np.zeros((shape.numel(), 3), np.float32)
        if len(edge):
            cell, first = _groups(edge[:, 0] * shape[1] + edge[:, 1])
            same = (edge[:, 2, None] == near.directed).astype(np.float32)
            implied = np.concatenate([same[..., None], self.rules.of_edges(near.directed, edge[:, 2])], axis=-1)
            best = np.maximum.reduceat(implied, first)  # (num_cells, 2 * num_nearest, 3)
            result[cell, :, : len(EDGES)] = weight[cell // shape[1]] @ best
            number[cell, 2] = 1
        if len(path):
            cell, first = _groups(path[:, 0] * shape[1] + path[:, 1])
            rare = (1 / np.log(2 + self._degree(near)[path[:, 4]])).astype(np.float32)
            sure, covers = np.moveaxis(self.rules.of_paths(near.directed, path[:, 2], path[:, 3]), -1, 0)
            parts = [np.maximum.reduceat(sure, first), np.add.reduceat(-np.log1p(-np.minimum(sure, 0.95)), first)]
            parts += [np.maximum.reduceat(covers, first), np.log1p(np.add.reduceat(covers * rare[:, None], first))]
            result[cell, :, len(EDGES) :] = weight[cell // shape[1]] @ np.stack(parts, axis=-1)
            number[cell, 0] = np.log1p(np.add.reduceat(rare, first))
            number[cell, 1] = np.log1p(np.diff(first, append=len(path)))
        return result.reshape(*shape, *result.shape[1:]), number.reshape(*shape, 3)

    def _neighbors(self, near: Nearest, weight: np.ndarray, head: np.ndarray, met: np.ndarray) -> np.ndarray:
        """Returns similarities of texts and images to the head's neighbours' ``(num_met, num_queries, ·, 2)``."""
        n, column = self.neighborhood, np.full(2 * self.num_relations, -1)
        column[near.directed] = np.arange(len(near.directed))
        length = n.degree[head]
        edge = np.repeat(n.indptr[head] - np.cumsum(length) + length, length) + np.arange(length.sum())
        query = np.repeat(np.arange(len(head)), length)
        kept = column[n.relation[edge]] >= 0
        row = query[kept] * len(near.directed) + column[n.relation[edge[kept]]]
        shape = (len(head) * len(near.directed), self.num_entities)
        has = sp.csr_matrix((np.ones(len(row), np.float32), (row, n.neighbor[edge[kept]])), shape=shape)
        views = []
        for vectors in (self.entity_text, self.entity_image):
            middle = has @ vectors
            middle /= np.linalg.norm(middle, axis=1, keepdims=True) + 1e-6
            middle = weight @ middle.reshape(len(head), len(near.directed), -1)  # (num_queries, num_weights, width)
            views.append((vectors[met] @ middle.reshape(-1, vectors.shape[1]).T).reshape(len(met), *weight.shape[:2]))
        return np.stack(views, axis=-1)

    def _pair(
        self, near: Nearest, relation: int, head: np.ndarray, place: np.ndarray, alike: np.ndarray, number: np.ndarray
    ) -> np.ndarray:
        """Returns the features that do not depend on single relations ``(num_queries, num_candidates, len(PAIR))``."""
        degree = np.log1p(self._degree(near))
        breadth = np.log1p(np.asarray(self.kinds @ near.mask))
        query = self.relation_text[relation]
        both = self.entity_text[head] + query
        both /= np.linalg.norm(both, axis=1, keepdims=True) + 1e-6
        row = np.arange(len(head))[:, None]
        columns = [
            degree[place],
            breadth[place],
            np.broadcast_to(degree[head][:, None], place.shape),
            (self.entity_text @ query)[place],
            alike[0][row, place],
            (both @ self.entity_text.T)[row, place],
            *np.moveaxis(number, -1, 0),
            alike[1][row, place],
            alike[2][row, place],
            alike[3][row, place],
            place == head[:, None],
            np.full(place.shape, near.cosine.max()),
            *((self.entity_text @ some)[place] for some in self.sought_and_given[:, relation]),
        ]
        return np.stack(columns, axis=-1)


def _summed(weight: np.ndarray, value: np.ndarray) -> np.ndarray:
    """Sums values of relations ``(num_met, num_values, 2 * num_nearest)`` with the weights of every query.

    Returns:
        ``(num_met, num_queries, num_weights, num_values)``.
    """
    flat = value.reshape(-1, value.shape[-1]) @ weight.reshape(-1, weight.shape[-1]).T
    return np.moveaxis(flat.reshape(*value.shape[:2], *weight.shape[:2]), 1, -1)


def _groups(cell: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the different ones of ascending numbers, and where each begins."""
    first = np.flatnonzero(np.diff(cell, prepend=-1))
    return cell[first], first
