"""Everything that can go wrong, as classes that know their errno.

::

    AllenFSError                   EIO, exit 1
    ├── ConfigError                exit 2        a setting that cannot be
    │   └── NetworkSettingError    exit 2        a proxy, certificates or .netrc
    ├── MountError                 exit 3        no mount, and why
    ├── UnmountError               exit 1        still mounted, and why
    ├── UnsafeStoreError           exit 1        a store that others have a hand in
    ├── StatusError                exit 1        no status of a mount, and why
    ├── IntegrationError           exit 1        a file of the system in the way
    ├── UrlError                   exit 1        a URL that has no path
    ├── PathNotFoundError          ENOENT        the name is outside the grammar
    ├── NotADirError               ENOTDIR
    ├── IsADirError                EISDIR
    ├── NotALinkError              EINVAL
    ├── ReadOnlyError              EROFS         anything that would write
    ├── BadHandleError             EBADF
    ├── NoAttributeError           ENODATA       no extended attribute of that name
    ├── InterruptedWaitError       EINTR         the waiting process got a signal
    ├── StaleSizeError             ESTALE        the kernel must ask the size again
    ├── VanishedError              ESTALE        a directory that was there a moment ago
    ├── ExhaustedError             ENFILE        this process can open no more files
    ├── ProcessLimitError          EAGAIN        no thread or process can be started
    ├── DamagedStoreError          EIO           a stored file is not what was stored
    └── ServiceError               EIO           carries url, attempts, elapsed_s
        ├── UnreachableError       EHOSTUNREACH  transient: connect, DNS
        │   ├── CertificateError   EHOSTUNREACH  a certificate is not trusted
        │   └── ProxyRefusalError  EHOSTUNREACH  the proxy opens no tunnel
        │       └── ProxyLoginError              407
        ├── ServiceTimeoutError    ETIMEDOUT     transient: a stall; or the deadline
        ├── BusyError              EIO           transient: 429 and 5xx
        ├── CutAnswerError         EIO           transient: reset, cut, empty
        ├── WrongAnswerError       EIO           wrong status or redirect
        │   ├── BrokenImageError   EIO           transient: complete, not a JPEG
        │   └── PortalError        EIO           a log-in page: 511, another host
        │       └── WebPageError                 a web page instead of an image
        ├── QueryError             EIO           transient: a refused query
        ├── RejectedError          EINVAL        400
        ├── ForbiddenError         EACCES        401, 403
        ├── ImageNotFoundError     ENOENT        404
        └── ImageTooLargeError     EFBIG         above the size limit

The root is no ``OSError``: fusepy delivers an ``OSError`` without errno as
success with no bytes, so that a class which is not one cannot be mistaken.
"""

from __future__ import annotations

import errno
from typing import ClassVar


class AllenFSError(Exception):
    """Root of all errors that leave a layer of allenfs."""

    errno: ClassVar[int] = errno.EIO
    exit_code: ClassVar[int] = 1


class ConfigError(AllenFSError):
    """A setting has a value that it cannot have."""

    exit_code = 2


class NetworkSettingError(ConfigError):
    """An unusable proxy, CA bundle or ``.netrc``."""


class MountError(AllenFSError):
    """The filesystem cannot be mounted here."""

    exit_code = 3


class UnmountError(AllenFSError):
    """There is nothing to unmount, or it cannot be."""


class IntegrationError(AllenFSError):
    """A file that cannot be put in its place, or is somebody else's."""


class StatusError(AllenFSError):
    """A mount that does not tell its status."""


class UnsafeStoreError(AllenFSError):
    """A store directory that others can read from, write to, or lead astray."""


class UrlError(AllenFSError):
    """A URL that no path stands for."""


class PathNotFoundError(AllenFSError):
    """A name outside the path grammar; no network was asked."""

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
    """Whatever would write."""

    errno = errno.EROFS


class BadHandleError(AllenFSError):
    """A handle that is not open."""

    errno = errno.EBADF


class NoAttributeError(AllenFSError):
    """The node has no extended attribute of that name."""

    errno = errno.ENODATA


class InterruptedWaitError(AllenFSError):
    """The process that waits for an image got a signal."""

    errno = errno.EINTR


class StaleSizeError(AllenFSError):
    """The kernel holds another size than the image's; it must look again."""

    errno = errno.ESTALE


class VanishedError(AllenFSError):
    """A directory that is not there any more.

    Not ENOENT: the C library takes that from a directory for its end, and `ls`
    would show an empty one.
    """

    errno = errno.ESTALE


class ExhaustedError(AllenFSError):
    """No place for a download: neither a file nor memory could be opened."""

    errno = errno.ENFILE


class ProcessLimitError(AllenFSError):
    """The limit of processes or threads is reached; EAGAIN, as from fork(2)."""

    errno = errno.EAGAIN

    def __str__(self) -> str:
        return (
            f"cannot start a thread or process ({self.args[0]}): end other processes, "
            "or raise the limit (ulimit -u; in a container, the pids limit)"
        )


class DamagedStoreError(AllenFSError):
    """A stored file is not, or no longer, the image that was stored."""


class ServiceError(AllenFSError):
    """The service gave no image, or no answer to a query.

    Attributes
    ----------
    url : str
        What was asked.
    attempts : int
        How often it was asked, redirects not counted.
    elapsed_s : float
        From the first attempt to the failure.
    transient : bool
        Whether the next request may succeed.
    retries : int
        How often a transient failure is tried again, at most.
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
    """No connection: refused, no route, no such host, no TLS."""

    errno = errno.EHOSTUNREACH
    transient = True


class CertificateError(UnreachableError):
    """The certificate of the service, or of the proxy, is not trusted."""

    transient = False


class ProxyRefusalError(UnreachableError):
    """The proxy refuses to connect to the service."""

    transient = False


class ProxyLoginError(ProxyRefusalError):
    """407: the proxy wants a user and a password, or other ones."""


class ServiceTimeoutError(ServiceError):
    """Connected, but no byte for the stall time, or the deadline is over."""

    errno = errno.ETIMEDOUT
    transient = True


class BusyError(ServiceError):
    """429 or 5xx.

    Attributes
    ----------
    retry_after_s : float or None
        When the service asked to come back, seconds from the answer.
    """

    transient = True

    def __init__(self, cause: str, *, retry_after_s: float | None = None) -> None:
        super().__init__(cause)
        self.retry_after_s = retry_after_s


class CutAnswerError(ServiceError):
    """The connection or the image ended before its end."""

    transient = True


class WrongAnswerError(ServiceError):
    """An answer that is not the image; trying again seldom helps."""


class BrokenImageError(WrongAnswerError):
    """A complete answer with status 200 that is not a JPEG.

    It is tried again, because a proxy's error page may be gone the next time. About one
    image in 700 stays broken for years, at every resolution (101322758, 101345593). The
    message begins with `WORDS`, which tell it from other EIO in `user.allenfs.error`.
    """

    WORDS: ClassVar[str] = "the service answers with something that is not a JPEG"
    transient = True

    def __str__(self) -> str:
        times = "once" if self.attempts == 1 else f"{self.attempts} times"
        details = f"{self.cause}, {self.elapsed_s:.1f} s, {self.url}"
        return f"{self.WORDS}, tried {times} ({details})"


class PortalError(WrongAnswerError):
    """Something else answered, such as the log-in page of a guest network."""


class WebPageError(PortalError):
    """A web page came instead of an image: from a portal, or for this image alone."""


class QueryError(ServiceError):
    """A query that the service refused.

    EIO whatever the status: that it could not be asked does not say that what
    was asked for does not exist. Transient: "Informatics service request failed"
    has been recorded before a good answer to the next request, but also for weeks.
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
    """404: the service has no such image."""

    errno = errno.ENOENT


class ImageTooLargeError(ServiceError):
    """More bytes than the limit for one image."""

    errno = errno.EFBIG
