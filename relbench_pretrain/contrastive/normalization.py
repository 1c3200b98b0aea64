"""From the losses of single anchors to one number per level, on a common scale."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor

from relbench_pretrain.contrastive.infonce import AnchorLosses
from relbench_pretrain.distributed import process_mean

Levels = dict[str, AnchorLosses]


class Normalization(ABC):
    """Turns the losses of each level into one scalar per level."""

    @abstractmethod
    def __call__(self, levels: Levels, update: bool = False) -> dict[str, Tensor]:
        """Normalises the levels.

        Args:
            levels: The losses of the anchors by level.
            update: Whether a rule that learns from losses learns from these; so it should in training alone.

        Returns:
            One scalar per level; 0 for a level without anchors.
        """

    def state_dict(self) -> dict[str, float]:
        """Returns what the rule has learned, in plain types."""
        return {}

    def load_state_dict(self, state: dict[str, float]) -> None:
        """Takes up what :meth:`state_dict` returned."""


class ChanceLevel(Normalization):
    """Divides each anchor's loss by ln(N_neg + 1), the loss of guessing, and averages over anchors.

    The µ normalisation of Peleška and Šír 2025, Eq. 6: at every level 1 is guessing and 0 is perfect, whatever
    the batch. Anchors without a negative do not count.
    """

    def __call__(self, levels: Levels, update: bool = False) -> dict[str, Tensor]:
        counts = anchor_counts(levels, update)
        return {name: losses.normalized_sum / counts[name] for name, losses in levels.items()}


class MeanLoss(Normalization):
    """Averages the losses of each level over its anchors, in nats: no normalisation."""

    def __call__(self, levels: Levels, update: bool = False) -> dict[str, Tensor]:
        counts = anchor_counts(levels, update)
        return {name: losses.sum / counts[name] for name, losses in levels.items()}


def anchor_counts(levels: Levels, shared: bool) -> dict[str, Tensor]:
    """Counts the anchors of each level, by which its losses are divided; 1 for a level without any.

    Args:
        levels: The losses of the anchors by level.
        shared: Whether to take the mean over processes, so that each anchor weighs the same wherever it is.
    """
    counts = torch.stack([losses.count for losses in levels.values()])
    if shared:
        counts = process_mean(counts)
    return dict(zip(levels, torch.where(counts > 0, counts, 1), strict=True))


class RunningMagnitude(Normalization):
    """Divides each level's mean loss by a running mean of its own size, so that all levels weigh about the same.

    Args:
        decay: How much of the running mean stays at each step.

    Raises:
        ValueError: If ``decay`` is not between 0 and 1.
    """

    def __init__(self, decay: float = 0.99) -> None:
        if not 0 <= decay < 1:
            raise ValueError(f"decay must be from 0 to below 1, got {decay}")
        self.decay = decay
        self._magnitude: dict[str, Tensor] = {}

    def __call__(self, levels: Levels, update: bool = False) -> dict[str, Tensor]:
        result = {}
        means = MeanLoss()(levels, update)
        sizes = process_mean(torch.stack([mean.detach() for mean in means.values()])) if update else None
        for place, (name, mean) in enumerate(means.items()):
            size = mean.detach() if sizes is None else sizes[place]
            magnitude = self._magnitude.get(name, size).to(size)
            if update:  # a level without anchors in a batch says nothing of its size
                moved = torch.where(magnitude > 0, self.decay * magnitude + (1 - self.decay) * size, size)
                magnitude = torch.where(size > 0, moved, magnitude)
                self._magnitude[name] = magnitude
            result[name] = mean / magnitude.clamp(min=1e-8)
        return result

    def state_dict(self) -> dict[str, float]:
        return {name: float(value) for name, value in self._magnitude.items()}

    def load_state_dict(self, state: dict[str, float]) -> None:
        self._magnitude = {name: torch.tensor(value) for name, value in state.items()}
