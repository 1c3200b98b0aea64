"""Networks as folders: weights as safetensors, everything else as JSON, no pickle anywhere."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, TypeVar

import torch
from huggingface_hub import ModelCard, ModelHubMixin
from safetensors.torch import save_file
from torch import nn

from relbench_pretrain.files import atomic_folder
from relbench_pretrain.pretrained.card import CardText, model_card
from relbench_pretrain.pretrained.config import from_config, to_config
from relbench_pretrain.pretrained.safe_loading import CheckpointError, local_folder, read_tensors

WEIGHTS, DESCRIPTION, CARD = "model.safetensors", "config.json", "README.md"
EARLIER = {WEIGHTS: "backbone.safetensors", DESCRIPTION: "backbone.json"}
"""The names of a backbone's files in version 0.1."""

Network = TypeVar("Network", bound="SharedNetwork")


class SharedNetwork(nn.Module, ModelHubMixin):
    """Base of the networks that can be shared: as a folder, and over the Hub by ``huggingface_hub``'s own methods.

    ``save_pretrained``, ``from_pretrained`` and ``push_to_hub`` are those of :class:`huggingface_hub.ModelHubMixin`.
    The constructor's arguments are kept as attributes, see :func:`to_config`, and what the parameters depend on
    beside these is plain JSON.

    Attributes:
        card: What a model card says of networks of this class.
        training_info: What the run noted that the weights are of: step, metrics, data and the like.
    """

    card: ClassVar[CardText] = CardText("a network", "relational-data")

    def __init__(self) -> None:
        super().__init__()
        self.training_info: dict[str, Any] = {}

    def built_for(self) -> dict[str, Any] | None:
        """Returns in JSON types what the parameters were created for, None as long as there are none."""
        return {}

    def build_for(self, description: dict[str, Any]) -> None:
        """Creates the parameters for what :meth:`built_for` returned; a second call changes nothing.

        Args:
            description: What another network of the same arguments was built for.
        """

    def data_facts(self) -> dict[str, Any]:
        """Returns what a model card says of the data that the parameters were created for."""
        return {}

    def generate_model_card(self, *args: Any, repo_id: str | None = None, **facts: Any) -> ModelCard:
        """Returns the model card.

        Args:
            args: None.
            repo_id: What the network is called.
            facts: What else is known, see :func:`model_card`.
        """
        return model_card(self, repo_id or type(self).__name__, **facts)

    def _save_pretrained(self, save_directory: Path) -> None:
        _write(save_directory, self, self.training_info)

    @classmethod
    def _from_pretrained(  # type: ignore[override]
        cls: type[Network], *, model_id: str, revision: str | None = None, **options: Any
    ) -> Network:
        network = load_network(model_id, revision=revision)
        if not isinstance(network, cls):
            raise CheckpointError(f"'{model_id}' holds a {type(network).__name__}, not a {cls.__name__}")
        return network.eval()


class SavedNetwork(NamedTuple):
    """The description of a network in its folder.

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


def save_network(
    folder: str | Path, network: SharedNetwork, info: dict[str, Any] | None = None, card: ModelCard | None = None
) -> Path:
    """Writes a network; the folder appears, or changes, only when all files are complete.

    Args:
        folder: The folder to write; an older network in it is replaced.
        network: A network that is built.
        info: Plain values to keep with it; those that it has itself by default.
        card: A model card to keep with it.

    Returns:
        The folder.

    Raises:
        CheckpointError: If the network is not built, the folder has other files in it, or ``info`` is not plain.
    """
    folder = Path(folder).expanduser().absolute()
    _require_own(folder)
    with atomic_folder(folder, replace=True) as new:
        _write(new, network, network.training_info if info is None else info)
        if card is not None:
            card.save(new / CARD)
    return folder


def _write(folder: Path, network: SharedNetwork, info: dict[str, Any]) -> None:
    built_for = network.built_for()
    if built_for is None:
        raise CheckpointError("the network has no parameters yet: build it first")
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
        "info": info,
        "extra_state": {name: value for name, value in state.items() if name not in weights},
    }
    try:
        text = json.dumps(_finite(description), indent=1, allow_nan=False)
    except TypeError as error:
        raise CheckpointError(f"what is known of the network is not all plain values: {error}") from error
    save_file(weights, folder / WEIGHTS, metadata={"format": "pt"})
    (folder / DESCRIPTION).write_text(text, encoding="utf-8")


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
    network = made_network(saved.config, saved.built_for, found, saved.weights)
    network.training_info = saved.info
    return network


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
