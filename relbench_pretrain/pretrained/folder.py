"""Networks as folders: weights as safetensors, everything else as JSON, no pickle anywhere."""

from __future__ import annotations

import json
import logging
import math
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors.torch import save_file

from relbench_pretrain.files import atomic_folder
from relbench_pretrain.nn.backbone import Backbone
from relbench_pretrain.nn.shared_network import SharedNetwork
from relbench_pretrain.nn.task_network import TaskNetwork
from relbench_pretrain.pretrained.config import from_config, to_config
from relbench_pretrain.pretrained.safe_loading import CheckpointError, local_folder, read_tensors
from relbench_pretrain.relational.schema import GraphSchema

__all__ = [
    "CheckpointError",
    "SavedNetwork",
    "load_backbone",
    "load_network",
    "made_network",
    "read_network",
    "save_network",
]

log = logging.getLogger(__name__)

WEIGHTS, DESCRIPTION, CARD = "model.safetensors", "config.json", "README.md"
EARLIER = {WEIGHTS: "backbone.safetensors", DESCRIPTION: "backbone.json"}
"""What the files of backbones were called in version 0.1."""


class SavedNetwork(NamedTuple):
    """What a folder says of its network.

    Args:
        config: Class paths and arguments.
        built_for: What its parameters depend on beside these, such as the schema of a database.
        info: What the run noted: step, metrics, data and the like.
        extra_state: What of its state is no tensor.
        weights: The file of the weights.
    """

    config: dict[str, Any]
    built_for: dict[str, Any]
    info: dict[str, Any]
    extra_state: dict[str, Any]
    weights: Path

    @property
    def schema(self) -> GraphSchema:
        """The schema of the database that it was trained on.

        Raises:
            CheckpointError: If it is no network of databases.
        """
        if "schema" not in self.built_for:
            raise CheckpointError(f"'{self.weights.parent}' holds no network of databases: {self.config['class_path']}")
        try:
            return GraphSchema.from_dict(self.built_for["schema"])
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise CheckpointError(f"the schema in '{self.weights.parent}' is damaged ({error!r})") from error


def save_network(
    folder: str | Path, network: SharedNetwork, info: dict[str, Any] | None = None, card: str | None = None
) -> Path:
    """Writes a network; the folder appears, or changes, only when all files are complete.

    Args:
        folder: The folder to write; an older network in it is replaced.
        network: A network that is built.
        info: Plain values to keep with it.
        card: A model card to keep with it.

    Returns:
        The folder.

    Raises:
        CheckpointError: If the network is not built, the folder has other files in it, or ``info`` is not plain.
    """
    built_for = network.built_for()
    if built_for is None:
        raise CheckpointError("the network has no parameters yet: build it first")
    folder = Path(folder).expanduser().absolute()
    _require_own(folder)
    state = network.state_dict()
    # Clones, because PyTorch Frame's encoders share constant buffers, which safetensors refuses.
    weights = {
        name: value.detach().cpu().contiguous().clone()
        for name, value in state.items()
        if isinstance(value, torch.Tensor)
    }
    description = {
        "network": to_config(network),
        "built_for": built_for,
        "info": info or {},
        "extra_state": {name: value for name, value in state.items() if name not in weights},
    }
    try:
        text = json.dumps(_finite(description), indent=1, allow_nan=False)
    except TypeError as error:
        raise CheckpointError(f"what is known of the network is not all plain values: {error}") from error
    with atomic_folder(folder, replace=True) as new:
        save_file(weights, new / WEIGHTS, metadata={"format": "pt"})
        (new / DESCRIPTION).write_text(text, encoding="utf-8")
        if card is not None:
            (new / CARD).write_text(card, encoding="utf-8")
    return folder


def _require_own(folder: Path) -> None:
    """Refuses to replace what is no folder of a network."""
    if not folder.exists():
        return
    own = {WEIGHTS, DESCRIPTION, CARD, *EARLIER.values()}
    found = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else [folder.name]
    if other := [name for name in found if name not in own]:
        raise CheckpointError(f"'{folder}' has other files in it, such as '{other[0]}': give a folder of its own")


def _finite(value: Any) -> Any:
    """Brings values to JSON, which knows no NaN."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {key: _finite(v) for key, v in value.items()}
    return [_finite(v) for v in value] if isinstance(value, (list, tuple)) else value


def read_network(source: str | Path, revision: str | None = None) -> SavedNetwork:
    """Reads what a folder says of its network, without the weights.

    Args:
        source: The folder, or a name on the Hub.
        revision: A branch, tag or commit on the Hub.

    Raises:
        CheckpointError: If the folder is missing, incomplete or unreadable.
    """
    folder = local_folder(source, [WEIGHTS, DESCRIPTION, CARD], revision)
    names = EARLIER if any((folder / name).is_file() for name in EARLIER.values()) else {n: n for n in EARLIER}
    for name in (names[DESCRIPTION], names[WEIGHTS]):
        if not (folder / name).is_file():
            raise CheckpointError(
                f"'{folder}' holds no network: {name} is missing. Give the folder that pretraining wrote (it is "
                "called 'best' or 'last') or that export wrote, whole"
            )
    path = folder / names[DESCRIPTION]
    try:
        state = json.loads(path.read_text(encoding="utf-8"))
        config = state["network"] if "network" in state else state["config"]
        built_for = state["built_for"] if "built_for" in state else {"schema": state["schema"]}
        parts = (config, built_for, state["info"], state.get("extra_state", {}))
        if not all(isinstance(part, dict) for part in parts):
            raise TypeError("its parts are no objects")
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise CheckpointError(f"'{path}' is damaged ({error!r}): fetch or export it again") from error
    return SavedNetwork(*parts, folder / names[WEIGHTS])


def load_network(source: str | Path, weights: bool = True, revision: str | None = None) -> SharedNetwork:
    """Loads a network that :func:`save_network` wrote.

    Args:
        source: The folder, or a name on the Hub.
        weights: Whether to load the weights too, or only build the network with fresh ones.
        revision: A branch, tag or commit on the Hub.

    Returns:
        The network, built for what it was trained on.

    Raises:
        CheckpointError: If the folder is missing, incomplete or unreadable, names a class that is not trusted, or
            the weights do not fit.
    """
    saved = read_network(source, revision)
    found = {**read_tensors(saved.weights), **saved.extra_state} if weights else None
    return made_network(saved.config, saved.built_for, found, saved.weights)


def made_network(
    config: dict[str, Any], built_for: dict[str, Any], state: dict[str, Any] | None, path: str | Path
) -> SharedNetwork:
    """Makes a network from what a file says.

    Args:
        config: Class paths and arguments.
        built_for: What else its parameters depend on.
        state: Its whole state, or None for fresh weights.
        path: The file, for messages.

    Raises:
        CheckpointError: If these do not make one, or a class is not trusted.
    """
    network = from_config(config)
    if not isinstance(network, SharedNetwork):
        raise CheckpointError(f"'{path}' describes a {type(network).__name__}, which is no network of its own")
    try:
        network.build_for(built_for)
    except (AttributeError, LookupError, TypeError, ValueError, RuntimeError) as error:
        raise CheckpointError(f"the network of '{path}' cannot be built: {error!r}; export it again") from error
    if state is not None:
        try:
            network.load_state_dict(state)
        except Exception as error:  # sizes, names, and whatever an extra state may say
            raise CheckpointError(f"the weights in '{path}' do not fit the network: {error}") from error
    return network


def load_backbone(source: str | Path, weights: bool = True, schema: GraphSchema | None = None) -> Backbone:
    """Loads a backbone, that of a network for a task included.

    Args:
        source: The folder, or a name on the Hub.
        weights: Whether to load the weights too, or only build the network with fresh ones.
        schema: A schema that has further tables, to build the network for. What belongs to these has fresh weights.

    Returns:
        The backbone, built for the schema that it was trained on, or for the one given.

    Raises:
        CheckpointError: If the folder is missing, incomplete or unreadable, or the weights do not fit.
        SchemaError: If the schema given differs in what both have.
    """
    saved = read_network(source)
    mine = saved.schema
    further = schema is not None and schema.node_types != mine.node_types
    if further:
        mine.require_same_structure(schema.restricted(mine), f"checkpoint '{source}'")
    network = load_network(source, weights)
    known = network.backbone if isinstance(network, TaskNetwork) else network
    if not isinstance(known, Backbone):
        raise CheckpointError(f"'{source}' holds a {type(network).__name__}, not a Backbone")
    if not further:
        return known
    backbone: Backbone = from_config(to_config(known))  # type: ignore[assignment]
    backbone.build(schema)
    if weights:
        fresh = backbone.take_from(known)
        log.info("%d of %d weights start fresh, for further tables", len(fresh), len(backbone.state_dict()))
    return backbone
