"""Times as UNIX seconds, whatever unit and time zone they come in."""

import datetime

import numpy as np
import pandas as pd
import pytest
from relbench.modeling.utils import to_unix_time

from relbench_pretrain.unix_time import ALWAYS, timestamp_seconds, to_unix_seconds

TEXTS = ["1969-12-31 23:59:58", "1970-01-01", "2004-02-29 12:34:56", "2038-01-19 03:14:08"]
SECONDS = [-2, 0, 1_078_058_096, 2**31]


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
def test_units(unit):
    times = pd.Series(TEXTS).astype(f"datetime64[{unit}]")
    assert to_unix_seconds(times).tolist() == SECONDS
    assert to_unix_seconds(pd.DatetimeIndex(times)).tolist() == SECONDS
    assert to_unix_seconds(times).dtype == np.int64


@pytest.mark.parametrize("unit", ["s", "ms", "us"])
def test_years_that_nanoseconds_do_not_reach(unit):
    days = [(datetime.date(year, 1, 1) - datetime.date(1970, 1, 1)).days for year in (1066, 9999)]
    times = pd.Series(np.array(["1066-01-01", "9999-01-01"], dtype=f"datetime64[{unit}]"))
    assert to_unix_seconds(times).tolist() == [day * 86_400 for day in days]


@pytest.mark.parametrize(
    ("unit", "text"), [("ms", ".001"), ("us", ".000001"), ("ns", ".000000001"), ("ns", ".999999999")]
)
def test_fractions_are_rounded_down_on_both_sides_of_1970(unit, text):
    times = pd.Series(
        np.array([f"1969-12-31T23:59:58{text}", f"1970-01-01T00:00:01{text}"], dtype=f"datetime64[{unit}]")
    )
    assert to_unix_seconds(times).tolist() == [-2, 1]


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
def test_aware_times_are_the_instants_that_they_name(unit):
    tokyo = pd.Series(pd.to_datetime(["1970-01-01 09:00:00"])).dt.tz_localize("Asia/Tokyo").dt.as_unit(unit)
    assert to_unix_seconds(tokyo).tolist() == [0]
    # Half past one comes twice in the night in which summer time ends.
    night = pd.Series(pd.to_datetime(["2020-11-01 01:30"] * 2)).dt.tz_localize(
        "America/New_York", ambiguous=[True, False]
    )
    assert np.diff(to_unix_seconds(night.dt.as_unit(unit))).tolist() == [3600]


def test_equals_relbench_where_relbench_is_right():
    times = pd.Series(TEXTS).astype("datetime64[ns]")
    assert to_unix_seconds(times).tolist() == to_unix_time(times).tolist()


def test_missing_time_names_the_row():
    with pytest.raises(ValueError, match=r"row 2 has no time: .* drop the 2 without one"):
        to_unix_seconds(pd.Series(pd.to_datetime(["2020", "2021", None, None])))


@pytest.mark.parametrize("values", [[1, 2], ["2020-01-01"], [datetime.date(2020, 1, 1)]])
def test_other_types_are_refused(values):
    with pytest.raises(TypeError, match=r"must be datetimes, got dtype .* pandas.to_datetime"):
        to_unix_seconds(pd.Series(values))


@pytest.mark.parametrize("dtype", [object, "datetime64[us]", "float64"])
def test_no_rows_of_any_type(dtype):
    seconds = to_unix_seconds(pd.Series([], dtype=dtype))
    assert seconds.shape == (0,)
    assert seconds.dtype == np.int64


def test_one_timestamp():
    assert timestamp_seconds("2004-02-29 12:34:56.9") == SECONDS[2]
    assert timestamp_seconds(pd.Timestamp("1970-01-01 09:00", tz="Asia/Tokyo")) == 0
    with pytest.raises(ValueError, match="no time"):
        timestamp_seconds(pd.NaT)


def test_always_is_earlier_than_any_time():
    assert to_unix_seconds(pd.Series(np.array(["-200000-01-01"], dtype="datetime64[us]")))[0] > ALWAYS
