"""Memory that a GPU copies from while it computes."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from datamodules import HypergraphDataModule
from datamodules.relational import RelationalDataModule
from datamodules.transfer import pins_memory
from relbench_pretrain.hypergraph import Star


@pytest.mark.parametrize(("device", "pinned"), [("cpu", False), ("cuda", True)])
def test_loaders_pin_memory_where_a_gpu_trains(device, pinned):
    strategy = SimpleNamespace(root_device=torch.device(device))
    trainer = SimpleNamespace(strategy=strategy, global_rank=0, world_size=1)
    assert pins_memory(trainer) is pinned
    data, relational = HypergraphDataModule(Star(5), 100), RelationalDataModule()
    data.setup("test")
    data.trainer = relational.trainer = trainer
    assert data.test_dataloader().loader.pin_memory is pinned
    assert relational.worker_options()["pin_memory"] is pinned
    assert not pins_memory(None)
