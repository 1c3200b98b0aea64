"""Descriptions of relations made worse or longer, to see how much a model leans on them."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod

import numpy as np


class Rewrite(ABC):
    """Base of what is done to the descriptions of unseen relations."""

    @abstractmethod
    def __call__(self, relation: str, text: str) -> str:
        """Rewrites the description of a relation.

        Args:
            relation: The relation's identifier.
            text: Its description.
        """


class FirstWords(Rewrite):
    """Keeps the first words.

    Args:
        number: How many.
    """

    def __init__(self, number: int = 3) -> None:
        if number < 1:
            raise ValueError(f"number must be positive, got {number}")
        self.number = number

    def __call__(self, relation: str, text: str) -> str:
        return " ".join(text.split()[: self.number])


class ShuffledWords(Rewrite):
    """Puts the words into another order.

    Args:
        seed: Seeds the order, which depends on the relation as well.
    """

    def __init__(self, seed: int = 0) -> None:
        self.seed = seed

    def __call__(self, relation: str, text: str) -> str:
        words = text.split()
        order = np.random.default_rng([self.seed, *relation.encode()]).permutation(len(words))
        return " ".join(words[i] for i in order)


class WithIdentifier(Rewrite):
    """Adds the words of the identifier, such as those of ``/people/person/place_of_birth``."""

    def __call__(self, relation: str, text: str) -> str:
        name = relation.strip("<>").rsplit("/ontology/", 1)[-1]
        words = re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|\d+", name)
        return f"{text} {' '.join(dict.fromkeys(word.lower() for word in words))}".strip()
