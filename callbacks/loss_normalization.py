"""The rule that puts the levels of contrastive pretraining on one scale, as a callback."""

from __future__ import annotations

from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from relbench_pretrain.contrastive.normalization import ChanceLevel, Normalization


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
        if not hasattr(pl_module, "normalization"):
            raise TypeError(f"LossNormalization goes with ContrastivePretraining, not with {type(pl_module).__name__}")
        pl_module.normalization = self.rule  # type: ignore[assignment]

    def state_dict(self) -> dict[str, Any]:
        return {"rule": type(self.rule).__name__, "state": self.rule.state_dict()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        if state_dict["rule"] == type(self.rule).__name__:
            self.rule.load_state_dict(state_dict["state"])
