"""Pretrains both graph encoders on rel-f1 and compares the ways to start on its tasks; finished runs are skipped.

    python results/first/reproduce.py ../shared/data/rel-f1 --seeds 0 1 2

It writes ``pretraining.csv`` and ``downstream.csv`` beside itself; the runs go to ``--output_dir``.
"""

from __future__ import annotations

import argparse
import csv
import itertools
import statistics
from pathlib import Path

from relbench_pretrain.evaluation.runs import Run, last_metrics, run_cli

HERE = Path(__file__).parent
ENCODERS = {"GraphSAGE": "", "TemporalTransformer": "-transformer"}
STARTS = ["scratch", "random_frozen", "frozen", "fine_tuned"]
LEVELS = ["row", "link", "context"]
EPOCHS = {"driver-dnf": 5, "driver-top3": 8}


def once(subcommand: str, args: list[str], folder: Path) -> Run:
    """Runs a command, unless it has already run to its end."""
    done = folder / f"{subcommand}.seconds"
    if not done.exists():
        run = run_cli(subcommand, [*args, "--trainer.enable_progress_bar=false"], folder)
        done.write_text(f"{run.seconds:.0f}")
    return Run(folder / subcommand, last_metrics(folder / subcommand / "metrics.csv"), float(done.read_text()))


def pretrain(root: Path, dataset: str, encoder: str, steps: int) -> Run:
    config = f"contrastive/rel-f1{ENCODERS[encoder]}.yaml"
    args = [f"--config={config}", f"--data.dataset={dataset}", f"--trainer.max_steps={steps}"]
    return once("fit", args, root / f"pretraining-{encoder}")


def downstream(root: Path, dataset: str, encoder: str, task: str, start: str, seed: int, backbone: Path) -> Run:
    """Trains, chooses the epoch on validation, and scores it once on test."""
    folder = root / f"{task}-{encoder}-{start}-{seed}"
    args = [
        f"--config=fine_tuning/rel-f1-driver-dnf{ENCODERS[encoder]}.yaml",
        f"--data.dataset={dataset}",
        f"--data.task={task}",
        f"--seed_everything={seed}",
        f"--data.seed={seed}",
        f"--trainer.max_epochs={EPOCHS[task]}",
        f"--model.start={start}",
    ]
    if encoder == "GraphSAGE":
        args += ["--data.fanouts=[16,16]"]  # 128, 64 of the paper takes ten times as long on two cores
    if start != "scratch":
        args += [f"--model.checkpoint={backbone}"]
    fit = once("fit", args, folder)
    best = fit.folder / "checkpoints" / "best.ckpt"
    test = once("test", [*args, f"--ckpt_path={best}"], folder)
    with (fit.folder / "metrics.csv").open() as file:
        validation = max(float(row["val/roc_auc"]) for row in csv.DictReader(file) if row.get("val/roc_auc"))
    return Run(folder, {"val": validation, "test": test.metrics["test/rolling/roc_auc"]}, fit.seconds)


def mean_and_deviation(values: list[float]) -> str:
    spread = f" ± {statistics.stdev(values):.3f}" if len(values) > 1 else ""
    return f"{statistics.mean(values):.3f}{spread}"


def write(name: str, header: list[str], rows: list[list[str]]) -> None:
    with (HERE / name).open("w", newline="") as file:
        csv.writer(file).writerows([header, *rows])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", nargs="?", default="../shared/data/rel-f1")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--tasks", nargs="+", default=list(EPOCHS))
    parser.add_argument("--encoders", nargs="+", default=list(ENCODERS))
    parser.add_argument("--starts", nargs="+", default=STARTS)
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--output_dir", type=Path, default=Path("runs/first"))
    parser.add_argument("--collect", action="store_true", help="only write the tables, from runs that are there")
    args = parser.parse_args()

    pretrained = {}
    for encoder in args.encoders:
        done = (args.output_dir / f"pretraining-{encoder}" / "fit.seconds").exists()
        if done or not (args.collect or args.starts == ["scratch"]):
            pretrained[encoder] = pretrain(args.output_dir, args.dataset, encoder, args.steps)
    results: dict[tuple[str, str, str], list[Run]] = {}
    for seed, task, encoder, start in itertools.product(args.seeds, args.tasks, args.encoders, args.starts):
        folder = args.output_dir / f"{task}-{encoder}-{start}-{seed}"
        if args.collect and not (folder / "test.seconds").exists():
            continue
        backbone = args.output_dir / f"pretraining-{encoder}" / "fit" / "backbone" / "best"
        run = downstream(args.output_dir, args.dataset, encoder, task, start, seed, backbone)
        results.setdefault((task, encoder, start), []).append(run)
    write(
        "pretraining.csv",
        ["graph encoder", *LEVELS, "seconds"],
        [
            [e, *(f"{r.metrics[f'val/loss_{n}']:.3f}" for n in LEVELS), f"{r.seconds:.0f}"]
            for e, r in pretrained.items()
        ],
    )
    write(
        "downstream.csv",
        ["task", "graph encoder", "start", "validation AUROC", "test AUROC (rolling)", "seeds", "seconds a run"],
        [
            [*key, *(mean_and_deviation([run.metrics[split] for run in runs]) for split in ("val", "test")),
             str(len(runs)), f"{statistics.mean(run.seconds for run in runs):.0f}"]
            for key, runs in sorted(results.items())
        ],
    )  # fmt: skip


if __name__ == "__main__":
    main()
