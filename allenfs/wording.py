"""Numbers, times and strange characters, as people read them."""

from __future__ import annotations

import re

_UNITS = ("bytes", "KiB", "MiB", "GiB", "TiB")
_UNIT_BYTES = 1024
_MINUTE_S, _HOUR_S, _DAY_S = 60, 3600, 86_400
# up to the last @: a password may have one, or a slash or a blank
_USER = re.compile(r"^((?:.*?://)?).*@", re.DOTALL)


def size(size_bytes: float) -> str:
    """Return a number of bytes with its unit: ``512 bytes``, ``1.5 GiB``."""
    if round(size_bytes) < _UNIT_BYTES:
        return f"{size_bytes:.0f} bytes"
    for unit in _UNITS[1:-1]:
        size_bytes /= _UNIT_BYTES
        # what would be rounded to 1024.0 is one of the next unit
        if size_bytes < _UNIT_BYTES - 0.05:
            return f"{size_bytes:.1f} {unit}"
    return f"{size_bytes / _UNIT_BYTES:.1f} {_UNITS[-1]}"


def duration(seconds: float) -> str:
    """Return a time with its units: ``4 s``, ``12 min``, ``3 h 5 min``, ``2 days``."""
    seconds = int(max(0, seconds))
    if seconds < _MINUTE_S:
        return f"{seconds} s"
    if seconds < _HOUR_S:
        return f"{seconds // _MINUTE_S} min"
    if seconds < _DAY_S:
        return f"{seconds // _HOUR_S} h {seconds % _HOUR_S // _MINUTE_S} min"
    days = seconds // _DAY_S
    return f"{days} day" if days == 1 else f"{days} days"


def clock(seconds: float) -> str:
    """Return a time as a stop watch shows it: ``0:07``, ``12:30``, ``1:02:03``."""
    minutes, rest_s = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest_s:02}" if hours else f"{minutes}:{rest_s:02}"


def printable(text: str) -> str:
    """Escape what would move a cursor, end a line or is no character."""
    return "".join(
        one if one.isprintable() else one.encode("unicode_escape").decode()
        for one in text
    )


def without_user(url: str) -> str:
    """Return a URL, or what was meant as one, without its user and password."""
    return _USER.sub(r"\1***@", url)
