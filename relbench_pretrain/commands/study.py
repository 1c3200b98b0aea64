"""Studies: many runs that belong together, and what comes out of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from relbench_pretrain.studies.plan import StudyError
from relbench_pretrain.studies.presets import Database, Experiment, Network, Plot, Study
from relbench_pretrain.studies.runner import run_all


def study(
    name: str,
    databases: dict[str, Database] = {},  # noqa: B006  # never changed; a dict is what YAML gives
    networks: dict[str, Network] = {},  # noqa: B006
    experiments: dict[str, Experiment] = {},  # noqa: B006
    starts: list[str] = ["scratch", "random_frozen", "frozen", "fine_tuned"],  # noqa: B006
    seeds: list[int] = [0, 1, 2],  # noqa: B006
    pretraining_seeds: list[int] = [0],  # noqa: B006
    baseline_seeds: list[int] = [0],  # noqa: B006
    label_fractions: list[float] = [1.0],  # noqa: B006
    experiment_args: list[str] = [],  # noqa: B006
    columns: list[str] = [],  # noqa: B006
    plots: list[Plot] = [],  # noqa: B006
    grid: dict[str, list[str]] = {},  # noqa: B006
    published: list[dict[str, Any]] = [],  # noqa: B006
    datasets: dict[str, str] = {},  # noqa: B006
    output_dir: str | None = None,
    results_dir: str | None = None,
    jobs: int = 1,
    collect_only: bool = False,
    logger: str | None = None,
) -> None:
    """Runs a study, or goes on with it, and writes its results: results.csv, study.json, tables and plots.

    A run that is done with the same arguments is skipped, and one that was interrupted is resumed. Epochs, and points
    of the grid, are chosen on validation; the test split is scored once, for the epoch chosen.

    Args:
        name: Name of the study.
        databases: The databases by the name that the results give them.
        networks: The networks by the name that the results give them.
        experiments: Experiments of other systems by the name that the results give them; they have no tasks and no
            ways to start.
        starts: Ways to start.
        seeds: Seeds of weights, batches and of which labels are used.
        pretraining_seeds: Seeds of the backbones; run number i starts from backbone number i modulo their number.
        baseline_seeds: Seeds of the baselines.
        label_fractions: Shares of the training labels.
        experiment_args: Arguments of all experiments, such as where their data is; no part of what identifies a run.
        columns: The metrics in the table of experiments; all that are tested by default.
        plots: The plots of experiments.
        grid: Arguments without dashes, each with the values to try; every start tries all combinations.
        published: Results of others, printed beside: task, regime, system, value and, among several, database; or
            experiment, metric, system and value.
        datasets: Where databases are, by their name in the study, in place of what it says itself.
        output_dir: Where the runs go; ``runs/NAME`` by default.
        results_dir: Where the results go; the folder of the runs by default.
        jobs: Runs at a time; the processor cores are shared out among them.
        collect_only: Only write the results of the runs that are done.
        logger: A logger of the runs beside that for CSV files, such as ``logger/wandb.yaml``, where they are a group
            with the study's name.

    Raises:
        StudyError: If a run fails; the others are made nevertheless.
    """
    definition = Study(name, databases, networks, experiments, starts, seeds, pretraining_seeds, baseline_seeds,
                       label_fractions, grid, published, columns, plots)  # fmt: skip
    root = Path(output_dir or f"runs/{name}")
    plan = definition.runs(root, datasets, experiment_args)
    failed = [] if collect_only else run_all(plan, root, jobs, name, logger)
    from relbench_pretrain.studies.results import collect, write_results  # pandas and Matplotlib, once all is done

    results = Path(results_dir) if results_dir else root
    write_results(definition, *collect(plan, root), results)
    print(f"results: {results}")
    if failed:
        raise StudyError(f"{len(failed)} of {len(plan)} runs failed: {', '.join(failed)}; each has a run.log")
