"""Texts of entities and relations: vectors of them, kept on disk, and rewrites of descriptions."""

from __future__ import annotations

import hashlib
import re
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from relbench_pretrain.files import atomic_file, cache_root
from relbench_pretrain.relational.text import TextEmbedder, embed_texts


def text_vectors(embedder: TextEmbedder, texts: Sequence[str], cache_dir: str | None = None) -> Tensor:
    """Embeds texts, or reads their vectors from the cache.

    Args:
        embedder: The text embedder.
        texts: The texts; an empty one has the zero vector.
        cache_dir: Where vectors are kept; ``text_vectors`` in the package's cache folder by default.

    Returns:
        Vectors of length 1 ``(num_texts, width)``.
    """
    digest = hashlib.sha256("\0".join([embedder.name, *texts]).encode()).hexdigest()[:24]
    path = (Path(cache_dir) if cache_dir else cache_root() / "text_vectors") / f"{digest}.safetensors"
    if not path.is_file():
        _write(embedder, texts, path)
    return load_file(path)["vectors"]  # mapped into memory: processes of a host share it


def _write(embedder: TextEmbedder, texts: Sequence[str], path: Path) -> None:
    array = np.array(list(texts), dtype=object)
    vectors = torch.nn.functional.normalize(embed_texts(embedder, array, array == ""))
    with atomic_file(path) as part:
        save_file({"vectors": vectors}, part)


class Rewrite(ABC):
    """Base of functions that change the descriptions of unseen relations."""

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
