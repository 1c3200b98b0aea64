"""Masked modelling of hyperedges, from which the hypergraph can be read out again."""

from __future__ import annotations

import numpy as np
import torch
from lightning.pytorch import LightningModule
from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor

from lightning_modules.sharding import shard, store_arguments
from lightning_modules.sharing import Sharing
from lightning_modules.training import optimizer_and_schedule
from relbench_pretrain.distributed import process_mean
from relbench_pretrain.hypergraph.corpus.batches import MaskedBatch
from relbench_pretrain.hypergraph.hypergraph import HypergraphError
from relbench_pretrain.hypergraph.model import NodeBert
from relbench_pretrain.hypergraph.specification import HypergraphSpecification
from relbench_pretrain.trainer.specification import specification


class MaskedModeling(Sharing, LightningModule):
    """Learns to predict the masked nodes of a hyperedge from its others, by cross-entropy.

    Source: Chen et al. 2024, section 4: the optimum is P(u|c) = w(c∪u) / Σ_v w(c∪v).

    Args:
        network: The masked model.
        optimizer: The optimiser.
        lr_scheduler: A schedule stepped after every batch, or None.
        compile: Whether the network is compiled by ``torch.compile``.

    Attributes:
        specification: The description of the data, for training on loaders without a DataModule.
    """

    shared_prefix = "network."
    specification: HypergraphSpecification | None = None

    def __init__(
        self,
        network: NodeBert,
        optimizer: OptimizerCallable = lambda parameters: torch.optim.AdamW(parameters, lr=1e-3),
        lr_scheduler: LRSchedulerCallable | None = None,
        compile: bool = False,
    ) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.network = network
        self.optimizer = optimizer
        self.lr_scheduler = lr_scheduler
        self.compile_network = compile
        self.nodes: list[str] | None = None
        self.length, self.padded = 0, False

    def setup(self, stage: str) -> None:
        """Takes the nodes of the data at hand; they have to be those of a checkpoint that was loaded."""
        data = specification(self.trainer, HypergraphSpecification, self)
        if self.nodes is not None:
            _require_same(self.nodes, self.length, data.truth.nodes, data.length)
        self.nodes, self.length, self.padded = data.truth.nodes, data.length, data.padded

    def configure_model(self) -> None:
        """Creates the parameters, which depend on the number of nodes; a second call changes nothing."""
        self.network.nodes = self.nodes
        if self.nodes is not None and self.network.encoder is None:
            self.network.build(len(self.nodes), self.length, self.padded)
            if self.compile_network:
                self.network.compile(dynamic=True)
            shard(self, self.network, self.network.blocks)

    def forward(self, batch: MaskedBatch) -> Tensor:
        """Returns the logits of all nodes at each masked place ``(num_masked, num_nodes)``."""
        return self.network(batch.tokens, batch.row, batch.column)

    def loss(self, batch: MaskedBatch) -> Tensor:
        """Returns the mean cross-entropy of the masked nodes, each as often as it came."""
        log_p = self(batch).float().log_softmax(-1)
        total = batch.times.sum()
        if self.training:  # each sample weighs the same, on whichever process it is
            total = process_mean(total)
        return -(log_p[batch.masked, batch.node] * batch.times).sum() / total

    def training_step(self, batch: MaskedBatch, batch_idx: int) -> Tensor:
        loss = self.loss(batch)
        self.log("train/loss", loss.detach(), prog_bar=True, batch_size=1)
        return loss

    def validation_step(self, batch: MaskedBatch, batch_idx: int) -> None:
        self._log_held_out("val", batch)

    def test_step(self, batch: MaskedBatch, batch_idx: int) -> None:
        self._log_held_out("test", batch)

    def _log_held_out(self, stage: str, batch: MaskedBatch) -> None:
        # Batches of held-out samples differ by at most one sample, so each counts the same.
        self.log(f"{stage}/loss", self.loss(batch), prog_bar=True, batch_size=1, sync_dist=True)

    def log_conditionals(self, contexts: np.ndarray, masked: int = 1) -> np.ndarray:
        """Returns the log-probability of every node beside contexts; see :meth:`NodeBert.log_conditionals`."""
        return self.network.log_conditionals(contexts, masked)

    def num_rows(self, batch: MaskedBatch) -> int:
        """The number of sequences of a batch."""
        return len(batch.tokens)

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """Makes the optimiser and, where there is one, the schedule."""
        return optimizer_and_schedule(self.parameters(), self.optimizer, self.lr_scheduler, self.trainer)

    def shared_network(self) -> NodeBert:
        """Returns the masked model."""
        return self.network

    def on_save_checkpoint(self, checkpoint: dict) -> None:
        """Stores the vocabulary."""
        super().on_save_checkpoint(checkpoint)
        store_arguments(self, checkpoint)
        checkpoint["hypergraph"] = {"nodes": self.nodes, "length": self.length, "padded": self.padded}

    def on_load_checkpoint(self, checkpoint: dict) -> None:
        """Creates the parameters for the checkpoint's vocabulary."""
        stored = checkpoint["hypergraph"]
        if self.nodes is not None:
            _require_same(stored["nodes"], stored["length"], self.nodes, self.length)
        self.nodes, self.length, self.padded = stored["nodes"], stored["length"], stored["padded"]
        self.configure_model()


def _require_same(trained: list[str], trained_length: int, given: list[str], given_length: int) -> None:
    if trained != given or trained_length != given_length:
        raise HypergraphError(
            f"this checkpoint was trained on {len(trained)} nodes, '{trained[0]}' and so on, and hyperedges of up to "
            f"{trained_length - 2} of them, and the data have {len(given)}, '{given[0]}' and so on, in hyperedges of "
            f"up to {given_length - 2}: give it the hypergraph that it was trained on"
        )
