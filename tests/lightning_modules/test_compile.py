"""Compiled networks: as many graphs as needed, the same results, the same checkpoints."""

from __future__ import annotations

from functools import partial

import torch
from lightning.pytorch import Callback, Trainer, seed_everything
from torch._dynamo.testing import CompileCounter
from torch._dynamo.utils import counters

from callbacks import Recovery, Throughput
from datamodules import HypergraphDataModule
from lightning_modules import MaskedModeling
from relbench_pretrain.hypergraph import NodeBert, RandomHypergraph, SeveralNodes


class Sizes(Callback):
    """Notes the sizes of batches."""

    def __init__(self) -> None:
        self.seen: set[tuple[int, int]] = set()

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        self.seen.add((len(batch.tokens), len(batch.row)))


def trained(folder, compile: bool) -> tuple[MaskedModeling, Sizes, str]:
    seed_everything(0)
    network = NodeBert(2, 16, 2, 32, dropout=0.0)
    module = MaskedModeling(network, partial(torch.optim.SGD, lr=0.5), compile=compile)
    data = HypergraphDataModule(
        RandomHypergraph(9, {2: 8, 3: 12}), 300, masking=SeveralNodes(2), batch_size=12, batches_per_epoch=8
    )
    sizes = Sizes()
    trainer = Trainer(
        max_epochs=1, accelerator="cpu", logger=False, callbacks=[sizes, Recovery(plot=False), Throughput()],
        num_sanity_val_steps=0, enable_progress_bar=False, enable_model_summary=False, enable_checkpointing=False,
    )  # fmt: skip
    trainer.fit(module, data)
    trainer.save_checkpoint(folder / f"{compile}.ckpt")
    return module, sizes, str(folder / f"{compile}.ckpt")


def test_batches_of_many_sizes_share_compiled_graphs_and_checkpoints_are_those_of_eager_runs(tmp_path, monkeypatch):
    eager, _, plain = trained(tmp_path, compile=False)
    counter = CompileCounter()
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend=counter))
    counters.clear()
    module, sizes, saved = trained(tmp_path, compile=True)
    assert len(sizes.seen) > 3
    assert counter.frame_count == 2  # with gradients and without
    assert not counters["graph_break"]
    for name, value in eager.state_dict().items():
        assert torch.allclose(module.state_dict()[name], value, atol=1e-6), name
    for path, compile in ((saved, False), (plain, True)):
        loaded = MaskedModeling.load_from_checkpoint(path, compile=compile, weights_only=False)
        expected = torch.load(path, weights_only=False)["state_dict"]
        assert list(loaded.state_dict()) == list(expected)
        assert all(torch.equal(loaded.state_dict()[name], value) for name, value in expected.items())
