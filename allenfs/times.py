"""Times, as they are shown to people and programs."""

from __future__ import annotations

import datetime as dt

_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.timezone.utc)
# of the year 9999, the last that has a date
_LATEST_S = 253_402_300_799


def iso_time(time_ns: int) -> str:
    """Return a time (nanoseconds since the epoch) as ISO 8601, UTC, to the second."""
    seconds = min(max(0, time_ns // 10**9), _LATEST_S)
    return f"{_EPOCH + dt.timedelta(seconds=seconds):%Y-%m-%dT%H:%M:%SZ}"
