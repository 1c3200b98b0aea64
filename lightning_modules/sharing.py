"""Base of the LightningModules whose network can be exported."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, ClassVar, cast

from lightning.pytorch import LightningModule

from relbench_pretrain.pretrained import SharedNetwork
from relbench_pretrain.pretrained.config import to_config
from relbench_pretrain.trainer.specification import found_specification


class Sharing:
    """Lets checkpoints say, in plain values, which of their weights make which network, and what it was trained on.

    Attributes:
        shared_prefix: What the names of the network's weights begin with in the module.
    """

    shared_prefix: ClassVar[str] = ""

    @abstractmethod
    def shared_network(self) -> SharedNetwork:
        """Returns the network that is worth sharing; its weights are some of the module's own."""

    def training_info(self) -> dict[str, Any]:
        """Returns what a model card says of the run: the module, step, epoch, metrics and data."""
        trainer = cast(LightningModule, self).trainer
        return {
            "system": type(self).__name__,
            "step": trainer.global_step,
            "epoch": trainer.current_epoch,
            "metrics": {name: float(value) for name, value in trainer.callback_metrics.items()},
            "data": getattr(found_specification(trainer), "about", {}),
        }

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Stores the description, from which ``export`` makes the network without this module."""
        network = self.shared_network()
        try:
            config = to_config(network)
        except TypeError as error:  # a network of somebody else's, which must not keep a run from being saved
            checkpoint["network"] = {"error": str(error)}
            return
        checkpoint["network"] = {
            "config": config,
            "built_for": network.built_for(),
            "prefix": self.shared_prefix,
            "info": self.training_info(),
        }
