"""How fast training is, and what it waits for."""

from __future__ import annotations

import csv
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.loggers import CSVLogger
from torch.utils.data import DataLoader, Dataset

from callbacks import Throughput


class Clock:
    """Stands still but while somebody sleeps."""

    now = 0.0

    def sleep(self, seconds: float) -> None:
        self.now += seconds


TIME = Clock()


@pytest.fixture(autouse=True)
def clock(monkeypatch):
    monkeypatch.setattr("callbacks.throughput.time", SimpleNamespace(perf_counter=lambda: TIME.now))


class Rows(Dataset):
    """Batches of so many rows, after a while."""

    def __init__(self, sizes: list[int], wait: float) -> None:
        self.sizes, self.wait = sizes, wait

    def __len__(self) -> int:
        return len(self.sizes)

    def __getitem__(self, number: int) -> torch.Tensor:
        TIME.sleep(self.wait)
        return torch.ones(self.sizes[number], 8)


class Line(LightningModule):
    """One linear layer, and a step that takes a while."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(8, 4)

    def num_rows(self, batch):
        return len(batch)

    def training_step(self, batch, batch_idx):
        TIME.sleep(0.02)
        return self.layer(batch).sum()

    def validation_step(self, batch, batch_idx):
        TIME.sleep(0.3)

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


def logged(folder: Path, wait: float, callback: Throughput | None = None) -> dict[str, float]:
    """Logs after the fifth batch what four of 16 rows took."""
    validation = DataLoader(Rows([1], 0.0), batch_size=None)
    trainer = Trainer(
        max_steps=5, log_every_n_steps=5, val_check_interval=3, accelerator="cpu", logger=CSVLogger(folder, "run"),
        callbacks=[callback or Throughput()], enable_progress_bar=False, enable_model_summary=False,
        enable_checkpointing=False, num_sanity_val_steps=0,
    )  # fmt: skip
    before = trainer.profiler.start
    trainer.fit(Line(), DataLoader(Rows([2] + [16] * 4, wait), batch_size=None), validation)
    assert trainer.profiler.start == before
    with (folder / "run/version_0/metrics.csv").open() as file:
        (row,) = csv.DictReader(file)
    return {name.removeprefix("throughput/"): float(value) for name, value in row.items() if "/" in name}


def test_rows_a_second_and_the_wait_for_data_are_those_of_loader_and_step(tmp_path):
    fast, slow = logged(tmp_path / "fast", 0.0), logged(tmp_path / "slow", 0.06)
    assert fast["data_wait"] == 0
    assert slow["data_wait"] == pytest.approx(0.75)
    assert fast["rows_per_second"] == pytest.approx(16 / 0.02)
    assert slow["rows_per_second"] == pytest.approx(16 / 0.08)
    assert 0.05 < slow["peak_memory_gib"] < 100


def test_operations_of_a_linear_layer_are_counted(tmp_path, monkeypatch):
    found = logged(tmp_path / "unknown", 0.0)
    # 2 x 8 x 4 forward, and the same for the gradient of the weight; of 16 rows in .02 s.
    assert found["teraflops"] * 1e12 == pytest.approx(128 * 16 / 0.02)
    assert "mfu" not in found
    monkeypatch.setattr("callbacks.throughput.peak_flops", lambda trainer: 1e6)
    assert logged(tmp_path / "known", 0.0)["mfu"] == pytest.approx(128 * 16 / 0.02 / 1e6)
    assert "teraflops" not in logged(tmp_path / "uncounted", 0.0, Throughput(count_flops=False))


def test_an_error_leaves_nothing_behind(tmp_path):
    module = Line()
    module.training_step = lambda batch, batch_idx: 1 / 0
    trainer = Trainer(
        max_steps=1, accelerator="cpu", logger=False, callbacks=[Throughput()], enable_progress_bar=False,
        enable_model_summary=False, enable_checkpointing=False,
    )  # fmt: skip
    with pytest.raises(ZeroDivisionError):
        trainer.fit(module, DataLoader(Rows([1], 0.0), batch_size=None))
    assert torch.utils._python_dispatch._get_current_dispatch_mode() is None
