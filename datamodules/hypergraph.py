"""The data of masked modelling: corpora sampled from a weighted hypergraph, in masked batches."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from datamodules.base import ResumableDataModule
from relbench_pretrain.epochs import BatchOrder, NumberedBatches, PassBatches, ResumableLoader
from relbench_pretrain.hypergraph.corpus.batches import FreshBatches, MaskedBatches
from relbench_pretrain.hypergraph.corpus.corpus import Corpus, node_frequency
from relbench_pretrain.hypergraph.corpus.masking import Masking, OneNode
from relbench_pretrain.hypergraph.corpus.sampling import IndependentSampling, Sampling
from relbench_pretrain.hypergraph.generators import HypergraphSource
from relbench_pretrain.hypergraph.hypergraph import Hypergraph, HypergraphError
from relbench_pretrain.hypergraph.specification import HypergraphSpecification


class HypergraphDataModule(ResumableDataModule):
    """Samples hyperedges from a hypergraph and masks their nodes.

    The first samples are for training, the next for validation and the last for the test.

    Args:
        graph: The hypergraph.
        num_samples: Hyperedges to sample, for training, validation and test together.
        sampling: How they are sampled; independently by default.
        masking: What is masked; one node of each sample by default.
        batch_size: The most samples per batch.
        batches_per_epoch: Batches per epoch; by default as many as make a pass over the training samples.
        held_out: Share of the samples that is for validation, and again for the test.
        keep_order: Whether a sequence has the nodes in the order of the sample, as in the paper. A hyperedge is a set,
            so otherwise its nodes are sorted, and a model has half, or less, to learn.
        merge: Whether equal sequences of a batch are computed once; the loss is the same but for dropout.
        fresh: Whether training samples are made anew without end in place of going over the same ones.
        renamed: Whether nodes come under other names and in another order, by the seed: a corpus of another modality.
        modality: With ``renamed``, what the new names begin with.
        cache_dir: Where the samples are kept as memory-mapped files, which processes share; in memory by default.
        num_workers: Processes that make batches beside the training process.
        seed: Seeds samples, masks and order.
    """

    def __init__(
        self,
        graph: HypergraphSource,
        num_samples: int = 100_000,
        sampling: Sampling | None = None,
        masking: Masking | None = None,
        batch_size: int = 512,
        batches_per_epoch: int | None = None,
        held_out: float = 0.1,
        keep_order: bool = False,
        merge: bool = True,
        fresh: bool = False,
        renamed: bool = False,
        modality: str = "node",
        cache_dir: str | None = None,
        num_workers: int = 0,
        seed: int = 0,
    ) -> None:
        super().__init__()
        if num_samples < 10:
            raise HypergraphError(
                f"num_samples must be at least 10, to be shared out to three parts, got {num_samples}"
            )
        if not 0 < held_out < 0.5:
            raise HypergraphError(f"held_out must be above 0 and below 0.5, got {held_out}")
        if int(held_out * num_samples) < 1:
            raise HypergraphError(f"held_out {held_out} of {num_samples} samples is less than one: take more of either")
        if batch_size < 1 or (batches_per_epoch or 1) < 1:
            raise HypergraphError(
                f"batches need a sample or more, got batch_size {batch_size}, batches_per_epoch {batches_per_epoch}"
            )
        self.source, self.num_samples, self.held_out = graph, num_samples, held_out
        self.sampling, self.masking = sampling or IndependentSampling(), masking or OneNode()
        self.batch_size, self.batches_per_epoch = batch_size, batches_per_epoch
        self.keep_order, self.merge, self.fresh = keep_order, merge, fresh
        self.renamed, self.modality = renamed, modality
        self.cache_dir, self.num_workers, self.seed = cache_dir, num_workers, seed
        self.hidden_names: list[str] | None = None

    def fingerprint(self) -> dict[str, str | int]:
        """Returns the sizes of the hypergraph and its corpus, the seed, and a hash of both."""
        return {
            "dataset": getattr(self.source, "path", type(self.source).__name__),
            "nodes": self.truth.num_nodes,
            "hyperedges": self.truth.num_edges,
            "samples": self.num_samples,
            "seed": self.seed,
            "corpus": self.corpus_name,
        }

    @property
    def about(self) -> dict[str, Any]:
        """The data, for a model card."""
        kinds = {"dataset": self.source, "sampling": self.sampling, "masking": self.masking}
        found: dict[str, Any] = {name: type(part).__name__ for name, part in kinds.items()}
        sizes = {"nodes": self.truth.num_nodes, "hyperedges": self.truth.num_edges}
        return found | sizes | {"training samples": self.num_training}

    @cached_property
    def specification(self) -> HypergraphSpecification:
        """The description of the hypergraph and its samples, once they are there."""
        training, held_out = np.split(self.rows, [self.num_training])
        return HypergraphSpecification(
            self.about, self.truth, training, held_out if self.fresh else training, self.masking, self.seed,
            self.hidden_names,
        )  # fmt: skip

    def prepare_data(self) -> None:
        """Writes the samples, where they are kept in files, on one process of a host."""
        if self.cache_dir is not None:
            self._corpus(self._hypergraph()).memory_mapped(self.cache_dir)

    def setup(self, stage: str) -> None:
        """Makes the hypergraph and the corpus."""
        if hasattr(self, "truth"):
            return
        self.truth = self._hypergraph()
        corpus = self._corpus(self.truth)
        self.corpus_name = corpus.name
        self.rows = corpus.rows() if self.cache_dir is None else corpus.memory_mapped(self.cache_dir)
        if self.masking.needs_frequency:
            self.masking.begin(node_frequency(self.rows[: self.num_training], self.truth.num_nodes))

    def _hypergraph(self) -> Hypergraph:
        graph = self.source.make()
        if not self.renamed:
            return graph
        order = np.random.default_rng([self.seed, 7, *self.modality.encode()]).permutation(graph.num_nodes)
        self.hidden_names = [graph.nodes[i] for i in order]
        return graph.renamed(order, [f"{self.modality}{i}" for i in range(graph.num_nodes)])

    def _corpus(self, graph: Hypergraph) -> Corpus:
        # Two modalities of one hypergraph are seen through samples of their own.
        seed = [self.seed, *self.modality.encode()] if self.renamed else [self.seed]
        return Corpus(graph, self.sampling, self.num_samples, seed)

    @property
    def num_training(self) -> int:
        """The number of training samples."""
        return self.num_samples - 2 * int(self.held_out * self.num_samples)

    def train_dataloader(self) -> ResumableLoader:
        rank, world = self.process
        order: BatchOrder
        settings: dict[str, Any] = {"keep_order": self.keep_order, "merge": self.merge}
        batches: FreshBatches | MaskedBatches
        if self.fresh:
            held_out = self._corpus(self.truth)
            corpus = Corpus(self.truth, self.sampling, self.num_training, [*held_out.seed, 1], prepared=True)
            batches = FreshBatches(corpus, self.masking, self.batch_size, self.seed, **settings)
            order = NumberedBatches(self.batches_per_epoch or -(-len(batches) // world), rank, world)
        else:
            rows = self.rows[: self.num_training]
            batches = MaskedBatches(rows, self.truth.num_nodes, self.masking, self.batch_size, self.seed,
                                    world_size=world, **settings)  # fmt: skip
            order = PassBatches(len(rows), self.batch_size, rank, world)
            if self.batches_per_epoch is not None:
                order = NumberedBatches(self.batches_per_epoch, rank, world)
        return self.resumable(self._loader(batches, order, self.num_workers), order)

    def val_dataloader(self) -> ResumableLoader:
        return self._held_out_loader(1)

    def test_dataloader(self) -> ResumableLoader:
        return self._held_out_loader(2)

    def _held_out_loader(self, part: int) -> ResumableLoader:
        """Returns the batches of the samples for validation (1) or the test (2), always the same."""
        size = int(self.held_out * self.num_samples)
        first = self.num_training + (part - 1) * size
        rank, world = self.process
        batch_size = max(self.batch_size, 8_192)
        batches = MaskedBatches(
            self.rows[first : first + size], self.truth.num_nodes, self.masking, batch_size, self.seed + part,
            self.keep_order, self.merge, world, shuffle=False,
        )  # fmt: skip
        if len(batches) > size:
            raise HypergraphError(f"{size} held-out samples cannot be shared out to {world} processes; take more")
        order = NumberedBatches(len(batches) // world, rank, world, again=True)
        return ResumableLoader(self._loader(batches, order, 0), order)

    def _loader(self, batches: Dataset, order: BatchOrder, num_workers: int) -> DataLoader:
        return DataLoader(
            batches, batch_size=None, sampler=order, num_workers=num_workers, generator=torch.Generator(),
            persistent_workers=num_workers > 0, pin_memory=self.pins_memory,
        )  # fmt: skip
