"""Means over batches and processes."""

from __future__ import annotations


def exact(number: int) -> int:
    """Returns a ``batch_size`` for ``log`` as floating point.

    Lightning's mean over processes divides whole numbers as such, so that a metric of 21 rows on one process and 20 on
    the other would be divided by 20.

    Args:
        number: The number of rows that a value is the mean of.
    """
    return float(number)  # type: ignore[return-value]
