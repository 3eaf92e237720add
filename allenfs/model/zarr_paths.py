"""Paths in a pyramid: its levels, indices of chunks, and the files that describe it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NoReturn

from allenfs.errors import PathNotFoundError
from allenfs.model import nodes
from allenfs.model.pyramids import ARRAY_FILE, ATTRIBUTES_FILE, GROUP_FILE

if TYPE_CHECKING:
    from allenfs.model.nodes import Node

VOLUME = "stack.zarr"
_SUFFIX = ".zarr"
_NUMBER = re.compile(r"0|[1-9][0-9]{0,9}")
# By how many numbers come before them: those of the pyramid, and of each level.
_FILES = {0: (GROUP_FILE, ATTRIBUTES_FILE), 1: (ARRAY_FILE,)}


def pyramid_in(names: list[str]) -> int | None:
    """Return the index of the directory of a pyramid; None if there is none."""
    places = (place for place, name in enumerate(names) if name.endswith(_SUFFIX))
    return next(places, None)


def image_beside(name: str) -> str:
    """Return the file name of the image that ``NAME.zarr`` is the pyramid of."""
    return f"{name.removesuffix(_SUFFIX)}.jpg"


def parse(source: Node, names: list[str]) -> nodes.ZarrNode:
    """Read `names`, from the directory of a pyramid on.

    `source` is what it is the pyramid of. PathNotFoundError if there is no such name,
    or the source has a tier or a region.
    """
    match source:
        case nodes.ImageFile() as view:
            pass
        case nodes.CollectionFile(nodes.CollectionDirectory(view=view)):
            pass
        case nodes.CollectionDirectory(view=view):
            pass
        case _:
            _deny(names[0])
    if view.request.downsample or view.request.roi is not None:
        _deny(names[0])  # it has all tiers, and all of the image
    below = names[1:]
    file = below.pop() if below and below[-1].startswith(".") else ""
    node = nodes.ZarrNode(source, tuple(map(_number, below)), file)
    numbers = len(node.numbers)
    if numbers > node.depth or (file and file not in _FILES.get(numbers, ())):
        _deny(names[-1])
    return node


def _number(name: str) -> int:
    if not _NUMBER.fullmatch(name):
        _deny(name)
    return int(name)


def _deny(name: str) -> NoReturn:
    raise PathNotFoundError(f"no such name: {name!r}")
