"""What every part is given: a folder, how often, how slow, and the services."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

from sections import Section, download, sections_of
from services import Sample, StaticServer
from turns import tell

if TYPE_CHECKING:
    from contextlib import ExitStack
    from pathlib import Path


class Setting:
    """One run of the bench; a service starts when a part first asks for it.

    Parameters
    ----------
    folder
        For everything that a part makes; gone with the bench.
    stack
        Ends with the bench.
    latency_s
        Of an image, at the slow service.
    runs
        Of everything that does not ask the slow service for one image after another.
    slow_runs
        Of what does.
    is_quick
        Whether the largest store is left out.
    """

    def __init__(
        self,
        folder: Path,
        stack: ExitStack,
        *,
        latency_s: float,
        runs: int,
        slow_runs: int,
        is_quick: bool,
    ) -> None:
        self.folder = folder
        self.latency_s = latency_s
        self.runs = runs
        self.slow_runs = slow_runs
        self.is_quick = is_quick
        self._stack = stack

    @functools.cached_property
    def instant(self) -> Sample:
        """The sample service without a latency."""
        return self._sample(0)

    @functools.cached_property
    def slow(self) -> Sample:
        """The sample service with the latency."""
        return self._sample(self.latency_s)

    @functools.cached_property
    def sections(self) -> list[Section]:
        """The images, in order."""
        return sections_of(self.instant.url)

    @functools.cached_property
    def truth(self) -> Path:
        """Files of the images, as the service answers them, on the store's disk."""
        folder = self.folder / "truth"
        download(self.instant.url, self.sections, folder)
        return folder

    def static_server(self, folder: Path, latency_s: float) -> StaticServer:
        """Start a server of the files in a folder."""
        return self._stack.enter_context(StaticServer(folder, latency_s))

    def sample(self, latency_s: float) -> Sample:
        """Start a sample service that has drawn nothing yet."""
        return self._stack.enter_context(Sample(latency_s))

    def _sample(self, latency_s: float) -> Sample:
        tell(f"sample service with {latency_s} s of latency draws its images once")
        sample = self.sample(latency_s)
        download(sample.url, sections_of(sample.url), self.folder / "drawn")
        sample.take_counters()
        return sample
