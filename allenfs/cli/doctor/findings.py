"""Checks and their results; every check ends, whatever it raises."""

from __future__ import annotations

import enum
import os
import re
import threading
import time
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from allenfs.errors import AllenFSError
from allenfs.service.single_flight import start_thread
from allenfs.text import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

# All checks take about 1 s where nothing is wrong. A name server, disk or service that
# never answers costs that check's deadline; this limits the total.
BUDGET_S = 50.0
_DEADLINE_S = 8.0
# greedy: a password may contain @ or a slash
_USER_IN_URL = re.compile(r"(?<=://)\S*@")
_HIDDEN = "***"
_SHORTEST_SECRET = 4


class Verdict(str, enum.Enum):
    """The result of a check, as it is printed."""

    OK = "ok"
    WARN = "warn"
    FAIL = "FAIL"
    SKIP = "skip"


@dataclass(frozen=True, slots=True)
class Finding:
    """What a check found, in one line, and what to do if something is wrong."""

    verdict: Verdict
    message: str
    advice: str = ""


ok = partial(Finding, Verdict.OK)
warn = partial(Finding, Verdict.WARN)  # a mount works with this problem
fail = partial(Finding, Verdict.FAIL)
skip = partial(Finding, Verdict.SKIP)


@dataclass(frozen=True, slots=True)
class Check:
    """One check; it is skipped if a check that it needs has failed."""

    name: str
    find: Callable[[], Finding]
    needs: tuple[str, ...] = ()
    deadline_s: float = _DEADLINE_S


def run(
    checks: Iterable[Check], environ: Mapping[str, str] = os.environ
) -> Iterator[tuple[str, Finding]]:
    """Run the checks in order; yield the name and the finding of each.

    No check raises or exceeds its deadline. No finding contains a password from
    `environ` or a terminal control character.
    """
    ends_s = time.monotonic() + BUDGET_S
    passwords = _passwords(environ)
    failed: set[str] = set()
    for check in checks:
        missing = [name for name in check.needs if name in failed]
        left_s = ends_s - time.monotonic()
        if missing:
            finding = skip(f"not tried: the check {missing[0]!r} failed")
        elif left_s <= 0:
            finding = skip("not tried: the earlier checks took too long")
        else:
            deadline_s = min(check.deadline_s, left_s)
            finding = _caught(partial(_in_time, check.find, deadline_s))
        if missing or finding.verdict is Verdict.FAIL:
            failed.add(check.name)
        yield (
            check.name,
            replace(
                finding,
                message=printable(_without(passwords, finding.message)),
                advice=printable(_without(passwords, finding.advice)),
            ),
        )


def _in_time(find: Callable[[], Finding], deadline_s: float) -> Finding:
    """Run a check in a thread that is abandoned at the deadline.

    Neither a name lookup nor a disk access has a timeout.
    """
    found: list[Finding] = []
    thread = threading.Thread(target=lambda: found.append(_caught(find)), daemon=True)
    start_thread(thread)
    thread.join(deadline_s)
    if found:
        return found[0]
    return fail(
        f"not finished after {deadline_s:.0f} s",
        "a name server, disk or server that this check uses does not respond",
    )


def _caught(find: Callable[[], Finding]) -> Finding:
    try:
        return find()
    except (AllenFSError, OSError) as error:
        return fail(str(error), "if the cause is not clear, please report this output")
    except Exception as error:  # noqa: BLE001 - a check that crashes is a finding
        message = f"the check crashed: {type(error).__name__}: {error}"
        return fail(message, "this is a bug in allenfs: please report this output")


def _without(passwords: list[str], text: str) -> str:
    for password in passwords:
        text = text.replace(password, _HIDDEN)
    return _USER_IN_URL.sub(f"{_HIDDEN}@", text)


def _passwords(environ: Mapping[str, str]) -> list[str]:
    """Return the passwords in proxy and service variables, raw and decoded."""
    found: set[str] = set()
    for name, value in environ.items():
        if name.lower().endswith(("_proxy", "_url")):
            try:
                password = urlsplit(value if "//" in value else f"//{value}").password
            except ValueError:
                password = None
            # a shorter one may be part of ordinary words
            if password and len(password) >= _SHORTEST_SECRET:
                found |= {password, unquote(password)}
    return sorted(found, key=len, reverse=True)
