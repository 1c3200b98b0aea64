"""What size costs: the demo database from small to 10 million rows, graph built, cached, reopened, and batches drawn.

Every size runs in a process of its own, so peak memory is its own too. The graph of 10 million rows takes minutes
and some gigabytes of disk in the cache folder, which is a temporary one here.

    python benchmarks/scale.py --rows 20000 1000000 10000000
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch
from measure import peak_megabytes, report

from datamodules import ContrastiveDataModule
from lightning_modules import ContrastivePretraining
from relbench_pretrain.contrastive import ContextContrast, LinkContrast, RowContrast
from relbench_pretrain.datasets.shop.database import write_demo_database
from relbench_pretrain.nn import Backbone, GraphSAGE, ResNetTableEncoder


def timed(work):
    start = time.perf_counter()
    result = work()
    return result, time.perf_counter() - start


def prepare(folder: Path, rows: int) -> dict[str, float]:
    """Writes the database and builds the graph."""
    _, generate = timed(lambda: write_demo_database(folder, rows))
    _, build = timed(lambda: ContrastiveDataModule(str(folder)).prepare_data())
    return {"generate_s": generate, "build_s": build, "build_peak_mb": peak_megabytes()}


def train(folder: Path, steps: int) -> dict[str, float]:
    """Reopens the graph from the cache and makes pretraining steps."""
    module, reopen = timed(lambda: _opened(str(folder)))
    batches = iter(module.train_dataloader())
    for _ in range(10):
        next(batches)
    _, draw = timed(lambda: [next(batches) for _ in range(steps)])
    network = ContrastivePretraining(
        Backbone(ResNetTableEncoder(), GraphSAGE()), RowContrast(), LinkContrast(), ContextContrast()
    )
    network.schema = module.schema
    network.configure_model()
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)

    def step(batch) -> None:
        optimizer.zero_grad()
        sum(network.normalization(network.losses(batch, network(batch))).values()).backward()
        optimizer.step()

    for batch in itertools.islice(batches, 3):
        step(batch)
    _, train_time = timed(lambda: [step(batch) for batch in itertools.islice(batches, steps)])
    return {
        "rows": sum(module.graph.num_rows.values()),
        "reopen_s": reopen,
        "batch_ms": 1e3 * draw / steps,
        "steps_per_s": steps / train_time,
        "train_peak_mb": peak_megabytes(),
    }


def _opened(folder: str) -> ContrastiveDataModule:
    module = ContrastiveDataModule(folder)
    module.setup("fit")
    return module


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="+", default=[20_000, 1_000_000, 10_000_000])
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--stage", choices=["prepare", "train"], help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.stage:
        result = prepare(args.folder, args.rows[0]) if args.stage == "prepare" else train(args.folder, args.steps)
        print(json.dumps(result))
        return
    results = []
    with tempfile.TemporaryDirectory() as root:
        environment = os.environ | {"RELBENCH_PRETRAIN_CACHE": f"{root}/cache"}
        for rows in args.rows:
            found: dict[str, float] = {}
            for stage in ("prepare", "train"):
                command = [sys.executable, __file__, "--rows", str(rows), "--steps", str(args.steps)]
                command += ["--stage", stage, "--folder", f"{root}/{rows}"]
                out = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True).stdout
                found |= json.loads(out.splitlines()[-1])
            results.append(found)
            print({name: float(f"{value:.4g}") for name, value in found.items()}, flush=True)
    report(benchmark="scale", threads=torch.get_num_threads(), sizes=results)


if __name__ == "__main__":
    main()
