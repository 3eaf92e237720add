"""The service: one query and one small image, requested as a mount requests them."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING

from allenfs import errors
from allenfs.cli.doctor.findings import Finding, fail, ok
from allenfs.errors import ServiceError
from allenfs.model import jpeg
from allenfs.model.images import request_of_url
from allenfs.service.client import AllenService
from allenfs.service.rma import Query
from allenfs.text import size

if TYPE_CHECKING:
    from allenfs.config import ServiceSettings

# The first image of the institute's page, at 1/32 of its width and height.
_IMAGE_ID = 69750516
_SMALL = f"/api/v2/image_download/{_IMAGE_ID}?downsample=5"
_QUERY = Query("SectionImage", criteria=f"[id$eq{_IMAGE_ID}]")
TIMEOUT_S = 7.0  # to connect, without a byte, and in total
_PROXY_DOWN = (
    "correct or unset --proxy, ALLENFS_PROXY, HTTPS_PROXY, HTTP_PROXY or ALL_PROXY; "
    "list hosts that need no proxy in NO_PROXY"
)
_CLOCK = (
    "check this machine's clock (timedatectl); if it is right, the certificate has "
    "expired: tell the operator of the service or proxy"
)
_OTHER_HOST = (
    "the certificate is for another host: on a guest network, log in with a web "
    "browser; otherwise check --api-url and the proxy"
)
# By OpenSSL's message; else the advice of `CertificateError`.
_CERTIFICATES = {
    "expired": _CLOCK,
    "not yet valid": _CLOCK,
    "not valid for": _OTHER_HOST,
}
# The advice of the nearest base class.
_ADVICE: dict[type, str] = {
    errors.CertificateError: "if a proxy inspects TLS, get its CA certificate and pass "
    "it with --ca-bundle (or REQUESTS_CA_BUNDLE), or add it to the system's store; on "
    "a guest network, log in with a web browser first",
    # a whole URL would be masked as if it had a real password
    errors.ProxyLoginError: "the proxy requires a valid username and password: put "
    "USER:PASSWORD@ in front of its host in ALLENFS_PROXY or HTTPS_PROXY, with special "
    "characters percent-encoded; repeated failures may lock the account",
    errors.ProxyRefusalError: "the proxy blocks this host: ask its administrator to "
    "allow it, or use another proxy",
    errors.UnreachableError: "check the network connection, the firewall and "
    "--api-url; behind a proxy, use --proxy http://HOST:PORT. Images already in the "
    "store remain readable",
    errors.ServiceTimeoutError: "the service, or a proxy or firewall in between, does "
    "not respond: try again later, or mount with a longer --stall-timeout and "
    "--deadline",
    errors.BusyError: "the service has a problem: try again later",
    errors.ForbiddenError: "the service, or a proxy or firewall of this network, "
    "denies access: open the address in a web browser",
    errors.ImageNotFoundError: "check the address: --api-url or $ALLENFS_API_URL",
    errors.CutAnswerError: "the service or a firewall closed the connection: try again",
    errors.PortalError: "another server answered instead of the service: on a guest "
    "network, log in with a web browser; otherwise check --proxy and --api-url",
    errors.WrongAnswerError: "another server may have answered (a login page, a proxy, "
    "a wrong address): open the address in a web browser",
}
_UNEXPECTED = "the service has changed: please report this output"


class _Memory(bytearray):
    """A sink for one image."""

    restart = bytearray.clear
    write = bytearray.extend

    def expect(self, promised_bytes: int | None) -> None:
        """Ignore the length."""

    def view(self) -> bytes:
        return bytes(self)


class ServiceChecks:
    """The checks of one service: one request each, without a retry.

    Attributes
    ----------
    proxy : str or None
        The proxy in use, without a password.

    Raises
    ------
    NetworkSettingError
        An unusable proxy, CA bundle or ``.netrc``.
    """

    def __init__(self, settings: ServiceSettings) -> None:
        self._api_url = settings.api_url
        self._service = AllenService(
            replace(
                settings,
                connect_timeout_s=TIMEOUT_S,
                stall_timeout_s=TIMEOUT_S,
                deadline_s=TIMEOUT_S,
            )
        )
        self.proxy = self._service.proxy

    def image(self) -> Finding:
        """Check the download of a small image."""
        request = request_of_url(f"{self._api_url}{_SMALL}")
        memory = _Memory()
        started_s = time.monotonic()
        try:
            self._service.fetch(request, memory, may_retry=lambda _: False)
        except ServiceError as error:
            return _failure(error)
        shape = jpeg.inspect(memory.view())
        return ok(
            f"{request.path}, {shape.width_px} x {shape.height_px} px, "
            f"{size(len(memory))} in {time.monotonic() - started_s:.2f} s"
        )

    def query(self) -> Finding:
        """Check a query: browsing, data sets and info.json need them."""
        started_s = time.monotonic()
        try:
            rows = self._service.page(_QUERY, start_row=0, num_rows=1, once=True)
        except ServiceError as error:
            return _failure(error)
        if not any(row and row.get("id") == _IMAGE_ID for row in rows):
            return fail(f"no record of section {_IMAGE_ID}", _UNEXPECTED)
        took_s = time.monotonic() - started_s
        return ok(f"the record of section {_IMAGE_ID} in {took_s:.2f} s")


def _failure(error: ServiceError) -> Finding:
    # a QueryError hides the status error
    reason = (isinstance(error, errors.QueryError) and error.__cause__) or error
    cause = error.cause
    if type(reason) is errors.UnreachableError and reason.cause.startswith("proxy: "):
        return fail(cause, _PROXY_DOWN)
    if isinstance(reason, errors.CertificateError):
        for words, advice in _CERTIFICATES.items():
            if words in cause:
                return fail(cause, advice)
    found = filter(None, map(_ADVICE.get, type(reason).__mro__))
    return fail(cause, next(found, _UNEXPECTED))
