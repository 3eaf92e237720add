"""Sizes, times and texts, as people read them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from allenfs.text import clock, duration, printable, size


@pytest.mark.parametrize(
    ("number", "shown"),
    [
        (0, "0 bytes"),
        (1023, "1023 bytes"),
        (1023.7, "1.0 KiB"),
        (1024, "1.0 KiB"),
        (1536, "1.5 KiB"),
        (2**20 - 1, "1.0 MiB"),
        (5 * 2**30, "5.0 GiB"),
        (2**40, "1.0 TiB"),
        (2**62, "4194304.0 TiB"),
    ],
)
def test_sizes_have_units(number: float, shown: str) -> None:
    assert size(number) == shown


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (-5, "0 s"),  # a clock that was put back
        (59.9, "59 s"),
        (60, "1 min"),
        (3600, "1 h 0 min"),
        (86_400, "1 day"),
        (10 * 86_400, "10 days"),
    ],
)
def test_times_have_units(seconds: float, shown: str) -> None:
    assert duration(seconds) == shown


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "0:00"),
        (59.6, "1:00"),
        (750, "12:30"),
        (3599.7, "1:00:00"),
        (1e5, "27:46:40"),
    ],
)
def test_times_are_minutes_and_seconds(seconds: float, words: str) -> None:
    assert clock(seconds) == words


@given(st.text(st.characters(), max_size=40))
def test_whatever_is_printed_is_one_line_without_control(text: str) -> None:
    assert printable(text).isprintable()
    assert printable(printable(text)) == printable(text)


def test_names_that_are_no_text_are_escaped() -> None:
    text = "a\x1b[2J\n\udcff\u202eb"
    assert printable(text) == r"a\x1b[2J\n\udcff\u202eb"
    assert printable(text, keep="\n") == "a\\x1b[2J\n\\udcff\\u202eb"
