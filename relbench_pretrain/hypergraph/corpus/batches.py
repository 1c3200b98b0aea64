"""Batches of masked sequences, in which equal contexts are merged."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from relbench_pretrain.epochs.order import PassBatches
from relbench_pretrain.hypergraph.corpus.corpus import Corpus, counted
from relbench_pretrain.hypergraph.corpus.masking import Masking
from relbench_pretrain.hypergraph.rows import unique_rows

NUM_SPECIAL = 4


class Specials(NamedTuple):
    """The token numbers that are no nodes; a node's token is its number."""

    pad: int
    cls: int
    sep: int
    mask: int

    @classmethod
    def after(cls, num_nodes: int) -> Specials:
        """Returns those of a vocabulary of nodes and specials only."""
        return cls(*range(num_nodes, num_nodes + NUM_SPECIAL))


class MaskedBatch(NamedTuple):
    """Sequences ``[CLS] nodes [SEP]`` with masked nodes, each sequence once, and the nodes that were masked.

    Args:
        tokens: ``(num_sequences, length)``.
        row: The sequence of each masked place ``(num_masked,)``.
        column: Its place in the sequence ``(num_masked,)``.
        masked: The masked place of each target ``(num_targets,)``.
        node: The node that was there ``(num_targets,)``.
        times: How often it was ``(num_targets,)``, float.
    """

    tokens: Tensor
    row: Tensor
    column: Tensor
    masked: Tensor
    node: Tensor
    times: Tensor


def masked_batch(
    rows: np.ndarray,
    numbers: np.ndarray,
    num_nodes: int,
    masking: Masking,
    rng: np.random.Generator,
    keep_order: bool = False,
    merge: bool = True,
    times: np.ndarray | None = None,
) -> MaskedBatch:
    """Masks samples and makes a batch of them.

    Args:
        rows: Nodes of each sample, −1 at the end where there is none ``(num_samples, largest_arity)``.
        numbers: Their numbers in the corpus ``(num_samples,)``.
        num_nodes: The number of nodes.
        masking: Chooses what is masked.
        rng: The batch's random numbers.
        keep_order: Whether nodes stay in the order of the sample, as in the paper; a hyperedge is a set, so otherwise
            they come in ascending order with the masks behind them, which makes more sequences equal.
        merge: Whether equal sequences become one; the loss stays the same but for dropout.
        times: How often each sample comes; once by default ``(num_samples,)``.

    Returns:
        The batch.
    """
    sample, masked = masking.mask(rows, numbers, rng)
    sequence = rows[sample].astype(np.int64)
    if not keep_order:
        far = num_nodes + 1
        order = np.argsort(np.where(sequence < 0, 2 * far, np.where(masked, far, sequence)), axis=1, kind="stable")
        sequence = np.take_along_axis(sequence, order, axis=1)
        masked = np.take_along_axis(masked, order, axis=1)
    target = sequence[masked]
    special = Specials.after(num_nodes)
    shown = np.where(masked, special.mask, sequence)
    if merge:
        distinct, which = unique_rows(shown)
    else:
        distinct, which = shown, np.arange(len(shown))
    tokens = to_tokens(distinct, special)
    row, column = np.nonzero(distinct == special.mask)
    place = np.full(distinct.shape, -1)
    place[row, column] = np.arange(len(row))
    of_target = place[which][masked]
    key = of_target * num_nodes + target
    count = np.ones(len(key)) if times is None else times[sample].repeat(masked.sum(1))
    if merge:
        key, same = np.unique(key, return_inverse=True)
        count = np.bincount(same, count)
    arrays = (tokens, row, column + 1, key // num_nodes, key % num_nodes)
    tensors = [torch.from_numpy(np.ascontiguousarray(array, dtype=np.int64)) for array in arrays]
    return MaskedBatch(*[*tensors, torch.from_numpy(count.astype(np.float32))])


def to_tokens(shown: np.ndarray, special: Specials) -> np.ndarray:
    """Adds ``[CLS]``, ``[SEP]`` and ``[PAD]``.

    Args:
        shown: Tokens of nodes and masks, −1 at the end where there is none ``(num_sequences, largest_arity)``.
        special: The special tokens.

    Returns:
        ``(num_sequences, largest_arity + 2)``.
    """
    number = len(shown)
    last = np.full((number, 1), -1)
    tokens = np.concatenate([np.full((number, 1), special.cls), shown, last], axis=1)
    end = (shown >= 0).sum(1) + 1
    tokens[np.arange(number), end] = special.sep
    return np.where(tokens < 0, special.pad, tokens)


class MaskedBatches(Dataset):
    """Batches of a corpus by number, each made from its number and the seed alone; they go on without end.

    Pass after pass, every sample comes once, in another order each time; batches differ by at most one sample in size.

    Args:
        rows: The samples, in memory or memory-mapped ``(num_samples, largest_arity)``.
        num_nodes: The number of nodes.
        masking: Chooses what is masked.
        batch_size: The most samples per batch.
        seed: Seeds order and masks.
        keep_order: See :func:`masked_batch`.
        merge: See :func:`masked_batch`.
        world_size: Number of processes; the number of batches in a pass is a multiple of it.
        shuffle: Whether the order changes.
    """

    def __init__(
        self,
        rows: np.ndarray,
        num_nodes: int,
        masking: Masking,
        batch_size: int,
        seed: int,
        keep_order: bool = False,
        merge: bool = True,
        world_size: int = 1,
        shuffle: bool = True,
    ) -> None:
        self.rows, self.num_nodes, self.masking = rows, num_nodes, masking
        self.seed, self.keep_order, self.merge, self.shuffle = seed, keep_order, merge, shuffle
        self.number = len(PassBatches(len(rows), batch_size, 0, world_size)) * world_size
        # Where each process has one batch, and masks stay, batches are the same in every pass.
        self.constant = self.number == world_size and not masking.depends_on_epoch
        self._kept: dict[int, MaskedBatch] = {}

    def __len__(self) -> int:
        """The number of batches in a pass."""
        return self.number

    def __getitem__(self, number: int) -> MaskedBatch:
        turn, part = divmod(number, self.number)
        if self.constant and part in self._kept:
            return self._kept[part]
        first, last = (len(self.rows) * i // self.number for i in (part, part + 1))
        rng = np.random.default_rng([self.seed, 1, number])
        if self.constant and self.merge and not (self.keep_order or self.masking.depends_on_chance):
            # Every hyperedge is masked once, however often it was sampled.
            graph, times = counted(self.rows[first:last], self.num_nodes)
            batch = masked_batch(graph.edges, np.arange(len(times)), self.num_nodes, self.masking, rng, times=times)
        else:
            numbers = np.arange(first, last)
            if self.shuffle and not self.constant:
                numbers = permuted(numbers, len(self.rows), np.random.default_rng([self.seed, 0, turn]))
            rows = np.asarray(self.rows[numbers])
            batch = masked_batch(rows, numbers, self.num_nodes, self.masking, rng, self.keep_order, self.merge)
        if self.constant:
            self._kept[part] = batch
        return batch


class FreshBatches(Dataset):
    """Batches of samples that never come again, each made from its number and the seed alone.

    Args:
        corpus: Says what is sampled from, and how; its number of samples is that of a pass.
        masking: Chooses what is masked.
        batch_size: Samples per batch.
        seed: Seeds masks; samples have the corpus's seed.
        keep_order: See :func:`masked_batch`.
        merge: See :func:`masked_batch`.
    """

    def __init__(
        self, corpus: Corpus, masking: Masking, batch_size: int, seed: int, keep_order: bool = False, merge: bool = True
    ) -> None:
        self.corpus, self.masking, self.size, self.seed = corpus, masking, batch_size, seed
        self.keep_order, self.merge = keep_order, merge

    def __len__(self) -> int:
        """The number of batches in a pass."""
        return -(-len(self.corpus) // self.size)

    def __getitem__(self, number: int) -> MaskedBatch:
        begin, end = (min(i * self.size / len(self.corpus), 1.0) for i in (number, number + 1))
        seed = [*self.corpus.seed, 1, number]
        part = Corpus(self.corpus.graph, self.corpus.sampling, self.size, seed, prepared=True, span=(begin, end))
        rng = np.random.default_rng([self.seed, 1, number])
        numbers = np.arange(number * self.size, (number + 1) * self.size)
        num_nodes = self.corpus.graph.num_nodes
        return masked_batch(part.rows(), numbers, num_nodes, self.masking, rng, self.keep_order, self.merge)


def permuted(numbers: np.ndarray, size: int, rng: np.random.Generator) -> np.ndarray:
    """Puts numbers below a size into a random order, without keeping the whole order in memory.

    The order is i ↦ (a i + c) mod size with a prime to the size: far apart what was near, and every number once.

    Args:
        numbers: ``(num,)``.
        size: The size.
        rng: Chooses a and c.
    """
    factor = int(rng.integers(size // 3, 2 * size // 3 + 1)) if size > 3 else 1
    while np.gcd(factor, size) != 1:
        factor += 1
    start = int(rng.integers(size))
    if size < 2**31:  # the product fits 63 bits
        return (numbers * factor + start) % size
    return np.array([(int(i) * factor + start) % size for i in numbers])
