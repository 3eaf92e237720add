"""The options of a query: which page, in which order, and which fields."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from allenfs.sample.rma_query import QueryError

if TYPE_CHECKING:
    from allenfs.sample.rma_query import Filter, Place

_ORDER = re.compile(r"([\w.]+?)(?:[ $](asc|desc))?")


@dataclass(frozen=True, slots=True)
class OrderKey:
    """One field of the order."""

    field: str
    descending: bool
    place: Place


@dataclass(frozen=True, slots=True)
class Options:
    """The content of `rma::options`; None if not given."""

    num_rows: int | Literal["all"] | None = None
    start_row: int = 0
    order: tuple[OrderKey, ...] = ()
    only: tuple[str, ...] = ()
    hidden: tuple[str, ...] = ()
    count: bool = True


def read_options(filters: tuple[Filter, ...]) -> Options:
    """Read the options; if a name is repeated, the last one counts.

    Raises
    ------
    QueryError
        An unknown option, or an invalid value.
    """
    num_rows: int | Literal["all"] | None = None
    start_row = 0
    order: tuple[OrderKey, ...] = ()
    only: tuple[str, ...] = ()
    hidden: tuple[str, ...] = ()
    count = True
    for option in filters:
        text = ",".join(option.values)
        if option.field == "num_rows":
            num_rows = "all" if text == "all" else _number(option, text)
        elif option.field == "start_row":
            start_row = _number(option, text)
        elif option.field == "order":
            order = tuple(_order_key(option, part) for part in text.split(","))
        elif option.field == "only":
            only = tuple(text.split(","))
        elif option.field == "except":
            hidden = tuple(text.split(","))
        elif option.field == "count":
            count = _flag(option, text)
        elif option.field != "debug":
            raise QueryError(option.place, f"no such option: {option.field}")
    return Options(num_rows, start_row, order, only, hidden, count)


def _number(option: Filter, text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,15}", text):
        raise QueryError(option.place, f"{option.field}: not a number: {text}")
    return int(text)


def _flag(option: Filter, text: str) -> bool:
    if text not in ("true", "false"):
        raise QueryError(option.place, f"{option.field}: neither true nor false")
    return text == "true"


def _order_key(option: Filter, text: str) -> OrderKey:
    match = _ORDER.fullmatch(text.strip())
    if match is None:
        raise QueryError(option.place, f"order: not a field: {text}")
    return OrderKey(match[1], match[2] == "desc", option.place)
