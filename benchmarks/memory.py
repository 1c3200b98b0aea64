"""What each added rank and worker costs in memory: processes that open one cached graph and draw batches from it.

Ranks are processes of their own, workers those of their data loaders. Their memory (Linux) is what is theirs, and of
what they share a share (the proportional set size, summed over all), without the files of libraries, which other
processes of the host map too. From it goes what the same processes take over a database of 20,000 rows: they have
imported and compiled the same, opened a graph that is next to nothing, and hold batches as large. The rest is the graph
and whatever grows with it; an added rank or worker costs what it adds to that, as a share of the graph's file.

    python benchmarks/memory.py --rows 1000000 --ranks 1 2 --workers 0 2
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from measure import report

from datamodules import ContrastiveDataModule
from relbench_pretrain.datasets.shop.database import write_demo_database
from relbench_pretrain.files import cache_root
from relbench_pretrain.relational.cache import TENSORS

SMALL = 20_000
COUNTED = ("Pss_Anon:", "Pss_Shmem:")


def megabytes(process: int) -> float:
    """Returns the memory of a process and its children: their own, and their share of shared and of cached files."""
    lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
    own = sum(float(line.split()[1]) for line in lines if line.startswith(COUNTED))
    children = Path(f"/proc/{process}/task/{process}/children").read_text().split()
    return (own + _cached_files(process)) / 1024 + sum(megabytes(int(child)) for child in children)


def _cached_files(process: int) -> float:
    """Returns the share of unchanged pages of the graph's file in KB; changed ones count as the process's own."""
    size, counted = 0.0, False
    for line in Path(f"/proc/{process}/smaps").read_text().splitlines():
        name, *values = line.split()
        if not name.endswith(":"):  # the first line of a mapping ends with its file
            counted = line.endswith(TENSORS)
        elif counted and name in ("Pss:", "Anonymous:"):
            size += float(values[0]) * (1 if name == "Pss:" else -1)
    return size


def rank(folder: str, number: int, workers: int, batches: int) -> None:
    """Opens the graph, draws batches, says how fast, and waits for the word to end, its workers alive."""
    start = time.perf_counter()
    module = ContrastiveDataModule(folder, num_workers=workers, seed=number)
    module.setup("fit")
    opened = time.perf_counter() - start
    loader = iter(module.train_dataloader())
    for _ in range(10):
        next(loader)
    start = time.perf_counter()
    for _ in range(batches):
        next(loader)
    print(json.dumps({"open_s": opened, "batches_s": batches / (time.perf_counter() - start)}), flush=True)
    sys.stdin.readline()


def measured(folder: Path, ranks: int, workers: int, batches: int) -> dict[str, float]:
    """Measures so many ranks with so many workers each, when all have drawn their batches."""
    with ExitStack() as stack:
        processes = []
        for number in range(ranks):
            command = [sys.executable, __file__, "--batches", str(batches), "--workers", str(workers)]
            command += ["--ranks", str(number), "--open", str(folder)]
            pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
            processes.append(stack.enter_context(subprocess.Popen(command, **pipes)))
        answers = [json.loads(process.stdout.readline()) for process in processes]
        total = sum(megabytes(process.pid) for process in processes)
        for process in processes:
            process.stdin.write("\n")
            process.stdin.flush()
    return {
        "mb": total,
        "open_s": max(answer["open_s"] for answer in answers),
        "batches_s": min(answer["batches_s"] for answer in answers),
    }


def compared(folders: dict[int, Path], rows: int, ranks: int, workers: int, batches: int) -> dict[str, float]:
    """Measures the large graph and the small one."""
    found, small = (measured(folders[size], ranks, workers, batches) for size in (rows, SMALL))
    return {"ranks": ranks, "workers": workers, "above_small_mb": found["mb"] - small["mb"], **found}


def added(results: list[dict[str, float]], size: float) -> list[dict[str, float]]:
    """Returns what each added rank, and each added worker of a rank, costs as a share of the graph."""
    above = {(result["ranks"], result["workers"]): result["above_small_mb"] for result in results}
    first, fewest = (min(place) for place in zip(*above, strict=True))
    shares = []
    for (ranks, workers), value in above.items():
        if ranks > first and workers == fewest:
            share = (value - above[first, workers]) / (ranks - first) / size
            shares.append({"ranks": ranks, "workers": workers, "share_per_added_rank": share})
        elif workers > fewest:
            share = (value - above[ranks, fewest]) / (ranks * (workers - fewest)) / size
            shares.append({"ranks": ranks, "workers": workers, "share_per_added_worker": share})
    return shares


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--ranks", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--workers", type=int, nargs="+", default=[0, 2])
    parser.add_argument("--batches", type=int, default=100)
    parser.add_argument("--open", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.open:
        rank(args.open, args.ranks[0], args.workers[0], args.batches)
        return
    with tempfile.TemporaryDirectory() as root:
        os.environ["RELBENCH_PRETRAIN_CACHE"] = f"{root}/cache"
        folders = {rows: write_demo_database(Path(root, str(rows)), rows) for rows in (SMALL, args.rows)}
        for folder in folders.values():
            ContrastiveDataModule(str(folder)).prepare_data()
        size = max(path.stat().st_size for path in cache_root().glob(f"graphs/*/{TENSORS}")) / 2**20
        results = []
        for ranks in args.ranks:
            for workers in args.workers:
                results.append(compared(folders, args.rows, ranks, workers, args.batches))
                print({name: float(f"{value:.4g}") for name, value in results[-1].items()}, flush=True)
    report(benchmark="memory", rows=args.rows, graph_mb=size, runs=results, added=added(results, size))


if __name__ == "__main__":
    main()
