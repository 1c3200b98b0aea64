"""Text embedders: strings to vectors, injected into the graph builder."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from sklearn.feature_extraction.text import HashingVectorizer
from torch import Tensor

from relbench_pretrain.errors import UserError
from relbench_pretrain.progress import work


class TextModelError(UserError, RuntimeError):
    """A text model that is not at hand."""


class TextEmbedder(ABC):
    """Turns texts into vectors of one width; ``name`` identifies the embedder in schemas and caches.

    A base class and no protocol, because the command line finds what may be injected by its base class.
    """

    name: str

    @abstractmethod
    def __call__(self, texts: list[str]) -> Tensor:
        """Embeds ``num_texts`` strings into a float tensor ``(num_texts, width)``."""


class HashTextEmbedder(TextEmbedder):
    """Hashed word counts, the same in every process, with nothing to download.

    Words are hashed into signed buckets (the hashing trick of Weinberger et al. 2009, scikit-learn's
    ``HashingVectorizer``) and each vector is scaled to length 1; a text without words is the zero vector.

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
        """Embeds ``num_texts`` strings into ``(num_texts, width)``."""
        if not texts:
            return torch.empty(0, self.width)
        return torch.from_numpy(self._vectorizer.transform(texts).toarray())


class SentenceTransformerEmbedder(TextEmbedder):
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
        self._encoder: Any = None

    @cached_property
    def name(self) -> str:  # type: ignore[override]  # read from the folder when it is asked for
        """The model's name; of a folder its last part and a hash of its files, the same wherever it lies."""
        folder = Path(self.model).expanduser()
        return f"sentence-transformers:{f'{folder.name}-{_folder_hash(folder)}' if folder.is_dir() else self.model}"

    def __call__(self, texts: list[str]) -> Tensor:
        """Embeds ``num_texts`` strings into ``(num_texts, width)``.

        Raises:
            TextModelError: If sentence-transformers is not installed, or the model cannot be loaded.
        """
        encoder = self._load()
        vectors = encoder.encode(texts, batch_size=self.batch_size, convert_to_numpy=True, show_progress_bar=False)
        return torch.from_numpy(np.asarray(vectors, dtype=np.float32))

    def _load(self) -> Any:
        if self._encoder is None:
            try:
                from sentence_transformers import SentenceTransformer
            except ImportError as error:
                raise TextModelError(
                    "text models need the extra 'text': pip install relbench-pretrain[text]"
                ) from error
            folder = Path(self.model).expanduser()
            try:
                self._encoder = SentenceTransformer(str(folder) if folder.is_dir() else self.model, device=self.device)
            except Exception as error:
                raise TextModelError(
                    f"cannot load the text model '{self.model}': give the folder of a downloaded model, "
                    f"or a Hub name while the Hub can be reached ({error})"
                ) from error
        return self._encoder


def _folder_hash(folder: Path) -> str:
    digest = hashlib.sha256()
    for path in sorted(path.relative_to(folder) for path in folder.rglob("*") if path.is_file()):
        if path.suffix in (".py", ".pyc") or any(part.startswith(".") for part in path.parts):
            continue  # what tools leave behind
        digest.update(path.as_posix().encode())
        with (folder / path).open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()[:8]


def embed_texts(
    embedder: TextEmbedder, texts: np.ndarray, missing: np.ndarray, chunk: int = 100_000, out: Tensor | None = None
) -> Tensor:
    """Embeds a column, each distinct text once, missing ones as the zero vector.

    Args:
        embedder: The text embedder.
        texts: The strings ``(num_rows,)``.
        missing: Which rows have no text ``(num_rows,)``.
        chunk: Distinct texts per call.
        out: Where to write the vectors, zeros ``(num_rows, width)``; a new tensor by default.

    Returns:
        Vectors ``(num_rows, width)``.

    Raises:
        ValueError: If the embedder returns another number of vectors than it got texts, or of another width.
    """
    codes, distinct = pd.factorize(pd.Series(texts, dtype=object).mask(missing))  # −1 where missing
    if out is None:
        out = torch.zeros(len(codes), embedding_width(embedder))
    order = np.argsort(codes, kind="stable")
    starts = range(0, len(distinct), chunk)
    bounds = np.searchsorted(codes[order], [*starts, len(distinct)])  # the rows of each chunk lie together
    with work(f"embedding texts with {embedder.name}", len(distinct)) as going_on:
        for start, first, last in zip(starts, bounds, bounds[1:], strict=False):
            vectors = _embed(embedder, list(map(str, distinct[start : start + chunk])), out.shape[1])
            rows = order[first:last]
            out[torch.from_numpy(rows)] = vectors[torch.from_numpy(codes[rows] - start)]
            going_on.done = start + len(vectors)
    return out


def embedding_width(embedder: TextEmbedder) -> int:
    """Returns how many numbers the vectors of an embedder have."""
    return _embed(embedder, ["text"], None).shape[1]


def _embed(embedder: TextEmbedder, texts: list[str], width: int | None) -> Tensor:
    vectors = torch.as_tensor(embedder(texts)).detach().to("cpu", torch.float32)
    if vectors.ndim != 2 or len(vectors) != len(texts) or width not in (None, vectors.shape[1]):
        raise ValueError(
            f"text embedder '{embedder.name}' gave shape {tuple(vectors.shape)} for {len(texts)} texts, "
            f"expected ({len(texts)}, {'width' if width is None else width})"
        )
    return vectors
