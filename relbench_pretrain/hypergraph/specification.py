"""The description of a sampled hypergraph that a DataModule hands to networks and callbacks."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np

from relbench_pretrain.hypergraph.corpus.corpus import counted
from relbench_pretrain.hypergraph.corpus.masking import Masking
from relbench_pretrain.hypergraph.hypergraph import Hypergraph


@dataclass(frozen=True, eq=False)
class HypergraphSpecification:
    """Describes a hypergraph and the hyperedges that were sampled from it.

    Args:
        about: The data, for a model card.
        truth: The hypergraph that was sampled from.
        training: The training samples, in memory or memory-mapped ``(num_training, largest_arity)``.
        counted: The samples that are counted, for recovery to be compared with: those for training, or the held-out
            ones where training samples are made anew ``(num_counted, largest_arity)``.
        masking: Chooses what is masked.
        seed: Seeds masks.
        names: The names that the nodes have in truth, where the data have them under other names.
    """

    handed_over_by: ClassVar[str] = "datamodules.HypergraphDataModule"

    about: dict[str, Any]
    truth: Hypergraph
    training: np.ndarray
    counted: np.ndarray
    masking: Masking
    seed: int = 0
    names: list[str] | None = None

    @property
    def length(self) -> int:
        """The most tokens in a sequence."""
        return self.truth.largest_arity + 2

    @property
    def padded(self) -> bool:
        """Whether sequences differ in length."""
        return bool((self.truth.arity != self.truth.largest_arity).any())

    @cached_property
    def counts(self) -> Hypergraph:
        """The sampled hyperedges, weighted by their share of the counted samples."""
        return counted(self.counted, self.truth.num_nodes, self.truth.nodes)[0]

    def masked_training(self) -> tuple[np.ndarray, np.ndarray]:
        """Returns a sequence for each mask of the training samples, and which of its nodes are masked, bool.

        Both are ``(num_sequences, largest_arity)``.
        """
        rows = np.asarray(self.training)
        sample, masked = self.masking.mask(rows, np.arange(len(rows)), np.random.default_rng(self.seed))
        return rows[sample], masked
