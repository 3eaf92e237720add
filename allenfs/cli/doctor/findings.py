"""Checks and their results; every check ends, whatever it raises."""

from __future__ import annotations

import enum
import os
import re
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import unquote, urlsplit

from allenfs.errors import AllenFSError
from allenfs.service import threads
from allenfs.text import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

_Result = TypeVar("_Result")

# All checks take about 1 s where nothing is wrong. A name server, disk or service that
# never answers costs that check's deadline; this limits the total.
BUDGET_S = 50.0
_DEADLINE_S = 8.0
# greedy: a password may contain @ or a slash
_USER_IN_URL = re.compile(r"(?<=://)\S*@")
_HIDDEN = "***"
_SHORTEST_SECRET = 4


class Verdict(enum.Enum):
    """The result of a check; the value is printed."""

    OK = "ok"
    WARN = "warn"
    FAIL = "FAIL"
    SKIP = "skip"


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of one check.

    Attributes
    ----------
    said : str
        What was found, in one line.
    advice : str
        What to do about it; empty if nothing is wrong.
    """

    verdict: Verdict
    said: str
    advice: str = ""


def ok(said: str) -> Finding:
    """Return that nothing is wrong."""
    return Finding(Verdict.OK, said)


def warn(said: str, advice: str) -> Finding:
    """Return a problem that a mount works with."""
    return Finding(Verdict.WARN, said, advice)


def fail(said: str, advice: str) -> Finding:
    """Return a problem that keeps allenfs from working."""
    return Finding(Verdict.FAIL, said, advice)


def skip(said: str) -> Finding:
    """Return why there was nothing to check."""
    return Finding(Verdict.SKIP, said)


@dataclass(frozen=True, slots=True)
class Check:
    """One check.

    Attributes
    ----------
    needs : tuple of str
        Names of earlier checks that must not have failed.
    """

    name: str
    find: Callable[[], Finding]
    needs: tuple[str, ...] = ()
    deadline_s: float = _DEADLINE_S


class LateError(Exception):
    """A check did not finish before its deadline."""


def within(deadline_s: float, function: Callable[[], _Result]) -> _Result:
    """Return what `function` returns, or raise what it raises.

    It runs in a thread that is abandoned at the deadline: neither a name lookup nor a
    disk access has a timeout.

    Raises
    ------
    LateError
        It did not finish within `deadline_s`.
    """
    returned: list[_Result] = []
    raised: list[Exception] = []

    def call() -> None:
        try:
            returned.append(function())
        except Exception as error:  # noqa: BLE001 - raised again below
            raised.append(error)

    thread = threading.Thread(target=call, daemon=True)
    threads.start(thread)
    thread.join(deadline_s)
    if raised:
        raise raised[0]
    if not returned:
        msg = f"not finished after {deadline_s:.0f} s"
        raise LateError(msg)
    return returned[0]


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
            finding = _found(check, min(check.deadline_s, left_s))
        if missing or finding.verdict is Verdict.FAIL:
            failed.add(check.name)
        yield (
            check.name,
            Finding(
                finding.verdict,
                printable(_without(passwords, finding.said)),
                printable(_without(passwords, finding.advice)),
            ),
        )


def _found(check: Check, deadline_s: float) -> Finding:
    try:
        return within(deadline_s, check.find)
    except LateError as error:
        return fail(
            str(error),
            "a name server, disk or server that this check uses does not respond",
        )
    except (AllenFSError, OSError) as error:
        return fail(str(error), "if the cause is not clear, please report this output")
    except Exception as error:  # noqa: BLE001 - a check that crashes is a finding
        said = f"the check crashed: {type(error).__name__}: {error}"
        return fail(said, "this is a bug in allenfs: please report this output")


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
