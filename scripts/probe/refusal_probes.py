"""Unknown 3: what the image services say where there is no such image."""

from __future__ import annotations

from typing import TYPE_CHECKING

from answers import Answer, Probe, is_image, outcome
from page import API

if TYPE_CHECKING:
    from asking import Asker

_SECTION = f"{API}/image_download/69750516"
_SMALL = f"{_SECTION}?downsample=5"
# title, target, what allenfs assumes, statuses that are so
_ERRORS: tuple[tuple[str, str, str, tuple[int, ...]], ...] = (
    ("an id that nobody has", f"{API}/image_download/-1", "404", (404,)),
    ("an id of 9 digits", f"{API}/image_download/999999999", "404", (404,)),
    (
        "the image whose mask is asked for next",
        f"{API}/image_download/576989001?downsample=5",
        "an image",
        (200,),
    ),
    (
        "an expression mask that is missing",
        f"{API}/image_download/576989001?downsample=5&view=expression",
        "404 or 400",
        (404, 400),
    ),
    (
        "a view that this image has not",
        f"{_SMALL}&view=tumor_feature_annotation",
        "404 or 400",
        (404, 400),
    ),
    ("a view that there is not", f"{_SMALL}&view=nonsense", "400", (400,)),
    ("a downsample that is no number", f"{_SECTION}?downsample=abc", "400", (400,)),
    ("a quality of 101", f"{_SMALL}&quality=101", "400", (400,)),
    (
        "a region outside of the image",
        f"{_SECTION}?left=20000&top=20000&width=100&height=100",
        "400",
        (400,),
    ),
    (
        "a region half outside",
        f"{_SECTION}?left=13965&top=7197&width=200&height=200",
        "400, or an image",
        (400, 200),
    ),
    (
        "a plate asked for as a section",
        f"{API}/image_download/100883869?downsample=5",
        "an image",
        (200,),
    ),
    (
        "a section asked for as a plate",
        f"{API}/atlas_image_download/69750516?downsample=5",
        "404",
        (404,),
    ),
    (
        "an image that could not be read in 2023",
        f"{API}/image_download/101322758?downsample=5",
        "200 and no JPEG, or 404",
        (200, 404),
    ),
)


def _errors(asker: Asker) -> list[Answer]:
    found = []
    for title, target, assumed, statuses in _ERRORS:
        exchange = asker.get(title, target)
        agrees = None if exchange.status is None else exchange.status in statuses
        found.append(Answer("3", title, outcome(exchange), assumed, agrees))
    return found


def _deep(asker: Asker) -> list[Answer]:
    found = []
    for downsample in (6, 7, 8, 10, 11):
        exchange = asker.get(
            f"downsample={downsample} of an image with 7 tiers",
            f"{_SECTION}?downsample={downsample}",
        )
        is_listed = downsample <= 10  # ds10 is the last path
        found.append(
            Answer(
                "3",
                f"downsample={downsample} where tier_count is 7",
                outcome(exchange),
                "an image" if is_listed else "not asked by allenfs",
                (is_image(exchange) if exchange.hops and is_listed else None),
            )
        )
    return found


PROBES = (
    Probe("3", "What is no image", _errors),
    Probe("3", "Downsample at and above the tiers", _deep),
)
