"""Every failure has an errno; nothing that requests raises leaves the service."""

from __future__ import annotations

import contextlib
import errno
import http.client
import importlib
import pkgutil
import socket
from collections.abc import Iterator

import pytest
import requests
import urllib3.exceptions

import allenfs
from allenfs import errors
from allenfs.errors import AllenFSError, ServiceError
from allenfs.service.responses import translate

# what happened -> errno: design, section 3
TABLE = {
    errors.PathNotFoundError: errno.ENOENT,
    errors.ImageNotFoundError: errno.ENOENT,
    errors.RejectedError: errno.EINVAL,
    errors.ForbiddenError: errno.EACCES,
    errors.UnreachableError: errno.EHOSTUNREACH,
    errors.CertificateError: errno.EHOSTUNREACH,
    errors.ProxyRefusalError: errno.EHOSTUNREACH,
    errors.ProxyLoginError: errno.EHOSTUNREACH,
    errors.ServiceTimeoutError: errno.ETIMEDOUT,
    errors.BusyError: errno.EIO,
    errors.CutAnswerError: errno.EIO,
    errors.WrongAnswerError: errno.EIO,
    errors.BrokenImageError: errno.EIO,
    errors.BrokenDrawingError: errno.EIO,
    errors.BrokenTileError: errno.EIO,
    errors.LostTileError: errno.EIO,
    errors.PortalError: errno.EIO,
    errors.WebPageError: errno.EIO,
    errors.QueryError: errno.EIO,
    errors.ImageTooLargeError: errno.EFBIG,
    errors.InterruptedWaitError: errno.EINTR,
    errors.WaitTimeoutError: errno.ETIMEDOUT,
    errors.ReadOnlyError: errno.EROFS,
    errors.StaleSizeError: errno.ESTALE,
    errors.VanishedError: errno.ESTALE,
    errors.AllenFSError: errno.EIO,  # a bug
    errors.NotADirError: errno.ENOTDIR,
    errors.NotALinkError: errno.EINVAL,
    errors.IsADirError: errno.EISDIR,
    errors.UrlInRecordError: errno.EISDIR,
    errors.BadHandleError: errno.EBADF,
    errors.NoAttributeError: errno.ENODATA,
    errors.DamagedStoreError: errno.EIO,
    errors.ExhaustedError: errno.ENFILE,
    errors.ProcessLimitError: errno.EAGAIN,
}


def subclasses_of(root: type[AllenFSError]) -> Iterator[type[AllenFSError]]:
    yield root
    for child in root.__subclasses__():
        yield from subclasses_of(child)


def all_errors() -> list[type[AllenFSError]]:
    # whichever module defines one; importing operations needs libfuse
    for module in pkgutil.iter_modules(allenfs.__path__, "allenfs."):
        if module.name not in ("allenfs.__main__", "allenfs.adapters.fuse_operations"):
            importlib.import_module(module.name)
    return list(subclasses_of(AllenFSError))


def test_every_error_has_an_errno_that_the_kernel_knows():
    for error in all_errors():
        assert error.errno in errno.errorcode, error
        assert error.errno > 0, error


@pytest.mark.parametrize(("error", "number"), TABLE.items())
def test_errors_have_the_documented_errno(error, number):
    assert error.errno == number


def test_every_error_is_in_the_table_or_ends_a_command():
    of_commands = {
        errors.ConfigError: 2,
        errors.NetworkSettingError: 2,
        errors.MountError: 3,
        errors.UnmountError: 1,
        errors.UrlError: 1,
        errors.UnsafeStoreError: 1,
        errors.StatusError: 1,
        errors.IntegrationError: 1,
    }
    rest = set(all_errors()) - TABLE.keys() - {ServiceError}
    assert {error: error.exit_code for error in rest} == of_commands


def test_no_error_is_an_oserror():
    """fusepy delivers an OSError without errno as success with no bytes."""
    for error in all_errors():
        assert not issubclass(error, OSError), error


def test_only_temporary_failures_are_transient():
    transient = {error for error in subclasses_of(ServiceError) if error.transient}
    assert transient == {
        errors.UnreachableError,
        errors.ServiceTimeoutError,
        errors.BusyError,
        errors.CutAnswerError,
        errors.QueryError,
        errors.BrokenImageError,
        errors.BrokenDrawingError,
    }


def test_a_service_error_says_cause_attempts_time_and_url():
    error = errors.CutAnswerError("17 of 33 bytes")
    error.url, error.attempts, error.elapsed_s = "http://h/x", 4, 8.125
    for word in ("17 of 33 bytes", "4 attempts", "8.1 s", "http://h/x"):
        assert word in str(error)
    error.attempts = 1
    assert "1 attempt," in str(error)


def foreign_classes() -> list[type[Exception]]:
    named = {**vars(requests.exceptions), **vars(urllib3.exceptions)}
    classes = {
        value
        for value in named.values()
        if isinstance(value, type) and issubclass(value, Exception)
    }
    return sorted(classes, key=lambda foreign: (foreign.__module__, foreign.__name__))


def instance_of(foreign: type[Exception]) -> Exception:
    if foreign is urllib3.exceptions.IncompleteRead:
        return foreign(3, 5)
    if foreign is urllib3.exceptions.InvalidChunkLength:
        return foreign(urllib3.HTTPResponse(body=b""), b"zz")
    if foreign is http.client.IncompleteRead:
        return foreign(b"abc", 5)
    for count in range(4):
        with contextlib.suppress(TypeError):
            return foreign(*[None, "text", "more"][:count])
    return foreign.__new__(foreign)


@pytest.mark.parametrize("foreign", foreign_classes(), ids=lambda item: item.__name__)
def test_every_foreign_exception_becomes_a_service_error(foreign):
    own = translate(instance_of(foreign))
    assert isinstance(own, ServiceError)
    assert foreign.__name__ in str(own)
    assert own.errno > 0


def test_the_list_of_foreign_exceptions_is_not_empty():
    names = {foreign.__name__ for foreign in foreign_classes()}
    assert names >= {"ConnectTimeout", "ChunkedEncodingError", "ProtocolError"}
    assert len(names) > 40


NO_HOST = urllib3.exceptions.NameResolutionError("h", None, OSError("no such host"))
REFUSED = urllib3.exceptions.NewConnectionError(None, "refused")


@pytest.mark.parametrize(
    ("foreign", "number"),
    [
        (requests.ConnectTimeout("x"), errno.EHOSTUNREACH),
        (requests.exceptions.ProxyError("x"), errno.EHOSTUNREACH),
        (requests.exceptions.SSLError("x"), errno.EHOSTUNREACH),
        (
            requests.ConnectionError(
                urllib3.exceptions.MaxRetryError(None, "/", REFUSED)
            ),
            errno.EHOSTUNREACH,
        ),
        (
            requests.ConnectionError(
                urllib3.exceptions.MaxRetryError(None, "/", NO_HOST)
            ),
            errno.EHOSTUNREACH,
        ),
        (requests.ReadTimeout("x"), errno.ETIMEDOUT),
        (urllib3.exceptions.ReadTimeoutError(None, "/", "x"), errno.ETIMEDOUT),
        (requests.ConnectionError("reset"), errno.EIO),
        (requests.ConnectionError(), errno.EIO),
        (requests.exceptions.ContentDecodingError("x"), errno.EIO),
        (urllib3.exceptions.IncompleteRead(3, 5), errno.EIO),
        (urllib3.exceptions.ProtocolError("x", ConnectionResetError()), errno.EIO),
        (requests.TooManyRedirects("x"), errno.EIO),
        (requests.exceptions.InvalidURL("x"), errno.EIO),
    ],
    ids=lambda item: type(item).__name__ if isinstance(item, Exception) else str(item),
)
def test_a_foreign_exception_has_the_errno_of_what_happened(foreign, number):
    assert translate(foreign).errno == number


@pytest.mark.parametrize(
    "foreign",
    [
        requests.ConnectionError("reset"),
        requests.ReadTimeout("x"),
        urllib3.exceptions.ProtocolError("x"),
    ],
)
def test_a_cut_or_stalled_connection_is_transient(foreign):
    assert translate(foreign).transient


def as_requests_raises(reason: Exception) -> requests.ConnectionError:
    """Wrap it in an exception that quotes a long URL, as those of queries do."""
    url = "/api/v2/data/query.json?criteria=" + "x" * 400
    return requests.ConnectionError(urllib3.exceptions.MaxRetryError(None, url, reason))


def new_connection(reason: OSError) -> urllib3.exceptions.NewConnectionError:
    error = urllib3.exceptions.NewConnectionError(None, "Failed")
    error.__cause__ = reason
    return error


REFUSED_BY_PEER = ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused")
RESET = ConnectionResetError(errno.ECONNRESET, "Connection reset by peer")


class SocksError(OSError):
    """Like the error of PySocks, which need not be installed; it hides its reason."""

    __module__ = "socks"


def socks(reason: Exception) -> urllib3.exceptions.NewConnectionError:
    error = urllib3.exceptions.NewConnectionError(None, f"Failed: {reason}")
    error.__context__ = SocksError("Socket error", reason)
    return error


NO_TUNNEL = OSError("Tunnel connection failed: 407 Log in\n\x1b[31m")
REASONS = [
    (new_connection(REFUSED_BY_PEER), "Connection refused"),
    (new_connection(TimeoutError("timed out")), "connection timed out"),
    (
        new_connection(socket.gaierror(socket.EAI_NONAME, "Name not known")),
        "cannot resolve host name: Name not known",
    ),
    (
        urllib3.exceptions.ProxyError("Cannot", new_connection(REFUSED_BY_PEER)),
        "proxy: Connection refused",
    ),
    (
        urllib3.exceptions.ProxyError("Cannot", NO_TUNNEL),
        "proxy: 407 Log in\\n\\x1b[31m",
    ),
    (socks(REFUSED_BY_PEER), "proxy: Connection refused"),
    (
        socks(SocksError("SOCKS5 authentication failed")),
        "proxy: SocksError: SOCKS5 authentication failed",
    ),
    (urllib3.exceptions.ProtocolError("Aborted", RESET), "Connection reset by peer"),
    (
        urllib3.exceptions.LocationParseError("http://joe:p/w@d@proxy:port/x"),
        "LocationParseError: Failed to parse: http://***@proxy:port/x",
    ),
]


@pytest.mark.parametrize(
    ("reason", "words"), REASONS, ids=[words for _, words in REASONS]
)
def test_root_cause_is_shown_without_password(reason, words):
    assert translate(as_requests_raises(reason)).cause == words
    assert translate(reason).cause == words


@pytest.mark.parametrize(
    ("words", "own"),
    [
        ("SOCKS5 authentication failed", errors.ProxyLoginError),
        ("0x02: Connection not allowed by ruleset", errors.ProxyRefusalError),
        ("0x05: Connection refused", errors.UnreachableError),
    ],
)
def test_a_socks_proxy_refuses_like_an_http_proxy(words, own):
    assert type(translate(as_requests_raises(socks(SocksError(words))))) is own


def test_a_servers_words_do_not_forge_log_lines():
    forged = "x\n2026-01-01 ERROR forged\r\x1b[31m\u2028" + "y" * 5000
    text = str(translate(requests.ConnectionError(forged)))
    assert text.isascii()
    assert text.isprintable()
    assert len(text) < 500


def test_a_copied_error_refers_to_no_frame_even_where_dask_runs():
    import distributed  # noqa: F401 - its tblib makes copies keep tracebacks

    failed = ServiceError("no", url="http://h/1")
    failed.attempts = 3
    try:
        raise failed from ValueError("why")
    except ServiceError as error:
        copied = errors.copied(error)
    assert type(copied) is ServiceError
    assert str(copied) == str(failed)
    assert copied.__traceback__ is copied.__cause__ is copied.__context__ is None
    copied.attempts = 1
    assert failed.attempts == 3
