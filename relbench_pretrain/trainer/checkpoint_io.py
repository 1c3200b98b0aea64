"""Writes checkpoints so that each is there whole or not at all."""

from __future__ import annotations

import warnings
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins.io.torch_io import TorchCheckpointIO

from relbench_pretrain.files import atomic_file
from relbench_pretrain.pretrained import CheckpointError


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes a checkpoint beside the one before and puts it in its place when it is complete, on disk.

    Whatever stops a run, the file of a name is either the old one or the new one. A file that was cut off elsewhere,
    when it was copied for example, is recognised, and the one before is taken; see :func:`complete_checkpoint`.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        """Writes a checkpoint.

        Raises:
            CheckpointError: If it cannot be written; an older one of that name is untouched.
        """
        if "://" in str(path):
            super().save_checkpoint(checkpoint, path, storage_options)
            return
        try:
            with atomic_file(path) as part, part.open("wb") as file:
                torch.save(checkpoint, file)
        except (OSError, RuntimeError) as error:  # torch reports a full disk as RuntimeError
            raise CheckpointError(
                f"the checkpoint '{path}' cannot be written ({error}): make room there, or give another folder. "
                "Older checkpoints are as they were, and the run can go on from them"
            ) from error

    def load_checkpoint(self, path: str | Path, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """Loads a checkpoint, or the one before it if it is not complete."""
        return super().load_checkpoint(path if "://" in str(path) else complete_checkpoint(path), *args, **kwargs)


def is_complete(path: str | Path) -> bool:
    """Returns whether a checkpoint was written to its end; what closes the file is there then."""
    return Path(path).is_dir() or zipfile.is_zipfile(path)


def newest_checkpoint(files: Iterable[Path]) -> Path | None:
    """Returns the newest complete one of some checkpoints, None if there is none. Warns of those that are cut off."""
    for file in sorted(files, key=lambda file: (file.stat().st_mtime_ns, file.name), reverse=True):
        if is_complete(file):
            return file
        warnings.warn(f"the checkpoint '{file}' is cut off and is left out", stacklevel=2)
    return None


def complete_checkpoint(path: str | Path) -> Path:
    """Returns the path of a checkpoint; if it is cut off, that of the newest complete one beside it.

    Raises:
        FileNotFoundError: If there is no such file.
        CheckpointError: If neither is complete.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"there is no checkpoint '{path}'")
    if is_complete(path):
        return path
    if (other := newest_checkpoint(path.parent.glob("*.ckpt"))) is None:
        raise CheckpointError(f"the checkpoint '{path}' is cut off, and there is no other beside it: begin anew")
    warnings.warn(f"the checkpoint '{path}' is cut off; '{other}' is taken in its place", stacklevel=2)
    return other
