"""The definition of a study, and how it expands into a plan of runs.

A study compares ways to start on the tasks of databases (databases × tasks × networks × ways to start × shares of the
labels × points of a grid × seeds), or experiments of any system over seeds, or both.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from relbench_pretrain.studies.plan import Run, StudyError


@dataclass
class Task:
    """A task of a database.

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
class Database:
    """A database and its tasks.

    Args:
        dataset: A RelBench name, a Hub address or a folder.
        tasks: The tasks by name.
        args: Arguments of all its runs.
        pretrained_on: The name of another database of the study, with the same tables, whose backbones are taken.
    """

    dataset: str
    tasks: dict[str, Task]
    args: list[str] = field(default_factory=list)
    pretrained_on: str | None = None


@dataclass
class Network:
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
class Experiment:
    """An experiment over seeds, or one for each of some values.

    ``{seed}`` in its arguments is the run's seed, and ``{run:NAME}`` the folder of the run of another experiment with
    the same seed, which is made before.

    Args:
        experiment: The experiment's file; none for ``align`` and ``ask``.
        args: Further arguments.
        command: ``"fit"``, after which the best checkpoint is tested, ``"test"`` for what is not trained,
            ``"align"`` for what others have recovered, or ``"ask"`` for what language models answer.
        seeds: Its seeds; those of the study by default.
        against: Names of other experiments with which it is compared seed by seed.
        values: Makes an experiment of each combination of values, which stand for ``{KEY}`` in its name and
            everything else.
        panel: The panel of plots that it is in.
        line: The line of a panel that it is on; its name by default.
        x: Where on that line it is, a number.
        trained: Name of another experiment whose checkpoint of the same seed is tested, the best one or, where nothing
            is validated, the last, in place of training the same once more; ``command`` is ``"test"`` then.
        files: Files of its runs that belong to the results, such as the tables of ``ask``.
    """

    experiment: str = ""
    args: list[str] = field(default_factory=list)
    command: Literal["fit", "test", "align", "ask"] = "fit"
    seeds: list[int] | None = None
    against: list[str] = field(default_factory=list)
    values: dict[str, list[int | float | str]] = field(default_factory=dict)
    panel: str = ""
    line: str = ""
    x: str = ""
    trained: str | None = None
    files: list[str] = field(default_factory=list)

    @property
    def needs(self) -> list[str]:
        """The names of the experiments whose runs it takes."""
        named = [name for arg in self.args for name in re.findall(r"\{run:([^}]*)\}", arg)]
        return list(dict.fromkeys([*named, *([self.trained] if self.trained else [])]))

    def filled(self, places: Mapping[str, str]) -> Experiment:
        """Returns the experiment with the values of places such as ``{KEY}``."""
        return Experiment(**json.loads(_filled(json.dumps(asdict(replace(self, values={}))), places, escaped=True)))


@dataclass
class Plot:
    """A plot of experiments, with a panel for each of theirs.

    Args:
        name: The file's name.
        metrics: Its metrics: over training steps if logged in training, over the experiments' ``x`` if tested.
        x: The name of the horizontal axis; ``steps`` draws metrics over training steps.
        y: The name of the vertical axis; the first metric's name by default.
        log: Which axes are logarithmic, of ``x`` and ``y``.
    """

    name: str
    metrics: list[str]
    x: str = "steps"
    y: str = ""
    log: list[str] = field(default_factory=list)


@dataclass
class Study:
    """The definition of a study, as its YAML file and ``study.json`` have it; the command ``study`` says what is what.

    Raises:
        StudyError: If a name in it is not defined, or defined twice.
    """

    name: str
    databases: dict[str, Database] = field(default_factory=dict)
    networks: dict[str, Network] = field(default_factory=dict)
    experiments: dict[str, Experiment] = field(default_factory=dict)
    starts: list[str] = field(default_factory=lambda: ["scratch", "random_frozen", "frozen", "fine_tuned"])
    seeds: list[int] = field(default_factory=lambda: [0, 1, 2])
    pretraining_seeds: list[int] = field(default_factory=lambda: [0])
    baseline_seeds: list[int] = field(default_factory=lambda: [0])
    label_fractions: list[float] = field(default_factory=lambda: [1.0])
    grid: dict[str, list[str]] = field(default_factory=dict)
    published: list[dict[str, Any]] = field(default_factory=list)
    columns: list[str] = field(default_factory=list)
    plots: list[Plot] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.experiments = expanded(self.experiments)
        homes = {data.pretrained_on for data in self.databases.values() if data.pretrained_on is not None}
        if unknown := homes - set(self.databases):
            raise StudyError(f"there are no databases {sorted(unknown)}; the study has {sorted(self.databases)}")
        if unknown := set(self.scratch.values()) - set(self.networks):
            raise StudyError(f"there are no networks {sorted(unknown)} to compare with; it has {sorted(self.networks)}")
        for name, spec in self.experiments.items():
            if others := [other for other in spec.against if other not in self.experiments]:
                raise StudyError(f"'{name}' is compared with '{others[0]}', which is no experiment of the study")

    @property
    def scratch(self) -> dict[str, str]:
        """For each network the one whose runs from scratch it is compared with."""
        return {name: network.scratch or name for name, network in self.networks.items()}

    def runs(self, root: Path, datasets: Mapping[str, str] = {}, experiment_args: Sequence[str] = ()) -> list[Run]:
        """Returns the plan: all runs, each after those that it needs.

        Args:
            root: The study's folder.
            datasets: Where databases are, by their name in the study, in place of what it says itself.
            experiment_args: Arguments of all experiments; no part of what identifies a run.
        """
        if unknown := set(datasets) - set(self.databases):
            raise StudyError(f"there are no databases {sorted(unknown)}; the study has {sorted(self.databases)}")
        databases = {
            name: replace(data, dataset=datasets.get(name, data.dataset)) for name, data in self.databases.items()
        }
        there = replace(self, databases=databases)
        return [*_task_runs(there, root), *_baseline_runs(there), *_experiment_runs(there, root, experiment_args)]


def read_study(path: Path) -> Study:
    """Reads the definition of a study that is done, its ``study.json``."""
    stored = json.loads(path.read_text())
    for database in stored["databases"].values():
        database["tasks"] = {name: Task(**task) for name, task in database["tasks"].items()}
    kinds = {"databases": Database, "networks": Network, "experiments": Experiment}
    for key, kind in kinds.items():
        stored[key] = {name: kind(**entry) for name, entry in stored.get(key, {}).items()}
    return Study(**stored | {"plots": [Plot(**plot) for plot in stored.get("plots", [])]})


def expanded(experiments: Mapping[str, Experiment]) -> dict[str, Experiment]:
    """Returns an experiment for each combination of each one's values, by name.

    Raises:
        StudyError: If two have the same name.
    """
    found: dict[str, Experiment] = {}
    for name, spec in experiments.items():
        for combination in itertools.product(*spec.values.values()):
            places = {f"{{{key}}}": f"{value}" for key, value in zip(spec.values, combination, strict=True)}
            if (own_name := _filled(name, places)) in found:
                raise StudyError(f"two experiments are called '{own_name}': put {{KEY}} of its values into the name")
            found[own_name] = spec.filled(places)
    return found


def _filled(text: str, places: Mapping[str, str], escaped: bool = False) -> str:
    for place, value in places.items():
        text = text.replace(place, json.dumps(value)[1:-1] if escaped else value)
    return text


def _task_runs(study: Study, root: Path) -> Iterator[Run]:
    """Yields the runs of databases: backbones, and what starts from them or from scratch."""
    backbones: dict[str, Run] = {}
    homes_first = sorted(study.databases.items(), key=lambda item: item[1].pretrained_on is not None)
    for (database, data), (network, net) in itertools.product(homes_first, study.networks.items()):
        starts = net.starts if net.starts is not None else study.starts
        needs_backbone = bool(set(starts) - {"scratch"})
        home = data.pretrained_on or database
        for seed in study.pretraining_seeds if needs_backbone and home == database else []:
            name = _backbone(database, network, seed)
            backbones[name] = Run(
                name,
                ["fit", f"--config={net.pretraining}", f"--data.dataset={data.dataset}",
                 f"--seed_everything={seed}", f"--data.seed={seed}", *net.pretraining_args],
                {"database": database, "network": network, "start": "pretraining", "seed": seed},
            )  # fmt: skip
            yield backbones[name]
        grid = itertools.product(*[[f"--{key}={value}" for value in values] for key, values in study.grid.items()])
        points = list(grid)
        for (task, spec), fraction, point in itertools.product(data.tasks.items(), study.label_fractions, points):
            for (i, seed), start in itertools.product(enumerate(study.seeds), starts):
                backbone = _backbone(home, network, study.pretraining_seeds[i % len(study.pretraining_seeds)])
                path = root / backbone / "fit" / "backbone" / "best"
                weights = [f"--model.checkpoint={path}"] if start != "scratch" else []
                place = f"-{hashlib.sha256(' '.join(point).encode()).hexdigest()[:6]}" if point else ""
                yield Run(
                    f"{database}/{task}/{network}-{start}-{fraction:g}{place}-{seed}",
                    ["fit", f"--config={spec.fine_tuning or net.fine_tuning}", f"--data.dataset={data.dataset}",
                     f"--data.task={task}", f"--data.label_fraction={fraction:g}", f"--seed_everything={seed}",
                     f"--data.seed={seed}", f"--model.start={start}", "--test_after_fit=true",
                     *data.args, *net.args, *spec.args, *spec.label_args.get(fraction, []), *point, *weights],
                    {"database": database, "task": task, "network": network, "start": start, "labels": fraction,
                     "grid": " ".join(point), "seed": seed},
                    [backbones[backbone]] if weights else [],
                )  # fmt: skip


def _backbone(database: str, network: str, seed: int) -> str:
    return f"{database}/pretraining/{network}-{seed}"


def _baseline_runs(study: Study) -> Iterator[Run]:
    """Yields the runs of all baselines."""
    for database, data in study.databases.items():
        shares = itertools.product(data.tasks.items(), study.label_fractions, study.baseline_seeds)
        for (task, spec), fraction, seed in shares:
            for method in spec.baselines:
                yield Run(
                    f"{database}/{task}/{method}-{fraction:g}-{seed}",
                    ["baseline", method, task, f"--dataset={data.dataset}",
                     f"--label_fraction={fraction:g}", f"--seed={seed}"],
                    {"database": database, "task": task, "network": method, "start": "baseline", "labels": fraction,
                     "grid": "", "seed": seed},
                )  # fmt: skip


def _experiment_runs(study: Study, root: Path, args: Sequence[str]) -> Iterator[Run]:
    """Yields the runs of all experiments, each after those that it takes."""
    runs: dict[tuple[str, int], Run] = {}
    for name, spec in sorted(study.experiments.items(), key=lambda item: bool(item[1].needs)):
        for seed in spec.seeds if spec.seeds is not None else study.seeds:
            if unknown := [other for other in spec.needs if (other, seed) not in runs]:
                raise StudyError(f"'{name}' with seed {seed} takes a run of '{unknown[0]}', which the study has not")
            before = {other: runs[other, seed] for other in spec.needs}
            if spec.trained and (spec.command, before[spec.trained].command[0]) != ("test", "fit"):
                raise StudyError(f"'{name}' cannot test what '{spec.trained}' trained: one must test, the other fit")
            folders = {f"{{run:{other}}}": str(root / run.folder) for other, run in before.items()}
            own = [_filled(arg, {"{seed}": str(seed)} | folders) for arg in spec.args]
            if spec.command in ("fit", "test"):
                tested = ["--test_after_fit=true"] if spec.command == "fit" else []
                seeds = [f"--seed_everything={seed}", f"--data.seed={seed}"]
                own = [f"--config={spec.experiment}", *seeds, *tested, *own]
            runs[name, seed] = Run(
                f"experiments/{name}-{seed}",
                [spec.command, *own],
                {"experiment": name, "seed": seed},
                list(before.values()),
                [] if spec.command == "align" else list(args),
                before[spec.trained] if spec.trained else None,
            )
    yield from runs.values()
