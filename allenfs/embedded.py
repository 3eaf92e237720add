"""The embedded sample service, for commands that are asked for ``--sample``."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from typing import TYPE_CHECKING

from allenfs.errors import AllenFSError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from allenfs.config import ServiceSettings, StoreSettings
    from allenfs.sample.server import SampleService


def sample_service(port: int = 0) -> SampleService:
    """Return the service, to be entered; on any free port where `port` is 0.

    Raises
    ------
    AllenFSError
        What it draws with is not installed.
    """
    try:
        from allenfs.sample.server import SampleService  # noqa: PLC0415 - an extra
    except ImportError as error:
        msg = f"the sample service needs allenfs[sample]: {error}"
        raise AllenFSError(msg) from error
    return SampleService(port=port)


@contextlib.contextmanager
def on_sample(
    service: ServiceSettings, store: StoreSettings
) -> Iterator[tuple[ServiceSettings, StoreSettings]]:
    """Run the service for the block; yield the settings that lead to it.

    Raises
    ------
    AllenFSError
        What it draws with is not installed.
    """
    with sample_service() as sample:
        from allenfs.sample.drawing import DRAWING_VERSION  # noqa: PLC0415 - an extra

        yield (
            replace(service, api_url=sample.url, proxy=""),  # a proxy cannot reach it
            # "@": no host has this name
            replace(store, service_name=f"sample@{DRAWING_VERSION}"),
        )
