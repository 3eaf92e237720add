"""Request targets of RMA queries: every form of the address, to a parsed query."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final
from urllib.parse import parse_qsl, urlsplit

from allenfs.sample.envelope import CONTENT_TYPES
from allenfs.sample.rma_query import (
    START,
    Filter,
    Query,
    QueryError,
    parse_include,
    parse_query,
)

_PATH = re.compile(r"/api/v2/data/(?:(?P<model>\w+)/)?(?P<what>\w+)\.(?P<form>\w+)")
#: options that may stand beside the criteria, as parameters of their own
_OPTIONS: Final = ("num_rows", "start_row", "order", "only", "except", "count")


@dataclass(frozen=True, slots=True)
class QueryTarget:
    """The source of a query: the model and id in the path, if any."""

    model: str | None
    row_id: str | None
    form: str
    text: str


def query_target(target: str) -> QueryTarget | None:
    """Return the parts of a query's target, or None if it is not a query."""
    parts = urlsplit(target)
    match = _PATH.fullmatch(parts.path)
    if match is None or match["form"] not in CONTENT_TYPES:
        return None
    model, what = match["model"], match["what"]
    if what == "query":
        return QueryTarget(model, None, match["form"], parts.query)
    if model is not None and what.isdigit():
        return QueryTarget(model, what, match["form"], parts.query)
    return None


def read_target(target: QueryTarget) -> Query:
    """Parse the query of a target.

    Raises
    ------
    QueryError
        The text is invalid, or uses something that the original does not have.
    """
    values = dict(parse_qsl(target.text, keep_blank_values=True))
    text = values.get("criteria", values.get("q", ""))
    query = parse_query(text)
    if target.model is not None:
        if query.model not in (None, target.model):
            raise QueryError(query.place, f"two models: {target.model}, {query.model}")
        query = replace(query, model=target.model)
    return replace(
        query,
        filters=(*query.filters, *_ids(target, values)),
        include=(*query.include, *parse_include(values.get("include", ""))),
        options=(*query.options, *_options(values)),
    )


def _ids(target: QueryTarget, values: dict[str, str]) -> Iterator[Filter]:
    """Yield what the path and `id=` say of the id."""
    for text in (target.row_id, values.get("id")):
        if text:
            yield Filter("id", "$in", tuple(text.split(",")), START)


def _options(values: dict[str, str]) -> Iterator[Filter]:
    for name in _OPTIONS:
        if name in values:
            text = values[name].replace("'", "")
            yield Filter(name, "$eq", (text,), START)
