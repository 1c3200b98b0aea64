"""The plan of a study: runs of the command line, what each of them needs, and its names in the results."""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from relbench_pretrain.errors import UserError
from relbench_pretrain.renamed import RenamedWarning, translated_arguments


class StudyError(UserError, RuntimeError):
    """A study that cannot be run, or in which runs failed; the message names them."""


@dataclass
class Run:
    """One run of the command line.

    Args:
        folder: Where its files go, within the study's folder.
        command: Subcommand and arguments, without those that say where its files go.
        labels: Its names in the results: database, task, network, start, seed and so on.
        needs: The runs that have to be done before.
        places: Further arguments that do not tell runs apart, such as where data lies.
        tests: The run among those whose checkpoint it tests, or None.
    """

    folder: str
    command: list[str]
    labels: dict[str, Any]
    needs: list[Run] = field(default_factory=list)
    places: list[str] = field(default_factory=list)
    tests: Run | None = None

    @property
    def level(self) -> int:
        """The number of runs that have to be made before, one after the other."""
        return 1 + max((run.level for run in self.needs), default=-1)

    @property
    def hash(self) -> str:
        """Tells runs with different arguments, or with different ones of the runs that they need, apart."""
        return _hash(self.command, [run.hash for run in self.needs])

    def record(self, root: Path) -> dict[str, Any] | None:
        """Returns what is stored of this run if it has ended well with the same arguments.

        Args:
            root: The study's folder.

        Returns:
            ``config``, the hash of the arguments, ``seconds`` and ``command``; None if the run is yet to be made.
        """
        path = root / self.folder / "run.json"
        stored = json.loads(path.read_text()) if path.is_file() else None
        if stored is None or stored["config"] == self.hash:
            return stored
        # A run of an earlier version, whose options had other names, has another hash.
        before = [run.record(root) for run in self.needs]
        if not all(before) or _todays(stored.get("command", [])) != _todays(self.command):
            return None
        return stored if stored["config"] == _hash(stored["command"], [r["config"] for r in before if r]) else None


def _hash(command: Sequence[str], before: Sequence[str]) -> str:
    return hashlib.sha256("\n".join([*command, *before]).encode()).hexdigest()[:12]


def _todays(command: Sequence[str]) -> list[str]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RenamedWarning)
        return translated_arguments(command, {}, (), yaml.safe_load)
