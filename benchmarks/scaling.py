"""What another process brings: rows a second of each system on one and on several processes of a CPU, a thread each.

Every run is one of the command line, on the built-in data, with ``callbacks.Throughput``; the first readings, in which
things are compiled and caches filled, are left out. Beside the rate it prints the share of time spent waiting for data.

    python benchmarks/scaling.py --devices 1 2 --steps 120
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pandas as pd
from measure import report

SYSTEMS = {
    "contrastive": ["contrastive/demo.yaml"],
    "contrastive, drawn on the device": ["contrastive/demo.yaml", "--data.device_sampling=true"],
    "masked modelling": ["hypergraph/recovery.yaml", "--data.batch_size=2048", "--data.merge=false"],
    "relation extrapolation": ["zero_shot/demo-mre.yaml"],
}


def run(arguments: list[str], devices: int, steps: int) -> tuple[float, float]:
    """Trains and returns rows a second over all processes, and the share of waiting."""
    with tempfile.TemporaryDirectory() as folder:
        command = [
            sys.executable, "-m", "relbench_pretrain", "fit", "--config", *arguments, "--run=a",
            "--trainer.logger=relbench_pretrain.trainer.loggers.CSVLogger", f"--trainer.logger.save_dir={folder}",
            "--trainer.accelerator=cpu", f"--trainer.devices={devices}", f"--trainer.max_steps={steps}",
            "--trainer.limit_val_batches=0", "--trainer.log_every_n_steps=10",
            "--trainer.callbacks+=callbacks.Throughput",
            "--trainer.enable_progress_bar=false", "--trainer.val_check_interval=null",
        ]  # fmt: skip
        environment = os.environ | {"OMP_NUM_THREADS": "1"}
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
        files = list(Path(folder).rglob("metrics.csv"))
        if done.returncode or not files:
            raise SystemExit(f"{' '.join(command)}\n{done.stdout[-2000:]}{done.stderr[-3000:]}")
        found = pd.read_csv(files[0])
    found = found.dropna(subset="throughput/rows_per_second").iloc[2:]
    return found["throughput/rows_per_second"].median(), found["throughput/data_wait"].median()


def main() -> None:
    """Runs every system on every number of processes, in turns."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--devices", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--steps", type=int, default=120)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--systems", nargs="+", choices=SYSTEMS, default=list(SYSTEMS))
    arguments = parser.parse_args()
    found: dict[str, object] = {}
    for name in arguments.systems:
        rates: dict[int, list[tuple[float, float]]] = {devices: [] for devices in arguments.devices}
        for _ in range(arguments.rounds):
            for devices in arguments.devices:
                rates[devices].append(run(SYSTEMS[name], devices, arguments.steps))
        first = arguments.devices[0]
        for devices, values in rates.items():
            ratios = sorted(rate / other for (rate, _), (other, _) in zip(values, rates[first], strict=True))
            middle = sorted(rate for rate, _ in values)[len(values) // 2]
            wait = sorted(wait for _, wait in values)[len(values) // 2]
            found[f"{name}, {devices} processes"] = {
                "rows_per_second": round(middle, 1), "data_wait": round(wait, 3),
                "ratio": [round(r, 2) for r in (ratios[len(ratios) // 2], ratios[0], ratios[-1])],
            }  # fmt: skip
            print(f"{name:34s} {devices} processes: {middle:10.1f} rows a second, waiting {wait:.1%}, "
                  f"{ratios[len(ratios) // 2]:.2f} x ({ratios[0]:.2f} to {ratios[-1]:.2f})", flush=True)  # fmt: skip
    report(**found)


if __name__ == "__main__":
    main()
