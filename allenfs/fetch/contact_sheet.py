"""What is drawn here: contact sheets, and the pages of stacks.

The pictures are fetched a few at a time, then drawn.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from allenfs.errors import (
    BrokenImageError,
    DamagedStoreError,
    ImageNotFoundError,
    ImageTooLargeError,
    InterruptedWaitError,
    ProcessLimitError,
    WrongAnswerError,
    copied,
)
from allenfs.model import jpeg
from allenfs.model.sheets import SheetRequest
from allenfs.service.single_flight import NOT_INTERRUPTED, Caller, start_thread

if TYPE_CHECKING:
    from allenfs.config import ServiceSettings
    from allenfs.fetch.sheet_page import Page
    from allenfs.model.images import ImageRequest
    from allenfs.model.sheets import Drawn
    from allenfs.model.stack import PageRequest
    from allenfs.service.responses import Sink
    from allenfs.store.stored_file import Image

    Get = Callable[[ImageRequest, Caller], Image]

# Sheets drawn at a time, of at most 96 MB each; others wait.
_SHEETS_AT_A_TIME = 4
# Of a picture at ds6; recorded are 20 kB and 0.1 megapixels.
_MAX_THUMBNAIL_BYTES, _MAX_THUMBNAIL_PX = 2**24, 2**24


# Of all pages drawn at a time; a larger page is drawn alone. A pixel takes 8 bytes, for
# the image and for the page.
_PAGES_PX = 16_000_000
# A service that rounds the sides of a tier up has one pixel more than the records.
_SURPLUS_PX = 1


class SheetMaker:
    """Draws sheets and pages of images that the caller fetches. Thread-safe."""

    def __init__(self, settings: ServiceSettings) -> None:
        self._max_workers = settings.connections
        self._max_bytes = settings.max_image_bytes
        self._tables = threading.Semaphore(_SHEETS_AT_A_TIME)
        self._budget = _Budget(_PAGES_PX)

    def make(self, request: Drawn, sink: Sink, get: Get) -> int | None:
        """Draw into `sink` and check it; return the time of the newest picture on it.

        Raises ServiceError if a picture could not be fetched, if there is none at all,
        or if the result exceeds the size limit of an image.
        """
        if isinstance(request, SheetRequest):
            data, modified_ns = self._sheet(request, get)
        else:
            data, modified_ns = self._page(request, get)
        if len(data) > self._max_bytes:
            raise ImageTooLargeError(
                f"more than {self._max_bytes} bytes, the limit for one image",
                url=request.path,
            )
        sink.restart()
        sink.write(data)
        try:
            jpeg.inspect(sink.view())
        except (jpeg.CutJpegError, jpeg.NotAJpegError) as error:
            raise DamagedStoreError(f"is not what was written: {error}") from error
        return modified_ns

    def _sheet(self, request: SheetRequest, get: Get) -> tuple[bytes, int | None]:
        """Return a contact sheet, and the time of its newest picture.

        Images that the institute marked as failed are not requested; their cells are
        empty, and so are those of images that are missing or broken at the service.
        """
        # imported only when needed: 4 MB and 30 ms
        from allenfs.fetch.sheet_page import Page  # noqa: PLC0415

        with self._tables:
            page = Page(request)
            work = _Work(request, page, get)
            work.run(self._max_workers)
            return page.jpeg(), work.modified_ns

    def _page(self, request: PageRequest, get: Get) -> tuple[bytes, int]:
        """Return a page of a stack, and the time of the image on it.

        WrongAnswerError if the image is larger than the page.
        """
        from allenfs.fetch import stack_page  # noqa: PLC0415 - as above

        image = get(request.source, NOT_INTERRUPTED)
        size_bytes, name = image.facts.size_bytes, request.source.path
        if size_bytes > request.size_bound_bytes():
            raise WrongAnswerError("too large for a page", url=name)
        with self._budget.taken(request.size_px[0] * request.size_px[1]):
            data = image.read(0, size_bytes)
            shape = jpeg.inspect(data)
            most_px = tuple(side_px + _SURPLUS_PX for side_px in request.size_px)
            if shape.width_px > most_px[0] or shape.height_px > most_px[1]:
                raise WrongAnswerError(
                    f"has {shape.width_px} x {shape.height_px} pixels, more than the "
                    "largest image of the data set in its record: "
                    f"{request.size_px[0]} x {request.size_px[1]}",
                    url=name,
                )
            page = stack_page.drawn(data, request.size_px, name)
        return page, image.facts.modified_ns


class _Budget:
    """Pixels that may be drawn at a time; a caller waits for its own."""

    def __init__(self, pixels: int) -> None:
        self._all = self._free = pixels
        self._changed = threading.Condition()

    @contextlib.contextmanager
    def taken(self, pixels: int) -> Iterator[None]:
        """Take pixels of the budget for the block: all of it for a larger page."""
        pixels = min(pixels, self._all)
        with self._changed:
            self._changed.wait_for(lambda: pixels <= self._free)
            self._free -= pixels
        try:
            yield
        finally:
            with self._changed:
                self._free += pixels
                self._changed.notify_all()


class _Work:
    """The pictures of one sheet, fetched by several threads."""

    def __init__(self, request: SheetRequest, page: Page, get: Get) -> None:
        self.modified_ns: int | None = None  # of the newest picture
        self._request = request
        self._page = page
        self._get = get
        self._places = iter(range(len(request.images)))
        self._lock = threading.Lock()
        # copies: tracebacks would keep the sheet and all objects of their threads alive
        self._error: BaseException | None = None
        self._absence: ImageNotFoundError | BrokenImageError | None = None

    def run(self, max_workers: int) -> None:
        """Fetch and draw all, in this thread and others; raise the first error."""
        others = []
        for _ in range(min(max_workers, len(self._request.images)) - 1):
            # a daemon thread does not keep the process alive after unmounting
            other = threading.Thread(target=self._work, daemon=True)
            try:
                start_thread(other)
            except ProcessLimitError:  # with fewer, it takes longer
                break
            others.append(other)
        self._work()
        for other in others:
            other.join()
        if self._error is not None:
            raise copied(self._error)
        if self._absence is not None and self.modified_ns is None:
            raise copied(self._absence)

    def _work(self) -> None:
        try:
            while (place := self._next()) is not None:
                self._fill(place)
        except BaseException as error:  # noqa: BLE001 - the sheet's thread raises it
            with self._lock:
                self._error = self._error or copied(error)

    def _next(self) -> int | None:
        with self._lock:
            return None if self._has_failed() else next(self._places, None)

    def _has_failed(self) -> bool:
        return self._error is not None

    def _fill(self, place: int) -> None:
        if self._request.images[place].failed:
            with self._lock:
                self._page.leave_empty(place, "failed")
            return
        request = self._request.thumbnail(place)
        try:
            image = self._get(request, Caller(is_interrupted=self._has_failed))
            picture = self._page.reduced(_checked(image, request.path), request.path)
        except (ImageNotFoundError, BrokenImageError) as error:
            is_absent = isinstance(error, ImageNotFoundError)
            with self._lock:
                self._absence = copied(error)
                self._page.leave_empty(place, "no image" if is_absent else "broken")
        except InterruptedWaitError:
            pass  # another picture failed; the download of this one goes on
        else:
            with self._lock:
                self._page.lay(place, picture)
                self.modified_ns = max(self.modified_ns or 0, image.facts.modified_ns)


def _checked(image: Image, path: str) -> bytes:
    """Return the bytes of an image that is small enough to be drawn."""
    if image.facts.size_bytes <= _MAX_THUMBNAIL_BYTES:
        data = image.read(0, image.facts.size_bytes)
        shape = jpeg.inspect(data)
        if shape.width_px * shape.height_px <= _MAX_THUMBNAIL_PX:
            return data
    raise WrongAnswerError("too large for a thumbnail", url=path)
