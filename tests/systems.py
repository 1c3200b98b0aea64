"""A small run of each system, for tests of what must hold for all of them."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningDataModule, LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint

from callbacks import ExactResume, LossNormalization, MultiDevice
from datamodules import (
    ContrastiveDataModule,
    EntityTaskDataModule,
    EpisodicKGDataModule,
    ForecastDataModule,
    HypergraphDataModule,
    MultimodalKGDataModule,
    RecommendationDataModule,
)
from lightning_modules import (
    ContrastivePretraining,
    EpisodicExtrapolation,
    FineTuning,
    ForecastPretraining,
    MaskedModeling,
    Recommendation,
    RelationExtrapolation,
)
from relbench_pretrain.contrastive import ContextContrast, Corruption, LinkContrast, RowContrast
from relbench_pretrain.contrastive.normalization import RunningMagnitude
from relbench_pretrain.hypergraph import ConnectedRandomGraph, EveryNode, NodeBert, OneNode
from relbench_pretrain.knowledge_graph import PairRanker
from relbench_pretrain.knowledge_graph.mre import M3AE, GraphWords, MultimodalTraining, StructureConsolidator
from relbench_pretrain.nn import Backbone, LinearTableEncoder, MLPHead, TemporalTransformer
from relbench_pretrain.trainer import AtomicCheckpointIO

Made = tuple[LightningModule, LightningDataModule]
SGD = partial(torch.optim.SGD, lr=0.05)


def backbone(dropout: float) -> Backbone:
    return Backbone(
        LinearTableEncoder(), TemporalTransformer([4, 2], num_layers=1, num_heads=2, dropout=dropout), channels=16
    )


def contrastive(folder: Path, devices: int, dropout: float, device_sampling: bool = False) -> Made:
    # Without dropout nothing is left to chance: disjoint subgraphs, each the same on whichever process it is, and all
    # negatives.
    exact: dict[str, Any] = {} if dropout else {"neighbors": [200], "corruption": Corruption(0.0)}
    data = ContrastiveDataModule(
        "demo-small", batch_size=16 // devices, num_per_round=8, num_rounds=2, val_batches=1, batches_per_epoch=5,
        device_sampling=device_sampling, **exact,
    )  # fmt: skip
    levels = [level(max_negatives=100_000) for level in (RowContrast, LinkContrast, ContextContrast)]
    return ContrastivePretraining(backbone(dropout), *levels, optimizer=SGD), data


def forecast(folder: Path, devices: int, dropout: float) -> Made:
    data = ForecastDataModule(
        "demo-small", batch_size=16 // devices, fanouts=[4, 2], val_batches=1, batches_per_epoch=5
    )
    return ForecastPretraining(backbone(dropout), SGD), data


def fine_tuning(folder: Path, devices: int, dropout: float) -> Made:
    data = EntityTaskDataModule(
        "customer-churn", "demo-small", batch_size=16 // devices, eval_batch_size=200, fanouts=[4, 2], strategy="last",
        label_fraction=0.06,
    )  # fmt: skip
    return FineTuning(backbone(dropout), head=MLPHead(dropout=dropout), optimizer=SGD), data


def recommendation(folder: Path, devices: int, dropout: float) -> Made:
    data = RecommendationDataModule(
        "customer-products", "demo-small", batch_size=16, eval_batch_size=200, fanouts=[4, 2], label_fraction=0.1
    )
    return Recommendation(backbone(dropout), optimizer=SGD), data


def episodic(folder: Path, devices: int, dropout: float) -> Made:
    data = EpisodicKGDataModule(
        str(folder / "kg"), validation_relations=2, num_candidates=20, cache_dir=str(folder / "cache"),
        batches_per_epoch=6 // devices, max_val_queries=5,
    )  # fmt: skip
    return EpisodicExtrapolation(PairRanker(2, 16, dropout, dropout), SGD), data


def extrapolation(folder: Path, devices: int, dropout: float) -> Made:
    data = MultimodalKGDataModule(
        str(folder / "kg"), validation_relations=2, num_candidates=20, cache_dir=str(folder / "cache"),
        batches_per_epoch=3, max_val_queries=5,
        training=MultimodalTraining(2, 1, 2, triples_per_batch=16, image_size=0, tokenizer=GraphWords(16, 1)),
    )  # fmt: skip
    module = RelationExtrapolation(
        M3AE(16, 1, 2, 16, 1, 2), StructureConsolidator(16, 4), relations_per_batch=4,
        pairs_per_relation=4, support=4, critic_steps=2,
    )  # fmt: skip
    return module, data


def masked_modeling(folder: Path, devices: int, dropout: float) -> Made:
    masking = OneNode() if dropout else EveryNode()
    data = HypergraphDataModule(ConnectedRandomGraph(12), 1_000, masking=masking, batch_size=200 // devices)
    return MaskedModeling(NodeBert(1, 16, 2, 32, dropout=dropout), SGD), data


SYSTEMS: dict[str, Callable[[Path, int, float], Made]] = {
    "contrastive": contrastive,
    "contrastive_on_device": partial(contrastive, device_sampling=True),
    "forecast": forecast,
    "fine_tuning": fine_tuning,
    "recommendation": recommendation,
    "episodic": episodic,
    "extrapolation": extrapolation,
    "masked_modeling": masked_modeling,
}


class Losses(Callback):
    """Notes what the module logs of training in each batch, and the validation's score.

    Args:
        path: Where each line is written too, at once, so that nothing is lost when the process is killed.
    """

    def __init__(self, path: Path | None = None) -> None:
        self.path = path
        self.seen: list[tuple[int, dict[str, float]]] = []

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *args: Any) -> None:
        values = {k: float(v) for k, v in trainer.callback_metrics.items() if k.startswith("train/")}
        step = trainer.fit_loop.epoch_loop.total_batch_idx
        self.seen.append((step, values))
        if self.path is not None:
            with self.path.open("a") as file:
                file.write(f"{(step, values)!r}\n")


def trainer_for(name: str, folder: Path, **options: Any) -> Trainer:
    """Returns a quiet trainer with all that a run needs to go on exactly."""
    callbacks = [MultiDevice(), ExactResume(), *options.pop("callbacks", [])]
    if name.startswith("contrastive"):
        callbacks.append(LossNormalization(RunningMagnitude()))
    return Trainer(**{
        "accelerator": "cpu", "devices": 1, "logger": False, "enable_progress_bar": False,
        "max_epochs": 4 if name == "extrapolation" else 2, "enable_model_summary": False, "num_sanity_val_steps": 0,
        "default_root_dir": folder, "callbacks": callbacks, "plugins": [AtomicCheckpointIO()],
        "enable_checkpointing": any(isinstance(callback, ModelCheckpoint) for callback in callbacks),
    } | options)  # fmt: skip
