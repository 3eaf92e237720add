"""What an operation raised becomes an errno, whatever the log does."""

from __future__ import annotations

import errno
import logging

import pytest

from allenfs.adapters.translator import Translator
from allenfs.errors import AllenFSError, PathNotFoundError, ProcessLimitError

LOGGER = "allenfs.adapters.translator"


@pytest.mark.parametrize("raised", [None, OSError(), KeyError(), KeyboardInterrupt()])
def test_the_errno_is_right_also_where_logging_raises(raised, monkeypatch):
    def handle(*_):
        if raised is not None:
            raise raised

    logger = logging.getLogger(LOGGER)
    logger.setLevel(logging.DEBUG)
    monkeypatch.setattr(logger, "handle", handle)
    translator = Translator()
    for error, number in (
        (PathNotFoundError("x"), errno.ENOENT),
        (ProcessLimitError("x"), errno.EAGAIN),
        (AllenFSError("x"), errno.EIO),
        (OSError("no errno"), errno.EIO),
        (KeyError("bug"), errno.EIO),
        (SystemExit(0), errno.EIO),
    ):
        assert translator.errno_of(error, "open", b"/x") == number


def test_limit_is_warned_once_a_minute_and_bug_is_logged_with_traceback(caplog):
    now_s = 1000.0
    translator = Translator(clock=lambda: now_s)
    for _ in range(30):
        translator.errno_of(ProcessLimitError("can't start"), "open", b"/x")
    now_s += 60
    translator.errno_of(ProcessLimitError("can't start"), "open", b"/x")
    translator.errno_of(PathNotFoundError("x"), "open", b"/x")
    try:
        raise KeyError("bug")
    except KeyError as error:
        translator.errno_of(error, "open", b"/x")
    records = [one for one in caplog.records if one.levelno > logging.DEBUG]
    first, second, bug = (record.getMessage() for record in records)
    assert first == second
    assert "can't start" in first
    assert "ulimit -u" in first
    assert bug == "open '/x': a bug"
    assert records[-1].exc_info is not None
