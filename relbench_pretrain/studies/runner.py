"""Runs a plan: each run a process of its own, so many at a time, with a log file, skipped when done, or resumed."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from pathlib import Path

from relbench_pretrain.files import atomic_file
from relbench_pretrain.progress import StatusLine, duration
from relbench_pretrain.studies.plan import Run


def run_all(plan: Sequence[Run], root: Path, jobs: int = 1, group: str = "", logger: str | None = None) -> list[str]:
    """Makes all runs of a plan that are not done; one that fails keeps only those that need it from being made.

    Args:
        plan: The runs.
        root: The folder of their folders.
        jobs: Runs at a time; the processor cores are shared out among them, at most ``OMP_NUM_THREADS`` to each.
        group: Their group in Weights & Biases.
        logger: A logger beside that for CSV files.

    Returns:
        The folders of the runs that failed.
    """
    cores, wanted = os.cpu_count() or 1, os.environ.get("OMP_NUM_THREADS", "")
    threads = max(1, min(cores // jobs, int(wanted) if wanted.isdigit() else cores))
    # First the backbones and whatever else others start from.
    waiting = sorted((run for run in plan if run.record(root) is None), key=lambda run: run.level)
    total, undone = len(waiting), {run.folder for run in waiting}
    print(f"{len(plan)} runs, of which {len(plan) - total} are done; {jobs} at a time", flush=True)
    failed: list[str] = []
    running: dict[Future[bool], tuple[Run, float]] = {}
    begin, status, left = time.monotonic(), StatusLine(), ""

    def end(run: Run, how: str, well: bool = False) -> None:
        nonlocal left
        undone.discard(run.folder)
        failed.extend([] if well else [run.folder])
        seconds = (time.monotonic() - begin) / (total - len(undone)) * len(undone)
        left = f"; about {duration(seconds)} left" if undone else ""
        status.say(f"[{total - len(undone)}/{total}] {run.folder} {how}{left}")

    with ThreadPoolExecutor(jobs) as pool:
        while waiting or running:
            for run in [*waiting]:
                if any(needed.folder in failed for needed in run.needs):
                    waiting.remove(run)
                    end(run, "FAILED, as a run that it needs has")
                elif len(running) < jobs and not any(needed.folder in undone for needed in run.needs):
                    waiting.remove(run)
                    running[pool.submit(execute, run, root, threads, group, logger)] = run, time.monotonic()
            waits = ", ".join(f"{run.folder} ({duration(time.monotonic() - since)})" for run, since in running.values())
            status.show(f"{total - len(undone)} of {total} done, waiting for {waits or 'nothing'}{left}")
            for future in wait(running, status.every, FIRST_COMPLETED).done if running else ():
                run, since = running.pop(future)
                well = future.result()
                how = f"done in {duration(time.monotonic() - since)}" if well else f"FAILED: {_last_line(root, run)}"
                end(run, how, well)
    return failed


def execute(run: Run, root: Path, threads: int, group: str = "", logger: str | None = None) -> bool:
    """Makes one run, from its last checkpoint if it was interrupted; returns whether it ended well.

    Args:
        run: The run.
        root: The study's folder.
        threads: Processor cores that it may use.
        group: Its group in Weights & Biases.
        logger: A logger beside that for CSV files.
    """
    folder = root / run.folder
    folder.mkdir(parents=True, exist_ok=True)
    begun = folder / "begun"
    if not (begun.is_file() and begun.read_text() == run.hash):
        shutil.rmtree(folder / "fit", ignore_errors=True)  # of a run with other arguments
    begun.write_text(run.hash)
    command = [sys.executable, "-m", "relbench_pretrain", *run.command, *run.places, *_output(run, root, logger)]
    begin = time.monotonic()
    environment = os.environ | {"OMP_NUM_THREADS": str(threads)}
    environment |= {"WANDB_RUN_GROUP": group, "WANDB_NAME": run.folder, "WANDB_JOB_TYPE": run.command[0]}
    with (folder / "run.log").open("a") as log:
        code = subprocess.run(command, stdout=log, stderr=log, env=environment, check=False).returncode
    if code:
        return False
    record = {"config": run.hash, "seconds": round(time.monotonic() - begin, 1), "command": run.command}
    with atomic_file(folder / "run.json") as path:
        path.write_text(json.dumps(record, indent=1))
    return True


def _output(run: Run, root: Path, logger: str | None) -> list[str]:
    """Returns the arguments that say where a run's files go, and which checkpoint it tests."""
    folder = root / run.folder
    if run.command[0] not in ("fit", "test"):
        alone = run.command[0] == "baseline"  # the others write more than their metrics
        return [f"--output={folder / 'metrics.json'}" if alone else f"--output_dir={folder}"]
    output = [
        "--trainer.enable_progress_bar=false",
        "--trainer.logger=lightning.pytorch.loggers.CSVLogger",
        f"--trainer.logger.init_args.save_dir={folder.parent}",
        f"--trainer.logger.init_args.name={folder.name}",
        "--run=fit" if run.command[0] == "fit" else "--trainer.logger.init_args.version=fit",
    ]
    output += [f"--trainer.logger+={logger}"] if logger else []
    if run.tests:
        kept = root / run.tests.folder / "fit" / "checkpoints"
        best = kept / "best.ckpt"
        output += [f"--ckpt_path={best if best.is_file() else kept / 'last.ckpt'}"]
    return output


def _last_line(root: Path, run: Run) -> str:
    """Returns the last line that a run has written, which says why it failed."""
    lines = (root / run.folder / "run.log").read_text(errors="replace").splitlines()
    return next((line.strip() for line in reversed(lines) if line.strip()), "it said nothing")
