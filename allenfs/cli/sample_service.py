"""``allenfs sample-service``: run the embedded sample service without a mount."""

from __future__ import annotations

import argparse
import signal

from allenfs.cli.arguments import whole_number

SUMMARY = "serve sample images on a loopback port"

_MAX_PORT = 65_535


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument(
        "--port",
        type=whole_number(0, _MAX_PORT),
        default=0,
        metavar="N",
        help="default: any free port",
    )


def run(parsed: argparse.Namespace) -> None:
    """Serve until SIGINT or SIGTERM."""
    from allenfs.assembly import sample_service

    service = sample_service(parsed.port)
    ends = {signal.SIGINT, signal.SIGTERM}
    # before the service's threads start: they inherit the mask
    signal.pthread_sigmask(signal.SIG_BLOCK, ends)
    with service:
        print(f"sample service on {service.url}, press Ctrl-C to stop", flush=True)
        signal.sigwait(ends)
