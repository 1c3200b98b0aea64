"""Where files of the package go, and how they are written: whole or not at all."""

from __future__ import annotations

import glob
import os
import secrets
import shutil
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

CACHE_VARIABLE = "RELBENCH_PRETRAIN_CACHE"
"""Names the folder of everything that is cached."""

ABANDONED_SECONDS = 24 * 3600
"""Age at which an unfinished file or folder is taken to be left over from a process that was killed."""


def cache_root() -> Path:
    """Returns the folder of everything that is cached.

    It is the one that ``RELBENCH_PRETRAIN_CACHE`` names, or ``~/.cache/relbench_pretrain``.
    """
    return Path(os.environ.get(CACHE_VARIABLE) or "~/.cache/relbench_pretrain").expanduser()


@contextmanager
def atomic_file(path: str | Path) -> Iterator[Path]:
    """Lets a file appear, or change, only when it is complete and on disk.

    What is written goes to a new file of an unguessable name in the same folder, which takes the place of the old one
    at the end, so that no reader and no crash meets half a file. Where writing fails, nothing is left behind and the
    old file stays. A link of that name is replaced, not followed. The file has the permissions of the one that it
    replaces, or those of any new file, also where a library would write it for its owner alone.

    Args:
        path: The file; folders above it are made.

    Yields:
        The path to write to in its stead, of an empty file.
    """
    path = Path(path)
    part = _beside(path)
    os.close(os.open(part, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
    mode = (path if path.is_file() and not path.is_symlink() else part).stat().st_mode
    try:
        yield part
        _finish(part, stat.S_IMODE(mode))
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


@contextmanager
def atomic_folder(path: str | Path, replace: bool = False) -> Iterator[Path]:
    """Lets a folder appear only when all its files are complete and on disk; see :func:`atomic_file`.

    Args:
        path: The folder; those above it are made.
        replace: Whether it takes the place of a folder of that name. Otherwise one that is there at the end stays, as
            another process has then made the same.

    Yields:
        The path of an empty folder to write to in its stead.
    """
    path = Path(path)
    part, older = _beside(path), _beside(path)
    part.mkdir()
    mode = stat.S_IMODE(part.stat().st_mode) & 0o666
    try:
        yield part
        for file in part.rglob("*"):
            if file.is_file() and not file.is_symlink():
                _finish(file, mode)
        if replace and path.exists():
            path.rename(older)
        try:
            part.rename(path)
        except OSError:
            if replace or not path.is_dir():
                raise
    finally:
        if older.exists() and not path.exists():
            older.rename(path)
        for left in (part, older):
            shutil.rmtree(left, ignore_errors=True)


def discard_folder(path: Path) -> None:
    """Removes a folder, which loses its name at once, so that nobody opens the half of it."""
    doomed = _beside(path)
    with suppress(OSError):  # another process was first, or it is not ours to remove
        path.rename(doomed)
        shutil.rmtree(doomed, ignore_errors=True)


def remove_abandoned(folder: Path, name: str = "*") -> None:
    """Removes what processes that were killed have left unfinished in a folder.

    Args:
        folder: The folder.
        name: A pattern of the names of the files and folders that were to be written.
    """
    for path in folder.glob(f".{name}.{'[0-9a-f]' * 16}.part"):
        with suppress(OSError):  # its process has just finished
            if time.time() - path.lstat().st_mtime > ABANDONED_SECONDS:
                shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()


def _beside(path: Path) -> Path:
    """Returns a new name in the same folder, which is made where it is not there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    remove_abandoned(path.parent, glob.escape(path.name))
    return path.with_name(f".{path.name}.{secrets.token_hex(8)}.part")


def _finish(path: Path, mode: int) -> None:
    """Brings a file to disk, before it has its name lest a crash leave it empty, and gives it its permissions."""
    with path.open("rb") as file:
        os.fsync(file.fileno())
    if stat.S_IMODE(path.stat().st_mode) != mode:
        with suppress(OSError):  # there are file systems without permissions
            path.chmod(mode)
