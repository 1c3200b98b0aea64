"""Pretrained backbones as folders: weights as safetensors, everything else as JSON, no pickle anywhere."""

from __future__ import annotations

import json
import logging
import shutil
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

from safetensors.torch import load_file, save_file

from relbench_pretrain.nn.backbone import Backbone
from relbench_pretrain.nn.config import from_config, to_config
from relbench_pretrain.relational.schema import GraphSchema

log = logging.getLogger(__name__)

WEIGHTS = "backbone.safetensors"
DESCRIPTION = "backbone.json"


class CheckpointError(ValueError):
    """A checkpoint, or a backbone's folder, that cannot be used; the message names what is missing or wrong."""


class SavedBackbone(NamedTuple):
    """What a backbone folder says of itself.

    Args:
        config: Class paths and arguments of the network.
        schema: The schema that it was trained on.
        info: What the run noted: step, monitored value and the like.
    """

    config: dict[str, Any]
    schema: GraphSchema
    info: dict[str, Any]


def save_backbone(folder: str | Path, backbone: Backbone, info: dict[str, Any] | None = None) -> Path:
    """Writes a backbone; the folder appears, or changes, only when both files are complete.

    Args:
        folder: The folder to write; an older backbone in it is replaced.
        backbone: A built backbone.
        info: Plain values to keep with it.

    Returns:
        The folder.
    """
    if backbone.schema is None:
        raise CheckpointError("the backbone has no parameters yet: build it for a schema first")
    folder = Path(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        # Clones, because PyTorch Frame's encoders share constant buffers, which safetensors refuses.
        weights = {name: value.detach().cpu().clone() for name, value in backbone.state_dict().items()}
        save_file(weights, temporary / WEIGHTS)
        description = {"config": to_config(backbone), "schema": backbone.schema.to_dict(), "info": info or {}}
        (temporary / DESCRIPTION).write_text(json.dumps(description, indent=1))
        mode = (temporary / DESCRIPTION).stat().st_mode
        (temporary / WEIGHTS).chmod(mode)  # safetensors lets nobody else read it
        older = temporary / "older"
        if folder.exists():
            folder.rename(older)
        complete = temporary.with_name(temporary.name + "-new")
        complete.mkdir()
        for name in (WEIGHTS, DESCRIPTION):
            (temporary / name).rename(complete / name)
        complete.rename(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return folder


def read_backbone(folder: str | Path) -> SavedBackbone:
    """Reads what a backbone folder says of itself, without the weights.

    Raises:
        CheckpointError: If the folder is missing, incomplete or unreadable.
    """
    folder = Path(folder).expanduser()
    for name in (DESCRIPTION, WEIGHTS):
        if not (folder / name).is_file():
            raise CheckpointError(
                f"'{folder}' holds no backbone: {name} is missing. Give the folder that pretraining wrote "
                "(it is called 'best' or 'last')"
            )
    try:
        state = json.loads((folder / DESCRIPTION).read_text())
        return SavedBackbone(state["config"], GraphSchema.from_dict(state["schema"]), state["info"])
    except (json.JSONDecodeError, KeyError, TypeError) as error:
        raise CheckpointError(f"'{folder / DESCRIPTION}' is damaged ({error!r})") from error


def load_backbone(folder: str | Path, weights: bool = True, schema: GraphSchema | None = None) -> Backbone:
    """Loads a backbone that :func:`save_backbone` wrote.

    Args:
        folder: The folder.
        weights: Whether to load the weights too, or only build the network with fresh ones.
        schema: A schema that has further tables, to build the network for. What belongs to these has fresh weights.

    Returns:
        The backbone, built for the schema that it was trained on, or for the one given.

    Raises:
        CheckpointError: If the folder is missing, incomplete or unreadable, or the weights do not fit.
        SchemaError: If the schema given differs in what both have.
    """
    saved = read_backbone(folder)
    if schema is not None and schema.node_types != saved.schema.node_types:
        saved.schema.require_same_structure(schema.restricted(saved.schema), f"checkpoint '{folder}'")
        backbone = _built(folder, saved.config, schema)
        if weights:
            fresh = backbone.take_from(load_backbone(folder))
            log.info("%d of %d weights start fresh, for further tables", len(fresh), len(backbone.state_dict()))
        return backbone
    backbone = _built(folder, saved.config, saved.schema)
    if weights:
        try:
            backbone.load_state_dict(load_file(Path(folder).expanduser() / WEIGHTS))
        except Exception as error:
            raise CheckpointError(f"the weights in '{folder}' cannot be loaded: {error}") from error
    return backbone


def _built(folder: str | Path, config: dict[str, Any], schema: GraphSchema) -> Backbone:
    backbone = from_config(config)
    if not isinstance(backbone, Backbone):
        raise CheckpointError(f"'{folder}' describes a {type(backbone).__name__}, not a Backbone")
    backbone.build(schema)
    return backbone
