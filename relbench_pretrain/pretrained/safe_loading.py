"""Files that may come from elsewhere, read in ways that cannot run what is in them."""

from __future__ import annotations

import os
import pickle
import re
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import snapshot_download
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from relbench_pretrain.errors import UserError

HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+")


class CheckpointError(UserError, ValueError):
    """A checkpoint, or a network's folder, that cannot be used; the message names what is missing or wrong."""


def read_tensors(path: str | Path) -> dict[str, Tensor]:
    """Reads a safetensors file.

    Raises:
        CheckpointError: If it is none, or not whole.
    """
    try:
        return load_file(path)
    except (SafetensorError, OSError, ValueError) as error:
        raise CheckpointError(
            f"'{path}' is no whole safetensors file ({error}): fetch or export it again; files of other kinds "
            "are not read, since they can hold code"
        ) from None


def not_plain(path: str | Path, error: pickle.UnpicklingError) -> CheckpointError:
    """Says why a checkpoint is refused; torch's own message advises to trust it.

    Args:
        path: The checkpoint.
        error: What torch said.
    """
    found = re.search(r"GLOBAL (\S+)", str(error))
    return CheckpointError(
        f"'{path}' holds more than tensors and plain values{f' ({found[1]})' if found else ''} and is not loaded, "
        "since such a file can run code. Checkpoints of runs of the command line hold nothing else; from Python, "
        "write a folder with save_network"
    )


def read_checkpoint(path: str | Path) -> dict[str, Any]:
    """Reads a Lightning checkpoint that holds tensors and plain values only, as those of the command line do.

    Raises:
        CheckpointError: If it is none, not whole, or holds anything else, which is not even made.
    """
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise not_plain(path, error) from None
    except (RuntimeError, EOFError, OSError, ValueError, LookupError) as error:
        reason = (str(error).splitlines() or [""])[0]
        raise CheckpointError(f"'{path}' is no whole checkpoint ({reason}): take another one of the run") from None
    if not isinstance(state, dict) or not isinstance(state.get("state_dict"), dict):
        raise CheckpointError(f"'{path}' is no checkpoint of a module: it has no state_dict")
    return state


def local_folder(source: str | Path, files: list[str], revision: str | None = None) -> Path:
    """Finds a folder, or fetches files of a model from the Hub, where there is no such folder.

    Args:
        source: A folder, or a name on the Hub, ``owner/name``.
        files: The only files that are fetched.
        revision: A branch, tag or commit on the Hub.

    Returns:
        The folder, or that of the Hub's cache.

    Raises:
        CheckpointError: If there is neither.
    """
    path = Path(source).expanduser()
    if path.is_dir():
        return path
    if path.exists():
        raise CheckpointError(
            f"'{source}' is a file, and a folder is wanted: `relbench-pretrain export {source}` makes one of a "
            "checkpoint"
        )
    if not HUB_NAME.fullmatch(os.fspath(source)) or os.fspath(source).startswith("."):
        raise CheckpointError(
            f"'{source}' holds no network: there is no such folder. Give the folder that pretraining wrote (it is "
            "called 'best' or 'last'), one that export wrote, or a name on the Hub like owner/name"
        )
    try:
        return Path(snapshot_download(os.fspath(source), revision=revision, allow_patterns=files))
    except Exception as error:  # whatever the Hub's client, or its HTTP library, raises
        reason = f"{type(error).__name__}: {(str(error).strip().splitlines() or [''])[0]}"
        raise CheckpointError(
            f"there is no folder '{source}', and the Hub does not give a model of that name ({reason}): check the "
            "name, the network and, for a private model, that you are logged in"
        ) from None
