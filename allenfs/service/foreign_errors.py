"""Exceptions of requests, urllib3 and ssl become our errors, root cause first."""

from __future__ import annotations

import contextlib
import errno
import re
import socket
import ssl
from typing import TYPE_CHECKING

import requests
import urllib3.exceptions

from allenfs.errors import (
    AllenFSError,
    CertificateError,
    CutAnswerError,
    ExhaustedError,
    ProxyLoginError,
    ProxyRefusalError,
    ServiceError,
    ServiceTimeoutError,
    UnreachableError,
    WrongAnswerError,
)
from allenfs.service import responses
from allenfs.text import in_one_line, safe_logger

if TYPE_CHECKING:
    from collections.abc import Iterator

log = safe_logger(__name__)

# Most specific first, and total: every requests exception is an OSError without
# errno, so that none of them may get past this module.
_FOREIGN: tuple[tuple[type[Exception], type[ServiceError]], ...] = (
    (ssl.SSLCertVerificationError, CertificateError),
    (urllib3.exceptions.NewConnectionError, UnreachableError),
    (requests.exceptions.ConnectTimeout, UnreachableError),
    (requests.exceptions.ProxyError, UnreachableError),
    (requests.exceptions.SSLError, UnreachableError),
    (requests.exceptions.Timeout, ServiceTimeoutError),
    (requests.exceptions.ConnectionError, CutAnswerError),
    (requests.exceptions.RequestException, WrongAnswerError),
    (urllib3.exceptions.TimeoutError, ServiceTimeoutError),
    (urllib3.exceptions.DecodeError, CutAnswerError),
    (urllib3.exceptions.ProtocolError, CutAnswerError),
    (urllib3.exceptions.SSLError, CutAnswerError),
    (urllib3.exceptions.HTTPError, WrongAnswerError),
)
# How http.client words a proxy's answer to CONNECT, and PySocks a refusal.
_NO_TUNNEL = re.compile(r"Tunnel connection failed: (\d+) ?(.*)", re.DOTALL)
_SOCKS_REFUSALS: dict[str, type[ServiceError]] = {
    "SOCKS5 authentication failed": ProxyLoginError,
    "All offered SOCKS5 authentication methods were rejected": ProxyLoginError,
    "0x02: Connection not allowed by ruleset": ProxyRefusalError,
}
# A library's message may quote the proxy's URL with its password.
_USER_IN_URL = re.compile(r"(?<=//)\S+@")
_MAX_REASON_CHARS, _READ_REASON_CHARS = 300, 3000


@contextlib.contextmanager
def translated() -> Iterator[None]:
    """Let nothing but our errors out of a download."""
    try:
        yield
    except AllenFSError:  # of the sink, too
        raise
    except Exception as error:
        raise translate(error) from error


def translate(error: Exception) -> AllenFSError:
    """Return our error for whatever a download raised, with the innermost reason."""
    chain = _chain(error)
    reason = chain[-1]
    if isinstance(reason, OSError) and reason.errno in (errno.EMFILE, errno.ENFILE):
        return ExhaustedError(reason.strerror)
    refusal = _NO_TUNNEL.fullmatch(str(reason))
    if refusal is not None:
        return responses.error_of_proxy(int(refusal[1]), refusal[2])
    own = _SOCKS_REFUSALS.get(str(reason)) or _own_kind(chain)
    if own is None:
        log.error("unexpected error in a download", exc_info=error)
        own = WrongAnswerError
    words = _words(reason, own)
    if any(map(_is_of_proxy, chain)):
        words = f"proxy: {words}"
    words = _USER_IN_URL.sub("***@", words[:_READ_REASON_CHARS])
    return own(in_one_line(words, _MAX_REASON_CHARS))


def _own_kind(chain: list[BaseException]) -> type[ServiceError] | None:
    matches = (
        own
        for foreign, own in _FOREIGN
        if any(isinstance(one, foreign) for one in chain)
    )
    return next(matches, None)


def _is_of_proxy(error: BaseException) -> bool:
    is_of_socks = type(error).__module__ == "socks"  # which need not be installed
    return is_of_socks or isinstance(error, urllib3.exceptions.ProxyError)


def _chain(error: BaseException) -> list[BaseException]:
    """Return an error and its causes, the outermost first."""
    chain: list[BaseException] = []
    inner: BaseException | None = error
    while inner is not None and inner not in chain:
        chain.append(inner)
        reason = getattr(inner, "reason", None)
        wrapped = reason, inner.__cause__, *inner.args, inner.__context__
        inner = next((one for one in wrapped if isinstance(one, Exception)), None)
    return chain


def _words(reason: BaseException, own: type[ServiceError]) -> str:
    if isinstance(reason, ssl.SSLCertVerificationError):
        return f"certificate verify failed: {reason.verify_message}"
    if isinstance(reason, socket.gaierror):
        return f"cannot resolve host name: {reason.strerror}"
    if isinstance(reason, TimeoutError):
        is_connected = own is not UnreachableError
        return "timed out waiting for data" if is_connected else "connection timed out"
    if isinstance(reason, OSError) and reason.strerror:
        return reason.strerror
    name, text = type(reason).__name__, str(reason)
    return text if text.startswith(name) else f"{name}: {text}"
