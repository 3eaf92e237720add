"""``allenfs sample-service``: the embedded sample service alone."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

from allenfs.cli.arguments import whole_number

if TYPE_CHECKING:
    import argparse

SUMMARY = "serve sample images on a loopback port"

_MAX_PORT = 65_535


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what the command takes."""
    parser.add_argument(
        "--port",
        type=whole_number(0, _MAX_PORT),
        default=0,
        metavar="N",
        help="default: any free one",
    )


def run(parsed: argparse.Namespace) -> None:
    """Serve until a signal ends it."""
    from allenfs.assembly import sample_service  # noqa: PLC0415 - others do without it

    service = sample_service(parsed.port)
    ends = {signal.SIGINT, signal.SIGTERM}
    # before the service's threads start: they would take the signal, and die of it
    signal.pthread_sigmask(signal.SIG_BLOCK, ends)
    with service:
        print(f"sample service on {service.url}, Ctrl-C ends it", flush=True)
        signal.sigwait(ends)
