"""Vectors of texts, kept on disk because a language model takes minutes for what is read in no time."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from relbench_pretrain.files import cache_root
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
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(f".{os.getpid()}.new")
    save_file({"vectors": vectors}, temporary)
    temporary.rename(path)
