"""Texts as names in a path and back, one spelling each; sizes and times for people."""

from __future__ import annotations

import sys
import unicodedata

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from allenfs.errors import PathNotFoundError
from allenfs.text import (
    clock,
    duration,
    path_name,
    printable,
    readable_name,
    size,
    text_of,
)

many = settings(max_examples=500, deadline=None)
# characters with a meaning in a path, a URL, or a terminal
_PIECES = st.sampled_from(
    [
        *"./%-+_'\"*,$[] ~@",
        *("..", "%2F", "%2e", "%25", "%00", "é", "é", "🧠"),
        *(
            "\x00",
            "\n",
            "\x1b[2J",
            "\x7f",
            "\x9b",
            "\u2028",
            "\u2029",
            "\ud800",
            "\udcff",
        ),
    ]
)
texts = st.one_of(
    st.text(max_size=40),
    st.lists(_PIECES, max_size=12).map("".join),
    st.text(st.characters(min_codepoint=0, max_codepoint=0x2FF), max_size=80),
)


@many
@given(text=texts)
@example(text="..")
@example(text="a/../b")
@example(text="%2E")
def test_a_name_leads_back_to_its_text(text):
    name = path_name(text)
    if name is not None:
        assert text_of(name) == text


@many
@given(text=texts)
@example(text="Gad1/2\n\x1b[31m")
def test_every_name_is_a_valid_file_name(text):
    name = path_name(text)
    if name is None:
        return
    assert 0 < len(name.encode()) <= 255
    assert "/" not in name
    assert not name.startswith(".")
    assert not any(unicodedata.category(one) == "Cc" for one in name)
    assert name.splitlines() == [name]


@many
@given(one=texts, other=texts)
@example(one="a/b", other="a%2Fb")
@example(one=".a", other="%2Ea")
def test_different_texts_have_different_names(one, other):
    if path_name(one) is not None:
        assert (path_name(one) == path_name(other)) is (one == other)


@many
@given(name=texts)
@example(name="%41")
@example(name="%2f")
@example(name="%FF")
@example(name="a%")
def test_a_name_has_one_spelling(name):
    try:
        text = text_of(name)
    except PathNotFoundError as error:
        assert str(error).isprintable()
    else:
        assert path_name(text) == name


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("Adora2a", "Adora2a"),
        ("H2-Ab1", "H2-Ab1"),
        ("Nkx2.1", "Nkx2.1"),
        ("1700010L04Rik", "1700010L04Rik"),
        ("two words", "two words"),
        ("5'nt", "5'nt"),
        ("n/a", "n%2Fa"),
        ("100%", "100%25"),
        (".", "%2E"),
        ("..", "%2E."),
        (".hidden", "%2Ehidden"),
        ("a\nb", "a%0Ab"),
        ("a\x9bb", "a%C2%9Bb"),
        ("a\u2028b", "a%E2%80%A8b"),
        ("a\u202egpj.exe", "a%E2%80%AEgpj.exe"),
        ("\u2066a\u200f", "%E2%81%A6a%E2%80%8F"),
        ("µm", "µm"),
    ],
)
def test_only_special_characters_are_escaped_in_names(text, name):
    assert path_name(text) == name
    assert text_of(name) == text


@pytest.mark.parametrize(
    "text", ["", "\ud800", "a\udc80", "x" * 256, "é" * 128, "/" * 86, "." + "x" * 253]
)
def test_a_text_that_cannot_be_a_name_has_none(text):
    assert path_name(text) is None


@pytest.mark.parametrize(
    "text", ["x" * 255, "é" * 127 + "x", "/" * 85, "." + "x" * 252]
)
def test_a_name_may_have_255_bytes(text):
    assert len(path_name(text).encode()) == 255
    assert text_of(path_name(text)) == text


SECOND_SPELLINGS = (
    ". .. .a a/b %2f %2F% %41 %61dora2a % %zz %C3 %FF %ED%A0%80 %00x% %252g%"
)


@pytest.mark.parametrize(
    "name",
    [*SECOND_SPELLINGS.split(), "", "a\nb", "a\x00b", "\udc80", "x" * 256],
)
def test_a_second_spelling_is_not_found(name):
    with pytest.raises(PathNotFoundError):
        text_of(name)


@pytest.mark.parametrize(
    ("title", "name"),
    [
        ("Mouse, P56, Sagittal", "Mouse_P56_Sagittal"),
        ("Mouse, P56, Coronal", "Mouse_P56_Coronal"),
        ("Human, 34 years, Cortex - Gyral", "Human_34_years_Cortex_-_Gyral"),
        ("Developing Mouse, E18.5", "Developing_Mouse_E18.5"),
        ("  (draft)  ", "draft"),
        ("../../etc/passwd", "etc_passwd"),
        (".hidden", "hidden"),
        ("50% µm", "50_µm"),
        ("e\u0301tude", "étude"),
        ("a\ud800b", "ab"),
        ("21 pcw", "21_pcw"),
    ],
)
def test_a_title_reads_as_one_word(title, name):
    assert readable_name(title) == name


@pytest.mark.parametrize(
    "title", ["", "...", "_-_", "2", "  602630314 ", "/", "٣", "\0"]
)
def test_a_title_that_leaves_nothing_or_a_number_has_no_name(title):
    assert readable_name(title) is None


@many
@given(title=texts)
def test_a_readable_name_needs_no_quotes(title):
    name = readable_name(title)
    if name is None:
        return
    assert path_name(name) == name
    assert text_of(name) == name
    assert not name.isdecimal()
    assert not name.startswith(("-", "."))
    assert all(one.isalnum() or one in "_.+-" for one in name)
    assert readable_name(name) == name


def test_no_name_changes_the_direction_of_text():
    marks = {chr(code) for code in (0x061C, 0x200E, 0x200F)}
    kinds = {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}
    every = map(chr, range(sys.maxunicode + 1))
    marks |= {one for one in every if unicodedata.bidirectional(one) in kinds}
    assert len(marks) == 12
    for mark in marks | {"\u2028", "\u2029"}:
        name = path_name(f"a{mark}b")
        assert name is not None
        assert name.isascii()
        assert text_of(name) == f"a{mark}b"


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
def test_sizes_have_units(number, shown):
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
def test_times_have_units(seconds, shown):
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
def test_a_clock_shows_minutes_and_seconds(seconds, words):
    assert clock(seconds) == words


@given(st.text(st.characters(), max_size=40))
def test_printable_text_is_one_line_without_control_characters(text):
    assert printable(text).isprintable()
    assert printable(printable(text)) == printable(text)


def test_names_that_are_not_utf_8_are_escaped():
    text = "a\x1b[2J\n\udcff\u202eb"
    assert printable(text) == r"a\x1b[2J\n\udcff\u202eb"
    assert printable(text, keep="\n") == "a\\x1b[2J\n\\udcff\\u202eb"
