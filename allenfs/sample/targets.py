"""Request targets of the sample service: parsing queries, building redirects."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, cast
from urllib.parse import parse_qsl, urlencode, urlsplit

from allenfs.sample.picture import (
    MAX_DOWNSAMPLE,
    VIEWS,
    OutsideImageError,
    Picture,
    Service,
    resolved,
)
from allenfs.sample.records import RECORDS, ImageRecord

IMAGE_SERVICE_PATH: Final = "/cgi-bin/imageservice"

_ENDPOINTS: Final[dict[str, Service]] = {
    "image_download": "image",
    "section_image_download": "image",
    "projection_image_download": "projection",
    "atlas_image_download": "atlas",
}
_DOWNLOAD_PATH = re.compile(r"/api/v2/([a-z_]*image_download)/([^/]*)")
_STORED_PATH = re.compile(r"/external/sample/(image|projection|atlas)/(\d+)/(\w+)\.aff")
_FILTERS: Final = frozenset({"range", "rgb", "contrast", "colormap"})
_NUMBER = re.compile(r"-?[0-9]{1,9}(\.[0-9]{1,9})?")


class BadRequestError(ValueError):
    """A parameter is malformed, or unknown to this service."""


class UnknownImageError(LookupError):
    """The service has no such image."""


@dataclass(frozen=True, slots=True)
class Download:
    """An image and the parameters of its request."""

    record: ImageRecord
    picture: Picture


def is_image_request(target: str) -> bool:
    """Return whether `target` is the first leg of an image download."""
    match = _DOWNLOAD_PATH.fullmatch(urlsplit(target).path)
    return match is not None and match[1] in _ENDPOINTS


def image_id_of(target: str) -> int | None:
    """Return the image id in a first-leg target, or None if it is not a number."""
    match = _DOWNLOAD_PATH.fullmatch(urlsplit(target).path)
    return int(match[2]) if match and re.fullmatch(r"\d{1,18}", match[2]) else None


def parse_download(target: str) -> Download:
    """Parse the first leg, `/api/v2/...image_download/ID?...`.

    Raises
    ------
    UnknownImageError
        No such image, or not an image of this service.
    BadRequestError
        A malformed or misplaced parameter, or a region outside the image.
    """
    parts = urlsplit(target)
    match = _DOWNLOAD_PATH.fullmatch(parts.path)
    image_id = image_id_of(target)
    if match is None or match[1] not in _ENDPOINTS or image_id is None:
        raise UnknownImageError(target)
    service = _ENDPOINTS[match[1]]
    record = RECORDS.get(image_id)
    if record is None or not _serves(service, record):
        raise UnknownImageError(target)
    values = read_values(parts.query)
    wrong = _misplaced(service) & values.keys()
    if wrong:
        raise BadRequestError(
            f"{', '.join(sorted(wrong))}: not a parameter of {match[1]}"
        )
    return _resolved(record, _picture(service, values))


def location_of(download: Download) -> str:
    """Return the second leg's target, which contains all parameters."""
    record, picture = download.record, download.picture
    variant = picture.view or "primary"
    if picture.annotation:
        variant = "rendered"
    path = f"/external/sample/{picture.service}/{record.image_id}/{variant}.aff"
    query: dict[str, str | int | None] = {
        "mime": 1,
        "path": path,
        "left": picture.left_px,
        "top": picture.top_px,
        "width": picture.width_px,
        "height": picture.height_px,
        "downsample": picture.downsample,
        "quality": picture.quality,
        "atlas": picture.atlas_id,
        "range": _joined(picture.range),
        "rgb": _joined(picture.rgb),
        "contrast": _joined(picture.contrast),
        "colormap": picture.colormap,
    }
    given = {name: value for name, value in query.items() if value is not None}
    return f"{IMAGE_SERVICE_PATH}?{urlencode(given, safe='/,')}"


def parse_location(target: str) -> Download:
    """Parse the second leg, `/cgi-bin/imageservice?...`; raises as the first does."""
    values = read_values(urlsplit(target).query)
    match = _STORED_PATH.fullmatch(values.pop("path", ""))
    record = RECORDS.get(int(match[2])) if match else None
    if match is None or record is None:
        raise UnknownImageError(target)
    values.pop("mime", None)
    if match[3] == "rendered":
        values["annotation"] = "true"
    elif match[3] != "primary":
        values["view"] = match[3]
    return _resolved(record, _picture(cast("Service", match[1]), values))


def _serves(service: Service, record: ImageRecord) -> bool:
    """`image` serves every image, the two others one kind each."""
    return service == "image" or (service == "atlas") == (record.kind == "atlas")


def _misplaced(service: Service) -> frozenset[str]:
    if service == "atlas":
        return _FILTERS | {"view"} | frozenset(VIEWS)
    return frozenset({"annotation", "atlas"})


def read_values(query: str) -> dict[str, str]:
    """Return the parameters by name; BadRequestError if one is given twice."""
    pairs = parse_qsl(query, keep_blank_values=True)
    values = dict(pairs)
    if len(values) != len(pairs):
        raise BadRequestError("a parameter is given twice")
    return values


def _resolved(record: ImageRecord, picture: Picture) -> Download:
    try:
        return Download(record, resolved(record, picture))
    except OutsideImageError as exc:
        raise BadRequestError(str(exc)) from exc


def _picture(service: Service, values: dict[str, str]) -> Picture:
    """Read the parameters; unknown names are ignored, as by the original."""
    return Picture(
        view=_view(values),
        downsample=read_integer(values, "downsample", 0, MAX_DOWNSAMPLE) or 0,
        quality=read_integer(values, "quality", 0, 100),
        left_px=read_integer(values, "left"),
        top_px=read_integer(values, "top"),
        width_px=read_integer(values, "width", 1),
        height_px=read_integer(values, "height", 1),
        range=_integers(values, "range", 6),
        rgb=_numbers(values, "rgb", 3),
        contrast=_numbers(values, "contrast", 2),
        colormap=_colormap(values),
        annotation=_flag(values, "annotation"),
        atlas_id=read_integer(values, "atlas", 1),
        service=service,
    )


def _view(values: dict[str, str]) -> str | None:
    """Return the view, also from its older spelling, `expression=true`."""
    named = {view for view in VIEWS if _flag(values, view)}
    if "view" in values:
        named.add(values["view"])
    if len(named) > 1 or not named <= set(VIEWS):
        raise BadRequestError(f"view: {', '.join(sorted(named))}")
    return named.pop() if named else None


def _flag(values: dict[str, str], name: str) -> bool:
    text = values.get(name, "false")
    if text not in ("true", "false"):
        raise BadRequestError(f"{name}: neither true nor false")
    return text == "true"


def read_integer(
    values: dict[str, str],
    name: str,
    lowest: int = -(10**9),
    highest: int = 10**9,
) -> int | None:
    """Return a whole number in range, or None; BadRequestError for anything else."""
    text = values.get(name)
    if text is None:
        return None
    if not re.fullmatch(r"-?\d{1,10}", text) or not lowest <= int(text) <= highest:
        raise BadRequestError(f"{name}: not a whole number in range")
    return int(text)


def _numbers(
    values: dict[str, str], name: str, count: int, *, at_least: int | None = None
) -> tuple[float, ...] | None:
    """Read `count` numbers with commas between them, or fewer if that is allowed."""
    text = values.get(name)
    if text is None:
        return None
    parts = text.split(",")
    lowest = count if at_least is None else at_least
    if not lowest <= len(parts) <= count or not all(map(_NUMBER.fullmatch, parts)):
        raise BadRequestError(f"{name}: not {count} numbers")
    return tuple(float(part) for part in parts)


def _integers(values: dict[str, str], name: str, count: int) -> tuple[int, ...] | None:
    if "." in values.get(name, ""):
        raise BadRequestError(f"{name}: not {count} whole numbers")
    numbers = _numbers(values, name, count)
    return None if numbers is None else tuple(int(number) for number in numbers)


def _colormap(values: dict[str, str]) -> str | None:
    """Up to five numbers; the last of five is the id of a colour map."""
    text = values.get("colormap")
    return text if _numbers(values, "colormap", 5, at_least=1) else None


def _joined(numbers: tuple[float, ...] | None) -> str | None:
    """Write numbers so that whole ones have no decimal point."""
    return None if numbers is None else ",".join(f"{number:.9g}" for number in numbers)
