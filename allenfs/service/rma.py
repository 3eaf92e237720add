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
from typing import Any
from urllib.parse import quote

from allenfs.errors import (
    CutAnswerError,
    PathNotFoundError,
    QueryError,
    WrongAnswerError,
)
from allenfs.model.records import Row
from allenfs.text import in_one_line

# Raw in a URL, as in the institute's own examples; requests leaves them alone.
_RAW = "$[]()':,"
_UNASKABLE = re.compile(r"['\x00-\x1f\x7f]")
_SHOWN_CHARS = 300
_MAX_DEPTH = 20
# 2000 data sets with all their genes are 250 000 values. Each begins with one of
# these, or ends at a comma, and takes up to 180 bytes of memory.
_MAX_VALUES = 500_000
_OF_A_VALUE = b",[{"
_MAX_DIGITS = 300
_TOO_DEEP = f"rows that are nested more than {_MAX_DEPTH} deep"


class Rows(list[Row | None]):
    """The rows of one page.

    Attributes
    ----------
    total_rows : int
        The number of rows on all pages, according to the service; 0 if it does not
        say. Rows of included associations may count in it.
    """

    total_rows = 0


@dataclass(frozen=True, slots=True)
class Query:
    """One query, without its page.

    Attributes
    ----------
    model : str
        What the rows are, such as ``SectionImage``.
    criteria, include : str
        Which rows, and which associations come with them.
    order : str
        A unique field, as ``table.field``: without an order, pages may overlap.
    """

    model: str
    criteria: str = ""
    include: str = ""
    order: str = ""

    def url(self, base_url: str, *, start_row: int, num_rows: int) -> str:
        """Return the URL of one page, below `base_url` (``https://host``)."""
        parts = [f"model::{self.model}"]
        if self.criteria:
            parts.append(f"rma::criteria,{self.criteria}")
        if self.include:
            parts.append(f"rma::include,{self.include}")
        order = f"[order$eq'{self.order}']" if self.order else ""
        parts.append(
            f"rma::options{order}[num_rows$eq{num_rows}][start_row$eq{start_row}]"
        )
        criteria = quote(",".join(parts), safe=_RAW)
        return f"{base_url}/api/v2/data/query.json?criteria={criteria}"


def quoted(text: str) -> str:
    """Return `text` as a value in a query.

    Raises
    ------
    PathNotFoundError
        It cannot be asked: RMA has no escape for an apostrophe, and no URL for
        what is no Unicode.
    """
    if not is_askable(text):
        msg = f"cannot be asked: {text!r}"
        raise PathNotFoundError(msg)
    return f"'{text}'"


def is_askable(text: str) -> bool:
    """Say whether `quoted` takes it."""
    return not _UNASKABLE.search(text) and _is_unicode(text)


def read_page(data: bytes) -> Rows:
    """Return the rows of an answer; null entries are kept, they count in a page.

    Raises
    ------
    QueryError
        The service says that it could not answer, with its words.
    CutAnswerError, WrongAnswerError
        Not an answer, or only the beginning of one.
    """
    if sum(data.count(mark) for mark in _OF_A_VALUE) > _MAX_VALUES:
        msg = f"more than {_MAX_VALUES} values, the limit for one page of rows"
        raise WrongAnswerError(msg)
    try:
        envelope = json.loads(
            data,
            parse_float=_finite,
            parse_int=_short,
            parse_constant=lambda _: None,
        )
    except RecursionError:
        raise WrongAnswerError(_TOO_DEEP) from None
    except ValueError as error:
        # Without a length, the end of a cut answer looks like an end.
        kind = CutAnswerError if data.lstrip()[:1] == b"{" else WrongAnswerError
        msg = f"no JSON: {in_one_line(str(error), _SHOWN_CHARS)}"
        raise kind(msg) from None
    rows: Any = envelope.get("msg") if isinstance(envelope, dict) else None
    is_refused = isinstance(envelope, dict) and envelope.get("success") is False
    if isinstance(rows, str) or is_refused:
        words = rows if isinstance(rows, str) else json.dumps(rows)
        raise QueryError(in_one_line(words, _SHOWN_CHARS))
    if rows == {} and envelope.get("num_rows") == 0:
        rows = []  # recorded for queries that found nothing
    is_answer = (
        isinstance(rows, list)
        and envelope.get("success", True) is True
        and all(row is None or isinstance(row, dict) for row in rows)
    )
    if not is_answer:
        said = in_one_line(data[:_SHOWN_CHARS].decode("latin-1"), _SHOWN_CHARS)
        msg = f"not an answer to a query: {said}"
        raise WrongAnswerError(msg)
    _raise_if_deep(rows)
    found = Rows(rows)
    total_rows = envelope.get("total_rows")
    if type(total_rows) is int:  # true is an int, too
        found.total_rows = total_rows
    return found


def _raise_if_deep(rows: list[Any]) -> None:
    """Refuse what could be read but not written again: writing recurses deeper."""
    level = rows
    for _ in range(_MAX_DEPTH):
        nested = (one for one in level if isinstance(one, (list, dict)))
        level = [
            value
            for one in nested
            for value in (one.values() if isinstance(one, dict) else one)
        ]
        if not level:
            return
    raise WrongAnswerError(_TOO_DEEP)


def _finite(text: str) -> float | None:
    """Read a number; JSON has no word for one that is too large, and no NaN."""
    number = float(text)
    return number if math.isfinite(number) else None


def _short(text: str) -> int | None:
    """Read a whole number; one as large as no float is as little one of ours."""
    return int(text) if len(text) <= _MAX_DIGITS else None


def _is_unicode(text: str) -> bool:
    return text.isascii() or not re.search(r"[\ud800-\udfff]", text)
