"""Corpora of sampled hyperedges, in memory or memory-mapped, and the counts of what is in them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from relbench_pretrain.files import atomic_file
from relbench_pretrain.hypergraph.corpus.sampling import Sampling
from relbench_pretrain.hypergraph.hypergraph import Hypergraph, HypergraphError
from relbench_pretrain.hypergraph.rows import sorted_members, unique_rows
from relbench_pretrain.progress import tracked

BLOCK = 1 << 16
"""Samples that share their random numbers."""


class Corpus:
    """Hyperedges sampled from a hypergraph, the same for the same seed.

    The nodes of a sample come in random order. Blocks are made from the seed and their number alone, so that processes
    need not share them.

    Args:
        graph: The hypergraph.
        sampling: How hyperedges are sampled.
        number: How many.
        seed: The seed; a list adds what else tells corpora apart.
        prepared: Whether the sampling was prepared for this hypergraph already.
        span: Where in a longer corpus this one begins and ends, 0 to 1, for sampling that changes with time.
    """

    def __init__(
        self,
        graph: Hypergraph,
        sampling: Sampling,
        number: int,
        seed: int | list[int],
        prepared: bool = False,
        span: tuple[float, float] = (0.0, 1.0),
    ) -> None:
        self.graph, self.sampling, self.number = graph, sampling, number
        self.seed = seed if isinstance(seed, list) else [seed]
        self.span = span
        if not prepared:
            sampling.begin(graph)

    def __len__(self) -> int:
        return self.number

    @property
    def num_blocks(self) -> int:
        """How many blocks it has."""
        return -(-self.number // BLOCK)

    def block(self, place: int) -> np.ndarray:
        """Makes a block ``(BLOCK or what is left, largest_arity)``, int32, filled up with −1."""
        first = place * BLOCK
        number = min(BLOCK, self.number - first)
        rng = np.random.default_rng([*self.seed, place])
        begin, end = self.span
        when = begin + (end - begin) * (first + np.arange(number)) / max(self.number - 1, 1)
        rows = self.sampling.sample(number, when, rng)
        order = np.argsort(np.where(rows >= 0, rng.random(rows.shape), 2.0), axis=1)  # what is no node stays behind
        return np.take_along_axis(rows, order, axis=1)

    def rows(self) -> np.ndarray:
        """Makes all of it ``(number, largest_arity)``."""
        rows = np.empty((self.number, self.graph.largest_arity), dtype=np.int32)
        for i in tracked(range(self.num_blocks), f"sampling {self.number:,} hyperedges, in blocks"):
            rows[i * BLOCK : (i + 1) * BLOCK] = self.block(i)
        return rows

    def memory_mapped(self, folder: str | Path) -> np.ndarray:
        """Returns all of it from a file, which is written on the first call and shared by all processes of a host.

        Args:
            folder: Where files of corpora are kept, a name for each.

        Returns:
            Read-only ``(number, largest_arity)``.

        Raises:
            HypergraphError: If the folder cannot be written to, or the disk is full.
        """
        path = Path(folder) / f"{self.name}.npy"
        if not path.is_file():
            try:
                self._write(path)
            except OSError as error:
                raise HypergraphError(
                    f"the samples cannot be kept in '{folder}' ({error}): give another cache_dir, or none for memory"
                ) from error
        return np.load(path, mmap_mode="r")

    def _write(self, path: Path) -> None:
        shape, kind = (self.number, self.graph.largest_arity), np.dtype(np.int32)
        header = {"descr": np.lib.format.dtype_to_descr(kind), "fortran_order": False, "shape": shape}
        # Two processes may write at a time: each its own file, and the last one to finish names it.
        with atomic_file(path) as part, part.open("wb") as file:  # a full disk would end a process that maps it
            np.lib.format.write_array_header_1_0(file, header)
            for i in tracked(range(self.num_blocks), f"sampling {self.number:,} hyperedges, in blocks"):
                file.write(self.block(i).astype(kind).tobytes())

    @property
    def name(self) -> str:
        """A name of its own: a hash of the hypergraph, of how and how often it is sampled, and of the seed."""
        digest = hashlib.sha256()
        for part in (self.graph.edges, self.graph.weights):
            digest.update(np.ascontiguousarray(part).tobytes())
        digest.update(json.dumps([self.graph.num_nodes, self.number, self.seed, _described(self.sampling)]).encode())
        return f"corpus-{digest.hexdigest()[:16]}"


def _described(sampling: Sampling) -> list:
    """Returns the kind and the settings of a way to sample, which tell its corpora from others'."""
    settings = {key: value for key, value in vars(sampling).items() if not key.startswith("_")}
    # A setting that is a way to sample itself has kept its earlier name, so that corpora in files keep theirs.
    plain = {
        "draws" if isinstance(value, Sampling) else key: _described(value) if isinstance(value, Sampling) else value
        for key, value in settings.items()
    }
    return [sampling.kind, plain]


def counted(rows: np.ndarray, num_nodes: int, names: list[str] | None = None) -> tuple[Hypergraph, np.ndarray]:
    """Counts hyperedges: the estimate that any recovery is measured by.

    Args:
        rows: Samples ``(num_samples, largest_arity)``.
        num_nodes: The number of nodes.
        names: The nodes' names; their numbers by default.

    Returns:
        The hypergraph of what was sampled, its weights the shares of the samples, and the counts ``(num_edges,)``.
    """
    edges = np.zeros((0, rows.shape[1]), dtype=np.int64)
    counts = np.zeros(0, dtype=np.int64)
    for part in _parts(rows):
        part = sorted_members(part.astype(np.int64))
        both, which = unique_rows(np.concatenate([edges, part]))
        new = np.bincount(which[len(edges) :], minlength=len(both))
        new[which[: len(edges)]] += counts
        edges, counts = both, new
    return Hypergraph.from_edges(names or num_nodes, edges, counts), counts


def node_frequency(rows: np.ndarray, num_nodes: int) -> np.ndarray:
    """Counts how often each node comes in samples ``(num_nodes,)``."""
    found = np.zeros(num_nodes, dtype=np.int64)
    for part in _parts(rows):
        found += np.bincount(part[part >= 0], minlength=num_nodes)
    return found


def _parts(rows: np.ndarray) -> Iterator[np.ndarray]:
    """Yields rows in parts, of which each fits into memory."""
    for first in range(0, len(rows), 64 * BLOCK):
        yield np.asarray(rows[first : first + 64 * BLOCK])
