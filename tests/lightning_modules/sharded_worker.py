"""A script of its own, which each of the two processes runs."""

from __future__ import annotations

import os
import sys
from functools import partial
from pathlib import Path

import torch
from lightning.pytorch import Trainer, seed_everything
from lightning.pytorch.strategies import DDPStrategy, ModelParallelStrategy, Strategy
from safetensors.torch import save_file
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict
from torch.distributed.tensor import DTensor

from datamodules import MultimodalKGDataModule
from lightning_modules import RelationExtrapolation
from relbench_pretrain.cli import main as command
from relbench_pretrain.knowledge_graph.mre import M3AE, GraphWords, MultimodalTraining, StructureConsolidator

RANK = int(os.environ["LOCAL_RANK"])
SHARDED = ["--config=hardware/sharded.yaml"]


def masked_modeling(folder: Path, *options: str) -> None:
    """Trains a small BERT for four steps, and reads the hypergraph out after two, four and in the test.

    Processes begin with other parameters, and have to be brought together.
    """
    command(
        ["fit", "--config=hypergraph/recovery.yaml", f"--seed_everything={RANK}", "--data.graph.num_nodes=12",
         "--data.num_samples=1000", "--data.batch_size=100",
          "--data.batches_per_epoch=4", "--model.network.num_layers=3",
         "--model.network.width=16", "--model.network.num_heads=2", "--trainer.max_steps=4",
         "--trainer.val_check_interval=2", "--trainer.log_every_n_steps=1", "--trainer.gradient_clip_val=0.1",
         f"--trainer.default_root_dir={folder}", f"--trainer.logger.init_args.save_dir={folder}",
         "--trainer.accelerator=cpu", "--trainer.devices=2", "--trainer.enable_progress_bar=false",
         "--trainer.callbacks+=lightning.pytorch.callbacks.ModelCheckpoint", f"--trainer.callbacks.dirpath={folder}",
         "--trainer.callbacks.filename={step}", "--trainer.callbacks.every_n_train_steps=2",
         "--trainer.callbacks.save_top_k=-1", "--trainer.callbacks.enable_version_counter=false",
         "--test_after_fit=true", *options]
    )  # fmt: skip


def extrapolation(graph: str, folder: Path, strategy: Strategy) -> dict:
    """Trains a small MRE through all phases, from given weights of the learner."""
    seed_everything(RANK)
    weights = folder / f"learner{RANK}.safetensors"
    sizes = {"relations_per_batch": 4, "pairs_per_relation": 4, "support": 4}
    # Adam would follow the sign of gradients that are nothing but rounding errors, those of the keys' biases.
    optimizer = partial(torch.optim.SGD, lr=0.05)
    module = RelationExtrapolation(
        M3AE(16, 2, 2, 16, 1, 2),
        StructureConsolidator(16, 4),
        fusion_optimizer=optimizer,
        learner_weights=str(weights),
        clip=1e3,
        **sizes,
    )
    data = MultimodalKGDataModule(
        graph, validation_relations=2, num_candidates=20, batches_per_epoch=2, cache_dir=str(folder / "cache"),
        training=MultimodalTraining(1, 1, 1, 16, image_size=0, tokenizer=GraphWords(16, 1)),
    )  # fmt: skip
    data.setup("fit")
    seed_everything(2)
    start = M3AE(16, 2, 2, 16, 1, 2)
    start.build(data.inputs.specs, data.graph.num_entities)
    save_file(start.state_dict(), weights)
    seed_everything(RANK)
    run = Trainer(
        accelerator="cpu", devices=2, strategy=strategy, use_distributed_sampler=False, num_sanity_val_steps=0,
        logger=False, enable_progress_bar=False, enable_model_summary=False, max_epochs=3,
        enable_checkpointing=False,
    )  # fmt: skip
    run.fit(module, data)
    weights = get_model_state_dict(module, options=StateDictOptions(full_state_dict=True, cpu_offload=True))
    sizes = [[p.numel() * isinstance(p, kind) for p in module.parameters()] for kind in (DTensor, torch.Tensor)]
    return {"weights": weights, "sharded": sum(sizes[0]) / sum(sizes[1]), "score": run.callback_metrics["val/score"]}


def main(graph: str, folder: Path) -> None:
    torch.set_num_threads(1)
    masked_modeling(folder / "copies", "--trainer.strategy=ddp")
    masked_modeling(folder / "one", *SHARDED, "--trainer.callbacks+=callbacks.Throughput")
    shares = "--trainer.strategy.save_distributed_checkpoint=true"
    masked_modeling(folder / "shares", *SHARDED, shares, f"--ckpt_path={folder}/one/step=2.ckpt")
    found = [
        extrapolation(graph, folder, strategy)
        for strategy in (DDPStrategy(find_unused_parameters=True), ModelParallelStrategy())
    ]
    torch.save(found, folder / f"rank{RANK}.pt")


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
