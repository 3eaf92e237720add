"""Queries in RMA, the service's query language, and the envelope of their answers.

Forms, operators and options are those of the Allen Institute's pages on RMA
(brain-map.org, "RESTful Model Access"); models, associations and the criteria of
sections, data sets and atlases those of its page "Downloading an Image".
"""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass
from typing import Any, Final, Literal
from urllib.parse import quote

from allenfs.errors import (
    CutAnswerError,
    PathNotFoundError,
    QueryError,
    WrongAnswerError,
)
from allenfs.model.rows import Row, slim
from allenfs.text import in_one_line

# Not escaped in a URL, as in the institute's examples; requests leaves them unchanged.
_RAW = "$[]()':,"
# RMA cannot escape an apostrophe, and a URL cannot escape a lone surrogate.
_UNASKABLE = re.compile(r"['\x00-\x1f\x7f\ud800-\udfff]")
_SHOWN_CHARS = 300
# Real rows have 8 levels. Indenting a deeper one takes hundreds of MB, or raises
# RecursionError.
_MAX_DEPTH = 20
_TOO_DEEP = f"rows nested more than {_MAX_DEPTH} levels deep"


# In place of a number of rows.
NumRows = int | Literal["all"]
ALL_ROWS: Final = "all"


class Rows(list[Row | None]):
    """The rows of one page."""

    # On all pages, according to the service; 0 if it does not say. It may include
    # rows of included associations.
    total_rows = 0


@dataclass(frozen=True, slots=True)
class Query:
    """One query, without its page."""

    model: str  # what the rows are, such as ``SectionImage``
    criteria: str = ""
    include: str = ""  # associations of the rows
    order: str = ""  # a unique field, ``table.field``; without it, pages may overlap
    includes_one: bool = False  # at most one row of what is included, for each row
    has_substitute: bool = False  # another query follows if this one is rejected
    fields: tuple[str, ...] = ()  # all that is kept of each row; everything if empty

    @property
    def counts_rows(self) -> bool:
        """Whether `total_rows` counts the rows, not those joined to them."""
        return not self.include or self.includes_one

    def url(self, base_url: str, *, start_row: int, num_rows: NumRows) -> str:
        """Return the URL of one page, below `base_url` (``https://host``)."""
        order = f"[order$eq'{self.order}']" if self.order else ""
        parts = (
            f"model::{self.model}",
            self.criteria and f"rma::criteria,{self.criteria}",
            self.include and f"rma::include,{self.include}",
            f"rma::options{order}[num_rows$eq{num_rows}][start_row$eq{start_row}]",
        )
        criteria = quote(",".join(filter(None, parts)), safe=_RAW)
        return f"{base_url}/api/v2/data/query.json?criteria={criteria}"


def quoted(text: str) -> str:
    """Return `text` as a value in a query; PathNotFoundError if it cannot be one."""
    if not is_askable(text):
        raise PathNotFoundError(f"cannot be part of a query: {text!r}")
    return f"'{text}'"


def is_askable(text: str) -> bool:
    """Whether `text` can be a value in a query."""
    return not _UNASKABLE.search(text)


def read_page(data: bytes, fields: tuple[str, ...] = ()) -> Rows:
    """Return the rows of an answer; null entries are kept, as they count in a page.

    Only these `fields` of each row are kept, unless it is empty.

    Raises QueryError with the service's message if it rejected the query,
    CutAnswerError for a truncated answer, and WrongAnswerError for anything else.
    """
    try:
        envelope = json.loads(data, parse_float=_finite, parse_constant=lambda _: None)
    except RecursionError:
        raise WrongAnswerError(_TOO_DEEP) from None
    except ValueError as error:
        # Without a length, a truncated answer looks complete.
        kind = CutAnswerError if data.lstrip()[:1] == b"{" else WrongAnswerError
        raise kind(f"no JSON: {in_one_line(str(error), _SHOWN_CHARS)}") from None
    if not isinstance(envelope, dict):
        envelope = {}
    rows, success = envelope.get("msg"), envelope.get("success", True)
    if isinstance(rows, str) or success is False:
        words = rows if isinstance(rows, str) else json.dumps(rows)
        raise QueryError(in_one_line(words, _SHOWN_CHARS))
    if rows == {} and envelope.get("num_rows") == 0:
        rows = []  # recorded for queries that found nothing
    if not (
        success is True
        and isinstance(rows, list)
        and all(row is None or isinstance(row, dict) for row in rows)
    ):
        shown = in_one_line(data[:_SHOWN_CHARS].decode("latin-1"), _SHOWN_CHARS)
        raise WrongAnswerError(f"not an answer to a query: {shown}")
    if _is_deeper(rows, _MAX_DEPTH):
        raise WrongAnswerError(_TOO_DEEP)
    if fields:
        rows = [row and slim(row, fields) for row in rows]
    found = Rows(rows)
    total_rows = envelope.get("total_rows")
    if type(total_rows) is int:  # in Python, true is an int
        found.total_rows = total_rows
    return found


def _is_deeper(value: Any, max_depth: int) -> bool:
    """Whether lists and objects are nested deeper."""
    if isinstance(value, dict):
        value = value.values()
    elif not isinstance(value, list):
        return False
    return not max_depth or any(_is_deeper(one, max_depth - 1) for one in value)


def _finite(text: str) -> float | None:
    """Read a number; infinity and NaN are not JSON."""
    number = float(text)
    return number if math.isfinite(number) else None
