"""Extended attributes: the origin of an image, or the reason of its failure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from allenfs.catalog.entries import Folder, Picture, Sheet
from allenfs.errors import NoAttributeError
from allenfs.text import iso_time

if TYPE_CHECKING:
    from collections.abc import Callable

    from allenfs.filesystem.filesystem import Filesystem
    from allenfs.model.sheets import Request
    from allenfs.store.stored_file import Facts

URL_ATTRIBUTE = "user.allenfs.url"
SHA256_ATTRIBUTE = "user.allenfs.sha256"
FETCHED_ATTRIBUTE = "user.allenfs.fetched"
SIZE_KNOWN_ATTRIBUTE = "user.allenfs.size_known"
ERROR_ATTRIBUTE = "user.allenfs.error"


class Images(Protocol):
    """Facts about an image, and why it could not be downloaded."""

    def facts(self, request: Request) -> Facts | None:
        """Return the facts about a local image."""

    def last_failure(self, request: Request) -> str | None:
        """Return why the last download failed; None if it did not."""


class QueryFailures(Protocol):
    """Why a query of the catalog failed."""

    def last_failure(self) -> str | None:
        """Return why the last query failed; None if it did not."""


class ExtendedAttributes:
    """The attributes of every path.

    An image has its download URL, whether `stat` shows its exact size or an upper
    bound, and its last failure; if it is local, also its SHA-256 (64 hex digits) and
    the time of its download (ISO 8601, UTC). A directory has the reason why the last
    query failed: a name that could not be looked up has no attributes.

    Parameters
    ----------
    api_url : str
        Base of the URLs.
    """

    def __init__(
        self,
        filesystem: Filesystem,
        images: Images,
        catalog: QueryFailures,
        *,
        api_url: str,
    ) -> None:
        self._filesystem = filesystem
        self._images = images
        self._catalog = catalog
        self._api_url = api_url

    def names(self, path: str, interrupted: Callable[[], bool]) -> list[str]:
        """Return the names of a path's attributes that have a value."""
        return list(self._values(path, interrupted))

    def value(self, path: str, name: str, interrupted: Callable[[], bool]) -> bytes:
        """Return the value of one attribute.

        Raises
        ------
        NoAttributeError, and what the lookup of the path raises
        """
        value = self._values(path, interrupted).get(name)
        if value is None:
            raise NoAttributeError(name)
        return value.encode()

    def _values(self, path: str, interrupted: Callable[[], bool]) -> dict[str, str]:
        values: dict[str, str] = {}
        error: str | None = None
        match self._filesystem.entry(path, interrupted=interrupted):
            case Picture(request):
                url = {URL_ATTRIBUTE: request.url(self._api_url)}
                values = url | self._of_image(path, request)
                error = self._images.last_failure(request)
            case Sheet(sheet):
                values = self._of_image(path, sheet)
                error = self._images.last_failure(sheet)
            case Folder():
                error = self._catalog.last_failure()
        return values if error is None else values | {ERROR_ATTRIBUTE: error}

    def _of_image(self, path: str, request: Request) -> dict[str, str]:
        is_known = self._filesystem.is_size_known(path, request)
        values = {SIZE_KNOWN_ATTRIBUTE: "true" if is_known else "false"}
        facts = self._images.facts(request)
        if facts is not None:
            values[SHA256_ATTRIBUTE] = facts.sha256
            values[FETCHED_ATTRIBUTE] = iso_time(facts.fetched_ns)
        return values
