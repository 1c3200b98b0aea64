"""A script of its own, which each of the two processes runs."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path

import torch
from lightning.pytorch import Trainer, seed_everything
from lightning.pytorch.loggers import CSVLogger
from lightning.pytorch.strategies import DDPStrategy

from callbacks import MultiDevice, Recovery
from datamodules import HypergraphDataModule
from lightning_modules import MaskedModeling
from relbench_pretrain.hypergraph import ConnectedRandomGraph, EveryNode, NodeBert


def train(folder: Path, devices: int) -> Trainer:
    """Trains 6 steps of all samples, half of them on each of two processes."""
    torch.set_num_threads(1)
    seed_everything(0)
    network = NodeBert(1, 16, 2, 32, dropout=0.0, positions=False)
    module = MaskedModeling(network, partial(torch.optim.SGD, lr=0.5))
    data = HypergraphDataModule(
        ConnectedRandomGraph(12), 5_000, masking=EveryNode(), batch_size=4_000 // devices, batches_per_epoch=2
    )
    strategy = DDPStrategy(process_group_backend="gloo") if devices > 1 else "auto"
    trainer = Trainer(
        accelerator="cpu", devices=devices, strategy=strategy, max_steps=6, val_check_interval=3,
        check_val_every_n_epoch=None, num_sanity_val_steps=0,
        logger=CSVLogger(folder, name="run"), callbacks=[MultiDevice(), Recovery(plot=False)],
        enable_progress_bar=False, enable_model_summary=False,
    )  # fmt: skip
    trainer.fit(module, data)
    weights = {name: value.detach().clone() for name, value in module.named_parameters()}
    trainer.test(module, data, verbose=False)
    torch.save(weights, folder / f"{devices}-rank{trainer.global_rank}.pt")
    return trainer


if __name__ == "__main__":
    train(Path(sys.argv[1]), 2)
