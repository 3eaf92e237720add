"""The grammar of parameter directories, in one table.

A row knows the field that it sets, the directory names that it reads and
writes, and its part of a URL's query. Nothing else in allenfs does, so that a
parameter cannot be in the path and missing in the URL or in the store's key.

Parameters are those of the Allen Institute's page "Downloading an Image";
``rgb``, ``contrast`` and ``colormap`` are those of AllenSDK's
``ImageDownloadApi``. ``at`` is allenfs' addition: a ``roi`` measured from the image's
own corner.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from allenfs.errors import PathNotFoundError

if TYPE_CHECKING:
    from collections.abc import Callable

MAX_DOWNSAMPLE = 10
MAX_QUALITY = 100
# 16 bit: the source data of the connectivity sections
_MAX_CHANNEL_VALUE = 65_535

# Numbers are written without leading zeros, so that each has one spelling. 9
# digits keep the bytes of a region, pixels x 3, in 64 bits.
_NUMBER = r"(?:0|[1-9][0-9]{0,8})"
_POSITIVE = r"[1-9][0-9]{0,8}"
_UNIT_DECIMAL = r"(?:0(?:\.[0-9]{1,6})?|1(?:\.0{1,6})?)"
_DECIMAL = r"(?:0|[1-9][0-9]{0,4})(?:\.[0-9]{1,6})?"
_MAX_PX = 10**9 - 1
_FROM_CORNER = re.compile(rf"at({_POSITIVE})x({_POSITIVE})\+({_NUMBER})\+({_NUMBER})")


@dataclass(frozen=True, slots=True)
class Roi:
    """A region of interest, in the services' two frames.

    Attributes
    ----------
    width_px, height_px : int or None
        Pixels of the chosen tier; both or none.
    left_px_full, top_px_full : int or None
        Full-resolution pixels of the slide, which may hold several images; both or
        none.
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
        """Return the region moved by so many full-resolution pixels.

        Raises
        ------
        PathNotFoundError
            The place is farther away than a path can say.
        """
        return replace(
            self,
            left_px_full=_at_most((self.left_px_full or 0) + right_px, _MAX_PX),
            top_px_full=_at_most((self.top_px_full or 0) + down_px, _MAX_PX),
        )


@dataclass(frozen=True, slots=True)
class Parameter:
    """One row. ``Any`` is the type of the field that the row belongs to.

    Attributes
    ----------
    field : str
        Of `ImageRequest`.
    pattern : re.Pattern
        Matches the whole directory name.
    read : callable
        Match to the field's value; PathNotFoundError where it is out of range.
    name, query : callable
        Value to the canonical directory name, and to parts of a query.
    default : object
        The value that asks for nothing: neither a name nor a query.
    below_atlas, below_section : bool
        In which trees it is allowed; ``projection`` is as ``section``.
    """

    field: str
    pattern: re.Pattern[str]
    read: Callable[[re.Match[str]], Any]
    name: Callable[[Any], str]
    query: Callable[[Any], list[str]]
    default: object = None
    below_atlas: bool = True
    below_section: bool = True


def _number(
    field: str, prefix: str, maximum: int, default: int | None = None
) -> Parameter:
    return Parameter(
        field,
        re.compile(rf"{prefix}({_NUMBER})"),
        lambda found: _at_most(int(found[1]), maximum),
        lambda value: f"{prefix}{value}",
        lambda value: [f"{field}={value}"],
        default=default,
    )


def _list(
    field: str, pattern: str, read: Callable[[str], tuple[object, ...]]
) -> Parameter:
    return Parameter(
        field,
        re.compile(f"{field}({pattern})"),
        lambda found: read(found[1]),
        lambda values: f"{field}{','.join(map(str, values))}",
        lambda values: [f"{field}={','.join(map(str, values))}"],
        below_atlas=False,
    )


def _at_most(value: int, maximum: int) -> int:
    if value > maximum:
        msg = f"{value} is above {maximum}"
        raise PathNotFoundError(msg)
    return value


def _read_roi(found: re.Match[str]) -> Roi:
    return Roi(*(None if text is None else int(text) for text in found.groups()))


def region_from_corner(name: str) -> Roi | None:
    """Read ``atWxH+X+Y``: a region measured from an image's own corner.

    The image's record says which ``roi`` of the slide it stands for.
    """
    found = _FROM_CORNER.fullmatch(name)
    return None if found is None else _read_roi(found)


def _roi_query(roi: Roi) -> list[str]:
    values = {
        "left": roi.left_px_full,
        "top": roi.top_px_full,
        "width": roi.width_px,
        "height": roi.height_px,
    }
    return [f"{key}={value}" for key, value in values.items() if value is not None]


def _read_channels(text: str) -> tuple[int, ...]:
    return tuple(_at_most(int(value), _MAX_CHANNEL_VALUE) for value in text.split(","))


def _read_decimals(text: str) -> tuple[str, ...]:
    """Bring decimals to their shortest spelling: ``0.50`` is ``0.5``."""
    return tuple(
        value.rstrip("0").rstrip(".") if "." in value else value
        for value in text.split(",")
    )


# In the order of a canonical path and of a canonical query.
PARAMETERS = (
    _number("downsample", "ds", MAX_DOWNSAMPLE, default=0),
    _number("quality", "q", MAX_QUALITY),
    Parameter(
        "roi",
        re.compile(
            rf"roi(?=.)(?:({_POSITIVE})x({_POSITIVE}))?(?:\+({_NUMBER})\+({_NUMBER}))?"
        ),
        _read_roi,
        lambda roi: f"roi{roi}",
        _roi_query,
    ),
    _list("range", rf"{_NUMBER}(?:,{_NUMBER}){{5}}", _read_channels),
    _list("rgb", rf"{_UNIT_DECIMAL}(?:,{_UNIT_DECIMAL}){{2}}", _read_decimals),
    _list("contrast", rf"{_UNIT_DECIMAL},{_UNIT_DECIMAL}", _read_decimals),
    # AllenSDK writes five values (0.5, lower threshold, 0, 256, colormap id);
    # viewers send a single one
    _list("colormap", rf"{_DECIMAL}(?:,{_DECIMAL}){{0,4}}", _read_decimals),
    Parameter(
        "annotated",
        re.compile("annotated"),
        lambda _: True,
        lambda _: "annotated",
        lambda _: ["annotation=true"],
        default=False,
        below_section=False,
    ),
)
