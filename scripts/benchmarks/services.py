"""The services, each in a separate process, as the benchmarks use them."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from processes import BenchError

if TYPE_CHECKING:
    from typing_extensions import Self

_HERE = Path(__file__).parent
_END_S = 10


@dataclass(frozen=True)
class Counters:
    """The requests that a sample service received."""

    image_requests: int
    connections: int
    peak_all_requests: int


class Service:
    """One of the servers of this folder: it says its address, and ends with us."""

    def __init__(self, script: str, *arguments: object) -> None:
        self._command = [sys.executable, str(_HERE / script), *map(str, arguments)]

    def __enter__(self) -> Self:
        """Start it."""
        self._process = subprocess.Popen(  # noqa: S603 - a script of this folder
            self._command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,  # Ctrl-C is not for it: it is still needed
        )
        self.url = self._answer()
        return self

    def __exit__(self, *_: object) -> None:
        """End it."""
        try:
            self._process.communicate(timeout=_END_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.communicate()

    def ask(self) -> str:
        """Return the answer to an empty line."""
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        return self._answer()

    def _answer(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline().strip()
        if not line:
            raise BenchError(f"the server has ended: {' '.join(self._command)}")
        return line


class Sample(Service):
    """The sample service with a latency."""

    def __init__(self, latency_s: float) -> None:
        super().__init__("sample_process.py", latency_s)
        self.latency_s = latency_s

    def take_counters(self) -> Counters:
        """Return what was counted since the last call."""
        return Counters(**json.loads(self.ask()))


class StaticServer(Service):
    """A server of the JPEGs in a folder, with lengths and ranges."""

    def __init__(self, folder: Path, latency_s: float) -> None:
        super().__init__("static_server.py", folder, latency_s)


class ProductServer(Service):
    """A server of one long product, whose answers are ready."""

    def __init__(
        self, jpeg: Path, latency_s: float, genes: int, data_sets: int, images: int
    ) -> None:
        super().__init__("product_server.py", jpeg, latency_s, genes, data_sets, images)
