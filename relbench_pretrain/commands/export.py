"""A network of a run as a folder that others can load."""

from __future__ import annotations

from pathlib import Path

from relbench_pretrain.pretrained.card import model_card
from relbench_pretrain.pretrained.network import CARD, SharedNetwork, load_network, made_network, save_network
from relbench_pretrain.pretrained.safe_loading import CheckpointError, read_checkpoint


def export(
    checkpoint: str,
    output_dir: str = "exported",
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
        output_dir: The folder to write, which must be new or empty.
        licence: The licence of the weights, as the Hub calls it, such as ``mit``; not stated by default.
        dataset: What to call the data; by default by what the run noted.
        name: What to call the network, such as ``owner/name``; by default like the folder.
        description: What else the card should say.

    Raises:
        CheckpointError: If there is no network in the checkpoint, or the folder is not empty.
    """
    target = Path(output_dir).expanduser()
    if target.exists() and not (target.is_dir() and not any(target.iterdir())):
        raise CheckpointError(f"'{output_dir}' is there already: remove it, or give another --output_dir")
    network = network_of(checkpoint)
    number = sum(value.numel() for value in network.parameters())
    save_network(
        target, network, card=model_card(network, name or target.absolute().name, licence, dataset, description)
    )
    print(f"{type(network).__name__}, {number:,} weights: {target}")
    print(f"Model card: {target / CARD}")


def network_of(checkpoint: str) -> SharedNetwork:
    """Returns the network of a checkpoint of a run, or of a folder, with its weights and what the run noted.

    Raises:
        CheckpointError: If there is none, or the checkpoint does not describe it.
    """
    path = Path(checkpoint).expanduser()
    if not path.is_file():
        return load_network(checkpoint)
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
    network = made_network(config, built_for, weights, path)
    network.training_info = info
    return network
