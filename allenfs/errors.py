"""All errors, each with an errno or exit code, which subclasses inherit.

The root is not an ``OSError``: fusepy reports an ``OSError`` without errno as success
with no bytes. Errors that are not OSErrors cannot be lost that way.
"""

from __future__ import annotations

import errno
from typing import Any, ClassVar, TypeVar, cast

_Error = TypeVar("_Error", bound=BaseException)


class AllenFSError(Exception):
    """Root of all errors that leave a package of allenfs."""

    errno: ClassVar[int] = errno.EIO
    exit_code: ClassVar[int] = 1

    def __init_subclass__(cls, *, errno: int = 0, exit_code: int = 0) -> None:
        cls.errno = errno or cls.errno
        cls.exit_code = exit_code or cls.exit_code


class ConfigError(AllenFSError, exit_code=2):
    """A setting has an invalid value."""


class NetworkSettingError(ConfigError):
    """An unusable proxy, CA bundle or ``.netrc``."""


class MountError(AllenFSError, exit_code=3):
    """The filesystem cannot be mounted here."""


class UnmountError(AllenFSError):
    """Nothing is mounted, or it cannot be unmounted."""


class IntegrationError(AllenFSError):
    """A file that cannot be installed, or was not installed by allenfs."""


class StatusError(AllenFSError):
    """The status of a mount cannot be read."""


class UnsafeStoreError(AllenFSError):
    """A store directory that other users can read, write or redirect."""


class UrlError(AllenFSError):
    """A URL that corresponds to no path."""


class PathNotFoundError(AllenFSError, errno=errno.ENOENT):
    """A name outside the path grammar; no request was made."""


class NotADirError(AllenFSError, errno=errno.ENOTDIR):
    """A directory operation on a file."""


class IsADirError(AllenFSError, errno=errno.EISDIR):
    """A file operation on a directory."""


class UrlInRecordError(IsADirError):
    """The download URL depends on a record, which the path alone does not have."""


class NotALinkError(AllenFSError, errno=errno.EINVAL):
    """A link operation on something else."""


class ReadOnlyError(AllenFSError, errno=errno.EROFS):
    """A write."""


class BadHandleError(AllenFSError, errno=errno.EBADF):
    """A handle that is not open."""


_NO_DATA = getattr(errno, "ENODATA", errno.ENOENT)  # FreeBSD has none


class NoAttributeError(AllenFSError, errno=_NO_DATA):
    """The node has no extended attribute of that name."""


class InterruptedWaitError(AllenFSError, errno=errno.EINTR):
    """The process that waits for an image received a signal."""


class WaitTimeoutError(AllenFSError, errno=errno.ETIMEDOUT):
    """A caller's wait has timed out; the work goes on."""


class StaleSizeError(AllenFSError, errno=errno.ESTALE):
    """The kernel has a wrong size for the image; it must repeat the lookup."""


class VanishedError(AllenFSError, errno=errno.ESTALE):
    """A directory that no longer exists.

    Not ENOENT: the C library treats that as the end of a listing, and `ls` would show
    an empty directory.
    """


class ExhaustedError(AllenFSError, errno=errno.ENFILE):
    """Neither a file nor memory could be opened for a download."""


class ProcessLimitError(AllenFSError, errno=errno.EAGAIN):
    """The limit of processes or threads was reached; EAGAIN, as from fork(2)."""

    def __str__(self) -> str:
        return (
            f"cannot start a thread or process ({self.args[0]}): end other processes, "
            "or raise the limit (ulimit -u; in a container, the pids limit)"
        )


class DamagedStoreError(AllenFSError):
    """A stored file is not the image that was stored, or was damaged."""


class ServiceError(AllenFSError):
    """A request for an image, or a query, failed.

    Attributes
    ----------
    attempts : int
        Not counting redirects.
    elapsed_s : float
        From the first attempt to the failure.
    transient : bool
        Whether the next request may succeed; not inherited.
    retries : int
        Maximum number of retries of a transient failure.
    retry_after_s : float or None
        The pause that the service requested.
    """

    transient: ClassVar[bool] = False
    retries: ClassVar[int] = 3

    def __init_subclass__(cls, *, transient: bool = False, errno: int = 0) -> None:
        super().__init_subclass__(errno=errno)
        cls.transient = transient

    def __init__(self, cause: str, *, url: str = "") -> None:
        super().__init__(cause)
        self.cause = cause
        self.url = url
        self.attempts = 1
        self.elapsed_s = 0.0
        self.retry_after_s: float | None = None

    def __str__(self) -> str:
        times = "1 attempt" if self.attempts == 1 else f"{self.attempts} attempts"
        at = f", {self.url}" if self.url else ""  # none while it is in progress
        return f"{self.cause} ({times}, {self.elapsed_s:.1f} s{at})"


class UnreachableError(ServiceError, errno=errno.EHOSTUNREACH, transient=True):
    """No connection: refused, no route, unknown host, TLS failure."""


class CertificateError(UnreachableError):
    """The certificate of the service, or of the proxy, is not trusted."""


class ProxyRefusalError(UnreachableError):
    """The proxy refuses to connect to the service."""


class ProxyLoginError(ProxyRefusalError):
    """407: the proxy requires a user and password, or rejects the ones given."""


class ServiceTimeoutError(ServiceError, errno=errno.ETIMEDOUT, transient=True):
    """Connected, but no data for the stall time, or the deadline has passed."""


class BusyError(ServiceError, transient=True):
    """429 or 5xx."""


class CutAnswerError(ServiceError, transient=True):
    """The connection or the image was truncated."""


class WrongAnswerError(ServiceError):
    """A response that is not an image. A retry rarely helps."""


class BrokenImageError(WrongAnswerError, transient=True):
    """A complete response with status 200 that is not a JPEG.

    It is retried, because it may be a proxy's temporary error page. About one in 700
    images is broken for years, at every resolution (101322758, 101345593). The text
    begins with `WORDS`, which distinguishes `user.allenfs.error` from other EIO.
    """

    WORDS: ClassVar[str] = "the service answers with something that is not a JPEG"

    def __str__(self) -> str:
        times = "once" if self.attempts == 1 else f"{self.attempts} times"
        details = f"{self.cause}, {self.elapsed_s:.1f} s, {self.url}"
        return f"{self.WORDS}, tried {times} ({details})"


class BrokenDrawingError(BrokenImageError, transient=True):
    """A complete response with status 200 that is not an SVG drawing."""

    WORDS = "the service answers with something that is not an SVG drawing"


class BrokenTileError(BrokenImageError):
    """A tile that is not the part of the image that it was requested as."""

    WORDS = "the service answers with something that is not the tile"


class PortalError(WrongAnswerError):
    """Something else answered, such as the login page of a guest network."""


class WebPageError(PortalError):
    """A web page came instead of an image: from a portal, or for this image alone."""


class QueryError(ServiceError, transient=True):
    """A query that the service rejected.

    EIO whatever the status: a failed query does not mean that something does not
    exist. Transient: "Informatics service request failed" was recorded both with a good
    answer to the next request, and for weeks.
    """

    retries = 2


class RejectedError(ServiceError, errno=errno.EINVAL):
    """400: the service does not accept these parameters."""


class ForbiddenError(ServiceError, errno=errno.EACCES):
    """401 or 403."""


class ImageNotFoundError(ServiceError, errno=errno.ENOENT):
    """404: the image does not exist."""


class LostTileError(ServiceError):
    """404 for a tile that its image's record promises.

    Not ENOENT: readers of Zarr take a missing chunk for an empty one.
    """


class ImageTooLargeError(ServiceError, errno=errno.EFBIG):
    """More bytes than the limit for one image."""


def copied(error: _Error) -> _Error:
    """Return a copy without traceback, cause and context, to keep or to raise again.

    They refer to all frames between, and to what these hold. Not `copy.copy`: where
    dask.distributed is imported, tblib makes it keep them, and share attributes.
    """
    kind, arguments, *attributes = cast("tuple[Any, ...]", error.__reduce__())
    copy: _Error = kind(*arguments)
    if attributes:
        vars(copy).update(attributes[0])
    return copy
