"""Callbacks that set how objectives are computed: on which scale, and with whose negatives."""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

from lightning.pytorch import Callback, LightningModule, Trainer

from relbench_pretrain.contrastive.normalization import ChanceLevel, Normalization


@runtime_checkable
class NormalizesLevels(Protocol):
    """A module whose loss is a sum of levels, each on a scale of its own."""

    def set_normalization(self, rule: Normalization) -> None:
        """Takes the rule that puts the levels on one scale."""


@runtime_checkable
class GathersNegatives(Protocol):
    """An objective that can take negatives from all devices."""

    def set_gather_negatives(self, gather: bool) -> None:
        """Says whether it does."""


class LossNormalization(Callback):
    """Sets how the levels of ``ContrastivePretraining`` are normalised; what the rule learns is checkpointed.

    Args:
        rule: ``ChanceLevel`` (the paper's µ, the default), ``RunningMagnitude`` or ``MeanLoss``.
    """

    def __init__(self, rule: Normalization | None = None) -> None:
        self.rule = rule or ChanceLevel()

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Hands the rule to the module.

        Raises:
            TypeError: If the module has no levels to normalise.
        """
        if not isinstance(pl_module, NormalizesLevels):
            raise TypeError(f"LossNormalization goes with ContrastivePretraining, not with {type(pl_module).__name__}")
        pl_module.set_normalization(self.rule)

    def state_dict(self) -> dict[str, Any]:
        return {"rule": type(self.rule).__name__, "state": self.rule.state_dict()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        if state_dict["rule"] == type(self.rule).__name__:
            self.rule.load_state_dict(state_dict["state"])


class MultiDevice(Callback):
    """Makes negatives of the rows on all devices; does nothing on one.

    Datamodules share the rows out themselves, without overlap, and in a batch that cannot be shared out evenly each
    row weighs the same.

    Args:
        gather_negatives: Whether the rows on all devices are candidates for every anchor. The batch a loss sees
            grows with the number of devices; without it every device only sees its own.
    """

    def __init__(self, gather_negatives: bool = True) -> None:
        self.gather_negatives = gather_negatives

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Switches the gathering on in every objective that can."""
        for objective in pl_module.modules():
            if isinstance(objective, GathersNegatives):
                objective.set_gather_negatives(self.gather_negatives and trainer.world_size > 1)
