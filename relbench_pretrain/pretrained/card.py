"""The page that goes with shared weights: what they are, what they were trained on, and how well they did."""

from __future__ import annotations

from typing import Any

import pandas as pd
import yaml

from relbench_pretrain.pretrained.folder import SavedNetwork

NOT_STATED = "not stated"
KINDS = {
    "Backbone": ("a backbone for relational databases: one vector for each row, in the context of its rows", "tabular"),
    "EntityNetwork": ("a network that predicts for rows of a relational database", "tabular"),
    "RecommendationNetwork": ("a network that recommends rows of a relational database", "recommendation"),
    "NodeBert": ("a masked model of hyperedges, from which a weighted hypergraph can be read out", "hypergraph"),
    "ExtrapolationNetwork": ("multimodal relation extrapolation: vectors of relations from texts", "knowledge-graph"),
}
RANKER = ("a ranker of pairs of entities under relations that are known by their texts alone", "knowledge-graph")


def model_card(
    saved: SavedNetwork,
    name: str,
    num_weights: int,
    licence: str | None = None,
    dataset: str | None = None,
    description: str | None = None,
) -> str:
    """Writes a model card; what is not known is said to be not stated.

    Args:
        saved: What is known of the network.
        name: What it is called: a folder's name, or one on the Hub.
        num_weights: How many weights it has.
        licence: An identifier such as ``mit``.
        dataset: What to call the data, in place of what the run noted.
        description: What else there is to say.

    Returns:
        Markdown with YAML in front.
    """
    network = saved.config["class_path"].rpartition(".")[2]
    kind, tag = KINDS.get(network, RANKER)
    front = {"library_name": "relbench-pretrain", "tags": ["relbench-pretrain", "relational-data", tag]}
    parts = [
        "---",
        yaml.safe_dump(({"license": licence} if licence else {}) | front, sort_keys=False).strip(),
        "---",
        f"# {name}",
        "",
        *([description, ""] if description else []),
        f"This is {kind} (`{network}`, {num_weights:,} weights). It was trained with relbench-pretrain,"
        f" by `{saved.info.get('system', NOT_STATED)}`.",
        "",
        "## How to load it",
        "",
        "```python",
        "from relbench_pretrain import from_pretrained",
        f'network = from_pretrained("{name}")  # a folder, or a name on the Hub',
        "```",
        "",
        *_loading(network, name),
        "## Data",
        "",
        *_list(_data(saved, dataset)),
        "",
        "## Metrics",
        "",
        *_metrics(saved.info),
        "",
        "## Licence",
        "",
        f"{licence or _capital(NOT_STATED)}.",
    ]
    return "\n".join(parts) + "\n"


def _loading(network: str, name: str) -> list[str]:
    if network == "Backbone":
        command = (
            "relbench-pretrain fit --config fine_tuning/demo --data.dataset DATASET --data.task TASK \\\n"
            f"    --model.checkpoint {name} --model.start fine_tuned"
        )
        return ["To fine-tune it:", "", "```sh", command, "```", ""]
    if network == "ExtrapolationNetwork":
        return [f"To begin a run with its learner: `--model.learner_weights {name}`.", ""]
    return []


def _data(saved: SavedNetwork, dataset: str | None) -> dict[str, Any]:
    found = {"dataset": NOT_STATED} | _part(saved.info, "data") | ({"dataset": dataset} if dataset else {})
    built_for = saved.built_for
    if "schema" in built_for:
        schema = saved.schema
        found["tables"] = len(schema.tables)
        found["columns"] = sum(len(table.columns) for table in schema.tables.values())
        until = schema.fitted_until
        cut = NOT_STATED if until is None else f"rows up to {pd.Timestamp(until, unit='s').isoformat(sep=' ')} (UTC)"
        found["statistics and categories of columns, which `config.json` holds, are from"] = cut
    if "nodes" in built_for:
        found["names in `config.json`"] = f"those of its {len(built_for['nodes'])} nodes"
    return found


def _metrics(info: dict[str, Any]) -> list[str]:
    metrics = {
        name: value
        for name, value in sorted(_part(info, "metrics").items())
        if isinstance(value, (int, float)) and name.startswith(("train/", "val/", "test/"))
    }
    if not metrics:
        return [f"{_capital(NOT_STATED)}."]
    step, epoch = (info.get(key, NOT_STATED) for key in ("step", "epoch"))
    rows = [f"| {name} | {value:.4g} |" for name, value in metrics.items()]
    return [f"As logged when the weights were saved, at step {step}, epoch {epoch} (the first is 0).", "",
            "| metric | value |", "|---|---|", *rows]  # fmt: skip


def _part(info: dict[str, Any], name: str) -> dict[str, Any]:
    found = info.get(name)
    return found if isinstance(found, dict) else {}


def _capital(text: str) -> str:
    return text[0].upper() + text[1:]


def _list(values: dict[str, Any]) -> list[str]:
    return [f"* {name}: {value}" for name, value in values.items()]
