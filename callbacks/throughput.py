"""Callback that measures how fast training is, and how long it waits for data."""

from __future__ import annotations

import resource
import sys
import time
from contextlib import ExitStack
from typing import Any, Protocol, cast

import torch
from lightning.fabric.utilities.throughput import get_available_flops
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks.throughput_monitor import _plugin_to_compute_dtype
from torch.utils.flop_counter import FlopCounterMode

FETCH = "train_dataloader_next"
"""How Lightning's profilers call the wait for a batch."""


class CountsRows(Protocol):
    """A module that knows how many rows, seeds or sequences a batch has."""

    def num_rows(self, batch: Any) -> int:
        """Returns the number, without waiting for the device."""


class Throughput(Callback):
    """Logs how fast training is, whenever the trainer logs.

    ``throughput/rows_per_second`` counts rows (seeds, sequences, queries, triples) on all devices;
    ``throughput/data_wait`` is the share of the time in which a device has nothing to do but to wait for a batch;
    ``throughput/peak_memory_gib`` is that of the fullest device, and of a process on CPUs;
    ``throughput/teraflops`` are 10¹² operations a second on a device, forward and backward;
    ``throughput/mfu`` is their share of what Lightning knows to be the device's peak, and is left out where it does not
    know it. Validation counts nowhere. Times are the device's own, read when logs are written.

    Unlike Lightning's ``ThroughputMonitor``, it waits for the device in no other step, tells waiting from computing,
    and adds up what each device had.

    Args:
        count_flops: Whether operations are counted, once for each kind of batch and in proportion to rows from then on.
    """

    def __init__(self, count_flops: bool = True) -> None:
        self.count_flops = count_flops
        self._flops_per_row: dict[type, float] = {}
        self._counter: FlopCounterMode | None = None
        self._counting = ExitStack()
        self._peak: float | None = None
        self._clock: _Clock | None = None

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Starts the clock, and listens to when batches are asked for and when they come."""
        self._clock, self._flops_per_row = _Clock(trainer.strategy.root_device), {}
        self._peak = peak_flops(trainer) if self.count_flops else None
        self._begin(self._clock)
        self._profiler: Any = cast(Any, trainer).profiler  # Lightning sets it without declaring it
        self._listened = _listen(self._profiler, self._clock)

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Counts the operations of the first batch of a kind."""
        if self.count_flops and type(batch) not in self._flops_per_row:
            # Of compiled code nothing could be counted, and code that is compiled meanwhile would stay eager for good.
            self._counting.enter_context(torch.compiler.set_stance("force_eager"))
            self._counter = self._counting.enter_context(FlopCounterMode(display=False))

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Adds up, and logs."""
        rows = cast(CountsRows, pl_module).num_rows(batch)
        if self._clock is None:
            return
        if self._counter is not None:
            self._flops_per_row[type(batch)] = self._stop_counting(self._counter) / max(rows, 1)
            self._begin(self._clock)  # counting is slow
            return
        self._rows += rows
        self._flops += rows * self._flops_per_row.get(type(batch), 0.0)
        if trainer._logger_connector.should_update_logs:
            self._log(pl_module, self._clock)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Stops the clock."""
        if self._clock is not None:
            self._clock.begin("pause")

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Lets the clock go on."""
        if self._clock is not None:
            self._clock.end("pause")

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Listens no more."""
        self._close()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Listens no more."""
        self._close()

    def _begin(self, clock: _Clock) -> None:
        self._rows, self._flops = 0, 0.0
        clock.restart()

    def _log(self, pl_module: LightningModule, clock: _Clock) -> None:
        total, passed = clock.read()
        seconds = max(total - passed["pause"], 1e-9)
        rates = {"rows_per_second": self._rows / seconds}
        means = {"data_wait": passed["wait"] / seconds}
        if self._flops:
            means["teraflops"] = self._flops / seconds / 1e12
        if self._flops and self._peak:
            means["mfu"] = self._flops / seconds / self._peak
        peaks = {"peak_memory_gib": _peak_memory(clock.device) / 2**30}
        for how, values in (("sum", rates), ("mean", means), ("max", peaks)):
            pl_module.log_dict(
                {f"throughput/{name}": value for name, value in values.items()},
                on_step=True, on_epoch=False, reduce_fx=how, sync_dist=True, batch_size=1,
            )  # fmt: skip
        self._begin(clock)

    def _stop_counting(self, counter: FlopCounterMode) -> int:
        """Returns the operations that were counted."""
        counted = counter.get_total_flops()
        self._counting.close()
        self._counter = None
        return counted

    def _close(self) -> None:
        if self._counter is not None:
            self._stop_counting(self._counter)
        if self._clock is not None:
            self._profiler.start, self._profiler.stop = self._listened
            self._clock = None


class _Clock:
    """Measures spans of time as a device sees them: one in which it still has work to do takes none of its time.

    Args:
        device: The device; that of a CPU is the process's.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device

    def restart(self) -> None:
        """Forgets all spans."""
        self.start = self._mark()
        self.spans: dict[str, list[list[Any]]] = {"wait": [], "pause": []}

    def begin(self, name: str) -> None:
        """Begins a span."""
        self.spans[name].append([self._mark()])

    def end(self, name: str) -> None:
        """Ends the span that was begun, if the clock has not been restarted since."""
        if self.spans[name] and len(self.spans[name][-1]) == 1:
            self.spans[name][-1].append(self._mark())

    def read(self) -> tuple[float, dict[str, float]]:
        """Returns the seconds since the start, and those within spans by name. Waits for the device."""
        total = _seconds(self.start, self._mark())
        return total, {n: sum(_seconds(*s) for s in spans if len(s) == 2) for n, spans in self.spans.items()}

    def _mark(self) -> Any:
        if self.device.type != "cuda":
            return time.perf_counter()
        event = torch.cuda.Event(enable_timing=True)
        event.record(torch.cuda.current_stream(self.device))
        return event


def _seconds(begin: Any, end: Any) -> float:
    if isinstance(begin, float):
        return end - begin
    end.synchronize()
    return begin.elapsed_time(end) / 1e3


def _listen(profiler: Any, clock: _Clock) -> tuple[Any, Any]:
    """Has a clock measure the wait for batches. Returns the profiler's methods, to be put back."""
    start, stop = profiler.start, profiler.stop

    def started(action: str) -> None:
        start(action)
        if action.endswith(FETCH):
            clock.begin("wait")

    def stopped(action: str) -> None:
        if action.endswith(FETCH):
            clock.end("wait")
        stop(action)

    profiler.start, profiler.stop = started, stopped
    return start, stop


def peak_flops(trainer: Trainer) -> float | None:
    """Returns the operations a second that a device can do in the trainer's precision; None where that is unknown."""
    device = trainer.strategy.root_device
    if device.type != "cuda":
        return None
    return get_available_flops(device, _plugin_to_compute_dtype(trainer.precision_plugin))


def _peak_memory(device: torch.device) -> int:
    """Returns the bytes that were in use at most."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
