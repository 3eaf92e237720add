"""Unknown 16: the drawings of a plate."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from answers import Answer, Probe, missing
from page import API

if TYPE_CHECKING:
    from asking import Asker, Exchange

_ENDPOINT = f"{API}/svg_download"
_ROOT = re.compile(rb"<svg\b[^>]*>")
_SIDE = rb'\b%s="([0-9.]+)"'
_PATH = re.compile(rb"<path\b")
_GROUP = re.compile(rb'graphic_group_label_id="(\d+)"')


def _drawings(asker: Asker) -> list[Answer]:
    return [
        _drawing(asker, "100960224", ["28"], "660 x 472"),
        _drawing(asker, "100883869", ["28", "32"]),  # of two atlases
        _drawing(asker, "100960224", []),
    ]


def _drawing(asker: Asker, plate: str, groups: list[str], size: str = "") -> Answer:
    """Ask for the drawing of a plate; `size` is empty if none was recorded."""
    title = f"Drawing of {plate}, groups {' '.join(groups) or 'none'}"
    parameter = f"groups={','.join(groups)}&" * bool(groups)
    exchange = asker.get(title, f"{_ENDPOINT}/{plate}?{parameter}downsample=4")
    assumed = "with paths of these groups" if groups else "no path: some 108 bytes"
    assumed = f"{size}, {assumed}" if size else assumed
    root = _ROOT.search(exchange.body)
    if exchange.status != 200 or root is None:
        return missing("16", title, exchange, assumed)
    sides = " x ".join(_side(root[0], name) for name in (b"width", b"height"))
    paths, drawn = len(_PATH.findall(exchange.body)), _groups(exchange)
    agrees = drawn == groups and bool(paths) == bool(groups) and size in ("", sides)
    seen = f"{sides}, {paths} paths, {_how(exchange)}"
    return Answer("16", title, seen, assumed, agrees)


def _side(root: bytes, name: bytes) -> str:
    side = re.search(_SIDE % name, root)
    return side[1].decode("ascii") if side else "?"


def _groups(exchange: Exchange) -> list[str]:
    return sorted({number.decode("ascii") for number in _GROUP.findall(exchange.body)})


def _how(exchange: Exchange) -> str:
    is_whole = exchange.body.rstrip().endswith(b"</svg>")
    is_chunked = "chunked" in exchange.header("Transfer-Encoding").lower()
    return (
        f"groups {' '.join(_groups(exchange)) or 'none'}, {len(exchange.body)} bytes, "
        f"{'whole' if is_whole else 'without </svg> at its end'}; "
        f"{exchange.status}, {exchange.header('Content-Type') or 'no type'}, "
        f"Content-Length {exchange.header('Content-Length') or 'none'}, "
        f"{'chunked' if is_chunked else 'not chunked'}"
    )


PROBES = (Probe("16", "Drawings of a plate", _drawings),)
