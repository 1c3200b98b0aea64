"""Networks as folders: weights as safetensors, everything else as JSON, and nothing that can run code."""

from relbench_pretrain.pretrained.config import from_config, to_config
from relbench_pretrain.pretrained.hub import from_pretrained, push_to_hub
from relbench_pretrain.pretrained.network import (
    SavedNetwork,
    SharedNetwork,
    load_network,
    made_network,
    read_network,
    save_network,
)
from relbench_pretrain.pretrained.safe_loading import CheckpointError

__all__ = [
    "CheckpointError",
    "SavedNetwork",
    "SharedNetwork",
    "from_config",
    "from_pretrained",
    "load_network",
    "made_network",
    "push_to_hub",
    "read_network",
    "save_network",
    "to_config",
]
