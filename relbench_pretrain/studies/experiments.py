"""Experiments of a study: runs of one configuration each, over seeds, with whatever metrics they test."""

from __future__ import annotations

import csv
import itertools
import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

import pandas as pd

from relbench_pretrain.evaluation.tables import interval, markdown
from relbench_pretrain.studies.experiment_plots import ExperimentPlot, draw_experiments


@dataclass
class ExperimentStudy:
    """An experiment of a study, or one for each of some values.

    ``{seed}`` in its arguments is the run's seed, and ``{run:NAME}`` the folder of the run of another experiment with
    the same seed, which is made before.

    Args:
        experiment: The experiment's file; none for ``align``.
        args: Further arguments.
        command: ``"fit"``, after which the best checkpoint is tested, ``"test"`` for what is not trained, or
            ``"align"`` for what others have recovered.
        seeds: Its seeds; those of the study by default.
        against: Names of other experiments with which it is compared seed by seed.
        values: Makes an experiment of each combination of values, which stand for ``{KEY}`` in its name and
            everything else.
        panel: The panel of plots that it is in.
        line: The line of a panel that it is on; its name by default.
        x: Where on that line it is, a number.
        trained: Name of another experiment whose checkpoint of the same seed is tested, the best one or, where nothing
            is validated, the last, in place of training the same once more; ``command`` is ``"test"`` then.
    """

    experiment: str = ""
    args: list[str] = field(default_factory=list)
    command: Literal["fit", "test", "align"] = "fit"
    seeds: list[int] | None = None
    against: list[str] = field(default_factory=list)
    values: dict[str, list[int | float | str]] = field(default_factory=dict)
    panel: str = ""
    line: str = ""
    x: str = ""
    trained: str | None = None


def expanded(experiments: Mapping[str, ExperimentStudy]) -> dict[str, ExperimentStudy]:
    """Returns an experiment for each combination of each one's values, by name."""
    found: dict[str, ExperimentStudy] = {}
    for name, spec in experiments.items():
        for combination in itertools.product(*spec.values.values()):
            place = {f"{{{key}}}": f"{value}" for key, value in zip(spec.values, combination, strict=True)}
            own = replace(
                spec,
                experiment=_filled(spec.experiment, place),
                args=[_filled(arg, place) for arg in spec.args],
                against=[_filled(other, place) for other in spec.against],
                trained=_filled(spec.trained, place) if spec.trained else None,
                values={},
                panel=_filled(spec.panel, place),
                line=_filled(spec.line, place),
                x=_filled(spec.x, place),
            )
            if (own_name := _filled(name, place)) in found:
                raise ValueError(f"two experiments are called '{own_name}': put {{KEY}} of its values into the name")
            found[own_name] = own
    return found


def _filled(text: str, places: Mapping[str, str]) -> str:
    for place, value in places.items():
        text = text.replace(place, value)
    return text


def needed(spec: ExperimentStudy) -> list[str]:
    """Returns the names of the experiments whose runs an experiment takes."""
    named = [name for arg in spec.args for name in re.findall(r"\{run:([^}]*)\}", arg)]
    return list(dict.fromkeys([*named, *([spec.trained] if spec.trained else [])]))


def experiment_command(
    spec: ExperimentStudy, seed: int, folders: Mapping[str, str] = MappingProxyType({})
) -> list[str]:
    """Returns the arguments of a run, without those that say where its files go.

    Args:
        spec: The experiment.
        seed: The run's seed.
        folders: The folders of the runs that it takes, by the experiments' names.
    """
    places = {"{seed}": str(seed)} | {f"{{run:{name}}}": folder for name, folder in folders.items()}
    args = [_filled(arg, places) for arg in spec.args]
    if spec.command == "align":
        return ["align", *args]
    tested = ["--test_after_fit=true"] if spec.command == "fit" else []
    seeds = [f"--seed_everything={seed}", f"--data.seed={seed}"]
    return [spec.command, f"--config={spec.experiment}", *seeds, *tested, *args]


def write_experiments(
    runs: Sequence[tuple[Mapping[str, Any], Path]],
    folder: Path,
    experiments: Mapping[str, ExperimentStudy] = MappingProxyType({}),
    columns: Sequence[str] = (),
    plots: Sequence[ExperimentPlot] = (),
    published: Sequence[Mapping[str, Any]] = (),
) -> None:
    """Writes the metrics of experiments that are done.

    Args:
        runs: For each run its labels and its folder.
        folder: Where ``experiments.csv``, a row per run, ``experiments.md``, means and deviations over seeds, and the
            plots go.
        experiments: All experiments of the study by name; some may not be done.
        columns: The metrics in ``experiments.md``; all that are tested by default.
        plots: What is drawn.
        published: Results of others: experiment, metric, value, and system, who it is of.
    """
    table = pd.DataFrame([{**_labels(labels, path), **read_tests(path)} for labels, path in runs])
    table.to_csv(folder / "experiments.csv", index=False, float_format="%.5f")
    tested = [name for name in table.columns if name.startswith("test/")]
    metrics = [name for name in columns or tested if name in tested]
    against = {name: spec.against for name, spec in experiments.items()}
    rows = []
    for name, part in table.groupby("experiment", sort=False):
        cells = [_mean(part[metric].dropna()) for metric in metrics]
        rows.append([str(name), *cells, str(len(part)), f"{part['seconds'].mean():.0f}"])
        of_others = [entry for entry in published if entry.get("experiment") == name]
        for system in dict.fromkeys(entry["system"] for entry in of_others):
            values = {entry["metric"]: f"{entry['value']:g}" for entry in of_others if entry["system"] == system}
            rows.append([f"published: {system}, {name}", *(values.get(metric, "") for metric in metrics), "", ""])
    header = ["", *(metric.removeprefix("test/") for metric in metrics), "seeds", "seconds"]
    text = [markdown(header, rows)]
    if compared := _comparisons(table, [name for name in metrics if not name.endswith("rank")], against):
        text += ["", "Gain over another one, paired by seed, with its 95 % interval:", "", compared]
    (folder / "experiments.md").write_text("\n".join(text) + "\n")
    draw_experiments(table, [path for _, path in runs], experiments, plots, published, folder)


def _comparisons(table: pd.DataFrame, metrics: Sequence[str], against: Mapping[str, Sequence[str]]) -> str:
    runs = {name: part.set_index("seed") for name, part in table.groupby("experiment")}
    rows = []
    for name, others in against.items():
        for other in others:
            if other not in against:
                raise ValueError(f"'{name}' is compared with '{other}', which is no experiment of the study")
            if name in runs and other in runs:
                gains = [interval((runs[name][m] - runs[other][m]).dropna()) for m in metrics]
                rows.append([f"{name} over {other}", *gains])
    return markdown(["", *(metric.removeprefix("test/") for metric in metrics)], rows) if rows else ""


def _labels(labels: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    seconds = json.loads((folder / "run.json").read_text())["seconds"]
    return {"experiment": labels["network"], "seed": labels["seed"], "config": labels["config"], "seconds": seconds}


def read_tests(folder: Path) -> dict[str, float]:
    """Reads the best validation score of a run, where there is one, and all its test metrics.

    Args:
        folder: The run's folder, with what a command wrote into ``metrics.json``, or a Trainer into ``fit``.
    """
    found: dict[str, float] = {}
    if (folder / "metrics.json").is_file():
        written = json.loads((folder / "metrics.json").read_text())
        found |= {name: float(value) for name, value in written.items() if isinstance(value, int | float)}
    for path in (folder / "fit").glob("metrics.csv"):
        with path.open() as file:
            for row in csv.DictReader(file):
                for name, value in row.items():
                    if value and name == "val/score" and not math.isnan(float(value)):
                        found[name] = max(found.get(name, float(value)), float(value))
                    elif value and name.startswith("test/"):
                        found[name] = float(value)
    return found


def _mean(values: pd.Series) -> str:
    if not len(values):
        return ""
    return f"{values.mean():.3f}" + (f" ± {values.std():.3f}" if len(values) > 1 else "")
