"""Findings of checks; each check ends with one, even if it raises or hangs."""

from __future__ import annotations

import enum
import re
import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from allenfs.errors import AllenFSError
from allenfs.service.single_flight import start_thread
from allenfs.text import printable

# Nothing limits the time of a name lookup or a disk access, and a request takes 7 s.
DEADLINE_S = 10.0
# greedy: a password may contain @ or a slash
_USER_IN_URL = re.compile(r"(?<=://)\S*@")


class Verdict(str, enum.Enum):
    """The result of a check, as it is printed."""

    OK = "ok"
    WARN = "warn"
    FAIL = "FAIL"


@dataclass(frozen=True, slots=True)
class Finding:
    """What a check found, in one line, and what to do if something is wrong."""

    verdict: Verdict
    message: str
    advice: str = ""


def _finding(verdict: Verdict, message: str, advice: str = "") -> Finding:
    return Finding(verdict, _shown(message), _shown(advice))


def _shown(text: str) -> str:
    """Hide the passwords of URLs, and escape what controls a terminal."""
    return printable(_USER_IN_URL.sub("***@", text))


ok = partial(_finding, Verdict.OK)
warn = partial(_finding, Verdict.WARN)  # mounts work despite this problem
fail = partial(_finding, Verdict.FAIL)


def finding_of(check: Callable[[], Finding]) -> Finding:
    """Run a check, in a thread that is abandoned at the deadline; never raises."""
    findings: list[Finding] = []

    def find() -> None:
        try:
            findings.append(check())
        except (AllenFSError, OSError) as error:
            advice = "if the cause is not clear, please report this output"
            findings.append(fail(str(error), advice))
        except Exception as error:  # noqa: BLE001 - a check that crashes is a finding
            message = f"the check crashed: {type(error).__name__}: {error}"
            advice = "this is a bug in allenfs: please report this output"
            findings.append(fail(message, advice))

    thread = threading.Thread(target=find, daemon=True)
    try:
        start_thread(thread)
    except AllenFSError as error:
        return fail(str(error))
    thread.join(DEADLINE_S)
    return next(
        iter(findings),
        fail(
            f"not finished after {DEADLINE_S:.0f} s",
            "a name server, disk or server that this check uses does not respond",
        ),
    )
