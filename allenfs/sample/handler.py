"""The recorded exchanges: redirect and chunked JPEG, or a chunked envelope."""

from __future__ import annotations

import functools
import gzip
import re
import threading
import time
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from email.utils import format_datetime, formatdate
from http.server import BaseHTTPRequestHandler
from typing import TYPE_CHECKING, Final, cast

from cachetools import LRUCache, cached

from allenfs.sample import faults
from allenfs.sample.drawing import draw
from allenfs.sample.envelope import CONTENT_TYPES, answer_body, error_body
from allenfs.sample.plates import drawing_of
from allenfs.sample.rma_query import QueryError
from allenfs.sample.rma_targets import query_target, read_target
from allenfs.sample.svg_targets import is_svg_request, parse_svg, svg_image_id
from allenfs.sample.targets import (
    IMAGE_SERVICE_PATH,
    BadRequestError,
    Download,
    UnknownImageError,
    image_id_of,
    is_image_request,
    location_of,
    parse_download,
    parse_location,
)
from allenfs.sample.traffic import Asked
from allenfs.sample.wire import Wire, is_given_up
from allenfs.text import safe_logger

if TYPE_CHECKING:
    from allenfs.sample.rma_targets import QueryTarget
    from allenfs.sample.stage import Stage
    from allenfs.sample.wire import Fields

logger = safe_logger(__name__)

_YEAR: Final = timedelta(days=365)
# Test suites request the same images again: 32 MiB hold 500 of 600 x 400 pixels, which
# take 10 ms each to draw.
_SMALL_PX: Final = 1 << 21
_CACHED_BYTES: Final = 32 << 20
_SVG: Final = "image/svg+xml"


@cached(LRUCache(_CACHED_BYTES, len), lock=threading.Lock())
def _draw_small(download: Download) -> bytes:
    return draw(download.record, download.picture)


def _drawn(download: Download) -> bytes:
    """Draw an image, or take a small one from the cache."""
    picture = download.picture
    if (picture.width_px or 0) * (picture.height_px or 0) <= _SMALL_PX:
        return _draw_small(download)
    return draw(download.record, picture)


def _drawn_svg(target: str) -> bytes:
    request = parse_svg(target)
    return drawing_of(request.record, request.groups, request.downsample)


class Handler(BaseHTTPRequestHandler):
    """Serves one connection; `backstage` is set by the subclass of a service."""

    backstage: Stage
    protocol_version = "HTTP/1.1"
    #: idle seconds before a kept connection is closed, as the recorded header says
    timeout = 15.0
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        """Answer one request: either leg of a download, or another one."""
        # A slow reader is not an idle connection: only waiting for a request is.
        self.connection.settimeout(None)
        self._answer()
        if not self.close_connection:
            self.connection.settimeout(self.timeout)

    do_HEAD = do_GET  # noqa: N815 - as above

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Log, where the base class would print to stderr."""
        logger.debug(format, *args)

    def _answer(self) -> None:
        traffic = self.backstage.traffic
        is_gone = functools.partial(is_given_up, self.connection)
        query = query_target(self.path)
        is_svg = is_svg_request(self.path)
        if is_svg or is_image_request(self.path):
            with traffic.under_way(Asked.IMAGE, is_gone) as done:
                wire = self._wire(done)
                traffic.count_request(
                    Asked.IMAGE, self.path, dict(self.headers.items())
                )
                self._guarded(self._svg if is_svg else self._first_leg, wire)
        elif self.path.partition("?")[0] == IMAGE_SERVICE_PATH:
            with traffic.under_way(Asked.IMAGE, is_gone) as done:
                wire = self._wire(done)
                self._guarded(self._second_leg, wire)
        elif query is not None:
            with traffic.under_way(Asked.QUERY, is_gone) as done:
                wire = self._wire(done)
                traffic.count_request(
                    Asked.QUERY, self.path, dict(self.headers.items())
                )
                self._answer_query(query, wire)
        else:
            wire = self._wire(lambda: None)
            wire.page(404, "The requested URL was not found on this server.")
        self.close_connection = not wire.keep_alive
        if self.close_connection:
            # The base class keeps a reference to the socket here; a reset needs the
            # socket really closed, before it is shut down in an orderly way.
            self.rfile.close()
            self.connection.close()

    def _wire(self, before_last: Callable[[], None]) -> Wire:
        wire = Wire(
            self.connection,
            self.backstage.pauser(),
            without_body=self.command == "HEAD",
            before_last=before_last,
        )
        wire.keep_alive = not self.close_connection
        return wire

    def _guarded(self, leg: Callable[[Wire], None], wire: Wire) -> None:
        try:
            leg(wire)
        except UnknownImageError:
            wire.page(404, "The image was not found on this server.")
        except BadRequestError as exc:
            wire.page(400, str(exc))

    def _first_leg(self, wire: Wire) -> None:
        fault = self.backstage.take_fault(image_id_of(self.path))
        if fault is None:
            target = location_of(parse_download(self.path))
            where = ("Location", f"{self.backstage.url}{target}")
            wire.page(302, "The document has moved.", (where,))
            return
        if faults.needs_answer(fault):
            parse_download(self.path)
        self.backstage.hold()
        faults.answer(fault, wire, lambda: _drawn(parse_download(self.path)))

    def _second_leg(self, wire: Wire) -> None:
        if self.path == faults.LOOP_TARGET:
            wire.page(302, "Moved.", (("Location", faults.LOOP_TARGET),))
            return
        started_s = time.monotonic()
        download = parse_location(self.path)
        body = b"" if wire.without_body else _drawn(download)
        modified_s = download.record.modified_s
        fields = (
            ("Last-Modified", formatdate(modified_s, usegmt=True)),
            (
                "Expires",
                format_datetime(datetime.now(timezone.utc) + _YEAR, usegmt=True),
            ),
            ("Access-Control-Allow-Origin", "*"),
            ("Content-Disposition", "attachment; filename=imagefile.jpg"),
            ("Content-Type", "image/jpeg"),
        )
        self._send_image(wire, body, fields, started_s)

    def _svg(self, wire: Wire) -> None:
        """Answer with the drawing itself: no redirect leads to it."""
        fault = self.backstage.take_fault(svg_image_id(self.path))
        started_s = time.monotonic()
        if fault is not None:
            if faults.needs_answer(fault):
                parse_svg(self.path)
            self.backstage.hold()
            faults.answer(fault, wire, lambda: _drawn_svg(self.path), _SVG)
            return
        request = parse_svg(self.path)
        kind = "attachment" if request.is_download else "inline"
        fields = (
            ("Access-Control-Allow-Origin", "*"),
            (
                "Content-Disposition",
                f"{kind}; filename={request.record.image_id}.svg",
            ),
            ("Content-Type", _SVG),
        )
        self._send_image(wire, _drawn_svg(self.path), fields, started_s)

    def _send_image(
        self, wire: Wire, body: bytes, fields: Fields, started_s: float
    ) -> None:
        """Send a body after the hold, gzipped if the client offers it, in chunks."""
        gzipped = _offers_gzip(cast("str", self.headers.get("Accept-Encoding", "")))
        if gzipped:
            body = gzip.compress(body, 1, mtime=0)
            fields += (("Vary", "Accept-Encoding"), ("Content-Encoding", "gzip"))
        chunked = self.request_version != "HTTP/1.0"
        if chunked:
            fields += (("Transfer-Encoding", "chunked"),)
        else:
            wire.end()
        self.backstage.hold(time.monotonic() - started_s)
        wire.head(200, fields)
        if chunked:
            wire.chunks(body)
        else:
            wire.body(body)

    def _answer_query(self, query: QueryTarget, wire: Wire) -> None:
        fault = self.backstage.take_query_fault()
        self.backstage.hold_query()
        content_type = CONTENT_TYPES[query.form]
        if fault is not None:
            faults.answer(fault, wire, lambda: self._queried(query), content_type)
            return
        body = self._queried(query)
        name = f"query.{query.form}"
        fields: list[tuple[str, str]] = [
            ("Access-Control-Allow-Origin", "*"),
            ("Content-Disposition", f"attachment; filename={name}"),
            ("Content-Type", content_type),
        ]
        if self.request_version == "HTTP/1.0":
            wire.end()
            wire.head(200, tuple(fields))
            wire.body(body)
        else:
            wire.head(200, (*fields, ("Transfer-Encoding", "chunked")))
            wire.chunks(body)

    def _queried(self, query: QueryTarget) -> bytes:
        """Return the envelope; a rejected query has one too, with the same status."""
        try:
            answer = self.backstage.evaluate(read_target(query))
        except QueryError as error:
            return error_body(str(error), query.form)
        return answer_body(answer, query.form)


def _offers_gzip(accept_encoding: str) -> bool:
    """Return whether the client accepts gzip; a weight of zero rejects it."""
    for part in accept_encoding.lower().split(","):
        coding, _, weight = part.partition(";")
        if coding.strip() in ("gzip", "x-gzip", "*"):
            return not re.fullmatch(r"\s*q\s*=\s*0(\.0*)?\s*", weight)
    return False
