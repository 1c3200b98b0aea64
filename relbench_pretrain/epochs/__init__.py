"""Which batches an epoch has, who takes them, and how a stopped run goes on: serves the data of all systems."""

from relbench_pretrain.epochs.order import (
    BatchOrder,
    NumberedBatches,
    PassBatches,
    PhaseBatches,
    RowBatches,
    SharedBatches,
)
from relbench_pretrain.epochs.resumable import Loader, ResumableLoader

__all__ = [
    "BatchOrder",
    "Loader",
    "NumberedBatches",
    "PassBatches",
    "PhaseBatches",
    "ResumableLoader",
    "RowBatches",
    "SharedBatches",
]
