"""Text for people, paths and the log: escaping, formatting, and loggers."""

from __future__ import annotations

import contextlib
import datetime as dt
import hashlib
import logging
import re
import unicodedata
from collections.abc import Iterable
from typing import Any
from urllib.parse import quote, unquote

from allenfs.errors import PathNotFoundError

# NAME_MAX of Linux
_MAX_NAME_BYTES = 255
# The separator, the escape character itself, and characters that move a terminal's
# cursor or change the direction of text.
_ESCAPED = re.compile(
    r"[/%\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]"
)
# Names that file managers, indexers and virus scanners look up in every directory.
# The service has no such names, so these lookups must cost no request.
_PROBED = re.compile(
    r"autorun\.(inf|sh)|desktop\.ini|(eh)?thumbs\.db|lost\+found|\$recycle\.bin"
    r"|system volume information"
    r"|(folder|cover|front|album|albumart.*)\.(jpe?g|png|gif|webp)",
    re.IGNORECASE,
)
_UNREADABLE = re.compile(r"[^\w.+-]+")
# Everything that some file system rejects, strips or changes, including capitals: if it
# ignores case, `Abc` and `aBC` would be one file.
_NOT_PORTABLE = re.compile(r"[^a-z0-9._~\[\]-]|\.\Z")
_MAX_FILE_NAME_BYTES = 200
# First character of the hashed name of a longer text; no encoded name begins with it.
HASHED = "+"
# up to the last @: a password may contain one, or a slash or a blank
_USER = re.compile(r"^((?:.*?://)?).*@", re.DOTALL)
_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.timezone.utc)
# the end of the year 9999, the last that datetime can represent
_LATEST_S = 253_402_300_799


def path_name(text: str) -> str | None:
    """Return the path name of one of the service's names.

    None for an empty or invalid text, or one longer than the 255 bytes of a file name.
    """
    name = _ESCAPED.sub(lambda found: quote(found[0], safe=""), text)
    # no hidden files, and not `.` or `..`
    if name.startswith(".") or _PROBED.fullmatch(name):
        name = f"%{ord(name[0]):02X}{name[1:]}"
    try:
        length = len(name.encode())
    except UnicodeEncodeError:
        return None
    return name if 0 < length <= _MAX_NAME_BYTES else None


def path_names(texts: Iterable[str]) -> list[str]:
    """Return the path names of texts, sorted; those without one are left out."""
    return sorted(name for text in texts if (name := path_name(text)) is not None)


def text_of(name: str) -> str:
    """Reverse `path_name`; PathNotFoundError if it never returns this name."""
    try:
        text = unquote(name, errors="strict")
    except UnicodeDecodeError:
        text = ""
    if path_name(text) != name:
        raise PathNotFoundError(f"not a name in the catalog: {name!r}")
    return text


def file_name(text: str) -> str:
    """Return the name for `text` in the store: unique, and valid on every file system.

    It contains no character that exFAT, FAT, NTFS or SMB rejects, and no two names
    differ only in case. `unquote` returns the text, unless the name begins with
    `HASHED`.
    """
    name = _NOT_PORTABLE.sub(
        lambda found: "".join(f"%{byte:02X}" for byte in found[0].encode()), text
    )
    if len(name) <= _MAX_FILE_NAME_BYTES:
        return name
    return HASHED + hashlib.sha256(text.encode()).hexdigest()


def readable_name(text: str) -> str | None:
    """Return a title as one word: ``Mouse, P56, Sagittal`` is ``Mouse_P56_Sagittal``.

    None if nothing is left of it, or only a number, which would look like an id.
    """
    plain = unicodedata.normalize("NFC", text).encode(errors="ignore").decode()
    name = _UNREADABLE.sub("_", plain).strip("_.-")
    return None if name.isdecimal() else path_name(name)


def in_one_line(text: str, max_chars: int) -> str:
    """Escape a server's words to ASCII, so that they cannot forge a log line or URL."""
    return text[:max_chars].encode("unicode_escape").decode("ascii")


def printable(text: str, *, keep: str = "") -> str:
    """Escape what ends a line, moves a cursor or is invisible, except for `keep`."""
    return "".join(
        one if one.isprintable() or one in keep else in_one_line(one, 1) for one in text
    )


def size(size_bytes: float) -> str:
    """Return a number of bytes with its unit: ``512 bytes``, ``1.5 GiB``."""
    if round(size_bytes) < 1024:
        return f"{size_bytes:.0f} bytes"
    for unit in ("KiB", "MiB", "GiB"):
        size_bytes /= 1024
        # a value that rounds to 1024.0 belongs to the next unit
        if size_bytes < 1024 - 0.05:
            return f"{size_bytes:.1f} {unit}"
    return f"{size_bytes / 1024:.1f} TiB"


def duration(seconds: float) -> str:
    """Return a time with its units: ``4 s``, ``12 min``, ``3 h 5 min``, ``2 days``."""
    minutes, seconds = divmod(int(max(0, seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    if days:
        return f"{days} day{'s' if days > 1 else ''}"
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min" if minutes else f"{seconds} s"


def clock(seconds: float) -> str:
    """Return a time as a stop watch shows it: ``0:07``, ``12:30``, ``1:02:03``."""
    minutes, rest_s = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest_s:02}" if hours else f"{minutes}:{rest_s:02}"


def without_user(url: str) -> str:
    """Return a URL, even a malformed one, without its user and password."""
    return _USER.sub(r"\1***@", url)


def utc_time(time_ns: int) -> dt.datetime:
    """Return a time (nanoseconds since the epoch) in UTC, to the second."""
    return _EPOCH + dt.timedelta(seconds=min(max(0, time_ns // 10**9), _LATEST_S))


def iso_time(time_ns: int) -> str:
    """Return a time (nanoseconds since the epoch) as ISO 8601, UTC, to the second."""
    return f"{utc_time(time_ns):%Y-%m-%dT%H:%M:%SZ}"


# LoggerAdapter is a generic type since Python 3.11
class SafeLogger(logging.LoggerAdapter):  # type: ignore[type-arg]
    """Suppresses exceptions of handlers: they would replace the error being logged."""

    def log(self, level: int, msg: object, *args: object, **kwargs: Any) -> None:
        """Log; `debug` to `critical` and `exception` all call this."""
        with contextlib.suppress(Exception):
            super().log(level, msg, *args, **kwargs)


def safe_logger(name: str) -> SafeLogger:
    """Return the logger of a module."""
    return SafeLogger(logging.getLogger(name))
