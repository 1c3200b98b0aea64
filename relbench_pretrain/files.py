"""Where files of the package go, and how they are written."""

from __future__ import annotations

import os
from pathlib import Path

CACHE_VARIABLE = "RELBENCH_PRETRAIN_CACHE"
"""Names the folder of everything that is cached."""


def cache_root() -> Path:
    """Returns the folder of everything that is cached.

    It is the one that ``RELBENCH_PRETRAIN_CACHE`` names, or ``~/.cache/relbench_pretrain``.
    """
    return Path(os.environ.get(CACHE_VARIABLE) or "~/.cache/relbench_pretrain").expanduser()
