"""Extended attributes: the origin of an image, or the reason of its failure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from allenfs.catalog.entries import Folder, Picture
from allenfs.errors import NoAttributeError
from allenfs.model.sheets import Drawn
from allenfs.text import iso_time

if TYPE_CHECKING:
    from allenfs.catalog.repository import Repository
    from allenfs.fetch.fetcher import Fetcher
    from allenfs.filesystem.filesystem import Filesystem
    from allenfs.service.single_flight import Caller


class ExtendedAttributes:
    """The attributes of every path.

    An image has its download URL, whether `stat` shows its exact size or an upper
    bound, and its last failure; if it is local, also its SHA-256 (64 hex digits) and
    the time of its download (ISO 8601, UTC). A chunk has those of its tile, but no
    SHA-256, as its bytes are others. A directory has the reason why the last
    name does not exist, or why the last query failed, because a name whose lookup
    failed has no attributes.
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
        values: dict[str, str | None] = {}
        match self._filesystem.entry(path, caller):
            case Picture(request, chunk=chunk):
                facts = self._fetcher.facts(request)
                is_known = chunk is not None or self._filesystem.is_size_known(
                    path, request
                )
                if not isinstance(request, Drawn):  # it has no URL
                    values["url"] = request.url(self._api_url)
                values["size_known"] = "true" if is_known else "false"
                if facts is not None:
                    if chunk is None:  # the bytes are not those of the tile
                        values["sha256"] = facts.sha256
                    values["fetched"] = iso_time(facts.fetched_ns)
                values["error"] = self._fetcher.last_failure(request)
                if chunk is not None:
                    failure = self._fetcher.last_failure(chunk)
                    values["error"] = failure or values["error"]
            case Folder():
                reason = self._filesystem.absences.reason(path)
                values["error"] = reason or self._repository.last_failure
        return {
            f"user.allenfs.{name}": value
            for name, value in values.items()
            if value is not None
        }
