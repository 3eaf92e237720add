"""One image of the services: its fields give the path, the URL and the store key.

The table in ``parameters.py`` converts a URL's query to directory names, names to
fields, and fields back to names and a query.
"""

from __future__ import annotations

import enum
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import parse_qsl, urlsplit

from allenfs.errors import PathNotFoundError, UrlError
from allenfs.model.jpeg import JPEG
from allenfs.model.parameters import PARAMETERS, Parameter, Roi
from allenfs.text import in_one_line, without_user

if TYPE_CHECKING:
    from allenfs.model.content import Content

_PLAIN_FILE = "image"
VIEWS = (
    "expression",
    "projection",
    "tumor_feature_annotation",
    "tumor_feature_boundary",
)

# 18 digits fit into 64 bits; a leading zero would be a second spelling
ID_PATTERN = re.compile(r"[1-9][0-9]{0,17}")
_ATLAS_FILE = re.compile(rf"atlas({ID_PATTERN.pattern})\.jpg")

_KIB, _MIB = 2**10, 2**20


class ImageService(enum.Enum):
    """The services; the value is the first name of a path."""

    SECTION = "section"
    PROJECTION = "projection"
    ATLAS = "atlas"

    @property
    def endpoint(self) -> str:
        """Name below ``/api/v2/``."""
        prefix = "" if self is ImageService.SECTION else f"{self.value}_"
        return f"{prefix}image_download"


# section_image_download is AllenSDK's name for image_download: recorded answers
# of the two are identical to the byte
_ENDPOINTS = {service.endpoint: service for service in ImageService} | {
    "section_image_download": ImageService.SECTION
}
# an older page of the institute prints `&` in place of `?`
_URL_PATH = re.compile(
    rf"(?:/.*)?/api/v2/([a-z_]+)/({ID_PATTERN.pattern})/?(?:&(?P<query>.*))?"
)


@dataclass(frozen=True, slots=True)
class ImageRequest:
    """The request for one image: equal requests share one stored image and one URL.

    Attributes
    ----------
    image_id : int
        SectionImage or AtlasImage id, 1 to 18 digits.
    downsample : int
        Halvings of both sides, 0 (full resolution) to 10.
    quality : int or None
        JPEG quality 0 to 100; None is the service's own default.
    range : tuple of six int or None
        Lower and upper bound of red, green, blue; 0 to 65 535.
    rgb, contrast, colormap : tuple of str or None
        AllenSDK's filters, decimals in their shortest spelling.
    annotated : bool
        With the drawings of the atlas.
    atlas_id : int or None
        The atlas whose drawings are shown; only with `annotated`.
    view : str or None
        One of `VIEWS`; None is the image itself.
    """

    service: ImageService
    image_id: int
    downsample: int = 0
    quality: int | None = None
    roi: Roi | None = None
    range: tuple[int, ...] | None = None
    rgb: tuple[str, ...] | None = None
    contrast: tuple[str, ...] | None = None
    colormap: tuple[str, ...] | None = None
    annotated: bool = False
    atlas_id: int | None = None
    view: str | None = None

    @property
    def content(self) -> Content:
        """What the service's answer must be."""
        return JPEG

    @property
    def path(self) -> str:
        """Canonical path below the mountpoint."""
        names = [self.service.value, str(self.image_id)]
        names += [
            row.prefix + row.write(value) for row, value in self._set_parameters()
        ]
        return "/".join([*names, self.file_name])

    @property
    def key(self) -> str:
        """Path in the store."""
        return self.path

    @property
    def file_name(self) -> str:
        """The last component of the path."""
        if self.atlas_id is not None:
            return f"atlas{self.atlas_id}.jpg"
        return f"{self.view or _PLAIN_FILE}.jpg"

    def url(self, base_url: str) -> str:
        """Return the download URL below `base_url` (``https://host``)."""
        query = [row.query(value) for row, value in self._set_parameters()]
        if self.atlas_id is not None:
            query.append(f"atlas={self.atlas_id}")
        if self.view is not None:
            query.append(f"view={self.view}")
        url = f"{base_url}/api/v2/{self.service.endpoint}/{self.image_id}"
        return f"{url}?{'&'.join(query)}" if query else url

    def size_bound_bytes(self, full_px: tuple[int, int] | None = None) -> int:
        """Return an upper bound of the JPEG's size, before it is known.

        Three bytes per pixel and 64 KiB of headers if the pixels are known, from
        the region or from `full_px` (width and height at full resolution).
        Otherwise 256 MiB (a full-resolution plate of 90 megapixels) quartered per
        downsample, at least 1 MiB.
        """
        if self.roi and self.roi.width_px and self.roi.height_px:
            pixels = self.roi.width_px * self.roi.height_px
        elif full_px is not None:
            pixels = math.prod(side_px >> self.downsample for side_px in full_px)
        else:
            return max(256 * _MIB >> 2 * self.downsample, _MIB)
        return pixels * 3 + 64 * _KIB

    def with_parameter(self, name: str) -> tuple[str, ImageRequest]:
        """Read a parameter directory: the field it sets, and the new request.

        PathNotFoundError if it is not a parameter of this service, or out of range.
        """
        is_atlas = self.service is ImageService.ATLAS
        for row in PARAMETERS:
            found = row.match(name)
            if found and (row.below_atlas if is_atlas else row.below_section):
                value = row.read(*found.groups())
                return row.field, replace(self, **{row.field: value})
        raise PathNotFoundError(f"no such parameter: {name!r}")

    def with_corner(self, corner_px: tuple[int, int]) -> ImageRequest:
        """Return the request with its `roi` measured on the slide, not from a corner.

        `corner_px` is left and top of the image on its slide, in full-resolution
        pixels. PathNotFoundError if the result is beyond the largest coordinate.
        """
        return replace(self, roi=(self.roi or Roi()).moved(*corner_px))

    def with_file(self, name: str) -> ImageRequest:
        """Read a file name: the request with its view or atlas.

        PathNotFoundError if the directory has no such file.
        """
        stem = name.removesuffix(".jpg")
        if name == f"{_PLAIN_FILE}.jpg":
            return self
        if self.service is ImageService.ATLAS:
            found = _ATLAS_FILE.fullmatch(name)
            if found and self.annotated:
                return replace(self, atlas_id=int(found[1]))
        elif stem in VIEWS and name != stem:
            return replace(self, view=stem)
        raise PathNotFoundError(f"no such file: {name!r}")

    def _set_parameters(self) -> Iterator[tuple[Parameter, object]]:
        for parameter in PARAMETERS:
            value = getattr(self, parameter.field)
            if value != parameter.default:
                yield parameter, value


class UrlParts(NamedTuple):
    """A download URL: the name of the endpoint, an id, and the query."""

    endpoint: str
    image_id: int
    query: dict[str, str]


def parts_of_url(url: str) -> UrlParts | None:
    """Read a URL below ``/api/v2/``, whatever its host; None if it is no such URL.

    UrlError if it is not a URL at all, or a parameter appears twice.
    """
    try:
        parts = urlsplit(url)
        found = _URL_PATH.fullmatch(parts.path)
        query = (found and found["query"]) or ""
        pairs = parse_qsl(f"{query}&{parts.query}", keep_blank_values=True)
    except ValueError as error:
        # the message quotes the URL, maybe with Unicode line breaks: escape them
        why = in_one_line(without_user(str(error)), 200)
        raise UrlError(f"not a URL: {without_user(url)!r}: {why}") from error
    if parts.scheme not in ("http", "https") or found is None:
        return None
    parameters = dict(pairs)
    if len(parameters) < len(pairs):
        raise no_path(url, "a parameter appears twice")
    return UrlParts(found[1], int(found[2]), parameters)


def no_path(url: str, why: object) -> UrlError:
    """Return the error for a URL that corresponds to no path."""
    return UrlError(f"no path corresponds to {without_user(url)!r}: {why}")


def request_of_url(url: str) -> ImageRequest:
    """Return the request of a download URL, whatever its host.

    UrlError if it is not a download URL of the services, or no path corresponds to it.
    """
    parts = parts_of_url(url)
    service = _ENDPOINTS.get(parts.endpoint) if parts else None
    if parts is None or service is None:
        raise UrlError(f"not a download URL of an image service: {without_user(url)!r}")
    try:
        return _request_of_query(ImageRequest(service, parts.image_id), parts.query)
    except PathNotFoundError as error:
        raise no_path(url, error) from error


def _request_of_query(request: ImageRequest, query: dict[str, str]) -> ImageRequest:
    for name in _parameter_names(query):
        _, request = request.with_parameter(name)
    # expression=false and the like have no effect
    names = [f"{view}.jpg" for view in VIEWS if _is_true(query.pop(view, "false"))]
    if "view" in query:
        names.append(f"{_one_of(query.pop('view'), VIEWS)}.jpg")
    if "atlas" in query:
        names.append(f"atlas{query.pop('atlas')}.jpg")
    refuse_other_parameters(query)
    if len(names) > 1:
        raise PathNotFoundError(f"more than one view: {names}")
    return request.with_file(names[0]) if names else request


def refuse_other_parameters(query: dict[str, str]) -> None:
    """Raise PathNotFoundError for the first parameter that is left in a query."""
    for name in query:
        raise PathNotFoundError(f"parameter {name!r} cannot be part of a path")


def _parameter_names(query: dict[str, str]) -> Iterator[str]:
    """Remove the parameters from `query`, and return them as directory names."""
    for row in PARAMETERS:
        if row.write_query is None and row.field in query:
            yield row.prefix + query.pop(row.field)
    left, top, width, height = (
        _digits(query.pop(key, "")) for key in ("left", "top", "width", "height")
    )
    if left or top or width or height:
        size = f"{width}x{height}" if width or height else ""
        yield f"roi{size}" + (f"+{left}+{top}" if left or top else "")
    if _is_true(query.pop("annotation", "false")):
        yield "annotated"


def _is_true(value: str) -> bool:
    return _one_of(value, ("true", "false")) == "true"


def _one_of(value: str, allowed: tuple[str, ...]) -> str:
    if value not in allowed:
        raise PathNotFoundError(f"{value!r} is not one of {', '.join(allowed)}")
    return value


def _digits(value: str) -> str:
    if value.strip("0123456789"):
        raise PathNotFoundError(f"not a number of pixels: {value!r}")
    return value
