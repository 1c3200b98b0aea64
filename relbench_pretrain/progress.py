"""Progress of long work, on a terminal and in a file."""

from __future__ import annotations

import shutil
import sys
import time


class StatusLine:
    """Says how far work has come: in one line of a terminal that changes, in a file in a new line once a minute.

    Attributes:
        every: After how many seconds it is worth showing something new.
    """

    def __init__(self) -> None:
        self.terminal = sys.stdout.isatty()
        self.every = 1.0 if self.terminal else 60.0
        self.shown = time.monotonic()

    def show(self, text: str) -> None:
        """Shows what is going on, if it is time to."""
        if time.monotonic() - self.shown >= 0.9 * self.every:
            self._print(text[: shutil.get_terminal_size().columns - 1] if self.terminal else f"{text}\n")

    def say(self, text: str) -> None:
        """Prints what stays, in a line of its own."""
        self._print(f"{text}\n")

    def _print(self, text: str) -> None:
        self.shown = time.monotonic()
        print(f"\r\033[K{text}" if self.terminal else text, end="", flush=True)


def duration(seconds: float) -> str:
    """Returns a time as people say it: seconds, or minutes."""
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} min"
