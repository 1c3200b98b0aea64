"""Tables for people."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pandas as pd
from scipy import stats


def markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Writes a table in Markdown."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


def interval(differences: pd.Series, negate: bool = False) -> str:
    """Formats the mean of paired differences with Student's 95 % interval, turned round where less is better."""
    if not len(differences):
        return ""
    mean = (-1 if negate else 1) * differences.mean()
    if len(differences) == 1:
        return f"{mean:+.3f}"
    half = stats.t.ppf(0.975, len(differences) - 1) * differences.std() / math.sqrt(len(differences))
    return f"{mean:+.3f} [{mean - half:+.3f}, {mean + half:+.3f}]"
