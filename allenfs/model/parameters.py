"""The grammar of parameter directories, in one table.

A row defines the field it sets, the directory names it reads and writes, and its part
of a URL's query. Nothing else does, so a parameter cannot be in the path but missing
from the URL or the store's key.

Parameters are those of the Allen Institute's page "Downloading an Image";
``rgb``, ``contrast`` and ``colormap`` are those of AllenSDK's
``ImageDownloadApi``. ``at`` is allenfs' addition: a ``roi`` measured from the image's
own corner.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from allenfs.errors import PathNotFoundError

MAX_DOWNSAMPLE = 10
_MAX_QUALITY = 100
# 16 bit: the source data of the connectivity sections
_MAX_CHANNEL_VALUE = 65_535

# Numbers have no leading zeros, so each has one spelling. With 9 digits the bytes of
# a region, pixels x 3, fit into 64 bits.
_NUMBER = r"(?:0|[1-9][0-9]{0,8})"
_POSITIVE = r"[1-9][0-9]{0,8}"
_UNIT_DECIMAL = r"(?:0(?:\.[0-9]{1,6})?|1(?:\.0{1,6})?)"
_DECIMAL = r"(?:0|[1-9][0-9]{0,4})(?:\.[0-9]{1,6})?"
_MAX_PX = 10**9 - 1
_FROM_CORNER = re.compile(rf"at({_POSITIVE})x({_POSITIVE})\+({_NUMBER})\+({_NUMBER})")


@dataclass(frozen=True, slots=True)
class Roi:
    """A region of interest, in the two coordinate systems of the services.

    Width and height are pixels of the chosen tier; left and top are full-resolution
    pixels of the slide, of which the image may be a part. Each pair is None or given.
    """

    width_px: int | None = None
    height_px: int | None = None
    left_px_full: int | None = None
    top_px_full: int | None = None

    def __str__(self) -> str:
        size = "" if self.width_px is None else f"{self.width_px}x{self.height_px}"
        if self.left_px_full is None:
            return size
        return f"{size}+{self.left_px_full}+{self.top_px_full}"

    def moved(self, right_px: int, down_px: int) -> Roi:
        """Return the region moved by a number of full-resolution pixels.

        PathNotFoundError if it is then beyond the largest coordinate of a path.
        """
        return replace(
            self,
            left_px_full=_at_most(_MAX_PX, (self.left_px_full or 0) + right_px),
            top_px_full=_at_most(_MAX_PX, (self.top_px_full or 0) + down_px),
        )


@dataclass(frozen=True, slots=True)
class Parameter:
    """One row. ``Any`` is the type of the row's field.

    Attributes
    ----------
    field : str
        Of `ImageRequest`.
    prefix, pattern : str
        The start of the directory name, and what the rest matches.
    read : callable
        Groups of the pattern to the field's value; PathNotFoundError if out of range.
    write : callable
        Value to the rest of the canonical directory name.
    write_query : callable or None
        Value to its part of a query; None means ``field=`` and the result of `write`.
    default : object
        The value without an effect, which has no directory name and no query.
    below_atlas, below_section : bool
        The trees that allow it; ``projection`` follows ``section``.
    """

    field: str
    prefix: str
    pattern: str
    read: Callable[..., Any]
    write: Callable[[Any], str] = str
    write_query: Callable[[Any], str] | None = None
    default: object = None
    below_atlas: bool = True
    below_section: bool = True

    def match(self, name: str) -> re.Match[str] | None:
        """Match a directory name."""
        if not name.startswith(self.prefix):
            return None
        return re.fullmatch(self.pattern, name[len(self.prefix) :])

    def query(self, value: object) -> str:
        """Return the value's part of a query."""
        if self.write_query is not None:
            return self.write_query(value)
        return f"{self.field}={self.write(value)}"


def _list(field: str, pattern: str, read: Callable[[str], object]) -> Parameter:
    def write(values: tuple[object, ...]) -> str:
        return ",".join(map(str, values))

    return Parameter(field, field, f"({pattern})", read, write, below_atlas=False)


def _at_most(maximum: int, text: str | int) -> int:
    value = int(text)
    if value > maximum:
        raise PathNotFoundError(f"{value} is above {maximum}")
    return value


def _read_roi(*numbers: str | None) -> Roi:
    return Roi(*(None if text is None else int(text) for text in numbers))


def region_from_corner(name: str) -> Roi | None:
    """Read ``atWxH+X+Y``: a region measured from an image's own corner.

    The image's record gives the ``roi`` of the slide that it stands for.
    """
    found = _FROM_CORNER.fullmatch(name)
    return None if found is None else _read_roi(*found.groups())


def _roi_query(roi: Roi) -> str:
    values = {
        "left": roi.left_px_full,
        "top": roi.top_px_full,
        "width": roi.width_px,
        "height": roi.height_px,
    }
    return "&".join(
        f"{key}={value}" for key, value in values.items() if value is not None
    )


def _read_channels(text: str) -> tuple[int, ...]:
    return tuple(_at_most(_MAX_CHANNEL_VALUE, value) for value in text.split(","))


def _read_decimals(text: str) -> tuple[str, ...]:
    """Return decimals in their shortest spelling: ``0.50`` becomes ``0.5``."""
    return tuple(
        value.rstrip("0").rstrip(".") if "." in value else value
        for value in text.split(",")
    )


# In the order of canonical paths and canonical queries.
PARAMETERS = (
    Parameter(
        "downsample", "ds", f"({_NUMBER})", partial(_at_most, MAX_DOWNSAMPLE), default=0
    ),
    Parameter("quality", "q", f"({_NUMBER})", partial(_at_most, _MAX_QUALITY)),
    Parameter(
        "roi",
        "roi",
        rf"(?=.)(?:({_POSITIVE})x({_POSITIVE}))?(?:\+({_NUMBER})\+({_NUMBER}))?",
        _read_roi,
        write_query=_roi_query,
    ),
    _list("range", rf"{_NUMBER}(?:,{_NUMBER}){{5}}", _read_channels),
    _list("rgb", rf"{_UNIT_DECIMAL}(?:,{_UNIT_DECIMAL}){{2}}", _read_decimals),
    _list("contrast", rf"{_UNIT_DECIMAL},{_UNIT_DECIMAL}", _read_decimals),
    # AllenSDK writes five values (0.5, lower threshold, 0, 256, colormap id);
    # viewers send a single one
    _list("colormap", rf"{_DECIMAL}(?:,{_DECIMAL}){{0,4}}", _read_decimals),
    Parameter(
        "annotated",
        "annotated",
        "",
        lambda: True,
        lambda _: "",
        lambda _: "annotation=true",
        default=False,
        below_section=False,
    ),
)
