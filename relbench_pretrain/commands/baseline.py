"""The command ``baseline``: what a network has to beat on a task."""

from __future__ import annotations

import json

from relbench_pretrain.evaluation.baselines import Method, baseline_metrics
from relbench_pretrain.files import atomic_file


def baseline(
    method: Method,
    task: str,
    dataset: str = "demo",
    output: str | None = None,
    label_fraction: float = 1.0,
    seed: int = 0,
) -> None:
    """Scores a baseline on validation and on test in each time regime, and prints and writes the metrics as JSON.

    Args:
        method: ``entity_mean``: the mean of the entity's earlier labels, else of all; ``lightgbm_row``: LightGBM on
            the entity's own row; ``lightgbm_aggregates``: LightGBM on time-aware aggregates along the foreign keys;
            of a recommendation ``popularity``: the destinations that most sources have interacted with within three
            foreign keys, and ``past_interactions``: first those of the source itself, the most frequent first.
        task: The task's name.
        dataset: A RelBench name, a Hub address, a local folder, or ``demo``.
        output: The file where the metrics are written; nowhere by default.
        label_fraction: The share of the training labels that are used.
        seed: Which labels these are, and the seed of LightGBM.

    Raises:
        TaskError: If the method is not one for the task.
    """
    text = json.dumps(baseline_metrics(method, task, dataset, label_fraction, seed), indent=1)
    print(text)
    if output is not None:
        with atomic_file(output) as part:
            part.write_text(text + "\n")
