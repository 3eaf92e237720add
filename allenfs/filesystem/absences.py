"""Why names do not exist, for the extended attributes of their directory."""

from __future__ import annotations

import contextlib
import posixpath

_REMEMBERED = 256


class Absences:
    """The last name that was not found in each directory, and the reason.

    A name that does not exist has no attributes: its directory has them. Safe to use
    from many threads.
    """

    def __init__(self) -> None:
        self._last: dict[str, tuple[str, str]] = {}

    def note(self, path: str, reason: str) -> None:
        """Remember why a path does not exist."""
        directory, name = posixpath.split(path)
        self._last.pop(directory, None)
        self._last[directory] = name, reason
        if len(self._last) > _REMEMBERED:
            with contextlib.suppress(KeyError, RuntimeError):  # another thread did
                del self._last[next(iter(self._last))]

    def found(self, path: str) -> None:
        """Forget why a path did not exist."""
        if not self._last:  # as for most mounts
            return
        directory, name = posixpath.split(path)
        if self._last.get(directory, ("", ""))[0] == name:
            self._last.pop(directory, None)

    def failed(self, path: str) -> None:
        """Forget the reason of its directory: the failed query has a newer one."""
        self._last.pop(posixpath.dirname(path), None)

    def reason(self, directory: str) -> str | None:
        """Return the last name that was not found in a directory, and why.

        With the name, because programs look up others in between.
        """
        name_and_reason = self._last.get(directory)
        return None if name_and_reason is None else ": ".join(name_and_reason)
