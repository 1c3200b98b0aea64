"""Contrastive pretraining objectives at the level of rows, links and contexts, and the corruption of rows."""

from relbench_pretrain.contrastive.context import ContextContrast
from relbench_pretrain.contrastive.corruption import Corruption
from relbench_pretrain.contrastive.infonce import AnchorLosses, info_nce
from relbench_pretrain.contrastive.link import LinkContrast
from relbench_pretrain.contrastive.normalization import ChanceLevel, MeanLoss, Normalization, RunningMagnitude
from relbench_pretrain.contrastive.row import RowContrast

__all__ = [
    "AnchorLosses",
    "ChanceLevel",
    "ContextContrast",
    "Corruption",
    "LinkContrast",
    "MeanLoss",
    "Normalization",
    "RowContrast",
    "RunningMagnitude",
    "info_nce",
]
