"""Callbacks of all systems."""

from callbacks.checkpoints import BackboneCheckpoint
from callbacks.diagnostics import CollapseMonitor, TypeBalance
from callbacks.exports import PredictionWriter, TripleWriter
from callbacks.learning_rate import ScaledLearningRate
from callbacks.loss_normalization import LossNormalization
from callbacks.multi_device import MultiDevice
from callbacks.recovery import Recovery
from callbacks.throughput import Throughput

__all__ = [
    "BackboneCheckpoint",
    "CollapseMonitor",
    "LossNormalization",
    "MultiDevice",
    "PredictionWriter",
    "Recovery",
    "ScaledLearningRate",
    "Throughput",
    "TripleWriter",
    "TypeBalance",
]
