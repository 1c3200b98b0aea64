"""Learning rates that grow with the global batch."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from lightning.pytorch import Callback, Trainer

from callbacks import ScaledLearningRate
from datamodules import HypergraphDataModule
from lightning_modules import MaskedModeling
from relbench_pretrain.hypergraph import ConnectedRandomGraph, NodeBert
from relbench_pretrain.nn.schedules import WarmupCosine


class Rates(Callback):
    """Notes the rate of every step."""

    def __init__(self) -> None:
        self.seen: list[float] = []

    def on_before_optimizer_step(self, trainer, pl_module, optimizer):
        self.seen.append(optimizer.param_groups[0]["lr"])


def rates(folder, steps: int, *callbacks: Callback, accumulated: int = 1, resumed: str | None = None) -> list[float]:
    schedule = partial(WarmupCosine, total_steps=4)
    module = MaskedModeling(NodeBert(1, 8, 1, 8), partial(torch.optim.SGD, lr=0.1), schedule)
    data = HypergraphDataModule(ConnectedRandomGraph(6), 400, batch_size=10)
    noted = Rates()
    trainer = Trainer(
        max_steps=steps, accumulate_grad_batches=accumulated, limit_val_batches=0, logger=False, accelerator="cpu",
        callbacks=[*callbacks, noted], enable_progress_bar=False, enable_model_summary=False,
        enable_checkpointing=False, num_sanity_val_steps=0,
    )  # fmt: skip
    trainer.fit(module, data, ckpt_path=resumed, weights_only=False)
    trainer.save_checkpoint(folder / "last.ckpt")
    return noted.seen


@pytest.mark.parametrize(("rule", "factor"), [("linear", 4), ("sqrt", 2)])
def test_rates_follow_the_batches_of_a_step_also_when_their_number_changes(rule, factor, tmp_path):
    plain = rates(tmp_path, 4)
    assert rates(tmp_path, 2, ScaledLearningRate(rule)) == plain[:2]
    assert rates(tmp_path, 2, ScaledLearningRate(rule), accumulated=4) == pytest.approx([factor * r for r in plain[:2]])
    last = str(tmp_path / "last.ckpt")
    same = rates(tmp_path / "same", 4, ScaledLearningRate(rule), accumulated=4, resumed=last)
    assert same == pytest.approx([factor * r for r in plain[2:]])
    assert rates(tmp_path / "one", 4, ScaledLearningRate(rule), resumed=last) == pytest.approx(plain[2:])


def test_unknown_rules_are_refused():
    with pytest.raises(ValueError, match="cubic"):
        ScaledLearningRate("cubic")
