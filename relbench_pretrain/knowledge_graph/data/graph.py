"""A multimodal knowledge graph whose relations are seen, held out for validation, or unseen."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from enum import IntEnum
from pathlib import Path

import numpy as np

from relbench_pretrain.errors import UserError


class KnowledgeGraphError(UserError, ValueError):
    """A knowledge graph that cannot be read or used; the message names file and line, and the remedy."""


class Role(IntEnum):
    """The part that a relation plays in a zero-shot benchmark: trained on, validated on, or tested on."""

    SEEN = 0
    VALIDATION = 1
    UNSEEN = 2


ROLES = {"seen": Role.SEEN, "train": Role.SEEN, "validation": Role.VALIDATION, "valid": Role.VALIDATION,
         "dev": Role.VALIDATION, "unseen": Role.UNSEEN, "test": Role.UNSEEN}  # fmt: skip


@dataclass(frozen=True)
class KnowledgeGraph:
    """Triples of heads, relations and tails, with texts and images of entities and texts of relations.

    Args:
        entities: The entities' identifiers.
        relations: The relations' identifiers.
        triples: Head, relation and tail by number, as often and in the order as found ``(num_triples, 3)``.
        role: The role of each relation ``(num_relations,)``; see :class:`Role`.
        names: A readable name of each entity; its identifier where there is none.
        descriptions: A description of each entity; empty where there is none.
        relation_texts: A sentence for each relation; empty where there is none.
        candidates: By relation number, the entities that its tails are ranked among; empty where all are.
        images: The file of each entity's image, or None; empty where there are no images at all.
        image_vectors: Vectors of images, NaN for entities without one ``(num_entities, width)``, or None.
    """

    entities: list[str]
    relations: list[str]
    triples: np.ndarray
    role: np.ndarray
    names: list[str]
    descriptions: list[str]
    relation_texts: list[str]
    candidates: dict[int, np.ndarray] = field(default_factory=dict)
    images: list[Path | None] = field(default_factory=list)
    image_vectors: np.ndarray | None = None

    @property
    def num_entities(self) -> int:
        """The number of entities."""
        return len(self.entities)

    @property
    def num_relations(self) -> int:
        """The number of relations."""
        return len(self.relations)

    def relations_of(self, role: Role) -> np.ndarray:
        """Returns the numbers of the relations of a role."""
        return np.flatnonzero(self.role == role)

    def triples_of(self, role: Role, unique: bool = True) -> np.ndarray:
        """Returns the triples of the relations of a role.

        Args:
            role: The role.
            unique: Whether a triple that comes several times counts once.

        Returns:
            ``(num_triples, 3)``; sorted if unique.
        """
        found = self.triples[self.role[self.triples[:, 1]] == role]
        return unique_triples(found) if unique else found

    def entity_texts(self) -> list[str]:
        """Returns name and description of each entity as one text."""
        return [f"{n}. {d}" if d else n for n, d in zip(self.names, self.descriptions, strict=True)]

    def with_unseen_texts(self, rewrite: Callable[[str, str], str]) -> KnowledgeGraph:
        """Rewrites the texts of unseen relations by identifier and text."""
        rows = zip(self.role, self.relations, self.relation_texts, strict=True)
        return replace(self, relation_texts=[rewrite(r, t) if role == Role.UNSEEN else t for role, r, t in rows])

    def restricted_to(self, entities: np.ndarray) -> KnowledgeGraph:
        """Leaves out entities, and all triples and candidates with one of them.

        Args:
            entities: Which entities stay, bool ``(num_entities,)``.
        """
        number = np.where(entities, np.cumsum(entities) - 1, -1)
        kept = self.triples[entities[self.triples[:, 0]] & entities[self.triples[:, 2]]]
        triples = np.stack([number[kept[:, 0]], kept[:, 1], number[kept[:, 2]]], axis=1)
        places = np.flatnonzero(entities)
        return replace(
            self,
            entities=_pick(self.entities, places),
            triples=triples,
            names=_pick(self.names, places),
            descriptions=_pick(self.descriptions, places),
            candidates={r: number[c[entities[c]]] for r, c in self.candidates.items() if entities[c].any()},
            images=_pick(self.images, places) if self.images else [],
            image_vectors=None if self.image_vectors is None else self.image_vectors[places],
        )


def unique_triples(triples: np.ndarray) -> np.ndarray:
    """Returns each triple once, sorted ``(num_distinct, 3)``. One number per triple sorts far faster than rows."""
    size = triples.max(0, initial=0) + 1
    _, first = np.unique((triples[:, 0] * size[1] + triples[:, 1]) * size[2] + triples[:, 2], return_index=True)
    return triples[first]


def _pick(values: list, places: Iterable[int]) -> list:
    return [values[i] for i in places]
