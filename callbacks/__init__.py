"""Callbacks of all systems."""

from callbacks.checkpoints import BackboneCheckpoint
from callbacks.diagnostics import CollapseMonitor, TypeBalance
from callbacks.exact_resume import ExactResume
from callbacks.exports import PredictionWriter, TripleWriter
from callbacks.learning_rate import ScaledLearningRate
from callbacks.objectives import LossNormalization, MultiDevice
from callbacks.progress import ProgressLines
from callbacks.recovery import Recovery
from callbacks.safety import FiniteLoss, LastCheckpoint, NonFiniteError
from callbacks.throughput import Throughput

__all__ = [
    "BackboneCheckpoint",
    "CollapseMonitor",
    "ExactResume",
    "FiniteLoss",
    "LastCheckpoint",
    "LossNormalization",
    "MultiDevice",
    "NonFiniteError",
    "PredictionWriter",
    "ProgressLines",
    "Recovery",
    "ScaledLearningRate",
    "Throughput",
    "TripleWriter",
    "TypeBalance",
]
