"""What the report says of one unknown."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pictures import pixels, quality

if TYPE_CHECKING:
    from collections.abc import Callable

    from asking import Asker, Exchange

_SHOWN, _LOOKED_AT = 120, 1000
_TAG = re.compile(
    r"<(?:style|script).*?</(?:style|script)>|<[!/a-z][^>]*>", re.S | re.I
)


@dataclass(frozen=True)
class Answer:
    """One row of the summary.

    Attributes
    ----------
    number : str
        Of the unknown.
    agrees : bool or None
        Whether what was seen is what allenfs assumes; None where it assumes nothing,
        or nothing was seen.
    """

    number: str
    question: str
    seen: str
    assumed: str
    agrees: bool | None


@dataclass(frozen=True)
class Probe:
    """A question, and the function that asks it, which may raise any exception."""

    number: str
    title: str
    ask: Callable[[Asker], list[Answer]]


def outcome(exchange: Exchange) -> str:
    """Say in a few words what came."""
    if exchange.status is None:
        return f"no answer ({exchange.trouble})"
    said = f"{exchange.status}"
    shape = pixels(exchange.body)
    if shape:
        said += f", JPEG {shape[0]} x {shape[1]}, quality {quality(exchange.body)}"
    elif exchange.body:
        kind = exchange.header("Content-Type") or "no type"
        said += f", {kind}, {len(exchange.body)} bytes: {excerpt(exchange.body)!r}"
    elif exchange.method != "HEAD":
        said += ", no body"
    return f"{said} ({exchange.trouble})" if exchange.trouble else said


def excerpt(data: bytes) -> str:
    """Return the beginning as text in one line."""
    text = _TAG.sub(" ", data[:_LOOKED_AT].decode("latin-1"))
    return " ".join(text.split())[:_SHOWN]


def is_image(exchange: Exchange) -> bool:
    """Whether a whole image came."""
    return exchange.status == 200 and pixels(exchange.body) is not None


def envelope(exchange: Exchange) -> dict[str, Any]:
    """Return the JSON object that came, empty where none did."""
    try:
        found = json.loads(exchange.body)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def rows(exchange: Exchange) -> list[dict[str, Any]]:
    """Return the rows of an answer to a query."""
    found = envelope(exchange).get("msg")
    rows = found if isinstance(found, list) else []
    return [row for row in rows if row and isinstance(row, dict)]


def counts(exchange: Exchange) -> str:
    """Say how many rows came, and how many the answer to a query says there are."""
    found = envelope(exchange)
    if not isinstance(found.get("msg"), list):
        return outcome(exchange)
    said = ", ".join(f"{name} {found.get(name)}" for name in ("num_rows", "total_rows"))
    return f"{len(found['msg'])} rows ({said}), {exchange.status}"


def missing(number: str, question: str, exchange: Exchange, assumed: str) -> Answer:
    """Return the row where a response has nothing of what was asked for.

    A response that says so differs from what is assumed; no response does not.
    """
    agrees = False if exchange.hops else None
    reason = envelope(exchange).get("msg")
    is_refused = isinstance(reason, str)
    seen = (
        f"{exchange.status}, refused: {reason!r}" if is_refused else outcome(exchange)
    )
    return Answer(number, question, seen, assumed, agrees)
