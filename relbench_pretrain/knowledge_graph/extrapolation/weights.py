"""Weights for a learner to begin with, from files and from the Hub."""

from __future__ import annotations

import pickle
from pathlib import Path

import torch
from huggingface_hub import hf_hub_download
from safetensors.torch import load_file
from torch import Tensor
from torch.distributed.checkpoint.state_dict import StateDictOptions, set_model_state_dict

from relbench_pretrain.checkpoints import CheckpointError
from relbench_pretrain.knowledge_graph.extrapolation.learner import Learner

FILE = "model.safetensors"


def load_learner(learner: Learner, source: str) -> None:
    """Loads weights into a learner.

    Args:
        learner: The learner, built.
        source: A Lightning checkpoint (``.ckpt``) of a module with a learner, a safetensors file, a folder with a
            ``model.safetensors``, or the name of a model on the Hub.

    Raises:
        CheckpointError: If there are no such weights, or they belong to another network; the first differences are
            named.
    """
    found = _read(source)
    prefix = "learner."
    found = {name.removeprefix(prefix): value for name, value in found.items() if name.startswith(prefix)} or found
    wanted = learner.state_dict()
    wrong = [name for name in wanted if name not in found or found[name].shape != wanted[name].shape]
    if wrong:
        told = ", ".join(
            f"{name} {tuple(wanted[name].shape)} is {tuple(found[name].shape) if name in found else 'not there'}"
            for name in wrong[:3]
        )
        raise CheckpointError(f"the weights of '{source}' do not fit the learner: {told}; {len(wrong)} in all")
    # Where parameters are in shares over devices, each takes its own.
    set_model_state_dict(
        learner, {name: found[name] for name in wanted}, options=StateDictOptions(full_state_dict=True)
    )


def _read(source: str) -> dict[str, Tensor]:
    path = Path(source)
    if path.suffix == ".ckpt" and path.is_file():
        try:
            return torch.load(path, map_location="cpu", weights_only=True)["state_dict"]
        except (RuntimeError, KeyError) as error:
            raise CheckpointError(f"'{source}' is no whole checkpoint of a module ({error})") from None
        except pickle.UnpicklingError as error:
            raise CheckpointError(
                f"'{source}' holds more than tensors and plain values, and is not loaded: {error}"
            ) from None
    if path.is_dir():
        path = path / FILE
    if path.is_file():
        return load_file(path)
    try:
        return load_file(hf_hub_download(source, FILE))
    except Exception as error:  # whatever the Hub's client raises
        raise CheckpointError(
            f"no weights in '{source}' ({error}): give a file, a folder with {FILE} or a model on the Hub"
        ) from None
