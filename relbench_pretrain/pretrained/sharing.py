"""Weights to and from others: an exported folder, and the Hub."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any, NamedTuple

from huggingface_hub import HfApi

from relbench_pretrain.nn.shared_network import SharedNetwork
from relbench_pretrain.pretrained.card import model_card
from relbench_pretrain.pretrained.config import to_config
from relbench_pretrain.pretrained.folder import (
    CARD,
    DESCRIPTION,
    WEIGHTS,
    CheckpointError,
    SavedNetwork,
    load_network,
    made_network,
    read_network,
    save_network,
)
from relbench_pretrain.pretrained.safe_loading import read_checkpoint

log = logging.getLogger(__name__)


class Source(NamedTuple):
    """What is exported.

    Args:
        network: With its weights.
        info: What the run noted.
    """

    network: SharedNetwork
    info: dict[str, Any]


def export(
    checkpoint: str,
    folder: str,
    licence: str | None = None,
    dataset: str | None = None,
    name: str | None = None,
    description: str | None = None,
) -> None:
    """Writes a network into a folder that others can load: safetensors, JSON and a model card, and no pickle.

    ``config.json`` holds what the network needs to know of the data: of a database tables, columns, statistics and the
    categories themselves; of a hypergraph the names of nodes. Look at it before you share it.

    Args:
        checkpoint: A checkpoint (``.ckpt``) of a run of the command line, or the folder of a backbone.
        folder: The folder to write, which must be new or empty.
        licence: The licence of the weights, as the Hub calls it, such as ``mit``; not stated by default.
        dataset: What to call the data; by default by what the run noted.
        name: What to call the network, such as ``owner/name``; by default like the folder.
        description: What else the card should say.

    Raises:
        CheckpointError: If there is no network in the checkpoint, or the folder is not empty.
    """
    target = Path(folder).expanduser()
    if target.exists() and not (target.is_dir() and not any(target.iterdir())):
        raise CheckpointError(f"'{folder}' is there already: remove it, or give another folder")
    source = _read(checkpoint)
    network = source.network
    number = sum(value.numel() for value in network.parameters())
    known = SavedNetwork(to_config(network), network.built_for() or {}, source.info, {}, target / WEIGHTS)
    name = name or target.absolute().name
    card = model_card(known, name, number, licence, dataset, description)
    save_network(target, network, source.info, card)
    print(f"{type(network).__name__}, {number:,} weights: {target}")
    print(f"Model card: {target / CARD}")


def _read(checkpoint: str) -> Source:
    path = Path(checkpoint).expanduser()
    if not path.is_file():
        return Source(load_network(checkpoint), read_network(checkpoint).info)
    state = read_checkpoint(path)
    described = state.get("network")
    if not isinstance(described, dict):
        raise CheckpointError(
            f"'{checkpoint}' does not say which network it holds: it is of another program, or of an earlier version; "
            "one more step of its run, resumed by --ckpt_path, writes one that does"
        )
    if "error" in described:
        raise CheckpointError(f"the network of '{checkpoint}' cannot be described: {described['error']}")
    try:
        config, built_for, prefix, info = (described[key] for key in ("config", "built_for", "prefix", "info"))
    except KeyError as error:
        raise CheckpointError(f"'{checkpoint}' does not say the {error} of its network") from None
    if not isinstance(info, dict) or not isinstance(built_for, dict) or not isinstance(prefix, str):
        raise CheckpointError(f"what '{checkpoint}' says of its network is damaged")
    weights = {
        str(name).removeprefix(prefix): v for name, v in state["state_dict"].items() if str(name).startswith(prefix)
    }
    if not prefix:  # beside the network there are metrics, losses and what is remembered for training
        names = made_network(config, built_for, None, path).state_dict().keys()
        weights = {name: value for name, value in weights.items() if name in names}
    return Source(made_network(config, built_for, weights, path), info)


def from_pretrained(source: str | Path, revision: str | None = None) -> SharedNetwork:
    """Loads a shared network, ready to use.

    Nothing of what is loaded can run code: weights are safetensors, and only classes of this package, or of one that
    ``RELBENCH_PRETRAIN_TRUSTED_PACKAGES`` names, are made.

    Args:
        source: A folder, or the name of a model on the Hub, ``owner/name``.
        revision: A branch, tag or commit on the Hub.

    Returns:
        The network, built, with its weights, in evaluation mode.

    Raises:
        CheckpointError: If there is no such network, or it is not whole or not to be trusted.
    """
    return load_network(source, revision=revision).eval()


def push_to_hub(
    folder: str | Path, name: str, private: bool = True, message: str = "Upload weights", token: str | None = None
) -> str:
    """Uploads an exported folder to the Hub.

    Args:
        folder: What ``export`` wrote.
        name: The model's name on the Hub, ``owner/name``; it is created if it is not there.
        private: Whether a model that is created can be seen by its owner alone.
        message: The commit's message.
        token: A token of the Hub; by default that of the login.

    Returns:
        The address of the commit.

    Raises:
        CheckpointError: If the folder is no whole export.
    """
    folder = Path(folder).expanduser()
    if not folder.is_dir():
        raise CheckpointError(f"there is no folder '{folder}': export a checkpoint first")
    files = [WEIGHTS, DESCRIPTION, CARD]
    if missing := [file for file in files if not (folder / file).is_file()]:
        raise CheckpointError(f"'{folder}' has no {missing[0]}: `relbench-pretrain export` writes a whole folder")
    load_network(folder)
    if f'"{name}"' not in (folder / CARD).read_text(encoding="utf-8"):
        log.warning("the model card names another model: `relbench-pretrain export` takes --name %s", name)
    api = HfApi(token=token)
    api.create_repo(name, private=private, exist_ok=True)
    return str(api.upload_folder(repo_id=name, folder_path=folder, commit_message=message, allow_patterns=files))
