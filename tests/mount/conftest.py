"""Mount tests stand on real FUSE: where it is missing they fail, not skip."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from allenfs.sample.server import SampleService

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def service() -> Iterator[SampleService]:
    with SampleService() as running:
        yield running
