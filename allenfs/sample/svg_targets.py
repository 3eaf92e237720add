"""Request targets of the service that draws atlas plates as SVG."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from allenfs.sample.picture import MAX_DOWNSAMPLE
from allenfs.sample.records import RECORDS
from allenfs.sample.targets import (
    BadRequestError,
    UnknownImageError,
    read_integer,
    read_values,
)

if TYPE_CHECKING:
    from allenfs.sample.records import ImageRecord

_PATH = re.compile(r"/api/v2/(svg|svg_download)/([^/]*)")
_GROUPS = re.compile(r"[0-9]{1,18}(,[0-9]{1,18})*")


@dataclass(frozen=True, slots=True)
class SvgRequest:
    """An image, the groups of its drawing, and how many times it is halved."""

    record: ImageRecord
    groups: frozenset[int]
    downsample: int
    is_download: bool


def is_svg_request(target: str) -> bool:
    """Return whether `target` asks for a drawing."""
    return _PATH.fullmatch(urlsplit(target).path) is not None


def svg_image_id(target: str) -> int | None:
    """Return the image id in the target of a drawing, or None if it is no number."""
    match = _PATH.fullmatch(urlsplit(target).path)
    return int(match[2]) if match and re.fullmatch(r"[0-9]{1,18}", match[2]) else None


def parse_svg(target: str) -> SvgRequest:
    """Parse `/api/v2/svg_download/ID?groups=...&downsample=...`.

    Raises
    ------
    UnknownImageError
        No such image.
    BadRequestError
        A malformed parameter.
    """
    parts = urlsplit(target)
    match = _PATH.fullmatch(parts.path)
    record = RECORDS.get(svg_image_id(target) or 0)
    if match is None or record is None:
        raise UnknownImageError(target)
    values = read_values(parts.query)
    groups = values.get("groups", "")
    if groups and not _GROUPS.fullmatch(groups):
        raise BadRequestError("groups: not numbers")
    return SvgRequest(
        record=record,
        groups=frozenset(int(group) for group in groups.split(",") if group),
        downsample=read_integer(values, "downsample", 0, MAX_DOWNSAMPLE) or 0,
        is_download=match[1] == "svg_download",
    )
