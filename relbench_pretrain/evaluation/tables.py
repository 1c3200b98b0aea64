"""Tables for people."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd


def markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Writes a table in Markdown."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


def mean_and_deviation(values: pd.Series) -> str:
    """Formats a mean and the standard deviation over seeds; nothing for no values."""
    if not len(values):
        return ""
    return f"{values.mean():.3f}" + (f" ± {values.std():.3f}" if len(values) > 1 else "")


def interval(differences: pd.Series, negate: bool = False) -> str:
    """Formats the mean of paired differences with Student's 95 % interval, turned round where less is better."""
    if not len(differences):
        return ""
    mean = (-1 if negate else 1) * differences.mean()
    if len(differences) == 1:
        return f"{mean:+.3f}"
    from scipy.special import stdtrit  # half a second, for which those who only print tables do not wait

    half = stdtrit(len(differences) - 1, 0.975) * differences.std() / math.sqrt(len(differences))
    return f"{mean:+.3f} [{mean - half:+.3f}, {mean + half:+.3f}]"
