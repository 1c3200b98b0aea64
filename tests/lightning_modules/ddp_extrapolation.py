"""A script of its own, which each of the two processes runs."""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from lightning.pytorch import Callback, Trainer, seed_everything
from lightning.pytorch.strategies import DDPStrategy

from datamodules import MultimodalKGDataModule
from lightning_modules import RelationExtrapolation
from relbench_pretrain.knowledge_graph.mre import M3AE, GraphWords, MultimodalTraining, StructureConsolidator


class Seeds(Callback):
    """Notes what every batch of this process is drawn with."""

    def __init__(self) -> None:
        self.seen: list[int] = []

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        self.seen.append(batch.seed)


def main(graph: str, folder: Path) -> None:
    torch.set_num_threads(1)
    seed_everything(0)
    module = RelationExtrapolation(
        M3AE(16, 1, 2, 16, 1, 2), StructureConsolidator(16, 4), relations_per_batch=4, pairs_per_relation=4, support=4
    )
    data = MultimodalKGDataModule(
        graph, validation_relations=2, num_candidates=20, batches_per_epoch=3, cache_dir=str(folder / "cache"),
        training=MultimodalTraining(1, 1, 1, 16, image_size=0, tokenizer=GraphWords(16, 1)),
    )  # fmt: skip
    seeds = Seeds()
    trainer = Trainer(
        accelerator="cpu", devices=2, max_epochs=3, num_sanity_val_steps=0,
        strategy=DDPStrategy(find_unused_parameters=True, process_group_backend="gloo"), logger=False,
        callbacks=[seeds], enable_progress_bar=False, enable_model_summary=False, enable_checkpointing=False,
    )  # fmt: skip
    trainer.fit(module, data)
    weights = {name: value.detach().clone() for name, value in module.named_parameters()}
    state = {"weights": weights, "seeds": seeds.seen, "score": float(trainer.callback_metrics["val/score"])}
    torch.save(state, folder / f"rank{trainer.global_rank}.pt")


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
