"""A script of its own: trains a system from its newest checkpoint, until it is done or killed."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, seed_everything
from lightning.pytorch.callbacks import ModelCheckpoint
from systems import SYSTEMS, Losses, trainer_for

from callbacks import FiniteLoss, LastCheckpoint
from relbench_pretrain.trainer.checkpoint_io import newest_checkpoint


class Signal(Callback):
    """Sends a signal to its own process, a moment after a batch has begun; batches take longer than that.

    Args:
        batches: Which batch of this process; the fraction is the moment, in fiftieths of a second.
        how: The signal.
    """

    def __init__(self, batches: float, how: str) -> None:
        self.left, self.moment = int(batches), batches % 1 / 50
        self.signal = getattr(signal, how)

    def on_train_batch_start(self, *args: Any) -> None:
        if self.left == 0:
            timer = threading.Timer(self.moment, os.kill, (os.getpid(), self.signal))
            timer.daemon = True
            timer.start()
        self.left -= 1
        time.sleep(0.02)


def main(name: str, folder: Path, place: str, epochs: int, batches: float, how: str) -> None:
    """Trains in ``folder/place``; with a positive number of batches, the process gets the signal after those."""
    torch.set_num_threads(1)
    seed_everything(0, verbose=False)
    run = folder / place
    (run / "checkpoints").mkdir(parents=True, exist_ok=True)
    module, data = SYSTEMS[name](folder, 1, 0.2)
    writer = ModelCheckpoint(
        run / "checkpoints", "last", enable_version_counter=False, every_n_train_steps=2, save_top_k=1
    )
    callbacks = [writer, LastCheckpoint(), FiniteLoss(), Losses(run / "losses"), Signal(batches - 1, how)]
    trainer = trainer_for(name, run, callbacks=callbacks, max_epochs=epochs)
    trainer.fit(module, data, ckpt_path=newest_checkpoint((run / "checkpoints").glob("*.ckpt")), weights_only=False)
    torch.save(module.state_dict(), run / "weights.pt")


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), sys.argv[3], int(sys.argv[4]), float(sys.argv[5]), sys.argv[6])
