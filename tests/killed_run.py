"""A script of its own: trains a system from its newest checkpoint, until it is done or killed."""

from __future__ import annotations

import os
import signal
import sys
import threading
from pathlib import Path

import torch
from lightning.pytorch import seed_everything
from lightning.pytorch.callbacks import ModelCheckpoint
from systems import SYSTEMS, Losses, trainer_for

from callbacks import FiniteLoss, StopCheckpoint
from callbacks.checkpoint_io import newest_checkpoint


def main(name: str, folder: Path, place: str, after: float, how: str) -> None:
    """Trains in ``folder/place``; after so many seconds of training the process gets the signal."""
    torch.set_num_threads(1)
    seed_everything(0, verbose=False)
    run = folder / place
    (run / "checkpoints").mkdir(parents=True, exist_ok=True)
    module, data = SYSTEMS[name](folder, 1, 0.2)
    writer = ModelCheckpoint(
        run / "checkpoints", "last", enable_version_counter=False, every_n_train_steps=2, save_top_k=1
    )
    timer = threading.Timer(after, os.kill, (os.getpid(), getattr(signal, how)))
    timer.daemon = True
    callbacks = [writer, StopCheckpoint(), FiniteLoss(), Losses(run / "losses")]
    trainer = trainer_for(name, run, callbacks=callbacks)
    if after > 0:
        timer.start()
    trainer.fit(module, data, ckpt_path=newest_checkpoint(run / "checkpoints"), weights_only=False)
    timer.cancel()
    torch.save(module.state_dict(), run / "weights.pt")


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), sys.argv[3], float(sys.argv[4]), sys.argv[5])
