"""What a check has found, and the run of them: each ends, whatever it raises."""

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

# The checks of a machine where all is well take 1 s; a name server, a disk or a
# service that never answers costs its own deadline, and all of them not more than this.
BUDGET_S = 50.0
_DEADLINE_S = 8.0
# up to the last one: a password may have an @ or a slash of its own
_USER_IN_URL = re.compile(r"(?<=://)\S*@")
_HIDDEN = "***"
_SHORTEST_SECRET = 4


class Verdict(enum.Enum):
    """How a check ended; the value is what is printed."""

    OK = "ok"
    WARN = "warn"
    FAIL = "FAIL"
    SKIP = "skip"


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check has found.

    Attributes
    ----------
    said : str
        What is the case, in one line.
    advice : str
        What to do, where it is not well.
    """

    verdict: Verdict
    said: str
    advice: str = ""


def ok(said: str) -> Finding:
    """Return that something is well."""
    return Finding(Verdict.OK, said)


def warn(said: str, advice: str) -> Finding:
    """Return that something is not as it should be, but a mount works."""
    return Finding(Verdict.WARN, said, advice)


def fail(said: str, advice: str) -> Finding:
    """Return that something keeps allenfs from its work."""
    return Finding(Verdict.FAIL, said, advice)


def skip(said: str) -> Finding:
    """Return that there was nothing to look at, and why."""
    return Finding(Verdict.SKIP, said)


@dataclass(frozen=True, slots=True)
class Check:
    """One check.

    Attributes
    ----------
    needs : tuple of str
        Names of checks before it that must not have failed.
    """

    name: str
    find: Callable[[], Finding]
    needs: tuple[str, ...] = ()
    deadline_s: float = _DEADLINE_S


class LateError(Exception):
    """Something did not end in its time."""


def within(deadline_s: float, function: Callable[[], _Result]) -> _Result:
    """Return what `function` returns, or raise what it raises.

    It runs in a thread that is left behind where it does not end: neither a look-up
    of a name nor a look at a disk has a timeout of its own.

    Raises
    ------
    LateError
        It did not end within `deadline_s`.
    """
    returned: list[_Result] = []
    raised: list[Exception] = []

    def call() -> None:
        try:
            returned.append(function())
        except Exception as error:  # noqa: BLE001 - raised again where it is awaited
            raised.append(error)

    thread = threading.Thread(target=call, daemon=True)
    threads.start(thread)
    thread.join(deadline_s)
    if raised:
        raise raised[0]
    if not returned:
        msg = f"no end within {deadline_s:.0f} s"
        raise LateError(msg)
    return returned[0]


def run(
    checks: Iterable[Check], environ: Mapping[str, str] = os.environ
) -> Iterator[tuple[str, Finding]]:
    """Do the checks in order; yield the name and the finding of each.

    None raises, none outlasts its deadline, and no finding has a password of
    `environ` in it or a character that moves a terminal's cursor.
    """
    ends_s = time.monotonic() + BUDGET_S
    passwords = _passwords(environ)
    failed: set[str] = set()
    for check in checks:
        missing = [name for name in check.needs if name in failed]
        left_s = ends_s - time.monotonic()
        if missing:
            finding = skip(f"not tried, as the check of the {missing[0]} failed")
        elif left_s <= 0:
            finding = skip("not tried, as the checks before it took too long")
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
        return fail(str(error), "something that it asks does not answer")
    except (AllenFSError, OSError) as error:
        return fail(str(error), "if that is not clear, please report it with this page")
    except Exception as error:  # noqa: BLE001 - a check that breaks is a finding
        said = f"the check broke: {type(error).__name__}: {error}"
        return fail(said, "this is a bug of allenfs: please report it with this page")


def _without(passwords: list[str], text: str) -> str:
    for password in passwords:
        text = text.replace(password, _HIDDEN)
    return _USER_IN_URL.sub(f"{_HIDDEN}@", text)


def _passwords(environ: Mapping[str, str]) -> list[str]:
    """Return the passwords of the proxies that are set, as they are spelled."""
    found: set[str] = set()
    for name, value in environ.items():
        if name.lower().endswith(("_proxy", "_url")):
            try:
                password = urlsplit(value if "//" in value else f"//{value}").password
            except ValueError:
                password = None
            # of a shorter one, every other word has a part
            if password and len(password) >= _SHORTEST_SECRET:
                found |= {password, unquote(password)}
    return sorted(found, key=len, reverse=True)
