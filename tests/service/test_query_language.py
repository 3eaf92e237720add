"""Queries arrive as intended, and answers are rows or an error."""

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


def criteria_of(url):
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


def test_a_page_is_requested_as_in_the_institutes_examples():
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
@given(st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="'")))
@example('a b+c&d#e%f?g;h\\i"j%20~^{}|`<>')
@example("a,rma::options[num_rows$eq1]")
@example("µ 遺伝子 🧠")
def test_a_name_arrives_as_it_is(text):
    criteria = f"products[abbreviation$eq{quoted(text)}]"
    url = Query("Gene", criteria).url(BASE, start_row=0, num_rows=1)
    assert url.isascii()
    assert url.isprintable()
    assert " " not in url
    sent = f"model::Gene,rma::criteria,products[abbreviation$eq'{text}'],rma::options"
    assert criteria_of(url) == f"{sent}[num_rows$eq1][start_row$eq0]"
    # and the HTTP library changes nothing
    assert criteria_of(requests.Request("GET", url).prepare().url) == criteria_of(url)


@many
@given(text=st.text())
@example("5'nt")
@example("a\nb")
@example("\x1b[2J")
@example("a\udcffb")
def test_what_cannot_be_asked_is_not_asked(text):
    """RMA has no escape for an apostrophe: it would end the value."""
    odd = "'" in text or any(
        char < " " or char == "\x7f" or "\ud800" <= char <= "\udfff" for char in text
    )
    try:
        value = quoted(text)
    except PathNotFoundError as error:
        assert not rma.is_askable(text)
        assert str(error).isprintable()
    else:
        assert not odd
        assert rma.is_askable(text)
        assert value == f"'{text}'"


# Answers


def answer(**fields):
    return json.dumps(fields).encode()


@pytest.mark.parametrize(
    ("data", "rows"),
    [
        (answer(success=True, num_rows=2, total_rows=9440, msg=[{}]), [{}]),
        (answer(msg=[{}]), [{}]),
        (b'\xef\xbb\xbf  \r\n{"msg": [{}]}\n', [{}]),
        # null entries count in a page
        (answer(success=True, msg=[None, {"id": 1}, None]), [None, {"id": 1}, None]),
        (answer(success=True, msg=[]), []),
        (answer(success=True, num_rows=0, msg={}), []),
    ],
)
def test_every_form_of_the_envelope_is_read(data, rows):
    assert read_page(data) == rows


@pytest.mark.parametrize("said", [7, "7", True, None])
def test_total_rows_counts_only_if_it_is_an_integer(said):
    page = read_page(answer(msg=[{}], total_rows=said))
    assert page.total_rows == (7 if said == 7 else 0)
    assert read_page(answer(msg=[{}])).total_rows == 0


@pytest.mark.parametrize(
    ("success", "msg"),
    [*((False, msg) for msg in ({}, None, [{}], "no")), (True, "no"), (None, "no")],
)
def test_a_refused_query_says_why_in_the_services_words(success, msg):
    with pytest.raises(QueryError) as raised:
        read_page(answer(success=success, num_rows=0, msg=msg))
    assert raised.value.errno == errno.EIO
    if msg == "no":
        assert raised.value.cause == "no"


@pytest.mark.parametrize(
    "data",
    [
        *(answer(success=one, msg=[]) for one in ("true", 1)),
        answer(success=True),
        *(answer(success=True, msg=one) for one in (None, {"id": 1}, 7)),
        answer(success=True, num_rows=0, msg={"id": 1}),
        answer(success=True, num_rows=1, msg={}),
        *(answer(msg=[{"id": 1}, one]) for one in (5, "internal error", [{}])),
        *(b"[]", b"null", b'"msg"', b"<html>502</html>", b""),
        *(b"\xff\xfe", b"\x00" * 100, b"[" * 100_000, b"\x1f\x8b\x08\x00"),
        b'{"msg": ' + b"[" * 50_000 + b"]" * 50_000 + b"}",
    ],
)
def test_what_is_no_answer_is_a_wrong_one(data):
    with pytest.raises(WrongAnswerError) as raised:
        read_page(data)
    assert raised.value.errno == errno.EIO
    assert str(raised.value).isprintable()


WHOLE = answer(success=True, num_rows=2, msg=[{"id": 1, "name": "ä"}, {"id": 2}])
CUT = [
    *(WHOLE[:length] for length in range(1, len(WHOLE))),
    b'{"msg": [{"id": 1}]} {"msg": []}',
    b'{"msg": [{"name": "\xff"}]}',
    b'{"msg": [{"name": "a\nb"}]}',
    b'{"msg": [{"width": %b}]}' % (b"9" * 5000),
]


def test_a_cut_or_broken_answer_is_asked_again():
    for data in CUT:
        with pytest.raises(CutAnswerError) as raised:
            read_page(data)
        assert raised.value.transient
        assert raised.value.errno == errno.EIO
        assert str(raised.value).isprintable()
    assert len(read_page(WHOLE)) == 2


def test_rows_are_nested_20_deep_at_the_most():
    def nested(depth):  # in a row, around a number
        deep = b"[" * depth + b"1" + b"]" * depth
        return b'{"msg": [{"id": 5, "deep": %b}]}' % deep

    assert read_page(nested(18))
    with pytest.raises(WrongAnswerError, match="more than 20 levels deep"):
        read_page(nested(19))


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda some: (
        st.lists(some, max_size=4)
        | st.dictionaries(st.sampled_from(["msg", "success", "id"]), some, max_size=3)
    ),
    max_leaves=8,
)


@settings(max_examples=500, deadline=None)
@given(st.binary(max_size=60) | VALUES.map(lambda value: json.dumps(value).encode()))
def test_any_bytes_are_rows_or_an_error_of_the_service(data):
    try:
        rows = read_page(data)
    except ServiceError as error:
        assert error.errno == errno.EIO
        assert str(error).isprintable()
    else:
        assert all(row is None or isinstance(row, dict) for row in rows)


@pytest.mark.parametrize(
    "said", ["no\n\r\x1b[2K\u2028all is well\x85\x9b", "\ud800\u202e", "x" * 10_000]
)
def test_no_words_of_the_service_forge_a_line_of_the_log(said, caplog):
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
