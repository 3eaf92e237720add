"""Sends one request at a time, slowly, and records the exchanges."""

from __future__ import annotations

import hashlib
import time
import zlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import urljoin, urlsplit

import requests

from allenfs import __version__
from allenfs.config import ServiceSettings
from allenfs.service.transport import ServiceAdapter, Transport

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_AGENT = f"allenfs/{__version__} (scripts/probe-live: one request at a time)"
_MOST_REQUESTS, _MOST_BYTES = 250, 100 * 10**6
_MOST_BYTES_EACH = 40 * 10**6
_MOST_REDIRECTS = 5
_TIMEOUT_S = (10, 30)  # to connect; without a byte
_DEADLINE_S = 180
_CHUNK_BYTES = 256 * 1024
_TOO_MANY = 429
_REDIRECTS = (301, 302, 303, 307, 308)
_SILENCES = 4  # requests in a row without any answer


class StoppedError(Exception):
    """No more requests are sent, for this reason."""


@dataclass(frozen=True)
class Hop:
    """One answer: a redirect, or the last one."""

    url: str
    status: int
    headers: Mapping[str, str]


@dataclass(frozen=True)
class Exchange:
    """A request and its response.

    Attributes
    ----------
    trouble : str
        Why there is no complete response; empty if there is one.
    body : bytes
        Decoded.
    wire_bytes : int
        Of the body, as they came.
    """

    title: str
    method: str
    url: str
    sent: Mapping[str, str]
    hops: list[Hop] = field(default_factory=list)
    trouble: str = ""
    body: bytes = b""
    wire_bytes: int = 0
    head_s: float = 0.0
    seconds: float = 0.0

    @property
    def status(self) -> int | None:
        """The last response; None if there was none."""
        return self.hops[-1].status if self.hops else None

    def header(self, name: str) -> str:
        """Return a header of the last answer, empty where it has none."""
        return self.hops[-1].headers.get(name, "") if self.hops else ""

    @property
    def locations(self) -> list[str]:
        """Where it was redirected to."""
        return [hop.headers["Location"] for hop in self.hops if _location(hop)]

    @property
    def sha256(self) -> str:
        """Of the body, decoded."""
        return hashlib.sha256(self.body).hexdigest()


class Asker:
    """Sends requests to the service at `api_url`; records every exchange.

    Raises from each request, once it has happened: StoppedError, after the first
    answer 429, several requests without any answer, or when the most is asked.
    """

    def __init__(
        self, api_url: str, *, pause_s: float, say: Callable[[str], None]
    ) -> None:
        self.api_url = api_url
        self.exchanges: list[Exchange] = []
        self.stopped = ""
        self.requests = self.bytes = 0
        self._pause_s = pause_s
        self._say = say
        self._silences = 0
        self._transport = Transport(ServiceSettings(api_url))
        self._adapter = ServiceAdapter(self._transport.context, max_retries=0)

    @property
    def has_proxy(self) -> bool:
        """Whether something may stand between the service and its answers."""
        return self._transport.proxy_of(self.api_url) is not None

    def get(
        self, title: str, target: str, *, method: str = "GET", **headers: str
    ) -> Exchange:
        """Ask for `target`, a path with a query; `headers` with _ for -."""
        if self.exchanges and not self.stopped:
            time.sleep(self._pause_s)
        if self.stopped:
            raise StoppedError(self.stopped)
        sent = {"User-Agent": _AGENT, "Accept-Encoding": "identity"}
        sent |= {name.replace("_", "-"): value for name, value in headers.items()}
        url = f"{self.api_url}{target}"
        self._say(f"{method} {target}")
        exchange = self._asked(Exchange(title, method, url, sent))
        self.exchanges.append(exchange)
        self._say(f"    {exchange.status or ''} {exchange.trouble}".rstrip())
        self._look(exchange)
        return exchange

    def _asked(self, exchange: Exchange) -> Exchange:
        url, hops, body = exchange.url, exchange.hops, bytearray()
        head_s, trouble = 0.0, ""
        started_s = time.monotonic()
        try:
            while True:
                with self._send(exchange, url) as response:
                    head_s = head_s or time.monotonic() - started_s
                    hops.append(Hop(url, response.status_code, response.headers))
                    is_redirect = _location(hops[-1])
                    if not is_redirect:
                        head_s = time.monotonic() - started_s
                        trouble = self._read(response, body, started_s + _DEADLINE_S)
                        break
                    target = urljoin(url, hops[-1].headers["Location"])
                if len(hops) > _MOST_REDIRECTS:
                    trouble = "too many redirects"
                elif urlsplit(target).hostname != urlsplit(url).hostname:
                    trouble = "not followed: a redirect to another host"
                elif urlsplit(target).scheme not in ("http", "https"):
                    trouble = "not followed: a redirect to no http address"
                if trouble:
                    break
                url = target
        except Exception as error:  # noqa: BLE001 - whatever it is, it is what was seen
            trouble = f"{type(error).__name__}: {error}"[:300]
        decoded, undecodable = _decoded(bytes(body), hops)
        return Exchange(
            exchange.title,
            exchange.method,
            exchange.url,
            exchange.sent,
            hops,
            trouble or undecodable,
            decoded,
            len(body),
            head_s,
            time.monotonic() - started_s,
        )

    def _send(self, exchange: Exchange, url: str) -> requests.Response:
        self.requests += 1
        if self.requests > _MOST_REQUESTS or self.bytes > _MOST_BYTES:
            self.stopped = "the most that one report may ask was asked"
            raise StoppedError(self.stopped)
        request = requests.Request(exchange.method, url, headers=dict(exchange.sent))
        proxy = self._transport.proxy_of(url)
        return self._adapter.send(
            request.prepare(),
            stream=True,
            timeout=_TIMEOUT_S,
            proxies={"all": proxy} if proxy else {},
        )

    def _read(self, response: requests.Response, body: bytearray, ends_s: float) -> str:
        """Read into `body`; return why it is not whole."""
        while chunk := response.raw.read1(_CHUNK_BYTES, decode_content=False):
            body += chunk
            self.bytes += len(chunk)
            if len(body) > _MOST_BYTES_EACH:
                return f"given up after {len(body)} bytes"
            if time.monotonic() > ends_s:
                return f"given up after {_DEADLINE_S} s"
        return ""

    def _look(self, exchange: Exchange) -> None:
        self._silences = 0 if exchange.hops else self._silences + 1
        if exchange.status == _TOO_MANY:
            after = exchange.header("Retry-After") or "nothing"
            self.stopped = f"the service said 429, Retry-After: {after}"
        elif self._silences == _SILENCES:
            self.stopped = f"{_SILENCES} requests in a row had no answer at all"


def _location(hop: Hop) -> bool:
    return hop.status in _REDIRECTS and "Location" in hop.headers


def _decoded(body: bytes, hops: list[Hop]) -> tuple[bytes, str]:
    coding = hops[-1].headers.get("Content-Encoding", "") if hops else ""
    if "gzip" not in coding.lower():
        return body, ""
    try:
        unpacking = zlib.decompressobj(wbits=31)
        return unpacking.decompress(body, _MOST_BYTES_EACH), ""
    except zlib.error as error:
        return b"", f"Content-Encoding gzip, but: {error}"
