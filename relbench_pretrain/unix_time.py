"""Times as integers: UNIX seconds in int64, and how long a day is."""

from __future__ import annotations

import numpy as np
import pandas as pd

SECONDS_PER_DAY = 86_400

PER_SECOND = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}

ALWAYS = np.iinfo(np.int64).min
"""The time of a row without one: earlier than everything, hence visible at any time."""


def to_unix_seconds(times: pd.Series | pd.DatetimeIndex) -> np.ndarray:
    """Turns datetimes of any unit and time zone into UNIX seconds, rounded down.

    Args:
        times: A datetime series ``(num_rows,)`` of unit s, ms, us or ns; aware times are taken as the
            instants that they name, naive ones as UTC. Without rows any dtype will do: an empty file has no types.

    Returns:
        int64 seconds ``(num_rows,)``.

    Raises:
        TypeError: If the values are no datetimes.
        ValueError: If a time is missing; the message names the first row.
    """
    times = pd.Series(times)
    if times.empty:
        return np.empty(0, dtype=np.int64)
    if not pd.api.types.is_datetime64_any_dtype(times.dtype):
        raise TypeError(f"times must be datetimes, got dtype {times.dtype}: convert them with pandas.to_datetime")
    if (missing := times.isna().to_numpy()).any():
        raise ValueError(
            f"row {int(np.argmax(missing))} has no time: give every row a time, or drop the {missing.sum()} without one"
        )
    if times.dt.tz is not None:
        times = times.dt.tz_convert("UTC").dt.tz_localize(None)
    values = times.to_numpy()
    per_second = PER_SECOND[np.datetime_data(values.dtype)[0]]
    return values.astype(np.int64) // per_second  # floor division is right before 1970 too


def timestamp_seconds(timestamp: pd.Timestamp | str) -> int:
    """Turns one timestamp into UNIX seconds."""
    return int(to_unix_seconds(pd.Series([pd.Timestamp(timestamp)]))[0])
