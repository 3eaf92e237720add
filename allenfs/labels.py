"""The service's words: as names in a path, and back, and in a line of the log.

Acronyms, abbreviations and treatments are somebody's words: they may hold a
slash, a control character, or be two dots. In a path those characters are
percent-encoded, so that each name has one spelling and none leaves its directory.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from urllib.parse import quote, unquote

from allenfs.errors import PathNotFoundError

# NAME_MAX of Linux
_MAX_NAME_BYTES = 255
# A separator, the escape itself, what would move a terminal's cursor, and what
# would show a name in another order than it has.
_ESCAPED = re.compile(
    r"[/%\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]"
)
# What file managers, indexers and checkers look for in each directory they come to.
# They ask by these names; nothing of the service goes by one, and nobody shall be
# asked whether it does.
_PROBED = re.compile(
    r"autorun\.(inf|sh)|desktop\.ini|(eh)?thumbs\.db|lost\+found|\$recycle\.bin"
    r"|system volume information"
    r"|(folder|cover|front|album|albumart.*)\.(jpe?g|png|gif|webp)",
    re.IGNORECASE,
)
# As above, but for what a text of several lines needs.
_CONTROLS = re.compile(
    r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]"
)
_UNREADABLE = re.compile(r"[^\w.+-]+")
# All that some file system refuses, strips or folds: where it ignores case, `Abc` and
# `aBC` would be one file.
_NOT_PORTABLE = re.compile(r"[^a-z0-9._~\[\]-]|\.\Z")
_MAX_FILE_NAME_BYTES = 200
# First character of the hashed name of a longer text; no encoded name begins with it.
HASHED = "+"


def path_name(text: str) -> str | None:
    """Return the path name of one of the service's names.

    None where there is none: an empty text, one that is no Unicode, or longer
    than the 255 bytes that a name may have.
    """
    name = _ESCAPED.sub(lambda found: quote(found[0], safe=""), text)
    # no hidden file, and neither of the two dots
    if name.startswith(".") or _PROBED.fullmatch(name):
        name = f"%{ord(name[0]):02X}{name[1:]}"
    try:
        length = len(name.encode())
    except UnicodeEncodeError:
        return None
    return name if 0 < length <= _MAX_NAME_BYTES else None


def text_of(name: str) -> str:
    """Return what the service calls `name`, the inverse of `path_name`.

    Raises
    ------
    PathNotFoundError
        `path_name` gives no such name.
    """
    try:
        text = unquote(name, errors="strict")
    except UnicodeDecodeError:
        text = ""
    if path_name(text) != name:
        msg = f"no name of the catalog: {name!r}"
        raise PathNotFoundError(msg)
    return text


def file_name(text: str) -> str:
    """Return the name for `text` in the store: unique, and valid on every file system.

    It contains no character that exFAT, FAT, NTFS or SMB refuses, and no two names
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

    None where nothing is left of it, or only a number, which would be an id.
    """
    plain = unicodedata.normalize("NFC", text).encode(errors="ignore").decode()
    name = _UNREADABLE.sub("_", plain).strip("_.-")
    return None if name.isdecimal() else path_name(name)


def in_one_line(text: str, max_chars: int) -> str:
    """Escape a server's words, so that they cannot forge a line of the log."""
    return text[:max_chars].encode("unicode_escape").decode("ascii")


def without_controls(text: str) -> str:
    """Escape what would move a terminal's cursor; lines and tabs stay."""
    return _CONTROLS.sub(lambda found: in_one_line(found[0], 1), text)


def in_one_readable_line(text: str) -> str:
    """Escape what would end a line or move a cursor, and what is no Unicode."""
    line = without_controls(text).replace("\n", "\\n").replace("\t", "\\t")
    return line.encode(errors="backslashreplace").decode()
