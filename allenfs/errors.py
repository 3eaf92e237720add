"""All errors, each with its errno or exit code.

::

    AllenFSError                   EIO, exit 1
    ├── ConfigError                exit 2        an invalid setting
    │   └── NetworkSettingError    exit 2        a proxy, certificates or .netrc
    ├── MountError                 exit 3        not mounted, and why
    ├── UnmountError               exit 1        still mounted, and why
    ├── UnsafeStoreError           exit 1        a store that other users can access
    ├── StatusError                exit 1        the status cannot be read, and why
    ├── IntegrationError           exit 1        a file that cannot be installed
    ├── UrlError                   exit 1        a URL without a path
    ├── PathNotFoundError          ENOENT        the name is outside the grammar
    ├── NotADirError               ENOTDIR
    ├── IsADirError                EISDIR
    ├── NotALinkError              EINVAL
    ├── ReadOnlyError              EROFS         any write
    ├── BadHandleError             EBADF
    ├── NoAttributeError           ENODATA       no extended attribute of that name
    ├── InterruptedWaitError       EINTR         the waiting process received a signal
    ├── StaleSizeError             ESTALE        the kernel must repeat the lookup
    ├── VanishedError              ESTALE        a directory that no longer exists
    ├── ExhaustedError             ENFILE        this process cannot open more files
    ├── ProcessLimitError          EAGAIN        no thread or process can be started
    ├── DamagedStoreError          EIO           a stored file is not what was stored
    └── ServiceError               EIO           carries url, attempts, elapsed_s
        ├── UnreachableError       EHOSTUNREACH  transient: connect, DNS
        │   ├── CertificateError   EHOSTUNREACH  a certificate is not trusted
        │   └── ProxyRefusalError  EHOSTUNREACH  the proxy refuses to connect
        │       └── ProxyLoginError              407
        ├── ServiceTimeoutError    ETIMEDOUT     transient: a stall; or the deadline
        ├── BusyError              EIO           transient: 429 and 5xx
        ├── CutAnswerError         EIO           transient: reset, truncated, empty
        ├── WrongAnswerError       EIO           wrong status or redirect
        │   ├── BrokenImageError   EIO           transient: complete, but not a JPEG
        │   └── PortalError        EIO           a login page: 511, another host
        │       └── WebPageError                 a web page instead of an image
        ├── QueryError             EIO           transient: a rejected query
        ├── RejectedError          EINVAL        400
        ├── ForbiddenError         EACCES        401, 403
        ├── ImageNotFoundError     ENOENT        404
        └── ImageTooLargeError     EFBIG         above the size limit

The root is not an ``OSError``: fusepy reports an ``OSError`` without errno as success
with no bytes. Errors that are not OSErrors cannot be lost that way.
"""

from __future__ import annotations

import errno
from typing import ClassVar


class AllenFSError(Exception):
    """Root of all errors that leave a package of allenfs."""

    errno: ClassVar[int] = errno.EIO
    exit_code: ClassVar[int] = 1


class ConfigError(AllenFSError):
    """A setting has an invalid value."""

    exit_code = 2


class NetworkSettingError(ConfigError):
    """An unusable proxy, CA bundle or ``.netrc``."""


class MountError(AllenFSError):
    """The filesystem cannot be mounted here."""

    exit_code = 3


class UnmountError(AllenFSError):
    """Nothing is mounted, or it cannot be unmounted."""


class IntegrationError(AllenFSError):
    """A file that cannot be installed, or belongs to somebody else."""


class StatusError(AllenFSError):
    """The status of a mount cannot be read."""


class UnsafeStoreError(AllenFSError):
    """A store directory that other users can read, write or redirect."""


class UrlError(AllenFSError):
    """A URL that corresponds to no path."""


class PathNotFoundError(AllenFSError):
    """A name outside the path grammar; no request was made."""

    errno = errno.ENOENT


class NotADirError(AllenFSError):
    """A directory operation on a file."""

    errno = errno.ENOTDIR


class IsADirError(AllenFSError):
    """A file operation on a directory."""

    errno = errno.EISDIR


class NotALinkError(AllenFSError):
    """A link operation on something else."""

    errno = errno.EINVAL


class ReadOnlyError(AllenFSError):
    """A write."""

    errno = errno.EROFS


class BadHandleError(AllenFSError):
    """A handle that is not open."""

    errno = errno.EBADF


class NoAttributeError(AllenFSError):
    """The node has no extended attribute of that name."""

    errno = errno.ENODATA


class InterruptedWaitError(AllenFSError):
    """The process that waits for an image received a signal."""

    errno = errno.EINTR


class StaleSizeError(AllenFSError):
    """The kernel has another size than the image's; it must repeat the lookup."""

    errno = errno.ESTALE


class VanishedError(AllenFSError):
    """A directory that no longer exists.

    Not ENOENT: the C library treats that as the end of a listing, and `ls` would show
    an empty directory.
    """

    errno = errno.ESTALE


class ExhaustedError(AllenFSError):
    """Neither a file nor memory could be opened for a download."""

    errno = errno.ENFILE


class ProcessLimitError(AllenFSError):
    """The limit of processes or threads was reached; EAGAIN, as from fork(2)."""

    errno = errno.EAGAIN

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
    url : str
        The URL of the request.
    attempts : int
        Number of attempts, not counting redirects.
    elapsed_s : float
        From the first attempt to the failure.
    transient : bool
        Whether the next request may succeed.
    retries : int
        Maximum number of retries of a transient failure.
    """

    transient: ClassVar[bool] = False
    retries: ClassVar[int] = 3

    def __init__(self, cause: str) -> None:
        super().__init__(cause)
        self.cause = cause
        self.url = ""
        self.attempts = 1
        self.elapsed_s = 0.0

    def __str__(self) -> str:
        times = "1 attempt" if self.attempts == 1 else f"{self.attempts} attempts"
        return f"{self.cause} ({times}, {self.elapsed_s:.1f} s, {self.url})"


class UnreachableError(ServiceError):
    """No connection: refused, no route, unknown host, TLS failure."""

    errno = errno.EHOSTUNREACH
    transient = True


class CertificateError(UnreachableError):
    """The certificate of the service, or of the proxy, is not trusted."""

    transient = False


class ProxyRefusalError(UnreachableError):
    """The proxy refuses to connect to the service."""

    transient = False


class ProxyLoginError(ProxyRefusalError):
    """407: the proxy requires a user and password, or rejects the ones given."""


class ServiceTimeoutError(ServiceError):
    """Connected, but no byte for the stall time, or the deadline has passed."""

    errno = errno.ETIMEDOUT
    transient = True


class BusyError(ServiceError):
    """429 or 5xx.

    Attributes
    ----------
    retry_after_s : float or None
        The Retry-After of the response, in seconds.
    """

    transient = True

    def __init__(self, cause: str, *, retry_after_s: float | None = None) -> None:
        super().__init__(cause)
        self.retry_after_s = retry_after_s


class CutAnswerError(ServiceError):
    """The connection or the image was truncated."""

    transient = True


class WrongAnswerError(ServiceError):
    """A response that is not an image. A retry rarely helps."""


class BrokenImageError(WrongAnswerError):
    """A complete response with status 200 that is not a JPEG.

    It is retried, because it may be a proxy's temporary error page. About one in 700
    images is broken for years, at every resolution (101322758, 101345593). The text
    begins with `WORDS`, which distinguishes `user.allenfs.error` from other EIO.
    """

    WORDS: ClassVar[str] = "the service answers with something that is not a JPEG"
    transient = True

    def __str__(self) -> str:
        times = "once" if self.attempts == 1 else f"{self.attempts} times"
        details = f"{self.cause}, {self.elapsed_s:.1f} s, {self.url}"
        return f"{self.WORDS}, tried {times} ({details})"


class PortalError(WrongAnswerError):
    """Something else answered, such as the login page of a guest network."""


class WebPageError(PortalError):
    """A web page came instead of an image: from a portal, or for this image alone."""


class QueryError(ServiceError):
    """A query that the service rejected.

    EIO whatever the status: a failed query does not mean that something does not
    exist. Transient: "Informatics service request failed" was recorded both with a good
    answer to the next request, and for weeks.
    """

    transient = True
    retries = 2


class RejectedError(ServiceError):
    """400: the service does not accept these parameters."""

    errno = errno.EINVAL


class ForbiddenError(ServiceError):
    """401 or 403."""

    errno = errno.EACCES


class ImageNotFoundError(ServiceError):
    """404: the image does not exist."""

    errno = errno.ENOENT


class ImageTooLargeError(ServiceError):
    """More bytes than the limit for one image."""

    errno = errno.EFBIG
