"""Initial weights of a learner, from files and from the Hub."""

from __future__ import annotations

from pathlib import Path

from huggingface_hub import hf_hub_download
from torch import Tensor
from torch.distributed.checkpoint.state_dict import StateDictOptions, set_model_state_dict

from relbench_pretrain.knowledge_graph.mre.learner import Learner
from relbench_pretrain.pretrained.safe_loading import CheckpointError, read_checkpoint, read_tensors

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
    differing = [name for name in wanted if name not in found or found[name].shape != wanted[name].shape]
    if differing:
        named = ", ".join(
            f"{name} {tuple(wanted[name].shape)} is {tuple(found[name].shape) if name in found else 'not there'}"
            for name in differing[:3]
        )
        raise CheckpointError(f"the weights of '{source}' do not fit the learner: {named}; {len(differing)} in all")
    # Where parameters are in shares over devices, each takes its own.
    set_model_state_dict(
        learner, {name: found[name] for name in wanted}, options=StateDictOptions(full_state_dict=True)
    )


def _read(source: str) -> dict[str, Tensor]:
    path = Path(source).expanduser()
    if path.suffix == ".ckpt" and path.is_file():
        return read_checkpoint(path)["state_dict"]
    if path.is_dir():
        path = path / FILE
    if path.is_file():
        return read_tensors(path)
    try:
        return read_tensors(hf_hub_download(source, FILE))
    except CheckpointError:
        raise
    except Exception as error:  # whatever the Hub's client raises
        raise CheckpointError(
            f"no weights in '{source}' ({error}): give a file, a folder with {FILE} or a model on the Hub"
        ) from None
