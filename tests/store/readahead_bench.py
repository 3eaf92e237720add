"""Reading ahead over a scripted service, a real fetcher and a real store."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest
from fetcher_doubles import PATIENCE_S, Bench
from store_helpers import section

from allenfs.fetch.readahead import ReadAhead
from allenfs.model import tree
from allenfs.model.nodes import CollectionFile

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from allenfs.model.images import ImageRequest
    from allenfs.store.stored_file import Image

FIRST_ID = 1000


def until(condition: Callable[[], bool], what: str) -> None:
    """Return once something has happened that tells nobody of it."""
    pause = threading.Event()
    for _ in range(PATIENCE_S * 200):
        if condition():
            return
        pause.wait(0.005)
    pytest.fail(f"never: {what}")


class AheadBench(Bench):
    """Opens images by their place in a listing of forty, as a filesystem does."""

    def __init__(
        self, directory: Path, *, max_window: int = 8, length: int = 40, **options: int
    ) -> None:
        super().__init__(directory, **options)
        self.is_out_of_reach = False
        self.ahead = ReadAhead(
            self.fetcher,
            self.store,
            lambda _: tuple(map(section, range(FIRST_ID, FIRST_ID + length))),
            self.slots,
            max_window=max_window,
            is_out_of_reach=lambda: self.is_out_of_reach,
        )

    def request(self, place: int) -> ImageRequest:
        return section(FIRST_ID + place)

    def file(self, place: int, directory: str = "/dataset/1") -> CollectionFile:
        file = tree.parse(f"{directory}/{place:04d}_{FIRST_ID + place}.jpg")
        assert isinstance(file, CollectionFile)
        return file

    def open(self, place: int, directory: str = "/dataset/1") -> Image:
        file = self.file(place, directory)
        self.ahead.opened(file)
        try:
            return self.get(FIRST_ID + place)
        except Exception:
            self.ahead.failed(file)
            raise

    def read(self, *places: int) -> None:
        """Open one after the other, each when all that is fetched ahead is here."""
        for place in places:
            self.open(place)
            self.settle()

    def settle(self) -> None:
        """Wait until nothing is fetched ahead any more."""
        until(lambda: self.ahead._workers == 0, "all is fetched that was guessed")

    @property
    def fetched(self) -> dict[int, int]:
        """How often each place was asked of the service."""
        counts = self.service.fetches
        return {number - FIRST_ID: counts[number] for number in sorted(counts)}
