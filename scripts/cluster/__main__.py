"""The command line of the demo, and its end whatever happens."""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from configurations import DemoError
from nodes import check, copy_all, node
from outcome import Outcome
from processes import BenchError
from servers import Institute, Nginx, Squid

from allenfs.cli.arguments import whole_number
from allenfs.config import parse_duration
from allenfs.sample.server import SampleService

if TYPE_CHECKING:
    from servers import Server

_PROXIES = {"nginx": Nginx, "squid": Squid, "none": None}
_DATA_SET = 72109410
_MAX_MOUNTS = 100
_MAX_IMAGES = 10_000


def main() -> int:
    """Copy and report; return the exit code."""
    wanted = _arguments()
    # so that what was started ends as it does after Ctrl-C
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: sys.exit(1))
    try:
        outcome = _copied(wanted)
    except (DemoError, BenchError) as error:
        sys.stderr.write(f"cluster-demo: {error}\n")
        return 1
    except KeyboardInterrupt:
        return 130
    sys.stdout.write(outcome.as_json() if wanted.json else outcome.as_text())
    return 0 if outcome.is_right else 1


def _copied(wanted: argparse.Namespace) -> Outcome:
    path = f"dataset/{wanted.data_set}/ds4"
    with ExitStack() as stack:
        name = stack.enter_context(
            tempfile.TemporaryDirectory(prefix="allenfs-cluster-")
        )
        folder = Path(name)
        folder.chmod(0o711)  # Squid, started by root, is another user
        service = stack.enter_context(SampleService(latency_s=wanted.latency))
        flags, proxy = ("--api-url", service.url), None
        if kind := _PROXIES[wanted.proxy]:
            institute = Institute(folder / "institute", service.url)
            proxy = kind(folder / "proxy", stack.enter_context(institute))
            flags = stack.enter_context(proxy).flags
        roots = [
            stack.enter_context(node(folder / f"node{number}", flags))
            for number in range(wanted.mounts)
        ]
        restart = _Restart(proxy, service, wanted.restart_after)
        copied_s = copy_all(roots, path, folder / "copies", restart)
        counted = {
            "proxy_requests": len(proxy.requests()) if proxy else None,
            "image_requests": service.image_requests,
            "renderings": len(institute.requests("/cgi-bin/")) if proxy else None,
            "queries": service.query_requests,
            "different_queries": len(set(service.queried)),
            "peak": service.peak_requests,
        }
        truth = stack.enter_context(SampleService())  # without latency
        images, size_bytes = check(folder / "copies", path, truth.url)
        return Outcome(
            proxy=wanted.proxy,
            mounts=wanted.mounts,
            images=images,
            size_bytes=size_bytes,
            copied_s=round(copied_s, 1),
            was_restarted=restart.is_done,
            **counted,
        )


class _Restart:
    """Called again and again, restarts the proxy once, after so many images."""

    def __init__(
        self, proxy: Server | None, service: SampleService, after_images: int | None
    ) -> None:
        self._proxy = proxy
        self._service = service
        self._after_images = after_images
        self.is_done = False

    def __call__(self) -> None:
        if self.is_done or self._proxy is None or self._after_images is None:
            return
        if self._service.image_requests >= self._after_images:
            self._proxy.stop()
            self._proxy.start()
            self.is_done = True


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="scripts/cluster-demo",
        description="Shows what a proxy as in docs/cluster.md does: copies one data "
        "set of the sample service through many mounts at once, each with an empty "
        "cache, compares every byte, and counts requests. Exit code 1 if the service "
        "drew an image, or sent a page of records, more than once.",
        allow_abbrev=False,
    )
    parser.add_argument("--proxy", choices=_PROXIES, default="nginx")
    parser.add_argument(
        "--mounts",
        type=whole_number(1, _MAX_MOUNTS),
        default=20,
        metavar="N",
        help="default %(default)s",
    )
    parser.add_argument(
        "--data-set",
        type=int,
        default=_DATA_SET,
        metavar="ID",
        help="of the sample: 72109410 has 60 images (default), 69782969 has 5",
    )
    parser.add_argument(
        "--latency",
        type=parse_duration,
        default=0.25,
        metavar="S",
        help="of the service for an image, in seconds (default %(default)s)",
    )
    parser.add_argument(
        "--restart-after",
        type=whole_number(1, _MAX_IMAGES),
        metavar="N",
        help="end the proxy after N image requests at the service, and start it again",
    )
    parser.add_argument("--json", action="store_true", help="print one line of JSON")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
