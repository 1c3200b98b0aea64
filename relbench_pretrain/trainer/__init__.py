"""Parts of a Trainer that are no callbacks: loggers, checkpoint files, the run's folder, the data's specification.

The only room below the commands that knows Lightning.
"""

from relbench_pretrain.trainer.checkpoint_io import AtomicCheckpointIO
from relbench_pretrain.trainer.loggers import CSVLogger, WandbLogger
from relbench_pretrain.trainer.run_folder import RunError

__all__ = ["AtomicCheckpointIO", "CSVLogger", "RunError", "WandbLogger"]
