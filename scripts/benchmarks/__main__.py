"""The command line of the bench, and its end whatever happens."""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import machine
import part_cold
import part_copy
import part_memory
import part_product
import part_pyramid
import part_warm
import report
from processes import BenchError
from setting import Setting

from allenfs import config
from allenfs.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable

    from figures import Part

_PARTS = ("copy", "warm", "memory", "cold", "pyramid", "product")
_QUICK_RUNS = 2
_MOST_SLOW_RUNS = 3


def main() -> int:
    """Measure and report; return the exit code."""
    wanted = _arguments()
    # so that what was started ends as it does after Ctrl-C
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: sys.exit(1))
    try:
        text = _measured(wanted)
    except BenchError as error:
        sys.stderr.write(f"bench: {error}\n")
        return 1
    except KeyboardInterrupt:
        return 130
    sys.stdout.write(f"{text}\n")
    return 0


def _measured(wanted: argparse.Namespace) -> str:
    """Return the text for stdout."""
    runs = min(wanted.runs, _QUICK_RUNS) if wanted.quick else wanted.runs
    with ExitStack() as stack:
        folder = Path(
            stack.enter_context(tempfile.TemporaryDirectory(prefix="allenfs-bench-"))
        )
        about = machine.about(folder) | {
            "latency": f"{wanted.latency} s",
            "runs": str(runs),
        }
        setting = Setting(
            folder,
            stack,
            latency_s=wanted.latency,
            runs=runs,
            slow_runs=1 if wanted.quick else min(runs, _MOST_SLOW_RUNS),
            is_quick=wanted.quick,
        )
        measures: dict[str, Callable[[Setting], Part]] = {
            "copy": partial(part_copy.measure, allensdk=wanted.allensdk),
            "warm": part_warm.measure,
            "memory": part_memory.measure,
            "cold": part_cold.measure,
            "pyramid": part_pyramid.measure,
            "product": part_product.measure,
        }
        parts = [measures[name](setting) for name in wanted.only]
    if wanted.json is None:
        return report.as_text(about, parts)
    if wanted.json == "-":
        return report.as_json(about, parts)
    Path(wanted.json).write_text(report.as_json(about, parts) + "\n")
    return report.as_text(about, parts)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="scripts/bench",
        description="Measures allenfs on the sample service, beside curl, AllenSDK, "
        "the local file system and, where they are installed, rclone mount and "
        "simple-httpfs. Prints tables; a limit that is missed is shown there, and is "
        "no failure. Takes about 11 minutes.",
        allow_abbrev=False,
    )
    parser.add_argument(
        "--json",
        type=_output,
        metavar="FILE",
        help="write every single run there; - prints it instead of the tables",
    )
    parser.add_argument(
        "--runs",
        type=_whole_number,
        default=5,
        metavar="N",
        help="of everything but the slowest, which has "
        f"{_MOST_SLOW_RUNS} at most (default %(default)s)",
    )
    parser.add_argument(
        "--latency",
        type=_latency,
        default=0.25,
        metavar="S",
        help="seconds of the service for an image (default %(default)s)",
    )
    parser.add_argument(
        "--quick",
        action="store_true",
        help=f"at most {_QUICK_RUNS} runs, no store of 100 000 images, AllenSDK only "
        "with --allensdk; about 3 minutes",
    )
    parser.add_argument(
        "--only",
        type=_parts,
        default=_PARTS,
        metavar="PART[,PART]",
        help=f"of {', '.join(_PARTS)}",
    )
    parser.add_argument(
        "--allensdk",
        type=Path,
        metavar="DIR",
        help="where scripts/install-allensdk DIR has installed it; otherwise it is "
        "installed in a temporary folder each time",
    )
    return parser.parse_args()


def _output(text: str) -> str:
    if text != "-":
        try:
            Path(text).touch()  # it would be late to fail when all is measured
        except OSError as error:
            raise argparse.ArgumentTypeError(str(error)) from error
    return text


def _whole_number(text: str) -> int:
    if text.isascii() and text.isdecimal() and int(text) > 0:
        return int(text)
    raise argparse.ArgumentTypeError(f"not a number above zero: {text!r}")


def _latency(text: str) -> float:
    try:
        return config.parse_duration(text)
    except ConfigError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _parts(text: str) -> tuple[str, ...]:
    names = tuple(text.split(","))
    if set(names) <= set(_PARTS):
        return names
    raise argparse.ArgumentTypeError(f"there are {', '.join(_PARTS)}; not {text!r}")


if __name__ == "__main__":
    sys.exit(main())
