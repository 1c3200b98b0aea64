"""The demonstration: pretrain on the built-in database, then compare the ways to start on one of its tasks."""

from __future__ import annotations

from pathlib import Path

from relbench_pretrain.studies.plan import Run, StudyError
from relbench_pretrain.studies.runner import run_all

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
        output_dir: Where everything is written; what is done there with the same settings is not done again.
        task: A binary task of the demo database.
        steps: Pretraining steps.
        epochs: Epochs of each downstream run.
        seed: The seed of weights, batches and order.

    Raises:
        StudyError: If a run fails.
    """
    root = Path(output_dir)
    plan = demo_plan(root, task, steps, epochs, seed)
    print(f"Pretraining for {steps} steps on the demo database, then task {task}: {'; '.join(STARTS.values())}")
    if failed := run_all(plan, root):
        raise StudyError(f"these runs failed: {', '.join(failed)}; each has a run.log in '{root}'")
    from relbench_pretrain.studies.results import last_values, read_metrics  # with pandas and Matplotlib

    metrics = {run.folder: last_values(read_metrics(root / run.folder)) for run in plan}
    seconds = {run.folder: (run.record(root) or {})["seconds"] for run in plan}
    width = max(map(len, STARTS.values()))
    print(f"\n{task}, test rows see everything up to their own time (rolling regime)")
    print(f"{'start':<{width}}  test AUROC  seconds  files")
    for start, label in STARTS.items():
        value = metrics[start]["test/rolling/roc_auc"]
        print(f"{label:<{width}}  {value:>10.3f}  {seconds[start]:>7.0f}  {root / start / 'fit'}")
    losses = {name: metrics["pretraining"][f"val/loss_{name}"] for name in ("row", "link", "context")}
    levels = ", ".join(f"{name} {loss:.2f}" for name, loss in losses.items())
    print(f"\nPretraining took {seconds['pretraining']:.0f} s; held-out loss (1 is guessing): {levels}")
    print(f"The pretrained backbone is in {_backbone(root)}.", end=" ")
    print("One seed on a small database shows how it works, not how well.")


def demo_plan(root: Path, task: str, steps: int, epochs: int, seed: int) -> list[Run]:
    """Returns the runs of the demonstration: the pretraining, and one for each way to start."""
    pretraining = Run(
        "pretraining",
        ["fit", "--config=contrastive/demo.yaml", f"--seed_everything={seed}", f"--trainer.max_steps={steps}",
         f"--trainer.val_check_interval={max(1, steps // 3)}"],
        {"start": "pretraining"},
    )  # fmt: skip
    return [pretraining] + [
        Run(start,
            ["fit", "--config=fine_tuning/demo.yaml", f"--seed_everything={seed}", f"--data.task={task}",
             f"--model.checkpoint={_backbone(root)}", f"--model.start={start}", f"--trainer.max_epochs={epochs}",
             "--test_after_fit=true"],
            {"start": start}, [pretraining])
        for start in STARTS
    ]  # fmt: skip


def _backbone(root: Path) -> Path:
    return root / "pretraining" / "fit" / "backbone" / "best"
