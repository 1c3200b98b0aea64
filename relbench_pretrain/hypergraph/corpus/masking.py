"""Masks: the choice of the nodes of a sample that a model has to predict."""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np

from relbench_pretrain.hashing import GOLDEN, mix
from relbench_pretrain.hypergraph.hypergraph import HypergraphError


class Masking(ABC):
    """Chooses the nodes of samples that a model has to predict."""

    depends_on_epoch = True
    """Whether a sample is masked in another way when it comes again."""
    depends_on_chance = True
    """Whether two samples of the same hyperedge may be masked in different ways."""
    needs_frequency = False
    """Whether it needs to know how often each node comes; see :meth:`begin`."""

    def begin(self, frequency: np.ndarray) -> None:
        """Takes note of how often each node comes in the corpus ``(num_nodes,)``."""

    @abstractmethod
    def mask(self, rows: np.ndarray, numbers: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Masks samples.

        Args:
            rows: Nodes of each sample, −1 at the end where there is none ``(num_samples, largest_arity)``.
            numbers: The numbers of the samples in their corpus ``(num_samples,)``.
            rng: The batch's random numbers.

        Returns:
            For each sequence the sample that it is of ``(num_sequences,)``, and which of its nodes are masked, bool
            ``(num_sequences, largest_arity)``.
        """


class OneNode(Masking):
    """Masks one node of each sample, each with the same probability (the paper).

    Args:
        fixed: Whether a sample keeps its mask whenever it comes again, as where data are masked before training.
        seed: Seeds fixed masks.
    """

    def __init__(self, fixed: bool = False, seed: int = 0) -> None:
        self.fixed, self.seed = fixed, seed
        self.depends_on_epoch = not fixed

    def mask(self, rows: np.ndarray, numbers: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        chance = _hashed(numbers, self.seed) if self.fixed else rng.random(len(rows))
        place = (chance * (rows >= 0).sum(1)).astype(np.int64)
        return np.arange(len(rows)), np.arange(rows.shape[1]) == place[:, None]


class EveryNode(Masking):
    """Masks every node of each sample in turn, in a sequence of its own: all that one-node masks can tell."""

    depends_on_epoch = False
    depends_on_chance = False

    def mask(self, rows: np.ndarray, numbers: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        sample, place = np.nonzero(rows >= 0)
        return sample, np.arange(rows.shape[1]) == place[:, None]


class SeveralNodes(Masking):
    """Masks several nodes of each sample at once, all of them where it has no more.

    Args:
        number: How many.
    """

    def __init__(self, number: int = 2) -> None:
        if number < 1:
            raise HypergraphError(f"at least one node has to be masked, got {number}")
        self.number = number

    def mask(self, rows: np.ndarray, numbers: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        chance = np.where(rows >= 0, rng.random(rows.shape), 2.0)
        rank = chance.argsort(1).argsort(1)
        return np.arange(len(rows)), (rank < self.number) & (rows >= 0)


class ByFrequency(Masking):
    """Masks one node of each sample, with a probability that is a power of how often the node comes.

    Of what is masked, the favoured nodes are then more likely than the hyperedges' weights say: the conditionals are
    tilted, and what is recovered with them, unless all nodes are as frequent.

    Args:
        power: Above 0 the frequent are masked more often, below 0 the rare.
    """

    needs_frequency = True

    def __init__(self, power: float = -1.0) -> None:
        self.power = power

    def begin(self, frequency: np.ndarray) -> None:
        self._weight = np.maximum(frequency, 1).astype(np.float64) ** self.power

    def mask(self, rows: np.ndarray, numbers: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        weight = np.where(rows >= 0, self._weight[rows], 0.0).cumsum(1)
        place = (rng.random(len(rows))[:, None] * weight[:, -1:] >= weight).sum(1)
        return np.arange(len(rows)), np.arange(rows.shape[1]) == place[:, None]


class WholeHyperedge(Masking):
    """Masks all nodes: a model learns how often each node comes, from which follows what components weigh."""

    depends_on_epoch = False
    depends_on_chance = False

    def mask(self, rows: np.ndarray, numbers: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        return np.arange(len(rows)), rows >= 0


class CompositeMasking(Masking):
    """Masks every sample in several ways, each in a sequence of its own.

    Args:
        maskings: The ways.
    """

    def __init__(self, maskings: list[Masking]) -> None:
        self.maskings = maskings
        self.depends_on_epoch = any(masking.depends_on_epoch for masking in maskings)
        self.needs_frequency = any(masking.needs_frequency for masking in maskings)
        self.depends_on_chance = any(masking.depends_on_chance for masking in maskings)

    def begin(self, frequency: np.ndarray) -> None:
        for masking in self.maskings:
            masking.begin(frequency)

    def mask(self, rows: np.ndarray, numbers: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        parts = [masking.mask(rows, numbers, rng) for masking in self.maskings]
        return np.concatenate([sample for sample, _ in parts]), np.concatenate([masked for _, masked in parts])


def _hashed(numbers: np.ndarray, seed: int) -> np.ndarray:
    """Returns a number from 0 to 1 for each number, always the same."""
    mixed = mix(numbers.astype(np.uint64) + np.uint64((seed + 1) * int(GOLDEN) % 2**64))
    return (mixed >> np.uint64(11)).astype(np.float64) / 2.0**53
