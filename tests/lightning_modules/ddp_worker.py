"""A script of its own, which each of the two processes runs."""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from lightning.pytorch import Callback, Trainer, seed_everything
from lightning.pytorch.loggers import CSVLogger
from lightning.pytorch.strategies import DDPStrategy

from callbacks import BackboneCheckpoint, MultiDevice
from datamodules import ContrastiveDataModule
from lightning_modules import ContrastivePretraining
from relbench_pretrain.contrastive import ContextContrast, LinkContrast, RowContrast
from relbench_pretrain.nn import Backbone, GraphSAGE, LinearTableEncoder


class Seeds(Callback):
    """Notes the seeds of every batch that this process drew."""

    def __init__(self) -> None:
        self.seen: list[int] = []

    def on_train_start(self, trainer, pl_module):
        loader = trainer.train_dataloader
        rows = loader.loader.input_data.node
        for ids, _ in zip(loader.order, range(3), strict=False):
            self.seen += rows[torch.tensor(ids)].tolist()


def main(folder: Path) -> None:
    torch.set_num_threads(1)
    seed_everything(0)
    module = ContrastivePretraining(
        Backbone(LinearTableEncoder(), GraphSAGE(), channels=16), RowContrast(), LinkContrast(), ContextContrast()
    )
    # Seeds by size come from large tables alone, so that none of them can repeat within the test.
    data = ContrastiveDataModule(
        "demo-small", batch_size=8, num_per_round=8, num_rounds=2, val_batches=1, seed_tables=["orders", "visits"]
    )
    seeds = Seeds()
    trainer = Trainer(
        accelerator="cpu", devices=2, max_steps=3, num_sanity_val_steps=0,
        strategy=DDPStrategy(find_unused_parameters=True, process_group_backend="gloo"),
        logger=CSVLogger(folder, name="run"), callbacks=[MultiDevice(), BackboneCheckpoint(), seeds],
        enable_progress_bar=False, enable_model_summary=False, val_check_interval=3, check_val_every_n_epoch=None,
    )  # fmt: skip
    trainer.fit(module, data)
    state = {
        "steps": trainer.global_step,
        "weights": dict(module.state_dict()),
        "gather": all(level.gather_negatives for level in module.levels.values()),
        "seeds": seeds.seen,
    }
    torch.save(state, folder / f"rank{trainer.global_rank}.pt")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
