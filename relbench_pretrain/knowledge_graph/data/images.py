"""Images of entities, and vectors of them."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.lib.format import open_memmap
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from relbench_pretrain.files import atomic_file, cache_root
from relbench_pretrain.knowledge_graph.data.graph import KnowledgeGraph, KnowledgeGraphError
from relbench_pretrain.progress import tracked


def read_images(paths: Sequence[Path | None], size: int, cache_dir: str | None = None) -> np.ndarray:
    """Reads images once, resizes them, and keeps them on disk as one memory-mapped array.

    Args:
        paths: The files; None for no image.
        size: Width and height.
        cache_dir: Where the array is kept; ``pictures`` in the package's cache folder by default.

    Returns:
        uint8, zero where there is none ``(num_paths, 3, size, size)``.

    Raises:
        KnowledgeGraphError: If an image cannot be read.
    """
    files = [f"{path}:{path.stat().st_mtime_ns}" if path else "" for path in paths]
    digest = hashlib.sha256("\0".join([str(size), *files]).encode()).hexdigest()[:24]
    target = (Path(cache_dir) if cache_dir else cache_root() / "pictures") / f"{digest}.npy"
    if not target.is_file():
        with atomic_file(target) as part:
            array = open_memmap(part, mode="w+", dtype=np.uint8, shape=(len(paths), 3, size, size))
            for row, path in tracked(zip(array, paths, strict=True), "reading images", len(paths)):
                if path is not None:
                    row[:] = _resized(path, size)
            array.flush()
    return np.load(target, mmap_mode="r")


def _resized(path: Path, size: int) -> np.ndarray:
    try:
        with Image.open(path) as image:
            return np.asarray(image.convert("RGB").resize((size, size))).transpose(2, 0, 1)
    except (UnidentifiedImageError, OSError) as error:
        raise KnowledgeGraphError(f"the image {path} cannot be read ({error}): mend or remove it") from None


class ImageEmbedder(ABC):
    """Turns images into vectors of one width.

    Args:
        size: Width and height in pixels that images are resized to.
    """

    def __init__(self, size: int) -> None:
        self.size = size

    @abstractmethod
    def __call__(self, images: Tensor) -> Tensor:
        """Embeds images, uint8 ``(num_images, 3, size, size)``, into ``(num_images, width)``."""


class RandomConvolutions(ImageEmbedder):
    """Convolves images with random filters, and takes mean and maximum of each filter's response over all places.

    The same in every process, with nothing to download; colours, stripes and the directions of edges are in it
    (Saxe et al. 2011).

    Args:
        channels: The number of filters; vectors are twice as wide.
        filter_size: Their width and height; about half of the image sees whole shapes.
        size: Width and height in pixels that images are resized to.
        seed: Seeds the filters.
    """

    def __init__(self, channels: int = 256, filter_size: int = 15, size: int = 32, seed: int = 0) -> None:
        super().__init__(size)
        generator = torch.Generator().manual_seed(seed)
        self.filters = torch.randn(channels, 3, filter_size, filter_size, generator=generator) / filter_size
        self.filters -= self.filters.mean((2, 3), keepdim=True) * 0.8  # edges and colours rather than brightness

    @torch.no_grad()
    def __call__(self, images: Tensor) -> Tensor:
        found = []
        for part in tracked(images.split(256), "vectors of images, in parts of 256"):
            answer = F.conv2d(part.float() / 127.5 - 1, self.filters).relu().flatten(2)
            found.append(torch.cat([answer.mean(2), answer.amax(2)], dim=1))
        return torch.cat(found)


def image_vectors(graph: KnowledgeGraph, embedder: ImageEmbedder, cache_dir: str | None = None) -> Tensor | None:
    """Returns vectors of the entities' images: those that come with the graph, or else those of an embedder.

    Args:
        graph: The graph.
        embedder: Makes vectors of images.
        cache_dir: Where resized images are kept.

    Returns:
        Standardised to mean 0 and deviation 1 and then to length 1, zero for entities without an image
        ``(num_entities, width)``; None where no entity has one.
    """
    if graph.image_vectors is not None:
        vectors = torch.from_numpy(graph.image_vectors)
        present = ~vectors.isnan().any(1)
    elif any(graph.images):
        vectors = embedder(torch.from_numpy(np.array(read_images(graph.images, embedder.size, cache_dir))))
        present = torch.tensor([path is not None for path in graph.images])
    else:
        return None
    known = vectors[present]
    vectors = F.normalize((vectors - known.mean(0)) / (known.std(0, unbiased=False) + 1e-6))
    return torch.where(present.unsqueeze(1), vectors, 0.0)
