"""Extended attributes: the origin of an image, or the reason of its failure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from allenfs.catalog.entries import Folder, Picture
from allenfs.errors import NoAttributeError
from allenfs.model.images import ImageRequest
from allenfs.text import iso_time

if TYPE_CHECKING:
    from allenfs.catalog.repository import Repository
    from allenfs.fetch.fetcher import Fetcher
    from allenfs.filesystem.filesystem import Filesystem
    from allenfs.model.sheets import Request
    from allenfs.service.single_flight import Caller

URL_ATTRIBUTE = "user.allenfs.url"
SHA256_ATTRIBUTE = "user.allenfs.sha256"
FETCHED_ATTRIBUTE = "user.allenfs.fetched"
SIZE_KNOWN_ATTRIBUTE = "user.allenfs.size_known"
ERROR_ATTRIBUTE = "user.allenfs.error"


class ExtendedAttributes:
    """The attributes of every path.

    An image has its download URL, whether `stat` shows its exact size or an upper
    bound, and its last failure; if it is local, also its SHA-256 (64 hex digits) and
    the time of its download (ISO 8601, UTC). A directory has the reason why the last
    query failed: a name that could not be looked up has no attributes.
    """

    def __init__(
        self,
        filesystem: Filesystem,
        fetcher: Fetcher,
        repository: Repository,
        *,
        api_url: str,
    ) -> None:
        self._filesystem = filesystem
        self._fetcher = fetcher
        self._repository = repository
        self._api_url = api_url

    def names(self, path: str, caller: Caller) -> list[str]:
        """Return the names of a path's attributes that have a value."""
        return list(self._values(path, caller))

    def value(self, path: str, name: str, caller: Caller) -> bytes:
        """Return the value of one attribute; raises NoAttributeError."""
        value = self._values(path, caller).get(name)
        if value is None:
            raise NoAttributeError(name)
        return value.encode()

    def _values(self, path: str, caller: Caller) -> dict[str, str]:
        values: dict[str, str] = {}
        match self._filesystem.entry(path, caller):
            case Picture(request):
                if isinstance(request, ImageRequest):
                    values[URL_ATTRIBUTE] = request.url(self._api_url)
                error = self._add_image(values, path, request)
            case Folder():
                error = self._repository.last_failure
            case _:
                error = None
        return values if error is None else values | {ERROR_ATTRIBUTE: error}

    def _add_image(
        self, values: dict[str, str], path: str, request: Request
    ) -> str | None:
        """Add the attributes of an image; return why it could not be downloaded."""
        is_known = self._filesystem.is_size_known(path, request)
        values[SIZE_KNOWN_ATTRIBUTE] = "true" if is_known else "false"
        facts = self._fetcher.facts(request)
        if facts is not None:
            values[SHA256_ATTRIBUTE] = facts.sha256
            values[FETCHED_ATTRIBUTE] = iso_time(facts.fetched_ns)
        return self._fetcher.last_failure(request)
