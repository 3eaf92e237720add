"""The command line of the probe; it writes its report whatever happens."""

from __future__ import annotations

import argparse
import contextlib
import datetime as dt
import platform
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import image_probes
import own_probes
import page
import query_probes
import region_probes
import report
import structure_probes
import svg_probes
from answers import Answer, Probe
from asking import Asker, StoppedError

from allenfs import __version__, config
from allenfs.errors import UrlError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from asking import Exchange

_PAUSE_S, _LONGEST_PAUSE_S = 1.0, 60.0
_PROBES = (
    *image_probes.PROBES,
    *query_probes.PROBES,
    *structure_probes.PROBES,
    *region_probes.PROBES,
    *svg_probes.PROBES,
    *own_probes.PROBES,
    query_probes.LIMITS,
)
_INTERRUPTED = "interrupted by the user"
_EXIT_FAILED, _EXIT_USAGE, _EXIT_INTERRUPTED = 1, 2, 130


def main() -> int:
    """Ask, and write the report; return the exit code.

    1 where nothing answered, or the report cannot be written.
    """
    now = dt.datetime.now(dt.timezone.utc)
    wanted = _arguments(now)
    try:
        api_url = config.parse_api_url(wanted.api_url)
    except UrlError as error:
        _say(f"probe-live: {error}")
        return _EXIT_USAGE
    try:
        wanted.output.open("a").close()  # before the first request
    except OSError as error:
        _say(f"probe-live: the report cannot be written: {error}")
        return _EXIT_FAILED
    asker = Asker(api_url, pause_s=wanted.pause, say=_say)

    def interrupt(*_: object) -> None:
        # Python drops an exception that a handler raises within __del__. No Event here:
        # its lock may be held by the code that the signal interrupts.
        asker.stopped = _INTERRUPTED
        raise KeyboardInterrupt

    signal.signal(signal.SIGINT, interrupt)
    written = report.Report({})
    _ask_everything(asker, written, small=wanted.small)
    written.about = _about(asker, now)
    if wanted.small:
        written.about["left out"] = f"--small: {', '.join(page.WHOLE)}"
    wanted.output.write_text(report.as_markdown(written, asker), encoding="utf-8")
    if asker.stopped:
        _say(f"probe-live: stopped: {asker.stopped}")
    differs = report.differences(written.answers)
    sys.stdout.write(
        f"{wanted.output}: {asker.requests} requests, {asker.bytes:,} bytes; {differs} "
        "differences from what allenfs assumes. Look through it before you attach it.\n"
    )
    if asker.stopped == _INTERRUPTED:
        return _EXIT_INTERRUPTED
    return 0 if any(one.hops for one in asker.exchanges) else _EXIT_FAILED


def _ask_everything(asker: Asker, written: report.Report, *, small: bool) -> None:
    """Fill the report; what fails is one line of it."""
    with contextlib.suppress(StoppedError), _interruptible(asker):
        for title, target in page.urls(with_whole_images=not small):
            asker.get(title, target)
    written.page += asker.exchanges
    for probe in _PROBES:
        before = len(asker.exchanges)
        written.answers += _answers(probe, asker)
        asked: list[Exchange] = asker.exchanges[before:]
        if asked:
            written.details.append((f"{probe.number}. {probe.title}", asked))


def _answers(probe: Probe, asker: Asker) -> list[Answer]:
    try:
        with _interruptible(asker):
            return probe.ask(asker)
    except StoppedError as error:
        seen = f"not asked: {error}"
    except Exception as error:  # noqa: BLE001 - one probe never stops the rest
        seen = f"the probe broke: {type(error).__name__}: {error}"
    return [Answer(probe.number, probe.title, seen, "", None)]


@contextlib.contextmanager
def _interruptible(asker: Asker) -> Iterator[None]:
    """Let Ctrl-C end the asking, not the report."""
    try:
        yield
    except KeyboardInterrupt:
        asker.stopped = _INTERRUPTED
        raise StoppedError(_INTERRUPTED) from None


def _about(asker: Asker, now: dt.datetime) -> dict[str, str]:
    about = {
        "service": asker.api_url,
        "date": f"{now:%Y-%m-%d %H:%M} UTC",
        "asked by": f"allenfs {__version__}, Python {platform.python_version()}",
        "asked": f"{asker.requests} requests, one at a time; {asker.bytes:,} bytes",
        "proxy": "yes: what it changes is in here, too" if asker.has_proxy else "none",
    }
    if asker.stopped:
        about["stopped"] = asker.stopped
    return about


def _arguments(now: dt.datetime) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="scripts/probe-live",
        description="Ask the live service what is not known of it; write one Markdown "
        "report to attach to an issue.",
        allow_abbrev=False,
    )
    parser.add_argument(
        "--output",
        type=Path,
        default=Path(f"probe-live-{now:%Y-%m-%d-%H%M}.md"),
        metavar="FILE",
        help="default: %(default)s",
    )
    parser.add_argument(
        "--api-url",
        default=config.DEFAULT_API_URL,
        metavar="URL",
        help="default: %(default)s",
    )
    parser.add_argument(
        "--pause",
        type=_seconds,
        default=_PAUSE_S,
        metavar="SECONDS",
        help="between requests (default %(default)s)",
    )
    parser.add_argument(
        "--small",
        action="store_true",
        help="leave out the three whole images of the page, some 30 MB",
    )
    return parser.parse_args()


def _seconds(text: str) -> float:
    seconds = float(text)
    if not 0 <= seconds <= _LONGEST_PAUSE_S:
        raise ValueError
    return seconds


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")


if __name__ == "__main__":
    sys.exit(main())
