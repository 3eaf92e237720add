"""``allenfs doctor``: what keeps a mount from working here, and what to do."""

from __future__ import annotations

import contextlib
import json
import os
import platform
import sys
from typing import TYPE_CHECKING

from allenfs import __version__, config
from allenfs.cli.arguments import (
    add_service,
    add_store,
    service_address,
    store_settings,
)
from allenfs.config import ServiceSettings
from allenfs.errors import AllenFSError, ConfigError, UrlError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable, Iterator

    from allenfs.cli.doctor.findings import Check, Finding

SUMMARY = "check this machine and the service; say what to do"

_EXIT_FAILED = 1
_COLOURS = {"ok": "32", "warn": "33", "FAIL": "1;31", "skip": "2"}
_NAME_WIDTH, _VERDICT_WIDTH = 12, 4


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what the command takes."""
    add_service(parser)
    add_store(parser)
    parser.add_argument("--json", action="store_true", help="for programs")


def run(parsed: argparse.Namespace) -> int:
    """Check, and print as it goes; 1 where something fails."""
    from allenfs.cli.doctor import findings  # noqa: PLC0415 - other commands do without

    about = _about()
    verdicts: dict[str, list[str]] = {}
    found = []
    try:
        if not parsed.json:
            _print(*(f"{name:<{_NAME_WIDTH}}{value}" for name, value in about.items()))
            _print("")
        with contextlib.ExitStack() as stack:
            for name, finding in findings.run(_checks(parsed, stack)):
                verdicts.setdefault(finding.verdict.value, []).append(name)
                found.append((name, finding))
                if not parsed.json:
                    _print(*_lines(name, finding))
        failed, warned = verdicts.get("FAIL", []), verdicts.get("warn", [])
        if parsed.json:
            _print(_json(about, found, failed))
        else:
            _print("", _sum(failed, warned))
    except BrokenPipeError:
        # who read has read enough; nor may Python's last flush say a word
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _EXIT_FAILED
    return _EXIT_FAILED if failed else 0


def _checks(parsed: argparse.Namespace, stack: contextlib.ExitStack) -> Iterator[Check]:
    """Yield the checks in the order in which they are done; each may need others."""
    from allenfs.cli.doctor import fuse, host  # noqa: PLC0415 - as above
    from allenfs.cli.doctor.findings import Check, fail, ok  # noqa: PLC0415
    from allenfs.cli.doctor.storage import StoreChecks  # noqa: PLC0415

    yield Check("device", fuse.device)
    yield Check("libfuse", fuse.libraries, deadline_s=15)
    yield Check("binding", fuse.bindings, deadline_s=15)
    yield Check("fusermount", fuse.helper)
    yield Check("allow-other", fuse.allow_other)
    yield Check("mounts", host.mounts)
    yield Check("open files", host.open_files)
    yield Check("processes", host.processes)
    yield Check("crawlers", host.crawlers)
    yield Check("log", host.log_file)
    name = config.service_name(config.DEFAULT_API_URL)
    store = StoreChecks(lambda: store_settings(parsed, name))
    yield Check("store", store.owner)
    yield Check("room", store.room, ("store",))
    yield Check("store files", store.files, ("store",))
    of_service: list[Check] = []

    def find_service() -> Finding:
        try:
            settings = _service(parsed, stack)
        except AllenFSError as error:
            return fail(str(error), _advice(error))
        of_service.extend(_network_checks(settings))
        return ok(settings.api_url)

    yield Check("service", find_service)
    yield from of_service


def _network_checks(settings: ServiceSettings) -> Iterable[Check]:
    from allenfs.cli.doctor.findings import Check  # noqa: PLC0415 - as above
    from allenfs.cli.doctor.replies import ServiceChecks  # noqa: PLC0415
    from allenfs.cli.doctor.wire import Way  # noqa: PLC0415
    from allenfs.service.transport import Transport  # noqa: PLC0415

    transport, url = Transport(settings), settings.api_url
    way = Way(url, transport.proxy_of(url), transport.context)
    service = ServiceChecks(settings)
    return (
        Check("proxy", way.find_proxy),
        Check("name", way.find_name, ("proxy",)),
        Check("connection", way.find_connection, ("proxy", "name")),
        Check("certificate", way.find_certificate, ("proxy", "connection")),
        Check("answer", service.answer, ("certificate",), deadline_s=10),
        Check("clock", service.clock),
        Check("query", service.query, ("answer",), deadline_s=10),
        Check("image", service.image, ("answer",), deadline_s=10),
    )


def _service(
    parsed: argparse.Namespace, stack: contextlib.ExitStack
) -> ServiceSettings:
    """Return the settings of the service; the sample runs until the stack ends."""
    if parsed.sample:
        from allenfs.assembly import sample_service  # noqa: PLC0415 - an extra

        url = stack.enter_context(sample_service()).url
        return ServiceSettings(url, proxy="")  # a proxy could not reach it
    return service_address(parsed)


def _advice(error: AllenFSError) -> str:
    if isinstance(error, UrlError):
        return f"correct --api-url or ${config.API_URL_VARIABLE}"
    if isinstance(error, ConfigError):
        return "correct it, or unset it where nothing needs it"
    return f"{sys.executable} -m pip install 'allenfs[sample]'"


def _about() -> dict[str, str]:
    try:
        system = platform.freedesktop_os_release().get("PRETTY_NAME", "Linux")
    except OSError:
        system = "an unknown distribution"
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
    if sys.stdout and sys.stdout.isatty() and not os.environ.get("NO_COLOR"):
        shown = f"\033[{_COLOURS[verdict]}m{shown}\033[0m"
    yield f"{shown}  {name:<{_NAME_WIDTH}}{finding.said}"
    if finding.advice:
        yield f"{'':<{_VERDICT_WIDTH + 2 + _NAME_WIDTH}}-> {finding.advice}"


def _sum(failed: list[str], warned: list[str]) -> str:
    if not failed and not warned:
        return "Nothing stands in the way."
    parts = [f"{len(failed)} failed ({', '.join(failed)})"] if failed else []
    parts += [f"{len(warned)} to look at ({', '.join(warned)})"] if warned else []
    return f"{'; '.join(parts)}."


def _json(
    about: dict[str, str], found: list[tuple[str, Finding]], failed: list[str]
) -> str:
    checks = [
        {
            "check": name,
            "verdict": finding.verdict.value,
            "said": finding.said,
            "advice": finding.advice,
        }
        for name, finding in found
    ]
    return json.dumps({**about, "checks": checks, "failed": failed}, indent=2)


def _print(*lines: str) -> None:
    # somebody may have closed it: then it is None, and print says nothing
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    for line in lines:
        print(line.encode(encoding, "backslashreplace").decode(encoding), flush=True)
