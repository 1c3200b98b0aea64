"""Progress of long work, on a terminal and in a file."""

from __future__ import annotations

import os
import shutil
import sys
import threading
import time
from collections.abc import Iterable, Iterator, Sized
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TypeVar

T = TypeVar("T")
BAR = 20
"""The width of the bar on a terminal."""


class StatusLine:
    """Says how far work has come: in one line of a terminal that changes, in a file in a new line once a minute.

    Attributes:
        every: After how many seconds it is worth showing something new.
    """

    def __init__(self) -> None:
        self.terminal = sys.stdout.isatty()
        self.every = 1.0 if self.terminal else 60.0
        self.shown = time.monotonic()

    def due(self) -> bool:
        """Returns whether it is time to show something."""
        return time.monotonic() - self.shown >= 0.9 * self.every

    def show(self, text: str) -> None:
        """Shows what is going on, if it is time to."""
        if self.due():
            self._print(text[: shutil.get_terminal_size().columns - 1] if self.terminal else f"{text}\n")

    def say(self, text: str) -> None:
        """Prints what stays, in a line of its own."""
        self._print(f"{text}\n")

    def clear(self) -> None:
        """Takes what was shown off the terminal, and begins to wait anew."""
        if self.terminal:
            self._print("")
        self.shown = time.monotonic()

    def _print(self, text: str) -> None:
        self.shown = time.monotonic()
        print(f"\r\033[K{text}" if self.terminal else text, end="", flush=True)


def duration(seconds: float) -> str:
    """Returns a time as people say it: seconds, or minutes."""
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} min"


@dataclass
class Work:
    """Something that takes long, and how far it has come.

    Args:
        what: What is going on, as in "embedding texts".
        total: How many steps it has, if that is known.
        done: How many of them are done.
        begun: When it began.
    """

    what: str
    total: int | None = None
    done: int = 0
    begun: float = field(default_factory=time.monotonic)

    def told(self, bar: bool) -> str:
        """Says how far it has come, with a bar or without."""
        seconds = time.monotonic() - self.begun
        if not self.total:
            return f"{self.what} ({duration(seconds)})"
        share = min(1.0, self.done / self.total)
        left = f", about {duration(seconds / share - seconds)} left" if share else ""
        drawn = f" [{'#' * round(BAR * share):<{BAR}}]" if bar else ""
        return f"{self.what}:{drawn} {self.done:,} of {self.total:,} ({duration(seconds)}{left})"


_line: StatusLine | None = None
_going_on: list[Work] = []


@contextmanager
def progress_shown() -> Iterator[None]:
    """Lets :func:`work` say how far it is, as commands want and calls of the library do not; on the first process."""
    global _line
    ranks = (os.environ.get(name, "0") for name in ("LOCAL_RANK", "RANK", "SLURM_PROCID"))
    before, _line = _line, StatusLine() if all(rank == "0" for rank in ranks) else None
    try:
        yield
    finally:
        _line = before


@contextmanager
def work(what: str, total: int | None = None) -> Iterator[Work]:
    """Says now and then that something goes on, where a command shows progress.

    Args:
        what: What goes on.
        total: How many steps it has, if that is known.

    Yields:
        The work, whose ``done`` and ``what`` may be changed. Of works within works the innermost one is shown.
    """
    going_on, line = Work(what, total), _line
    _going_on.append(going_on)
    stop = threading.Event()
    thread = None
    if line is not None and len(_going_on) == 1:
        line.clear()
        thread = threading.Thread(target=_show, args=(line, stop), daemon=True)
        thread.start()
    try:
        yield going_on
    finally:
        _going_on.remove(going_on)
        if thread is not None and line is not None:
            stop.set()
            thread.join()
            line.clear()


def _show(line: StatusLine, stop: threading.Event) -> None:
    while not stop.wait(line.every):
        if _going_on:
            line.show(_going_on[-1].told(line.terminal))


def tracked(items: Iterable[T], what: str, total: int | None = None) -> Iterator[T]:
    """Yields items, and says now and then how far that has come; see :func:`work`.

    Args:
        items: What is gone through.
        what: What goes on.
        total: How many there are; by default as many as ``items`` says itself.
    """
    if total is None and isinstance(items, Sized):
        total = len(items)
    with work(what, total) as going_on:
        for item in items:
            yield item
            going_on.done += 1
