"""What a path turns out to be, once the catalog has been asked, and its `stat`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from allenfs.catalog.documents import Document

if TYPE_CHECKING:
    from collections.abc import Callable

    from allenfs.catalog.documents import Readable
    from allenfs.model.images import ImageRequest
    from allenfs.model.sheets import SheetRequest


@dataclass(frozen=True, slots=True)
class Folder:
    """A directory."""


@dataclass(frozen=True, slots=True)
class Link:
    """A symbolic link; `target` is relative and inside the mount."""

    target: str


@dataclass(frozen=True, slots=True)
class Picture:
    """An image of the service.

    Attributes
    ----------
    full_px : tuple of int or None
        Width and height at full resolution, where the catalog knows them.
    """

    request: ImageRequest
    full_px: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class Sheet:
    """An image of many images, drawn here."""

    request: SheetRequest


@dataclass(frozen=True, slots=True)
class Changing:
    """A file that is another one each time it is opened.

    Attributes
    ----------
    taken : callable
        The file as it is now; at once, whatever the service or a download does.
    """

    taken: Callable[[], Readable]


Entry = Folder | Link | Picture | Sheet | Document | Changing


class Attributes(NamedTuple):
    """What `stat` tells.

    Attributes
    ----------
    size_bytes : int
        Exact, but for an image that is not here and was never read: an upper bound.
    blocks : int
        512-byte blocks that the file takes on this machine: 0 if it is not here.
    modified_ns : int
        Nanoseconds since the epoch.
    is_dir, is_link : bool
        Else it is a file.
    """

    size_bytes: int
    blocks: int
    modified_ns: int
    is_dir: bool = False
    is_link: bool = False
