"""Text embedders: strings to vectors, injected into the graph builder."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from sklearn.feature_extraction.text import HashingVectorizer
from torch import Tensor


@runtime_checkable
class TextEmbedder(Protocol):
    """Turns texts into vectors of one width; ``name`` identifies the embedder in schemas and caches."""

    name: str

    def __call__(self, texts: list[str]) -> Tensor:
        """Embeds ``num_texts`` strings into a float tensor ``(num_texts, width)``."""
        ...


class HashTextEmbedder:
    """Hashed word and character-pair counts, the same in every process, with nothing to download.

    Words are hashed into signed buckets (the hashing trick of Weinberger et al. 2009, scikit-learn's
    ``HashingVectorizer``) and each vector is scaled to length 1; an empty text is the zero vector.

    Args:
        width: The number of buckets.
    """

    def __init__(self, width: int = 64) -> None:
        if width < 1:
            raise ValueError(f"width must be positive, got {width}")
        self.width = width
        self.name = f"hash-{width}"
        self._vectorizer = HashingVectorizer(n_features=width, norm="l2", lowercase=True, dtype=np.float32)

    def __call__(self, texts: list[str]) -> Tensor:
        if not texts:
            return torch.empty(0, self.width)
        return torch.from_numpy(self._vectorizer.transform(texts).toarray())


class SentenceTransformerEmbedder:
    """A sentence-transformers model by name or folder; needs the extra ``text``.

    Args:
        model: A model name on the Hub, or a local folder.
        batch_size: Texts per forward pass.
        device: Where to run it; None takes a GPU if there is one.
    """

    def __init__(self, model: str, batch_size: int = 256, device: str | None = None) -> None:
        self.model = model
        self.batch_size = batch_size
        self.device = device
        self.name = f"sentence-transformers:{Path(model).name if Path(model).exists() else model}"
        self._encoder = None

    def __call__(self, texts: list[str]) -> Tensor:
        encoder = self._load()
        vectors = encoder.encode(texts, batch_size=self.batch_size, convert_to_numpy=True, show_progress_bar=False)
        return torch.from_numpy(np.asarray(vectors, dtype=np.float32))

    def _load(self):
        if self._encoder is None:
            try:
                from sentence_transformers import SentenceTransformer
            except ImportError as error:
                raise ImportError("text models need sentence-transformers: pip install relbench-pretrain[text]") from error
            try:
                self._encoder = SentenceTransformer(self.model, device=self.device)
            except Exception as error:
                raise RuntimeError(
                    f"cannot load the text model '{self.model}': give the folder of a downloaded model, "
                    f"or a Hub name while the Hub can be reached ({error})"
                ) from error
        return self._encoder


def embed_texts(embedder: TextEmbedder, texts: np.ndarray, missing: np.ndarray, chunk: int = 100_000) -> Tensor:
    """Embeds a column, each distinct text once, missing ones as the zero vector.

    Args:
        embedder: The text embedder.
        texts: The strings ``(num_rows,)``.
        missing: Which rows have no text ``(num_rows,)``.
        chunk: Distinct texts per call.

    Returns:
        Vectors ``(num_rows, width)``.

    Raises:
        ValueError: If the embedder returns another number of vectors than it got texts.
    """
    import pandas as pd

    codes, distinct = pd.factorize(pd.Series(np.where(missing, "", texts)).astype(str))
    parts = []
    for start in range(0, max(len(distinct), 1), chunk):
        part = list(distinct[start : start + chunk])
        vectors = embedder(part)
        if vectors.ndim != 2 or len(vectors) != len(part):
            raise ValueError(f"text embedder '{embedder.name}' gave {tuple(vectors.shape)} for {len(part)} texts")
        parts.append(vectors.float())
    result = torch.cat(parts)[torch.from_numpy(codes)]
    result[torch.from_numpy(missing)] = 0.0
    return result
