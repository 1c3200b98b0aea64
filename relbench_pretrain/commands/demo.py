"""The demonstration: pretrain on the built-in database, then compare the ways to start on one of its tasks."""

from __future__ import annotations

from pathlib import Path

from relbench_pretrain.studies.runs import Run, run_cli

STARTS = {
    "fine_tuned": "pretrained, then fine-tuned",
    "frozen": "pretrained, kept frozen",
    "random_frozen": "random weights, kept frozen",
    "scratch": "from scratch",
}


def demo(
    output_dir: str = "runs/demo", task: str = "customer-churn", steps: int = 300, epochs: int = 6, seed: int = 0
) -> None:
    """Pretrains on the built-in shop database and compares four ways to start on a binary task.

    Args:
        output_dir: Where everything is written; a run with other settings wants another folder.
        task: A binary task of the demo database.
        steps: Pretraining steps.
        epochs: Epochs of each downstream run.
        seed: The seed of weights, batches and order.
    """
    root = Path(output_dir)
    print(f"Pretraining for {steps} steps on the demo database ...", flush=True)
    pretraining = run_cli(
        "fit",
        [
            "--config=contrastive/demo.yaml",
            f"--seed_everything={seed}",
            f"--trainer.max_steps={steps}",
            f"--trainer.val_check_interval={max(1, steps // 3)}",
        ],
        root / "pretraining",
    )
    backbone = pretraining.folder / "backbone" / "best"
    rows = []
    for start, label in STARTS.items():
        print(f"\nTask {task}: {label} ...", flush=True)
        run = _downstream(root / start, backbone, task, start, epochs, seed)
        rows.append((label, run.metrics["test/rolling/roc_auc"], run.seconds, run.folder))
    print("\n" + _table(task, rows))
    levels = {name: pretraining.metrics[f"val/loss_{name}"] for name in ("row", "link", "context")}
    print(
        f"\nPretraining took {pretraining.seconds:.0f} s; held-out loss (1 is guessing): "
        + ", ".join(f"{name} {value:.2f}" for name, value in levels.items())
    )
    print(f"The pretrained backbone is in {backbone}. One seed on a small database shows how it works, not how well.")


def _downstream(folder: Path, backbone: Path, task: str, start: str, epochs: int, seed: int) -> Run:
    common = [
        "--config=fine_tuning/demo.yaml",
        f"--seed_everything={seed}",
        f"--data.task={task}",
        f"--model.checkpoint={backbone}",
        f"--model.start={start}",
        f"--trainer.max_epochs={epochs}",
    ]
    return run_cli("fit", [*common, "--test_after_fit=true"], folder)


def _table(task: str, rows: list[tuple[str, float, float, Path]]) -> str:
    width = max(len(label) for label, *_ in rows)
    lines = [
        f"{'start':<{width}}  test AUROC  seconds  files",
        *(f"{label:<{width}}  {value:>10.3f}  {seconds:>7.0f}  {folder}" for label, value, seconds, folder in rows),
    ]
    return f"{task}, test rows see everything up to their own time (rolling regime)\n" + "\n".join(lines)
