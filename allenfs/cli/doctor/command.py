"""``allenfs doctor``: find what keeps a mount from working, and say what to do."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING

from allenfs import __version__, config
from allenfs.cli import arguments
from allenfs.config import ServiceSettings
from allenfs.errors import AllenFSError, ConfigError, UrlError

if TYPE_CHECKING:
    from allenfs.cli.doctor.findings import Finding

SUMMARY = "check this machine and the service; say what to do"

_EXIT_FAILED = 1
_COLOURS = {"ok": "32", "warn": "33", "FAIL": "1;31"}
_NAME_WIDTH, _VERDICT_WIDTH = 12, 4
_print = partial(print, sep="\n", flush=True)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    arguments.add_service(parser)
    arguments.add_store(parser)
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(parsed: argparse.Namespace) -> int:
    """Run the checks and print each result at once; 1 if one failed."""
    # only this command needs it
    from allenfs.cli.doctor.findings import Verdict, finding_of

    about = _about()
    found: dict[str, Finding] = {}

    def passes(name: str, check: Callable[[], Finding]) -> bool:
        found[name] = finding_of(check)
        if not parsed.json:
            _print(*_lines(name, found[name]))
        return found[name].verdict is not Verdict.FAIL

    if not parsed.json:
        _print(*(f"{name:<{_NAME_WIDTH}}{value}" for name, value in about.items()), "")
    _run_all(parsed, passes)
    failed, warned = (
        [name for name, one in found.items() if one.verdict is verdict]
        for verdict in (Verdict.FAIL, Verdict.WARN)
    )
    if parsed.json:
        checks = [{"check": name, **asdict(finding)} for name, finding in found.items()]
        _print(json.dumps({**about, "checks": checks, "failed": failed}, indent=2))
    else:
        _print("", _summary(failed, warned))
    return _EXIT_FAILED if failed else 0


def _run_all(
    parsed: argparse.Namespace, passes: Callable[[str, Callable[[], Finding]], bool]
) -> None:
    """Run the checks in order, except those that need one that failed."""
    from allenfs.cli.doctor import machine, service, storage
    from allenfs.cli.doctor.findings import fail, ok

    for name, check in machine.CHECKS.items():
        passes(name, check)
    service_name = config.service_name(config.DEFAULT_API_URL)
    store = storage.StoreChecks(lambda: arguments.store_settings(parsed, service_name))
    if passes("store", store.contents):
        passes("store files", store.files)
    services: list[service.ServiceChecks] = []
    with contextlib.ExitStack() as stack:

        def find_service() -> Finding:
            try:
                if parsed.sample:
                    from allenfs.assembly import sample_service

                    url = stack.enter_context(sample_service()).url
                    settings = ServiceSettings(url, proxy="")  # a proxy cannot reach it
                else:
                    settings = arguments.service_address(parsed)
                name = arguments.service_name(parsed, settings)
                services.append(service.ServiceChecks(settings))
            except AllenFSError as error:
                return fail(str(error), _advice(error))
            proxy = services[0].proxy
            through = f" through the proxy {proxy}" if proxy else ""
            is_other = name != config.service_name(settings.api_url)
            stored = f", stored as {name}" if is_other else ""
            return ok(f"{settings.api_url}{through}{stored}")

        # after a failure, another attempt may lock the account of a proxy
        if passes("service", find_service) and passes("image", services[0].image):
            passes("query", services[0].query)


def _advice(error: AllenFSError) -> str:
    if isinstance(error, UrlError):
        return f"correct --api-url or ${config.API_URL_VARIABLE}"
    if isinstance(error, ConfigError):
        return "correct or unset it"
    return f"{sys.executable} -m pip install 'allenfs[sample]'"


def _about() -> dict[str, str]:
    try:
        system = platform.freedesktop_os_release().get("PRETTY_NAME", "Linux")
    except OSError:
        system = "unknown distribution"
    in_container = os.path.exists("/.dockerenv") or os.path.exists("/run/.containerenv")
    return {
        "allenfs": __version__,
        "Python": f"{platform.python_version()}, {sys.executable}",
        "system": f"{system}, Linux {platform.release()} {platform.machine()}"
        + (", in a container" if in_container else ""),
        "user": "root" if os.geteuid() == 0 else f"user {os.geteuid()}",
    }


def _lines(name: str, finding: Finding) -> Iterator[str]:
    verdict = finding.verdict.value
    shown = f"{verdict:<{_VERDICT_WIDTH}}"
    if sys.stdout.isatty() and not os.environ.get("NO_COLOR"):
        shown = f"\033[{_COLOURS[verdict]}m{shown}\033[0m"
    yield f"{shown}  {name:<{_NAME_WIDTH}}{finding.message}"
    if finding.advice:
        yield f"{'':<{_VERDICT_WIDTH + 2 + _NAME_WIDTH}}-> {finding.advice}"


def _summary(failed: list[str], warned: list[str]) -> str:
    parts = [f"{len(failed)} failed ({', '.join(failed)})"] if failed else []
    if warned:
        noun = "warning" if len(warned) == 1 else "warnings"
        parts.append(f"{len(warned)} {noun} ({', '.join(warned)})")
    return f"{'; '.join(parts)}." if parts else "No problems found."
