"""RMA text: what is read of it, and where it is wrong."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from allenfs.sample.options import OrderKey, read_options
from allenfs.sample.rma_query import START, QueryError, parse_include, parse_query


def shape(branches):
    return [
        (
            each.association,
            [(f.field, f.operator, f.values) for f in each.filters],
            shape(each.branches),
        )
        for each in branches
    ]


def test_every_part_of_a_query_is_read():
    query = parse_query(
        "model::A,rma::criteria,[x$eq1][y],b[z$in'p','q r'](c([w$gt-2.5],d)),"
        "rma::include,e,f(g[h$li'a*'],i),rma::options[num_rows$eq5][order$eq'x,y$desc']"
    )
    assert query.model == "A"
    assert [(f.field, f.operator, f.values) for f in query.filters] == [
        ("x", "$eq", ("1",)), ("y", None, ()),
    ]  # fmt: skip
    assert shape(query.criteria) == [
        (
            "b",
            [("z", "$in", ("p", "q r"))],
            [("c", [("w", "$gt", ("-2.5",))], [("d", [], [])])],
        )
    ]
    assert shape(query.include) == [
        ("e", [], []),
        ("f", [], [("g", [("h", "$li", ("a*",))], []), ("i", [], [])]),
    ]
    options = read_options(query.options)
    assert options.num_rows == 5
    assert [(key.field, key.descending) for key in options.order] == [
        ("x", False), ("y", True),
    ]  # fmt: skip


@pytest.mark.parametrize(
    "text",
    [
        "model::A,rma::criteria,[x$eq1],b",
        "model::A, rma::criteria, [x$eq1], b",
        " \nmodel::A,\nrma::criteria,\n\t[x$eq1],\r\nb\n",
        "model::A,rma::criteria[x$eq1],b",
        "model::A[x$eq1],b",
    ],
)
def test_blanks_and_the_keyword_of_the_criteria_make_no_difference(text):
    query = parse_query(text)
    assert (query.model, len(query.filters)) == ("A", 1)
    assert shape(query.criteria) == [("b", [], [])]


@pytest.mark.parametrize("text", ["x$desc", "'x$desc'", "'x desc'", "x desc"])
def test_the_order_may_have_a_suffix_with_and_without_quotes(text):
    query = parse_query(f"model::A,rma::options[order$eq{text}]")
    (key,) = read_options(query.options).order
    assert key == OrderKey("x", descending=True, place=key.place)


def test_a_separate_include_is_parsed():
    assert shape(parse_include(" a,b(c) ")) == [
        ("a", [], []), ("b", [], [("c", [], [])]),
    ]  # fmt: skip
    assert parse_include("") == ()


EOF = 'mismatched character <EOF>; expecting "\'"'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("model::Gene,rma::criteria,[acronym$eq'it's']", f"line 1, column 44: {EOF}"),
        ("'", f"line 1, column 1: {EOF}"),
        ("model::A,\nrma::criteria,[x$eq'a]", f"line 2, column 22: {EOF}"),
        ("model::A,[x", "line 1, column 11: mismatched input '<EOF>' expecting ']'"),
        ("model::A,[x$eq]", "line 1, column 14: mismatched input ']' expecting"),
        ("model::A,[$eq1]", "line 1, column 10: mismatched input '$' expecting"),
        ("model::A,b(c", "line 1, column 12: mismatched input '<EOF>' expecting ')'"),
        ("model::A,b()", "line 1, column 11: mismatched input ')' expecting 'a name'"),
        ("model::A,", "line 1, column 9: mismatched input '<EOF>'"),
        ("model::A b", "line 1, column 9: mismatched input 'b' expecting ','"),
        (
            "model::A,\n[x$zz1]",
            "line 2, column 2: no viable alternative at input '$zz'",
        ),
        ("model::A,pipe::list", "line 1, column 9: no viable alternative"),
        ("model::A,model::B", "line 1, column 9: no viable alternative"),
        ("model::A,rma::include,[x$eq1]", "line 1, column 22: mismatched input '['"),
        ("model::A,rma::options[a$eq1],b", "line 1, column 29: mismatched input 'b'"),
    ],
)
def test_an_error_says_line_and_column(text, message):
    with pytest.raises(QueryError) as caught:
        parse_query(text)
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize(
    "options",
    ["[num_rows$eqmany]", "[start_row$eq-1]", "[count$eqmaybe]", "[order$eq'a-b']",
     "[preview$eqtrue]"],
)  # fmt: skip
def test_an_option_with_a_wrong_value_is_refused(options):
    query = parse_query(f"model::A,rma::options{options}")
    with pytest.raises(QueryError, match="line 1, column 22"):
        read_options(query.options)


@given(st.text("abM:,[]()'$eqrm n1\n", max_size=40))
def test_any_text_is_a_query_or_an_error_with_a_place_inside_it(text):
    try:
        parse_query(text)
    except QueryError as error:
        line, column = str(error).split(": ")[0].split(", ")
        lines = text.split("\n")
        assert 1 <= int(line.split()[1]) <= len(lines)
        assert 0 <= int(column.split()[1]) <= len(lines[int(line.split()[1]) - 1])


def test_a_query_without_a_model_is_read_for_the_path_form():
    query = parse_query("[id$eq1],genes")
    assert (query.model, query.place) == (None, START)
