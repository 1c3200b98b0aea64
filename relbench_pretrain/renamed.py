"""Names of earlier versions: checkpoints, exported folders and configurations that have them go on loading.

Stored files name classes by their public path, the package whose ``__init__`` exports the class, so that files of the
package can move. What earlier versions wrote instead is translated here, and nowhere else.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

MODULES = {
    "relbench_pretrain.nn.backbone": "relbench_pretrain.nn",
    "relbench_pretrain.nn.graph_sage": "relbench_pretrain.nn",
    "relbench_pretrain.nn.heads": "relbench_pretrain.nn",
    "relbench_pretrain.nn.schedules": "relbench_pretrain.nn",
    "relbench_pretrain.nn.table_encoders": "relbench_pretrain.nn",
    "relbench_pretrain.nn.task_network": "relbench_pretrain.nn",
    "relbench_pretrain.nn.temporal_transformer": "relbench_pretrain.nn",
    "relbench_pretrain.nn.time_encoder": "relbench_pretrain.nn",
    "relbench_pretrain.nn.two_tower": "relbench_pretrain.nn",
    "relbench_pretrain.contrastive.context": "relbench_pretrain.contrastive",
    "relbench_pretrain.contrastive.corruption": "relbench_pretrain.contrastive",
    "relbench_pretrain.contrastive.link": "relbench_pretrain.contrastive",
    "relbench_pretrain.contrastive.normalization": "relbench_pretrain.contrastive",
    "relbench_pretrain.contrastive.row": "relbench_pretrain.contrastive",
    "relbench_pretrain.hypergraph.bert": "relbench_pretrain.hypergraph",
    "relbench_pretrain.hypergraph.conceptnet": "relbench_pretrain.hypergraph",
    "relbench_pretrain.hypergraph.database": "relbench_pretrain.hypergraph",
    "relbench_pretrain.hypergraph.draws": "relbench_pretrain.hypergraph",
    "relbench_pretrain.hypergraph.generators": "relbench_pretrain.hypergraph",
    "relbench_pretrain.hypergraph.language_model": "relbench_pretrain.hypergraph",
    "relbench_pretrain.hypergraph.masking": "relbench_pretrain.hypergraph",
    "relbench_pretrain.hypergraph.matchers": "relbench_pretrain.hypergraph",
    "relbench_pretrain.hypergraph.readout": "relbench_pretrain.hypergraph",
    "relbench_pretrain.hypergraph.recovery": "relbench_pretrain.hypergraph",
    "relbench_pretrain.knowledge_graph.boosted_ranker": "relbench_pretrain.knowledge_graph",
    "relbench_pretrain.knowledge_graph.floors": "relbench_pretrain.knowledge_graph",
    "relbench_pretrain.knowledge_graph.pair_ranker": "relbench_pretrain.knowledge_graph",
    "relbench_pretrain.knowledge_graph.pictures": "relbench_pretrain.knowledge_graph",
    "relbench_pretrain.knowledge_graph.rewrites": "relbench_pretrain.knowledge_graph",
    "relbench_pretrain.knowledge_graph.extrapolation": "relbench_pretrain.knowledge_graph.mre",
    "relbench_pretrain.knowledge_graph.extrapolation.consolidator": "relbench_pretrain.knowledge_graph.mre",
    "relbench_pretrain.knowledge_graph.extrapolation.generator": "relbench_pretrain.knowledge_graph.mre",
    "relbench_pretrain.knowledge_graph.extrapolation.late_fusion": "relbench_pretrain.knowledge_graph.mre",
    "relbench_pretrain.knowledge_graph.extrapolation.learner": "relbench_pretrain.knowledge_graph.mre",
    "relbench_pretrain.knowledge_graph.extrapolation.m3ae": "relbench_pretrain.knowledge_graph.mre",
    "relbench_pretrain.knowledge_graph.extrapolation.network": "relbench_pretrain.knowledge_graph.mre",
    "relbench_pretrain.knowledge_graph.extrapolation.plan": "relbench_pretrain.knowledge_graph.mre",
    "relbench_pretrain.knowledge_graph.extrapolation.tokenizers": "relbench_pretrain.knowledge_graph.mre",
    "callbacks.loggers": "relbench_pretrain.trainer",
    "callbacks.checkpoint_io": "relbench_pretrain.trainer",
}
"""The package that exports the classes of a module of an earlier version."""

CLASSES = {
    "relbench_pretrain.hypergraph.BiasedDraws": "relbench_pretrain.hypergraph.BiasedSampling",
    "relbench_pretrain.hypergraph.CorrelatedDraws": "relbench_pretrain.hypergraph.CorrelatedSampling",
    "relbench_pretrain.hypergraph.Draws": "relbench_pretrain.hypergraph.Sampling",
    "relbench_pretrain.hypergraph.DriftingDraws": "relbench_pretrain.hypergraph.DriftingSampling",
    "relbench_pretrain.hypergraph.IndependentDraws": "relbench_pretrain.hypergraph.IndependentSampling",
    "relbench_pretrain.hypergraph.NoisyDraws": "relbench_pretrain.hypergraph.NoisySampling",
    "relbench_pretrain.hypergraph.Together": "relbench_pretrain.hypergraph.CompositeMasking",
    "callbacks.AtomicCheckpointIO": "relbench_pretrain.trainer.AtomicCheckpointIO",
}
"""The public path of a class that has another name now, by its earlier public path."""


SPLIT: dict[str, Callable[[Collection[str]], str]] = {
    "datamodules.ZeroShotKGDataModule": lambda given: (
        "datamodules.MultimodalKGDataModule" if "training" in given else "datamodules.EpisodicKGDataModule"
    )
}
"""For a class that has become several, by its public path: a function that chooses the one that takes its place, by
the names of the arguments that are given (and are not null)."""

DROPPED: dict[str, set[str]] = {
    "datamodules.EpisodicKGDataModule": {"leak_unseen", "training"},
    "datamodules.MultimodalKGDataModule": {
        "image_embedder", "modalities", "nearest_relations", "negatives_per_query", "pool_negatives", "pool_queries",
        "pool_wrong", "queries_per_relation", "relations_per_batch", "wrong_per_query",
    },
}  # fmt: skip
"""By the class that took the place of a split one, the arguments of the others, which a full configuration has too."""

OPTIONS: dict[str, dict[str, str]] = {
    "callbacks.Recovery": {"draw": "plot"},
    "datamodules.EpisodicKGDataModule": {"wrong_per_query": "negatives_per_query", "pool_wrong": "pool_negatives"},
    "datamodules.HypergraphDataModule": {"num_draws": "num_samples", "draws": "sampling"},
    "lightning_modules.RelationExtrapolation": {"num_wrong": "num_negatives"},
    "relbench_pretrain.hypergraph.NoisySampling": {"draws": "sampling"},
    "relbench_pretrain.knowledge_graph.BoostedRanker": {"num_wrong": "num_negatives"},
    "relbench_pretrain.knowledge_graph.mre.MultimodalTraining": {"picture_size": "image_size"},
}
"""The arguments of a class, by its public path of today, that have other names now."""

VALUES: dict[str, dict[str, str]] = {
    "regimes": {"frozen": "cutoff"},
    "regime": {"frozen": "cutoff"},
    "method": {"past_visits": "past_interactions"},
    "baselines": {"past_visits": "past_interactions"},
}
"""The values of an option, by its name, that have other names now; also where they stand in a list."""

DATA: dict[str, str] = {"draws": "samples", "pictures": "images", "vectors of pictures": "vectors of images"}
"""The names under which a checkpoint says what its data are, that have other names now."""

KINDS: dict[str, str] = {"picture": "image"}
"""The kinds of a modality's inputs, as checkpoints and exported folders have them, that have other names now."""

COMMAND_OPTIONS: dict[str, dict[str, str]] = {"baseline": {"output_file": "output"}, "embed": {"output_file": "output"}}
"""The options of a command beside the Trainer's that have other names now."""

BY_PLACE: dict[str, tuple[str, ...]] = {"baseline": ("method",)}
"""The names of a command's arguments that are given by their place, whose values may be :data:`VALUES`."""

PLACES: dict[str, dict[int, str]] = {"export": {1: "output_dir"}, "make-demo": {0: "output_dir"}}
"""The arguments of a command that were given by their place, and by which option now."""

METRIC_OPTIONS = ("monitor", "metric", "metrics", "columns")
"""The options whose values are names of metrics."""

METRICS: dict[str, str] = {"frozen": "cutoff"}
"""The parts of a metric's name, between its first and its last, that have other names now."""


class RenamedWarning(FutureWarning):
    """Something has the name of an earlier version."""


def public_path(path: str) -> str:
    """Returns the public path of a class that an earlier version named; other paths are returned as they are.

    Args:
        path: A class path as YAML or a stored file has it.
    """
    module, _, name = path.rpartition(".")
    path = f"{MODULES.get(module, module)}.{name}" if module else path
    return CLASSES.get(path, path)


def metric_name(name: str) -> str:
    """Returns the name of today of a metric that an earlier version logged, as in ``test/frozen/roc_auc``."""
    split, *parts = name.split("/")
    if split not in ("train", "val", "test") or len(parts) < 2:
        return name
    return "/".join([split, *(METRICS.get(part, part) for part in parts[:-1]), parts[-1]])


def translated(value: Any, given: Collection[str] = ()) -> Any:
    """Puts the names of today in the place of earlier ones, in a configuration or any part of one.

    Args:
        value: What YAML holds: class paths with arguments, sections, lists, texts.
        given: Names of arguments that are given elsewhere, as on the command line; they choose between the classes
            that one has become.
    """
    if isinstance(value, str):
        return _class(value, given)
    if isinstance(value, list):
        return [translated(part, given) for part in value]
    if not isinstance(value, dict):
        return value
    if isinstance(path := value.get("class_path"), str):
        arguments = value.get("init_args") or {}
        before, path = path, _class(path, [*given, *(name for name in arguments if arguments[name] is not None)])
        if _was_split(before):
            value = value | {"init_args": {k: part for k, part in arguments.items() if k not in DROPPED.get(path, ())}}
        value = value | {"class_path": path}
        names = OPTIONS.get(_long(path), {})
    else:
        names = _every_option() if "init_args" in value else {}
    result = {key: _values(key, translated(part, given)) for key, part in value.items()}
    if names and isinstance(result.get("init_args"), dict):
        result["init_args"] = {_option(name, names): part for name, part in result["init_args"].items()}
    return result


def translated_arguments(
    arguments: Sequence[str],
    classes: Mapping[str, str],
    given: Collection[str],
    load: Callable[[str], Any],
    command: str = "fit",
) -> list[str]:
    """Puts the names of today in the place of earlier ones on a command line.

    Args:
        arguments: What was typed.
        classes: The class that configurations name for a section such as ``data``, where one does.
        given: Names of arguments that are given, here or in configurations.
        load: Reads YAML.
        command: Whose arguments they are.
    """
    classes = dict(classes)
    result: list[str] = []
    option, place = "", 0  # the option that waits for its value, and how many arguments came by their place
    for argument in arguments:
        if argument.startswith("--"):
            typed, equals, value = argument.partition("=")
            name = typed.rstrip("+").lstrip("-")
            names = COMMAND_OPTIONS.get(command, {})
            typed = f"--{_option(name, names)}" if name in names else _typed_option(typed, classes)
            option = "" if equals or name in ("help", "print_config") else typed
            if not equals:
                result.append(typed)
                continue
        elif option or argument.startswith("-"):
            typed, equals, value = option, "", argument
            option = argument if argument in ("-c",) else ""
        else:
            new, placed = PLACES.get(command, {}).get(place), BY_PLACE.get(command, ())
            argument = str(_values(placed[place], argument)) if place < len(placed) else argument
            place += 1
            if new:
                _warn(f"what is given as '{argument}' by its place", f"--{new}")
            result.append(f"--{new}={argument}" if new else argument)
            continue
        name = typed.rstrip("+").rpartition(".")[2].lstrip("-")
        if value:
            value = _typed_value(name, value, given, load)
            if typed.count(".") == 0 or name == "class_path":
                classes[typed.lstrip("-").partition(".")[0]] = value
        result.append(f"{typed}={value}" if equals else value)
    return result


def _typed_option(option: str, classes: Mapping[str, str]) -> str:
    """Translates the dotted name of an option; the classes of what is nested in a section's are not known here."""
    name = option.rstrip("+")
    section, *parts = name.lstrip("-").split(".")
    known = section in classes and not _was_split(classes[section])
    names = OPTIONS.get(_long(public_path(classes[section])), {}) if known else _every_option()
    found = []
    for part in parts:
        found.append(_option(part, names))
        names = names if part == "init_args" else _every_option()
    return f"--{'.'.join([section, *found])}{option[len(name) :]}" if parts else option


def _typed_value(name: str, value: str, given: Collection[str], load: Callable[[str], Any]) -> str:
    if name in VALUES and value.lstrip().startswith("["):
        return f"[{', '.join(str(_values(name, part)) for part in load(value))}]"
    return _class(str(_values(name, value)), given)


def _class(path: str, given: Collection[str] = ()) -> str:
    """Translates the path of a class, or its bare name where that cannot be mistaken for a word."""
    new = public_path(path)
    if "." not in new and sum(letter.isupper() for letter in new) > 1:
        new = next((there for here, there in CLASSES.items() if here.rpartition(".")[2] == new), new)
    if old := _was_split(new):
        new = SPLIT[old](given)
    if path.rpartition(".")[2] != new.rpartition(".")[2]:
        warnings.warn(f"'{path}' is called '{new}' now", RenamedWarning, stacklevel=2)
    return new


def _was_split(path: str) -> str | None:
    """Returns the public path of a class that has become several, None of any other."""
    return next((old for old in SPLIT if path == old or ("." not in path and old.endswith(f".{path}"))), None)


def _metric(text: str) -> str:
    new = metric_name(text)
    if new != text:
        _warn(f"the metric '{text}'", new)
    return new


def _option(name: str, names: Mapping[str, str]) -> str:
    if name in names:
        _warn(f"the option '{name}'", names[name])
    return names.get(name, name)


def _values(option: str, value: Any) -> Any:
    if isinstance(value, list):
        return [_values(option, part) for part in value]
    if option in METRIC_OPTIONS and isinstance(value, str):
        return _metric(value)
    new = VALUES.get(option, {}).get(value) if isinstance(value, str) else None
    if new is None:
        return value
    _warn(f"'{value}' of {option}", new)
    return new


def _long(path: str) -> str:
    """Returns the public path of a class of which only the name is given."""
    return path if "." in path else next((known for known in OPTIONS if known.rpartition(".")[2] == path), path)


def _every_option() -> dict[str, str]:
    """Returns the names of all classes, for options of a class that is not known."""
    return {old: new for names in OPTIONS.values() for old, new in names.items()}


def _warn(what: str, new: str) -> None:
    warnings.warn(
        f"{what} is called '{new}' now; the old name goes with the next release", RenamedWarning, stacklevel=3
    )
