"""The entries that paths resolve to, and their attributes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, NoReturn, Protocol

from allenfs.catalog.documents import Document
from allenfs.errors import PathNotFoundError

if TYPE_CHECKING:
    from allenfs.model.nodes import Listing
    from allenfs.model.pyramids import Chunk
    from allenfs.model.sheets import Request
    from allenfs.store.stored_file import Facts


class Readable(Protocol):
    """The content of an open file: an image, a document or a log."""

    @property
    def facts(self) -> Facts:
        """Size and time."""

    def read(self, offset: int, size: int) -> bytes:
        """Return bytes [offset, offset + size); shorter only at the end."""


@dataclass(frozen=True, slots=True)
class Folder:
    """A directory."""


@dataclass(frozen=True, slots=True)
class Link:
    """A symbolic link; `target` is relative and inside the mount."""

    target: str


@dataclass(frozen=True, slots=True)
class Picture:
    """An image or drawing of the service, a contact sheet, a page, or a chunk.

    `full_px` is width and height at full resolution, if the catalog knows them.
    `listed_in` is the directory of images that are often read in order: of a data set
    or an atlas (for a page of a stack, that of the images on the pages), or chunks in a
    pyramid. With a `chunk`, the file is not the image as it is stored, but its pixels.
    """

    request: Request
    full_px: tuple[int, int] | None = None
    listed_in: Listing | None = None
    chunk: Chunk | None = None


@dataclass(frozen=True, slots=True)
class Changing:
    """A file whose content changes: `snapshot` returns it as of now, at once."""

    snapshot: Callable[[], Readable]


Entry = Folder | Link | Picture | Document | Changing


class Attributes(NamedTuple):
    """The result of `stat`.

    The size is exact, or an upper bound for an image that is not stored and was never
    read. `blocks` of 512 bytes counts what is on this machine: 0 if it is not stored.
    `modified_ns` is in nanoseconds since the epoch.
    """

    size_bytes: int
    blocks: int
    modified_ns: int
    is_dir: bool = False
    is_link: bool = False


def deny(what: str) -> NoReturn:
    """Raise PathNotFoundError for something that is not in the catalog."""
    raise PathNotFoundError(f"the catalog has no {what}")
