"""The unknowns of the image services: 1 to 6."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import refusal_probes
from answers import Answer, Probe, is_image, outcome
from page import API
from pictures import pixels, quality

if TYPE_CHECKING:
    from asking import Asker

_SECTION = f"{API}/image_download/69750516"
_SMALL = f"{_SECTION}?downsample=5"
_FULL_PX = (14065, 7297)
_ROI = f"{_SECTION}?left=6174&top=2282&width=400&height=300"
_PART, _OK = 206, 200


def _transfer(asker: Asker) -> list[Answer]:
    first = asker.get("a small image", _SMALL)
    again = asker.get("the same once more", _SMALL)
    packed = asker.get("the same, gzip offered", _SMALL, Accept_Encoding="gzip")
    got = is_image(first)
    chunked = "chunked" in first.header("Transfer-Encoding").lower()
    length = first.header("Content-Length")
    modified = first.header("Last-Modified")
    same = first.sha256 == again.sha256
    coding = packed.header("Content-Encoding")
    plain = first.header("Content-Encoding")
    gone = outcome(first)

    def answer(question: str, seen: str, assumed: str, *, agrees: bool) -> Answer:
        return Answer("1", question, seen if got else gone, assumed, agrees and got)

    return [
        answer(
            "Length of an image",
            f"Content-Length {length or 'none'}, "
            f"{'chunked' if chunked else 'not chunked'}",
            "chunked, no length",
            agrees=chunked and not length,
        ),
        answer(
            "ETag",
            first.header("ETag") or "none",
            "none",
            agrees=not first.header("ETag"),
        ),
        answer(
            "Last-Modified",
            f"{modified or 'none'}; then {again.header('Last-Modified') or 'none'}",
            "there, and the same each time",
            agrees=bool(modified) and modified == again.header("Last-Modified"),
        ),
        answer(
            "Bytes of an image asked for twice",
            "the same" if same else f"{first.sha256[:12]}, then {again.sha256[:12]}",
            "the same",
            agrees=same,
        ),
        answer(
            "JPEGs gzipped where gzip is offered",
            f"{'yes' if coding else 'no'} ({packed.wire_bytes} bytes on the way)",
            "yes",
            agrees=bool(coding),
        ),
        answer(
            "JPEGs gzipped where it is not",
            f"yes ({plain})" if plain else "no",
            "no",
            agrees=not plain,
        ),
    ]


def _head(asker: Asker) -> list[Answer]:
    first = asker.get("HEAD", _SMALL, method="HEAD")
    return [Answer("1", "HEAD", outcome(first), "not used", None)]


def _ranges(asker: Asker) -> list[Answer]:
    part = asker.get("bytes 0 to 99", _SMALL, Range="bytes=0-99")
    offered = part.header("Accept-Ranges") or "none"
    return [
        Answer(
            "1",
            "Part of an image by Range",
            f"{'yes' if part.status == _PART else 'no'}: {part.status}, "
            f"{part.wire_bytes} bytes, Accept-Ranges {offered}",
            "no: whole images only",
            None if part.status is None else part.status == _OK,
        )
    ]


def _redirect(asker: Asker) -> list[Answer]:
    first = asker.get("where it leads", _SMALL)
    if not first.hops:
        return [Answer("2", "Redirect", outcome(first), "302 to the same host", None)]
    if not first.locations:
        return [
            Answer(
                "2",
                "Redirect",
                f"none: {outcome(first)}",
                "302 to the same host",
                agrees=False,
            )
        ]
    parts = urlsplit(first.locations[0])
    here = urlsplit(asker.api_url)
    there = f"{parts.scheme}://{parts.netloc}" if parts.netloc else "a path alone"
    is_host = parts.hostname in (None, here.hostname)
    return [
        Answer(
            "2",
            "Redirect to the image service",
            f"{first.hops[0].status} to {parts.path}",
            "302 to /cgi-bin/imageservice",
            parts.path == "/cgi-bin/imageservice",
        ),
        Answer(
            "2",
            "Its host",
            f"{there}, asked at {here.scheme}://{here.netloc}",
            "the same host; another is refused",
            is_host,
        ),
        Answer(
            "2",
            "Its scheme",
            parts.scheme or "as asked",
            f"{here.scheme}, as asked (the other is followed)",
            parts.scheme in ("", here.scheme),
        ),
    ]


def _region(asker: Asker) -> list[Answer]:
    found = []
    for extra, assumed in (
        ("", (400, 300)),
        ("&downsample_dimensions=true", None),
        ("&downsample_dimensions=false", None),
    ):
        exchange = asker.get(
            f"400 x 300 with downsample=2{extra.replace('&', ', ')}",
            f"{_ROI}&downsample=2{extra}",
        )
        shape = pixels(exchange.body)
        what = {(400, 300): "pixels of the tier", (100, 75): "full-resolution pixels"}
        seen = f"{what.get(shape or (0, 0), 'neither')}: {outcome(exchange)}"
        found.append(
            Answer(
                "4",
                f"width=400, downsample=2{extra.replace('&', ', ')}",
                seen if shape else outcome(exchange),
                "pixels of the tier" if assumed else "not used",
                shape == assumed if assumed and shape else None,
            )
        )
    return found


def _default_quality(asker: Asker) -> list[Answer]:
    base = asker.get("no quality", _SMALL)
    named = {
        number: asker.get(f"quality={number}", f"{_SMALL}&quality={number}")
        for number in (85, 100, 0)
    }
    same = [number for number, one in named.items() if one.body == base.body != b""]
    seen = f"{quality(base.body)}; the same bytes as quality={same or 'none of these'}"
    answers = [
        Answer(
            "5",
            "Quality where none is asked",
            seen if is_image(base) else outcome(base),
            "85",
            quality(base.body) == "85" if is_image(base) else None,
        )
    ]
    for number, one in named.items():
        shown = f"{outcome(one)}, {len(one.body)} bytes"
        agrees = is_image(one) if one.hops else None
        answers.append(Answer("5", f"quality={number}", shown, "an image", agrees))
    return answers


def _rounding(asker: Asker) -> list[Answer]:
    seen, kinds = [], {"floor", "round", "ceil"}
    for downsample in (3, 4, 5, 6):
        exchange = asker.get(
            f"pixels at downsample={downsample}", f"{_SECTION}?downsample={downsample}"
        )
        shape = pixels(exchange.body)
        if shape is None:
            return [Answer("6", "Rounding", outcome(exchange), "floor", None)]
        seen.append(f"{downsample}: {shape[0]} x {shape[1]}")
        kinds &= set(_kinds(shape, 2**downsample))
    said = f"{' or '.join(sorted(kinds)) or 'neither floor, round nor ceil'}"
    full = f"{_FULL_PX[0]} x {_FULL_PX[1]}"
    return [
        Answer(
            "6",
            f"Rounding of {full}",
            f"{said} ({'; '.join(seen)})",
            "floor",
            "floor" in kinds,
        )
    ]


def _kinds(shape: tuple[int, int], parts: int) -> list[str]:
    ways = {
        "floor": lambda full: full // parts,
        "round": lambda full: (2 * full + parts) // (2 * parts),
        "ceil": lambda full: -(-full // parts),
    }
    return [name for name, way in ways.items() if shape == tuple(map(way, _FULL_PX))]


PROBES = (
    Probe("1", "Headers of an image", _transfer),
    Probe("1", "HEAD", _head),
    Probe("1", "Ranges", _ranges),
    Probe("2", "The redirect", _redirect),
    *refusal_probes.PROBES,
    Probe("4", "A region with downsample", _region),
    Probe("5", "Quality", _default_quality),
    Probe("6", "Rounding", _rounding),
)
