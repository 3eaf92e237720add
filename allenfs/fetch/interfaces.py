"""Interfaces the fetcher depends on: the image service and the image store."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from allenfs.errors import ServiceError
    from allenfs.model.images import ImageRequest, ImageService
    from allenfs.model.sheets import Request
    from allenfs.service.responses import Answer, Sink
    from allenfs.store.stored_file import Facts, Image, Known
    from allenfs.store.temp_file import TempFile


class Service(Protocol):
    """Where images come from."""

    def fetch(
        self,
        request: ImageRequest,
        sink: Sink,
        slot: AbstractContextManager[object],
        goes_on: Callable[[ServiceError], bool],
    ) -> Answer:
        """Download one image, each attempt in `slot`, or raise a ServiceError."""


class ImageStore(Protocol):
    """Where images are kept."""

    def find(self, request: Request, *, unread: bool) -> Image | None:
        """Open a stored image; where `unread`, also one never compared yet."""

    def peek(self, request: Request) -> Known | None:
        """Return size and time of a stored image, quickly."""

    def facts(self, request: Request) -> Facts | None:
        """Return what a stored image's footer says."""

    def is_known(self, request: Request) -> bool:
        """Whether an image is stored."""

    def temp_file(self, *, in_memory: bool = False) -> TempFile:
        """Return a new place for the bytes of a download."""

    def add(
        self, request: Request, temp_file: TempFile, modified_ns: int | None
    ) -> Image:
        """Keep a checked download."""

    def used_ids(self, service: ImageService) -> list[int]:
        """Ids of the stored images of one service."""
