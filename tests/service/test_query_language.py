"""What is asked arrives as it was meant, and what is answered is rows or an error."""

from __future__ import annotations

import errno
import json
import logging
from urllib.parse import parse_qsl, unquote, urlsplit

import pytest
import requests
from hypothesis import example, given, settings
from hypothesis import strategies as st

from allenfs.errors import (
    CutAnswerError,
    PathNotFoundError,
    QueryError,
    ServiceError,
    WrongAnswerError,
)
from allenfs.service import rma
from allenfs.service.rma import Query, quoted, read_page

BASE = "https://api.brain-map.org"
many = settings(max_examples=300, deadline=None)
_ODD = ["Adora2a", "a b", "a+b", "a&b=c", "a#b", "a?b", "a%20b", "a;b", "a\\b", '"']
_ODD += ["µ-opioid", "遺伝子", "🧠", "[id$eq1]", "~^{}|`<>"]
_ODD += ["a,rma::options[num_rows$eq1]"]


def criteria_of(url: str) -> str:
    """What a server reads that knows no more than URLs."""
    parts = urlsplit(url)
    assert f"{parts.scheme}://{parts.netloc}{parts.path}" == (
        f"{BASE}/api/v2/data/query.json"
    )
    assert parts.fragment == ""
    ((name, value),) = parse_qsl(parts.query, strict_parsing=True)
    assert name == "criteria"
    assert unquote(parts.query) == f"criteria={value}"  # not even a blank is a plus
    return value


def test_a_page_is_asked_in_the_words_of_the_institute() -> None:
    query = Query(
        "SectionImage",
        "[id$eq71592261]",
        "associates(data_set(treatments[name$eq'NISSL']))",
        "sub_images.id",
    )
    assert criteria_of(query.url(BASE, start_row=2000, num_rows=7)) == (
        "model::SectionImage,rma::criteria,[id$eq71592261],"
        "rma::include,associates(data_set(treatments[name$eq'NISSL'])),"
        "rma::options[order$eq'sub_images.id'][num_rows$eq7][start_row$eq2000]"
    )
    assert criteria_of(Query("Product").url(BASE, start_row=0, num_rows=1)) == (
        "model::Product,rma::options[num_rows$eq1][start_row$eq0]"
    )


@many
@given(
    text=st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="'"))
)
@example(text="a b+c&d#e%f")
@example(text="µ 遺伝子 🧠")
def test_a_name_arrives_as_it_is(text: str) -> None:
    criteria = f"products[abbreviation$eq{quoted(text)}]"
    url = Query("Gene", criteria).url(BASE, start_row=0, num_rows=1)
    assert url.isascii()
    assert url.isprintable()
    assert " " not in url
    sent = f"model::Gene,rma::criteria,products[abbreviation$eq'{text}'],rma::options"
    assert criteria_of(url) == f"{sent}[num_rows$eq1][start_row$eq0]"


@pytest.mark.parametrize("text", _ODD)
def test_the_http_library_changes_nothing_that_is_asked(text: str) -> None:
    url = Query("Gene", f"[acronym$eq{quoted(text)}]").url(
        BASE, start_row=0, num_rows=1
    )
    sent = requests.Request("GET", url).prepare().url
    assert criteria_of(sent) == criteria_of(url)


@pytest.mark.parametrize(
    "text",
    ["5'nt", "'", "a\nb", "a\0", "a\x7fb", "\x1b[2J", "\ud800", "a\udcffb", "\t"],
)
def test_what_cannot_be_asked_is_not_asked(text: str) -> None:
    """RMA has no escape for an apostrophe: it would end the value."""
    assert not rma.is_askable(text)
    with pytest.raises(PathNotFoundError) as raised:
        quoted(text)
    assert str(raised.value).isprintable()


@many
@given(text=st.text())
def test_askable_says_what_quoted_takes(text: str) -> None:
    try:
        value = quoted(text)
    except PathNotFoundError:
        assert not rma.is_askable(text)
    else:
        assert rma.is_askable(text)
        assert value == f"'{text}'"
        assert value.count("'") == 2


# Answers


def answer(**fields: object) -> bytes:
    return json.dumps(fields).encode()


ONE_ROW = [
    answer(success=True, id=0, start_row=0, num_rows=2, total_rows=9440, msg=[{}]),
    answer(success=True, msg=[{}]),
    answer(msg=[{}]),
    b'  \r\n{"msg": [{}]}\n',
    b'\xef\xbb\xbf{"msg": [{}]}',
]


@pytest.mark.parametrize(
    ("data", "rows"),
    [
        *((data, [{}]) for data in ONE_ROW),
        # null entries count in a page
        (answer(success=True, msg=[None, {"id": 1}, None]), [None, {"id": 1}, None]),
        (answer(success=True, msg=[]), []),
        (answer(success=True, num_rows=0, msg={}), []),
    ],
)
def test_every_form_of_the_envelope_is_read(data: bytes, rows: list[object]) -> None:
    assert read_page(data) == rows


@pytest.mark.parametrize("msg", [{}, None, [], [{"id": 1}], "Informatics"])
def test_success_false_is_a_refusal_whatever_its_words(msg: object) -> None:
    with pytest.raises(QueryError):
        read_page(answer(success=False, num_rows=0, msg=msg))


@pytest.mark.parametrize(
    ("said", "total_rows"), [(7, 7), ("7", 0), (True, 0), (None, 0), ([7], 0), (7.5, 0)]
)
def test_total_rows_counts_only_if_it_is_an_integer(
    said: object, total_rows: int
) -> None:
    assert read_page(answer(msg=[{}], total_rows=said)).total_rows == total_rows
    assert read_page(answer(msg=[{}])).total_rows == 0


@pytest.mark.parametrize("success", [False, True, None, 0])
def test_a_refused_query_says_why_in_the_services_words(success: object) -> None:
    said = 'line 1, column 92: mismatched character <EOF>; expecting "\'"'
    with pytest.raises(QueryError) as raised:
        read_page(answer(success=success, msg=said))
    assert raised.value.cause == said
    assert raised.value.errno == errno.EIO


@pytest.mark.parametrize(
    "data",
    [
        *(answer(success=one, msg=[]) for one in ("true", None, 1)),
        answer(success=True),
        *(answer(success=True, msg=one) for one in (None, {}, {"id": 1}, 7)),
        answer(success=True, num_rows=0, msg={"id": 1}),
        answer(success=True, num_rows=1, msg={}),
        *(answer(msg=[{"id": 1}, one]) for one in (5, "internal error", [{}], True)),
        *(b"[]", b"[[]]", b"null", b"true", b"5", b'"msg"', b"<html>502</html>", b""),
        *(b"\xff\xfe", b"\x00" * 100, b"[" * 100_000, b"\x1f\x8b\x08\x00"),
        b'{"msg": ' + b"[" * 50_000 + b"]" * 50_000 + b"}",
        b'{"msg": ' + b'[{"a":' * 50_000,
    ],
)
def test_what_is_no_answer_is_a_wrong_one(data: bytes) -> None:
    with pytest.raises(WrongAnswerError) as raised:
        read_page(data)
    assert raised.value.errno == errno.EIO
    assert str(raised.value).isprintable()


WHOLE = answer(success=True, num_rows=2, msg=[{"id": 1, "name": "ä"}, {"id": 2}])


@pytest.mark.parametrize(
    "data",
    [
        *(WHOLE[:length] for length in range(1, len(WHOLE))),
        b'{"msg": [{"id": 1}]} {"msg": []}',
        b'{"msg": [{"name": "\xff"}]}',
        b'{"msg": [{"name": "a\nb"}]}',
        b'{"msg": [{"width": %b}]}' % (b"9" * 5000),
    ],
)
def test_a_cut_or_broken_answer_is_asked_again(data: bytes) -> None:
    with pytest.raises(CutAnswerError) as raised:
        read_page(data)
    assert raised.value.transient
    assert raised.value.errno == errno.EIO
    assert str(raised.value).isprintable()
    assert len(read_page(WHOLE)) == 2


def test_rows_are_nested_20_deep_at_the_most() -> None:
    for depth in (18, 19):  # in a row, around a number
        nested = b"[" * depth + b"1" + b"]" * depth
        rows = b'{"msg": [{"id": 5, "deep": %b}]}' % nested
        if depth == 18:
            assert read_page(rows)
        else:
            with pytest.raises(WrongAnswerError, match="more than 20 deep"):
                read_page(rows)


@settings(max_examples=500, deadline=None)
@given(
    data=st.binary(max_size=60)
    | st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
        lambda some: (
            st.lists(some, max_size=4)
            | st.dictionaries(
                st.sampled_from(["msg", "success", "id"]), some, max_size=3
            )
        ),
        max_leaves=8,
    ).map(lambda value: json.dumps(value).encode())
)
def test_any_bytes_are_rows_or_an_error_of_the_service(data: bytes) -> None:
    try:
        rows = read_page(data)
    except ServiceError as error:
        assert error.errno == errno.EIO
        assert str(error).isprintable()
    else:
        assert all(row is None or isinstance(row, dict) for row in rows)


@pytest.mark.parametrize(
    "said",
    [
        "no\n2026-01-01 allenfs: all is well",
        "no\r\x1b[2K\x1b[1Aall is well",
        "no\u2028all is well\x85\x9b",
        "\ud800\u202e",
        "x" * 10_000,
    ],
)
def test_no_words_of_the_service_forge_a_line_of_the_log(
    said: str, caplog: pytest.LogCaptureFixture
) -> None:
    bodies = [answer(success=False, msg=said), answer(success=said, msg=[])]
    bodies += [said.encode(errors="surrogatepass")]
    for body in bodies:
        with pytest.raises(ServiceError) as raised:
            read_page(body)
        logging.getLogger("allenfs").warning("%s", raised.value)
    lines = [record.getMessage() for record in caplog.records]
    assert len(lines) == 3
    for line in lines:
        assert line.isascii()
        assert line.isprintable()
        # every character of it may take ten to escape
        assert len(line) < 3200
