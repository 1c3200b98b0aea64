"""How the benchmarks measure: both sides in turn in one process, medians over rounds, one JSON line at the end."""

from __future__ import annotations

import gc
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from resource import RUSAGE_SELF, getrusage
from typing import Any

import torch


def peak_megabytes() -> float:
    """Returns the highest resident memory of this process so far in MB."""
    return getrusage(RUSAGE_SELF).ru_maxrss / 1024


def peak_of_work(work: Callable[[], Any], repeat: int) -> float:
    """Repeats work and returns the memory in MB by which its peak exceeds what was resident before.

    Loading the database costs more than any batch, so the peak of the whole process would hide both sides' work.
    The kernel (Linux) is told to forget the peak so far.
    """
    gc.collect()
    Path("/proc/self/clear_refs").write_text("5")
    before = _status("VmRSS")
    for _ in range(repeat):
        work()
    return _status("VmHWM") - before


def _status(name: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(float(line.split()[1]) / 1024 for line in lines if line.startswith(f"{name}:"))


def memory_of(side: str) -> float:
    """Runs this script again with ``--memory SIDE``, which prints the memory of its work in MB, and returns it."""
    command = [sys.executable, *sys.argv, "--memory", side]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()[-1])


def alternate(ours: Callable[[], Any], peer: Callable[[], Any], rounds: int, repeat: int) -> dict[str, Any]:
    """Times two sides in turn.

    Args:
        ours: One unit of our work.
        peer: One unit of the peer's.
        rounds: How often both are timed.
        repeat: Units per timing.

    Returns:
        Units per second of both sides (medians over rounds), the median ratio, and as its spread the smallest and
        the largest ratio of a round.
    """
    for _ in range(3):
        ours(), peer()
    speeds = [(_speed(ours, repeat), _speed(peer, repeat)) for _ in range(rounds)]
    ratios = [a / b for a, b in speeds]
    return {
        "ours": statistics.median(a for a, _ in speeds),
        "peer": statistics.median(b for _, b in speeds),
        "ratio": statistics.median(ratios),
        "spread": [min(ratios), max(ratios)],
    }


def _speed(work: Callable[[], Any], repeat: int) -> float:
    start = time.perf_counter()
    for _ in range(repeat):
        work()
    return repeat / (time.perf_counter() - start)


def forever(loader: Iterable[Any]) -> Iterator[Any]:
    """Yields the batches of a loader, over and over."""
    while True:
        yield from loader


def report(**values: Any) -> None:
    """Prints the result as one JSON object, numbers to four significant digits."""
    print(json.dumps(_rounded(values)))


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return float(f"{value:.4g}")
    if isinstance(value, dict):
        return {k: _rounded(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_rounded(v) for v in value]
    return value


def training_step(
    loss_of: Callable[[Any], torch.Tensor], optimizer: torch.optim.Optimizer, loader: Iterable[Any], bf16: bool = False
) -> Callable[[], float]:
    """Returns a function that makes one step of training and returns its loss."""
    batches = forever(loader)

    def one() -> float:
        batch = next(batches)
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            loss = loss_of(batch)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return float(loss.detach())

    return one
