"""One image of the services: its fields give the path, the URL and the store key.

The grammar of parameters stands in one table, ``_PARAMETERS``: a URL's query
becomes directory names, names become fields, and fields become names and a
query again, so that a parameter cannot be in one of them and missing in another.

Endpoints and parameters are those of the Allen Institute's page "Downloading an
Image"; ``rgb``, ``contrast``, ``colormap`` and the older spellings
``expression=true`` and so on are those of AllenSDK's ``ImageDownloadApi``.
"""

from __future__ import annotations

import enum
import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlsplit

from allenfs.errors import PathNotFoundError, UrlError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

MAX_DOWNSAMPLE = 10
MAX_QUALITY = 100
# 16 bit: the source data of the connectivity sections
_MAX_CHANNEL_VALUE = 65_535

_PLAIN_FILE = "image"
_VIEWS = (
    "expression",
    "projection",
    "tumor_feature_annotation",
    "tumor_feature_boundary",
)

# Numbers are written without leading zeros, so that each has one spelling. 18
# digits keep an id in 64 bits; 9 keep pixels x 3 bytes of a region in 64 bits.
ID_PATTERN = re.compile(r"[1-9][0-9]{0,17}")
_NUMBER = r"(?:0|[1-9][0-9]{0,8})"
_POSITIVE = r"[1-9][0-9]{0,8}"
_UNIT_DECIMAL = r"(?:0(?:\.[0-9]{1,6})?|1(?:\.0{1,6})?)"
_DECIMAL = r"(?:0|[1-9][0-9]{0,4})(?:\.[0-9]{1,6})?"
_ATLAS_FILE = re.compile(rf"atlas({ID_PATTERN.pattern})\.jpg")

_KIB, _MIB = 2**10, 2**20


class ImageService(enum.Enum):
    """The three services: the value is the first name of a path."""

    SECTION = "section"
    PROJECTION = "projection"
    ATLAS = "atlas"

    @property
    def endpoint(self) -> str:
        """Name below ``/api/v2/``."""
        return {
            ImageService.SECTION: "image_download",
            ImageService.PROJECTION: "projection_image_download",
            ImageService.ATLAS: "atlas_image_download",
        }[self]


# section_image_download is AllenSDK's name for image_download: recorded answers
# of the two are identical to the byte
_ENDPOINTS = {service.endpoint: service for service in ImageService} | {
    "section_image_download": ImageService.SECTION
}
_URL_PATH = re.compile(rf"(?:/.*)?/api/v2/([a-z_]+)/({ID_PATTERN.pattern})")


@dataclass(frozen=True, slots=True)
class Roi:
    """A region of interest, in the services' two frames.

    Attributes
    ----------
    width_px, height_px : int or None
        Pixels of the chosen tier; both or none.
    left_px_full, top_px_full : int or None
        Full-resolution pixels; both or none.
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


@dataclass(frozen=True, slots=True)
class ImageRequest:
    """What one image is: equal requests are one stored image and one URL.

    Attributes
    ----------
    service : ImageService
    image_id : int
        SectionImage or AtlasImage id, 1 to 18 digits.
    downsample : int
        Halvings of both sides, 0 (full resolution) to 10.
    quality : int or None
        JPEG quality 0 to 100; None is the service's own default.
    roi : Roi or None
    range : tuple of six int or None
        Lower and upper bound of red, green, blue; 0 to 65 535.
    rgb, contrast, colormap : tuple of str or None
        AllenSDK's filters, decimals in their shortest spelling.
    annotated : bool
        With the atlas' drawings.
    atlas_id : int or None
        Whose drawings; only with `annotated`.
    view : str or None
        One of the four views; None is the image itself.
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
    def path(self) -> str:
        """Canonical path below the mountpoint; also the key in the store."""
        names = [self.service.value, str(self.image_id)]
        names += [name for _, name, _ in self._set_parameters()]
        return "/".join([*names, self.file_name])

    @property
    def file_name(self) -> str:
        """Last name of the path."""
        if self.atlas_id is not None:
            return f"atlas{self.atlas_id}.jpg"
        return f"{self.view or _PLAIN_FILE}.jpg"

    def url(self, base_url: str) -> str:
        """Return the download URL below `base_url` (``https://host``)."""
        query = [pair for _, _, pairs in self._set_parameters() for pair in pairs]
        if self.atlas_id is not None:
            query.append(f"atlas={self.atlas_id}")
        if self.view is not None:
            query.append(f"view={self.view}")
        url = f"{base_url}/api/v2/{self.service.endpoint}/{self.image_id}"
        return f"{url}?{'&'.join(query)}" if query else url

    @property
    def size_bound_bytes(self) -> int:
        """Upper bound of the JPEG's size before it is known.

        Three bytes a pixel and 64 KiB of headers where the region gives the
        pixels. Otherwise 256 MiB (a full-resolution plate of 90 megapixels)
        quartered per downsample, at least 1 MiB.
        """
        if self.roi and self.roi.width_px and self.roi.height_px:
            return self.roi.width_px * self.roi.height_px * 3 + 64 * _KIB
        return max(256 * _MIB >> 2 * self.downsample, _MIB)

    def with_parameter(self, name: str) -> tuple[str, ImageRequest]:
        """Read a parameter directory: the field it sets, and the new request.

        Raises
        ------
        PathNotFoundError
            `name` is no parameter of this service, or out of range.
        """
        for parameter in _PARAMETERS:
            found = parameter.pattern.fullmatch(name)
            if found and self.service in parameter.services:
                value = parameter.read(found)
                return parameter.field, replace(self, **{parameter.field: value})
        msg = f"no such parameter: {name!r}"
        raise PathNotFoundError(msg)

    def with_file(self, name: str) -> ImageRequest:
        """Read a file name: the request with its view or atlas.

        Raises
        ------
        PathNotFoundError
            There is no such file in this directory.
        """
        if name == f"{_PLAIN_FILE}.jpg":
            return self
        if self.service is ImageService.ATLAS:
            found = _ATLAS_FILE.fullmatch(name)
            if found and self.annotated:
                return replace(self, atlas_id=int(found[1]))
        elif name.removesuffix(".jpg") in _VIEWS and name.endswith(".jpg"):
            return replace(self, view=name.removesuffix(".jpg"))
        msg = f"no such file: {name!r}"
        raise PathNotFoundError(msg)

    def _set_parameters(self) -> Iterator[tuple[str, str, list[str]]]:
        for parameter in _PARAMETERS:
            value = getattr(self, parameter.field)
            if value != parameter.default:
                yield parameter.field, parameter.name(value), parameter.query(value)


def file_names(service: ImageService) -> tuple[str, ...]:
    """Return the files that every directory of an image lists."""
    if service is ImageService.ATLAS:
        return (f"{_PLAIN_FILE}.jpg",)
    return tuple(f"{name}.jpg" for name in (_PLAIN_FILE, *_VIEWS))


def request_of_url(url: str) -> ImageRequest:
    """Return the request that a download URL stands for, whatever its host.

    Raises
    ------
    UrlError
        No download URL of the three services, or one that no path stands for.
    """
    try:
        parts = urlsplit(url)
        pairs = (
            parse_qsl(parts.query, keep_blank_values=True, strict_parsing=True)
            if parts.query
            else []
        )
    except ValueError as error:
        msg = f"not a URL: {url!r}: {error}"
        raise UrlError(msg) from error
    found = _URL_PATH.fullmatch(parts.path)
    service = _ENDPOINTS.get(found[1]) if found else None
    if parts.scheme not in ("http", "https") or found is None or service is None:
        msg = f"not a download URL of an image service: {url!r}"
        raise UrlError(msg)
    try:
        return _request_of_query(ImageRequest(service, int(found[2])), pairs)
    except PathNotFoundError as error:
        msg = f"no path stands for {url!r}: {error}"
        raise UrlError(msg) from error


def _request_of_query(
    request: ImageRequest, pairs: list[tuple[str, str]]
) -> ImageRequest:
    query = dict(pairs)
    if len(query) < len(pairs):
        msg = "a parameter stands twice"
        raise PathNotFoundError(msg)
    for name in _parameter_names(query):
        _, request = request.with_parameter(name)
    # annotation=false, expression=false ... ask for nothing
    views = [view for view in _VIEWS if _is_true(query.pop(view, "false"))]
    views += [query.pop("view")] if "view" in query else []
    views += [f"atlas{query.pop('atlas')}"] if "atlas" in query else []
    if query:
        msg = f"parameter {next(iter(query))!r} has no place in a path"
        raise PathNotFoundError(msg)
    if len(views) > 1:
        msg = f"more than one view: {', '.join(views)}"
        raise PathNotFoundError(msg)
    return request.with_file(f"{views[0]}.jpg") if views else request


def _parameter_names(query: dict[str, str]) -> Iterator[str]:
    """Take what parameter directories stand for out of `query`, as their names."""
    if "downsample" in query:
        yield f"ds{query.pop('downsample')}"
    if "quality" in query:
        yield f"q{query.pop('quality')}"
    left, top, width, height = (
        query.pop(key, "") for key in ("left", "top", "width", "height")
    )
    if left or top or width or height:
        size = f"{width}x{height}" if width or height else ""
        yield f"roi{size}" + (f"+{left}+{top}" if left or top else "")
    for key in ("range", "rgb", "contrast", "colormap"):
        if key in query:
            yield key + query.pop(key)
    if _is_true(query.pop("annotation", "false")):
        yield "annotated"


def _is_true(value: str) -> bool:
    if value not in ("true", "false"):
        msg = f"neither true nor false: {value!r}"
        raise PathNotFoundError(msg)
    return value == "true"


@dataclass(frozen=True, slots=True)
class _Parameter:
    """One parameter directory: its field, its names, its query.

    ``Any`` is the type of the field that the row belongs to.
    """

    field: str
    pattern: re.Pattern[str]
    read: Callable[[re.Match[str]], Any]
    name: Callable[[Any], str]
    query: Callable[[Any], list[str]]
    services: frozenset[ImageService] = frozenset(ImageService)
    default: object = None


def _number(
    field: str, prefix: str, maximum: int, default: int | None = None
) -> _Parameter:
    def read(found: re.Match[str]) -> int:
        return _at_most(int(found[1]), maximum)

    return _Parameter(
        field,
        re.compile(rf"{prefix}({_NUMBER})"),
        read,
        lambda value: f"{prefix}{value}",
        lambda value: [f"{field}={value}"],
        default=default,
    )


def _numbers(
    field: str, pattern: str, read: Callable[[re.Match[str]], tuple[object, ...]]
) -> _Parameter:
    return _Parameter(
        field,
        re.compile(f"{field}({pattern})"),
        read,
        lambda value: f"{field}{','.join(map(str, value))}",
        lambda value: [f"{field}={','.join(map(str, value))}"],
        frozenset({ImageService.SECTION, ImageService.PROJECTION}),
    )


def _at_most(value: int, maximum: int) -> int:
    if value > maximum:
        msg = f"{value} is above {maximum}"
        raise PathNotFoundError(msg)
    return value


def _read_roi(found: re.Match[str]) -> Roi:
    return Roi(*(None if text is None else int(text) for text in found.groups()))


def _roi_query(roi: Roi) -> list[str]:
    values = {
        "left": roi.left_px_full,
        "top": roi.top_px_full,
        "width": roi.width_px,
        "height": roi.height_px,
    }
    return [f"{key}={value}" for key, value in values.items() if value is not None]


def _read_channels(found: re.Match[str]) -> tuple[int, ...]:
    return tuple(
        _at_most(int(text), _MAX_CHANNEL_VALUE) for text in found[1].split(",")
    )


def _read_decimals(found: re.Match[str]) -> tuple[str, ...]:
    return tuple(
        text.rstrip("0").rstrip(".") if "." in text else text
        for text in found[1].split(",")
    )


# In the order of a canonical path and of a canonical query.
_PARAMETERS = (
    _number("downsample", "ds", MAX_DOWNSAMPLE, default=0),
    _number("quality", "q", MAX_QUALITY),
    _Parameter(
        "roi",
        re.compile(
            rf"roi(?=.)(?:({_POSITIVE})x({_POSITIVE}))?(?:\+({_NUMBER})\+({_NUMBER}))?"
        ),
        _read_roi,
        lambda roi: f"roi{roi}",
        _roi_query,
    ),
    _numbers("range", rf"{_NUMBER}(?:,{_NUMBER}){{5}}", _read_channels),
    _numbers("rgb", rf"{_UNIT_DECIMAL}(?:,{_UNIT_DECIMAL}){{2}}", _read_decimals),
    _numbers("contrast", rf"{_UNIT_DECIMAL},{_UNIT_DECIMAL}", _read_decimals),
    # AllenSDK writes five values (0.5, lower threshold, 0, 256, colormap id);
    # viewers send a single one
    _numbers("colormap", rf"{_DECIMAL}(?:,{_DECIMAL}){{0,4}}", _read_decimals),
    _Parameter(
        "annotated",
        re.compile("annotated"),
        lambda _: True,
        lambda _: "annotated",
        lambda _: ["annotation=true"],
        frozenset({ImageService.ATLAS}),
        default=False,
    ),
)
