"""Shared networks by name: from a folder or the Hub, and to the Hub."""

from __future__ import annotations

import logging
from pathlib import Path

from huggingface_hub import HfApi

from relbench_pretrain.pretrained.network import CARD, DESCRIPTION, WEIGHTS, SharedNetwork, load_network
from relbench_pretrain.pretrained.safe_loading import CheckpointError

log = logging.getLogger(__name__)


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
