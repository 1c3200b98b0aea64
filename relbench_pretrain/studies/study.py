"""Studies: databases × tasks × networks × ways to start × shares of the labels × seeds, every one a run of the CLI."""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from relbench_pretrain.studies.experiment_plots import ExperimentPlot
from relbench_pretrain.studies.experiments import (
    ExperimentStudy,
    expanded,
    experiment_command,
    needed,
    write_experiments,
)
from relbench_pretrain.studies.study_results import write_results

PRETRAINED = ("frozen", "fine_tuned")


class StudyError(RuntimeError):
    """A study that cannot be run, or in which runs failed; the message names them."""


@dataclass
class TaskStudy:
    """A task of a study.

    Args:
        args: Arguments of all its runs, such as ``--trainer.max_epochs=5``.
        fine_tuning: An experiment in place of the network's, for a recommendation for example.
        label_args: Further arguments by share of the labels, such as more epochs where there are few.
        baselines: Methods of ``relbench-pretrain baseline`` that are run beside the network.
    """

    args: list[str] = field(default_factory=list)
    fine_tuning: str | None = None
    label_args: dict[float, list[str]] = field(default_factory=dict)
    baselines: list[str] = field(default_factory=list)


@dataclass
class DatabaseStudy:
    """A database of a study.

    Args:
        dataset: A RelBench name, a Hub address or a folder.
        tasks: The tasks by name.
        args: Arguments of all its runs.
        pretrained_on: The name of another database of the study, with the same tables, whose backbones are taken.
    """

    dataset: str
    tasks: dict[str, TaskStudy]
    args: list[str] = field(default_factory=list)
    pretrained_on: str | None = None


@dataclass
class NetworkStudy:
    """A network and the way it is pretrained and trained: one line of an ablation.

    Args:
        pretraining: Experiment that pretrains it.
        fine_tuning: Experiment that trains it on a task.
        pretraining_args: Further arguments of the pretraining.
        args: Further arguments of the runs on tasks.
        starts: Its ways to start; those of the study by default.
        scratch: The network whose runs from scratch it is compared with, where it differs from that one only in its
            pretraining; its own by default.
    """

    pretraining: str
    fine_tuning: str
    pretraining_args: list[str] = field(default_factory=list)
    args: list[str] = field(default_factory=list)
    starts: list[str] | None = None
    scratch: str | None = None


@dataclass
class RunPlan:
    """One run of the command line.

    Args:
        folder: Where it goes, within the study's folder.
        command: Subcommand and arguments, without those that say where its files go.
        labels: What the results call it.
        needs: The runs that have to be done before.
        places: Further arguments that do not tell runs apart, such as where data lies.
        tests: The run among those whose checkpoint it tests, or None.
    """

    folder: str
    command: list[str]
    labels: dict[str, Any]
    needs: list[RunPlan] = field(default_factory=list)
    places: list[str] = field(default_factory=list)
    tests: RunPlan | None = None

    @property
    def level(self) -> int:
        """How many runs have to be made before, one after the other."""
        return 1 + max((run.level for run in self.needs), default=-1)

    @property
    def hash(self) -> str:
        """Tells runs with different arguments, or with different ones of the run that they need, apart."""
        before = [run.hash for run in self.needs]
        return hashlib.sha256("\n".join([*self.command, *before]).encode()).hexdigest()[:12]


def study(
    name: str,
    databases: dict[str, DatabaseStudy] = {},  # noqa: B006  # never changed; a dict is what YAML gives
    networks: dict[str, NetworkStudy] = {},  # noqa: B006
    experiments: dict[str, ExperimentStudy] = {},  # noqa: B006
    starts: list[str] = ["scratch", "random_frozen", "frozen", "fine_tuned"],  # noqa: B006
    seeds: list[int] = [0, 1, 2],  # noqa: B006
    pretraining_seeds: list[int] = [0],  # noqa: B006
    baseline_seeds: list[int] = [0],  # noqa: B006
    label_fractions: list[float] = [1.0],  # noqa: B006
    experiment_args: list[str] = [],  # noqa: B006
    columns: list[str] = [],  # noqa: B006
    plots: list[ExperimentPlot] = [],  # noqa: B006
    grid: dict[str, list[str]] = {},  # noqa: B006
    published: list[dict[str, Any]] = [],  # noqa: B006
    datasets: dict[str, str] = {},  # noqa: B006
    output_dir: str | None = None,
    results_dir: str | None = None,
    jobs: int = 1,
    collect_only: bool = False,
    logger: str | None = None,
) -> None:
    """Runs a study, or goes on with it, and writes its results: results.csv, study.json, table.md and plots.

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
        plots: What is drawn of experiments.
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
    homes = {data.pretrained_on for data in databases.values()} - {None}
    if unknown := (set(datasets) | homes) - set(databases):
        raise StudyError(f"there are no databases {sorted(map(str, unknown))}; the study has {sorted(databases)}")
    experiments = expanded(experiments)
    scratch = {name: net.scratch or name for name, net in networks.items()}
    if unknown := set(scratch.values()) - set(networks):
        raise StudyError(f"there are no networks {sorted(unknown)} to compare with; the study has {sorted(networks)}")
    definition = {
        "name": name,
        "databases": {key: asdict(value) for key, value in databases.items()},
        "networks": {key: asdict(value) for key, value in networks.items()},
        "experiments": {key: asdict(value) for key, value in experiments.items()},
        "starts": starts,
        "seeds": seeds,
        "pretraining_seeds": pretraining_seeds,
        "baseline_seeds": baseline_seeds,
        "label_fractions": label_fractions,
        "grid": grid,
        "published": published,
        "columns": columns,
        "plots": [asdict(plot) for plot in plots],
    }
    databases = {key: replace(value, dataset=datasets.get(key, value.dataset)) for key, value in databases.items()}
    root = Path(output_dir or f"runs/{name}")
    plans = list(plan(databases, networks, starts, seeds, pretraining_seeds, label_fractions, grid, root))
    plans += baseline_plans(databases, baseline_seeds, label_fractions)
    plans += experiment_plans(experiments, seeds, experiment_args, root)
    failed = [] if collect_only else run_all(plans, root, jobs, name, logger)
    results = Path(results_dir) if results_dir else root
    results.mkdir(parents=True, exist_ok=True)
    (results / "study.json").write_text(json.dumps(definition, indent=1) + "\n")
    done = [(p.labels | {"config": p.hash}, root / p.folder) for p in plans if is_done(p, root)]
    if databases:
        write_results([run for run in done if run[0]["start"] != "experiment"], results, published, scratch)
    if found := [run for run in done if run[0]["start"] == "experiment"]:
        write_experiments(found, results, experiments, columns, plots, published)
    print(f"results: {results}")
    if failed:
        raise StudyError(f"{len(failed)} of {len(plans)} runs failed: {', '.join(failed)}; each has a run.log")


def plan(
    databases: Mapping[str, DatabaseStudy],
    networks: Mapping[str, NetworkStudy],
    starts: Sequence[str],
    seeds: Sequence[int],
    pretraining_seeds: Sequence[int],
    label_fractions: Sequence[float],
    grid: Mapping[str, Sequence[str]],
    root: Path,
) -> Iterator[RunPlan]:
    """Yields all runs, each after those that it needs."""
    backbones: dict[str, RunPlan] = {}
    homes_first = sorted(databases.items(), key=lambda item: item[1].pretrained_on is not None)
    for (database, data), (network, net) in itertools.product(homes_first, networks.items()):
        own_starts = net.starts if net.starts is not None else starts
        needs_backbone = bool(set(own_starts) - {"scratch"})
        home = data.pretrained_on or database
        for seed in pretraining_seeds if needs_backbone and home == database else []:
            name = _backbone(database, network, seed)
            backbones[name] = RunPlan(
                name,
                ["fit", f"--config={net.pretraining}", f"--data.dataset={data.dataset}",
                 f"--seed_everything={seed}", f"--data.seed={seed}", *net.pretraining_args],
                {"database": database, "network": network, "start": "pretraining", "seed": seed},
            )  # fmt: skip
            yield backbones[name]
        for (task, spec), fraction in itertools.product(data.tasks.items(), label_fractions):
            for point in itertools.product(*[[f"--{key}={value}" for value in grid[key]] for key in grid]):
                for (i, seed), start in itertools.product(enumerate(seeds), own_starts):
                    backbone = _backbone(home, network, pretraining_seeds[i % len(pretraining_seeds)])
                    common = [*data.args, *net.args, *spec.args, *spec.label_args.get(fraction, []), *point]
                    path = root / backbone / "fit" / "backbone" / "best"
                    weights = [f"--model.checkpoint={path}"] if start != "scratch" else []
                    point_hash = f"-{hashlib.sha256(' '.join(point).encode()).hexdigest()[:6]}" if point else ""
                    yield RunPlan(
                        f"{database}/{task}/{network}-{start}-{fraction:g}{point_hash}-{seed}",
                        ["fit", f"--config={spec.fine_tuning or net.fine_tuning}", f"--data.dataset={data.dataset}",
                         f"--data.task={task}", f"--data.label_fraction={fraction:g}", f"--seed_everything={seed}",
                         f"--data.seed={seed}", f"--model.start={start}", "--test_after_fit=true", *common, *weights],
                        {"database": database, "task": task, "network": network, "start": start, "labels": fraction,
                         "seed": seed, "grid": " ".join(point)},
                        [backbones[backbone]] if weights else [],
                    )  # fmt: skip


def _backbone(database: str, network: str, seed: int) -> str:
    return f"{database}/pretraining/{network}-{seed}"


def baseline_plans(
    databases: Mapping[str, DatabaseStudy], seeds: Sequence[int], label_fractions: Sequence[float]
) -> Iterator[RunPlan]:
    """Yields the runs of all baselines."""
    for database, data in databases.items():
        for (task, spec), fraction, seed in itertools.product(data.tasks.items(), label_fractions, seeds):
            for method in spec.baselines:
                yield RunPlan(
                    f"{database}/{task}/{method}-{fraction:g}-{seed}",
                    ["baseline", method, task, f"--dataset={data.dataset}",
                     f"--label_fraction={fraction:g}", f"--seed={seed}"],
                    {"database": database, "task": task, "network": method, "start": "baseline", "labels": fraction,
                     "seed": seed, "grid": ""},
                )  # fmt: skip


def experiment_plans(
    experiments: Mapping[str, ExperimentStudy], seeds: Sequence[int], args: Sequence[str], root: Path
) -> Iterator[RunPlan]:
    """Yields the runs of all experiments, each after those that it takes."""
    plans: dict[tuple[str, int], RunPlan] = {}
    for name, spec in sorted(experiments.items(), key=lambda item: bool(needed(item[1]))):
        for seed in spec.seeds if spec.seeds is not None else seeds:
            if unknown := [other for other in needed(spec) if (other, seed) not in plans]:
                raise StudyError(f"'{name}' with seed {seed} takes a run of '{unknown[0]}', which the study has not")
            before = {other: plans[other, seed] for other in needed(spec)}
            if spec.trained and (spec.command, before[spec.trained].command[0]) != ("test", "fit"):
                raise StudyError(f"'{name}' cannot test what '{spec.trained}' trained: one must test, the other fit")
            folders = {other: str(root / run.folder) for other, run in before.items()}
            plans[name, seed] = RunPlan(
                f"experiments/{name}-{seed}",
                experiment_command(spec, seed, folders),
                {"network": name, "start": "experiment", "seed": seed},
                list(before.values()),
                [] if spec.command == "align" else list(args),
                before[spec.trained] if spec.trained else None,
            )
    yield from plans.values()


def is_done(run: RunPlan, root: Path) -> bool:
    """Returns whether a run has ended well with the same arguments."""
    path = root / run.folder / "run.json"
    return path.is_file() and json.loads(path.read_text())["config"] == run.hash


def run_all(plans: Sequence[RunPlan], root: Path, jobs: int, name: str = "", logger: str | None = None) -> list[str]:
    """Makes all runs that are not done, so many at a time, and returns the folders of those that failed."""
    threads = max(1, (os.cpu_count() or 1) // jobs)
    waiting = [p for p in plans if not is_done(p, root)]
    print(f"{len(plans)} runs, of which {len(plans) - len(waiting)} are done; {jobs} at a time", flush=True)
    failed: list[str] = []
    start, done = time.monotonic(), 0

    def make(run: RunPlan) -> None:
        nonlocal done
        if any(needed.folder in failed for needed in run.needs) or not execute(run, root, threads, name, logger):
            failed.append(run.folder)
        done += 1
        left = (time.monotonic() - start) / done * (len(waiting) - done) / 60
        state = "FAILED" if run.folder in failed else "done"
        print(f"[{done}/{len(waiting)}] {run.folder} {state}; about {left:.0f} min left", flush=True)

    # First the backbones and whatever else others start from.
    for level in sorted({run.level for run in waiting}):
        group = [run for run in waiting if run.level == level]
        with ThreadPoolExecutor(jobs) as pool:
            list(pool.map(make, group))
    return failed


def execute(run: RunPlan, root: Path, threads: int, name: str = "", logger: str | None = None) -> bool:
    """Makes one run, from its last checkpoint if it was interrupted; returns whether it ended well.

    Args:
        run: The run.
        root: The study's folder.
        threads: Processor cores that it may use.
        name: The study's name, the group of its runs in Weights & Biases.
        logger: A logger beside that for CSV files.
    """
    folder = root / run.folder
    folder.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "relbench_pretrain", *run.command, *run.places]
    if run.command[0] in ("fit", "test"):
        command += [
            "--trainer.enable_progress_bar=false",
            "--trainer.logger=lightning.pytorch.loggers.CSVLogger",
            f"--trainer.logger.init_args.save_dir={folder.parent}",
            f"--trainer.logger.init_args.name={folder.name}",
            "--run=fit" if run.command[0] == "fit" else "--trainer.logger.init_args.version=fit",
        ]
        command += [f"--trainer.logger+={logger}"] if logger else []
        begun = folder / "begun"
        if not (begun.is_file() and begun.read_text() == run.hash):
            shutil.rmtree(folder / "fit", ignore_errors=True)  # of a run with other arguments
        if run.tests:
            kept = root / run.tests.folder / "fit" / "checkpoints"
            best = kept / "best.ckpt"
            command += [f"--ckpt_path={best if best.is_file() else kept / 'last.ckpt'}"]
        begun.write_text(run.hash)
    else:
        aligned = run.command[0] == "align"  # writes more than its metrics
        command += [f"--output_dir={folder}" if aligned else f"--output_file={folder / 'metrics.json'}"]
    begin = time.monotonic()
    environment = os.environ | {"OMP_NUM_THREADS": str(threads)}
    environment |= {"WANDB_RUN_GROUP": name, "WANDB_NAME": run.folder, "WANDB_JOB_TYPE": run.command[0]}
    with (folder / "run.log").open("a") as log:
        code = subprocess.run(command, stdout=log, stderr=log, env=environment, check=False).returncode
    if code:
        return False
    state = {"config": run.hash, "seconds": round(time.monotonic() - begin, 1), "command": run.command}
    temporary = folder / "run.json.new"
    temporary.write_text(json.dumps(state, indent=1))
    temporary.rename(folder / "run.json")
    return True
