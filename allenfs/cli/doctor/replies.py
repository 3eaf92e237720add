"""The service: does it answer, as itself, at the same time of day, with images."""

from __future__ import annotations

import datetime as dt
import email.utils
import time
from dataclasses import replace
from typing import TYPE_CHECKING

from allenfs.cli.doctor.findings import Finding, fail, ok, skip, warn
from allenfs.cli.doctor.wire import certificate_advice
from allenfs.errors import (
    BusyError,
    CertificateError,
    CutAnswerError,
    ForbiddenError,
    ImageNotFoundError,
    PortalError,
    ProxyLoginError,
    ProxyRefusalError,
    ServiceError,
    ServiceTimeoutError,
    UnreachableError,
    WrongAnswerError,
)
from allenfs.model.images import request_of_url
from allenfs.service import responses
from allenfs.service.client import AllenService
from allenfs.service.foreign_errors import translated
from allenfs.service.rma import Query
from allenfs.service.transport import Reply, Transport
from allenfs.service.watchdog import Watchdog
from allenfs.text import size

if TYPE_CHECKING:
    from collections.abc import Callable

    from allenfs.config import ServiceSettings

# The first image of the institute's own page, at a thirty-second of its size.
_IMAGE_ID = 69750516
_SMALL = f"/api/v2/image_download/{_IMAGE_ID}?downsample=5"
_QUERY = Query("SectionImage", criteria=f"[id$eq{_IMAGE_ID}]")
QUICKLY_S = 7.0  # for connect, silence and the whole answer alike
_OK = 200
_FIRST_YEAR = 2024
_TOGETHER_S, _APART_S = 2, 180
# The first match wins: subclasses come first.
_ADVICE: tuple[tuple[type[ServiceError], str], ...] = (
    (
        ProxyLoginError,
        # a whole URL would be masked as if it had a real password
        "the proxy requires a valid username and password: put USER:PASSWORD@ in front "
        "of its host in ALLENFS_PROXY or HTTPS_PROXY, with special characters "
        "percent-encoded; repeated failures may lock the account",
    ),
    (
        ProxyRefusalError,
        "the proxy blocks this host: ask its administrator to allow it, or use "
        "another proxy",
    ),
    (
        UnreachableError,
        "check the network connection and the proxy; the cause is above",
    ),
    (
        ServiceTimeoutError,
        "the service, or a proxy or firewall in between, says nothing: try again "
        "later, or mount with a longer --stall-timeout and --deadline",
    ),
    (BusyError, "the service is in trouble: try again later"),
    (
        ForbiddenError,
        "something forbids it: a proxy or firewall of this network, or the service: "
        "open the address in a browser",
    ),
    (ImageNotFoundError, "is it the right address? see --api-url and $ALLENFS_API_URL"),
    (CutAnswerError, "the answer broke off: a firewall, or the service: try again"),
    (
        PortalError,
        "another server answered instead of the service: on a guest network, log in "
        "with a web browser; otherwise check --proxy and --api-url",
    ),
    (
        WrongAnswerError,
        "something else answers in the service's place (the log-in page of a guest "
        "network, a proxy, another address): open the address in a browser",
    ),
)
_OTHERWISE = "the service answers otherwise than it did: please report it"


class _Memory:
    """An image in memory, and when its first byte came."""

    def __init__(self) -> None:
        self.data = bytearray()
        self.first_s: float | None = None

    def restart(self) -> None:
        self.data.clear()

    def expect(self, promised_bytes: int | None) -> None:
        """Nothing is shown of it."""

    def write(self, chunk: bytes) -> None:
        if self.first_s is None:
            self.first_s = time.monotonic()
        self.data += chunk

    def view(self) -> bytes:
        return bytes(self.data)


class ServiceChecks:
    """The checks of one service, each with one request, or none.

    Parameters
    ----------
    wall_clock : callable
        Seconds since 1970.
    """

    def __init__(
        self,
        settings: ServiceSettings,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self._settings = replace(
            settings,
            connect_timeout_s=QUICKLY_S,
            stall_timeout_s=QUICKLY_S,
            deadline_s=QUICKLY_S,
        )
        self._wall_clock = wall_clock
        self._ahead_s: float | None = None

    def answer(self) -> Finding:
        """Whether anything answers that speaks HTTP, and is no log-in page."""
        url = _QUERY.url(self._settings.api_url, start_row=0, num_rows=1)
        how = ""
        started_s = time.monotonic()
        try:
            reply = self._asked(url)
            if reply.status in responses.REDIRECTS:
                target = responses.next_url(url, reply.headers.get("Location"))
                if responses.is_upgrade(url, target):
                    how = ", by https as the service redirects"
                    started_s = time.monotonic()
                    reply = self._asked(target)
            _raise_if_barred(reply)
        except ServiceError as error:
            return _failure(error)
        took_s = time.monotonic() - started_s
        self._ahead_s = _ahead_s(
            reply.headers.get("Date", ""),
            reply.headers.get("Age", ""),
            self._wall_clock() - took_s / 2,
        )
        server = reply.headers.get("Server", "")[:40]
        said = f"HTTP {reply.status} in {took_s:.2f} s"
        said += f"{f' from {server}' if server else ''}{how}"
        if reply.status == _OK:
            return ok(said)
        return warn(said, "not what a query is answered with: see the checks below")

    def _asked(self, url: str) -> Reply:
        """Return an answer's head."""
        with (
            Watchdog(QUICKLY_S) as watchdog,
            translated(watchdog),
            Transport(self._settings).get(url, QUICKLY_S) as reply,
        ):
            return reply

    def clock(self) -> Finding:
        """Whether it is the same time here and there: certificates need that."""
        now = dt.datetime.fromtimestamp(self._wall_clock(), dt.timezone.utc)
        if now.year < _FIRST_YEAR:
            return fail(f"it is {now:%Y-%m-%d} here", "set the clock: timedatectl")
        if self._ahead_s is None:
            return skip("the service does not say what time it is")
        said = f"{_duration(abs(self._ahead_s))} "
        said += "ahead of" if self._ahead_s > 0 else "behind"
        if abs(self._ahead_s) < _TOGETHER_S:  # HTTP's dates are in whole seconds
            return ok("as the service's")
        if abs(self._ahead_s) > _APART_S:
            return warn(
                f"this machine is {said} the service: certificates may fail",
                "set the clock: timedatectl set-ntp true",
            )
        return ok(f"{said} the service")

    def query(self) -> Finding:
        """Whether it answers a query: browsing, data sets and info.json need that."""
        started_s = time.monotonic()
        service = AllenService(self._settings)
        try:
            rows = service.page(_QUERY, start_row=0, num_rows=1, once=True)
        except ServiceError as error:
            return _failure(error)
        took_s = time.monotonic() - started_s
        if not any(row and row.get("id") == _IMAGE_ID for row in rows):
            return fail(f"no record of section {_IMAGE_ID}", _OTHERWISE)
        return ok(f"the record of section {_IMAGE_ID} in {took_s:.2f} s")

    def image(self) -> Finding:
        """Download one small image and look at it, as a mount does."""
        request = request_of_url(f"{self._settings.api_url}{_SMALL}")
        memory = _Memory()
        started_s = time.monotonic()
        try:
            answer = AllenService(self._settings).fetch(
                request, memory, goes_on=lambda _: False
            )
        except ServiceError as error:
            return _failure(error)
        ended_s = time.monotonic()
        first_s = memory.first_s or ended_s
        rate = len(memory.data) / max(ended_s - first_s, 1e-3)
        return ok(
            f"{request.path}, {answer.shape.width_px} x {answer.shape.height_px} px, "
            f"{size(len(memory.data))}: first byte after {first_s - started_s:.2f} s, "
            f"then {size(rate)}/s"
        )


def _raise_if_barred(reply: Reply) -> None:
    """Raise what every other check would fail of, too."""
    if reply.status == _OK:
        if responses.is_web_page(reply.headers.get("Content-Type", "")):
            raise PortalError(responses.WEB_PAGE.format("an answer"))
        return
    error = responses.error_of_status(reply.status, reply.reason, "")
    if isinstance(error, (PortalError, ProxyLoginError)):
        raise error


def _failure(error: ServiceError) -> Finding:
    if isinstance(error, CertificateError):
        return fail(error.cause, certificate_advice(error.cause))
    for kind, advice in _ADVICE:
        if isinstance(error, kind):
            return fail(error.cause, advice)
    return fail(error.cause, _OTHERWISE)


def _ahead_s(date: str, age: str, here_s: float) -> float | None:
    """Return how far this clock is ahead of the service's; None if it says nothing."""
    try:
        there_s = email.utils.parsedate_to_datetime(date).timestamp()
    except (ValueError, TypeError, OverflowError):
        return None
    if age.isascii() and age.isdecimal():  # kept by a proxy since then
        there_s += int(age[:9])
    return here_s - there_s


def _duration(seconds: float) -> str:
    if seconds < _APART_S:
        return f"{seconds:.0f} s"
    if seconds < 2 * 3600:
        return f"{seconds / 60:.0f} minutes"
    if seconds < 2 * 86_400:
        return f"{seconds / 3600:.0f} hours"
    return f"{seconds / 86_400:,.0f} days"
