"""Evaluate a parsed query on the database: matching rows and their number."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from allenfs.sample.conditions import condition
from allenfs.sample.joined import Joined, cut, rows_of
from allenfs.sample.options import Options, read_options
from allenfs.sample.rma_query import Query, QueryError
from allenfs.sample.schema import MODELS, concrete, find_association, has_field

if TYPE_CHECKING:
    from allenfs.sample.database import Database, Entry, Row, Value
    from allenfs.sample.options import OrderKey
    from allenfs.sample.rma_query import Branch, Filter, Place

DEFAULT_ROWS: Final = 50


@dataclass(frozen=True, slots=True)
class Rules:
    """Options for unknown behaviour of the original.

    `include_filters_rows`: a filter inside an include drops the rows on top that lead
    to nothing; otherwise it only empties their lists. `page_rows` caps a page, and
    with `caps_all` also one of `num_rows$eqall`. `joined_pages`: a page is counted in
    joined rows, so that it cuts nested lists; otherwise in rows on top.
    """

    include_filters_rows: bool = True
    page_rows: int = 2000
    caps_all: bool = False
    joined_pages: bool = False


@dataclass(frozen=True, slots=True)
class Answer:
    """The rows of one page, and what is needed to write them down."""

    model: str
    rows: list[Joined]
    start_row: int
    total_rows: int
    options: Options


@dataclass(frozen=True, slots=True)
class _Step:
    """A branch of the query whose names are known to exist."""

    association: str
    target: str
    tests: tuple[_Test, ...]
    steps: tuple[_Step, ...]
    required: bool


@dataclass(frozen=True, slots=True)
class _Test:
    """A filter on a field of the row itself, or of a joined row of that table."""

    table: str
    field: str
    passes: Callable[[Value], bool]

    def of(self, row: Row) -> bool:
        return self.passes(row.get(self.field))


def evaluate(query: Query, database: Database, rules: Rules) -> Answer:
    """Return the page that the query asks for.

    Raises
    ------
    QueryError
        An unknown model, association, field or option.
    """
    model = query.model
    if model not in MODELS:
        raise QueryError(query.place, f"no such model: {model or '<EOF>'}")
    criteria = _steps(model, query.criteria, lambda _: True)
    include = _steps(
        model,
        query.include,
        lambda branch: rules.include_filters_rows and _is_filtered(branch),
    )
    tables = {*_tables(model), *_joined_tables((*criteria, *include))}
    own, late = _own_and_late(model, query.filters, tables)
    options = read_options(query.options)
    for key in options.order:
        _check_order(model, key, tables)
    found: list[tuple[Joined, Joined]] = []
    for entry in database.rows(model):
        if all(test.of(entry.row) for test in own):
            pair = _pair(database, entry, criteria, include)
            if pair is not None and all(_holds(test, pair) for test in late):
                found.append(pair)
    for key in reversed(options.order):
        _sort(found, model, key)
    total = sum(asked.count * shown.count for asked, shown in found)
    shown = [pair[1] for pair in found]
    start, stop = options.start_row, options.start_row + _most_rows(options, rules)
    shown = cut(shown, start, stop) if rules.joined_pages else shown[start:stop]
    return Answer(model, shown, start, total, options)


def _most_rows(options: Options, rules: Rules) -> int:
    if options.num_rows == "all":
        return rules.page_rows if rules.caps_all else 1 << 62
    asked = DEFAULT_ROWS if options.num_rows is None else options.num_rows
    return min(asked, rules.page_rows)


def _pair(
    database: Database,
    entry: Entry,
    criteria: tuple[_Step, ...],
    include: tuple[_Step, ...],
) -> tuple[Joined, Joined] | None:
    """Return the row as the criteria see it and as the answer shows it, or None."""
    asked = _join(database, entry, criteria)
    shown = _join(database, entry, include) if asked is not None else None
    return None if asked is None or shown is None else (asked, shown)


def _join(database: Database, entry: Entry, steps: tuple[_Step, ...]) -> Joined | None:
    """Return the row with everything below it, or None if a required step is empty."""
    joined = Joined(entry)
    for step in steps:
        nested: list[Joined | None] = []
        count = 0
        for other in database.related(entry, step.association):
            if other is None:
                if not step.tests and not step.required:
                    nested.append(None)
            elif all(test.of(other.row) for test in step.tests):
                below = _join(database, other, step.steps)
                if below is not None:
                    nested.append(below)
                    count += below.count
        if step.required and not count:
            return None
        joined.count *= count or 1
        joined.nested[step.association] = nested
    return joined


def _steps(
    model: str, branches: tuple[Branch, ...], is_required: Callable[[Branch], bool]
) -> tuple[_Step, ...]:
    steps = []
    for branch in branches:
        association = find_association(model, branch.association)
        if association is None:
            raise QueryError(
                branch.place, f"{model} has no association {branch.association}"
            )
        target = association.target
        tests, late = _own_and_late(target, branch.filters, _tables(target))
        steps.append(
            _Step(
                branch.association,
                target,
                (*tests, *late),
                _steps(target, branch.branches, is_required),
                is_required(branch),
            )
        )
    return tuple(steps)


def _is_filtered(branch: Branch) -> bool:
    return bool(branch.filters) or any(map(_is_filtered, branch.branches))


def _tables(model: str) -> set[str]:
    return {MODELS[part].table for part in concrete(model)}


def _joined_tables(steps: tuple[_Step, ...]) -> Iterator[str]:
    for step in steps:
        yield from _tables(step.target)
        yield from _joined_tables(step.steps)


def _own_and_late(
    model: str, filters: tuple[Filter, ...], tables: set[str]
) -> tuple[list[_Test], list[_Test]]:
    """Separate filters on own fields from those on `table.field` of a joined row."""
    own: list[_Test] = []
    late: list[_Test] = []
    for wanted in filters:
        table, name = _resolved(model, wanted.field, tables, wanted.place)
        test = _Test(table, name, condition(wanted.operator, wanted.values))
        (late if table else own).append(test)
    return own, late


def _resolved(model: str, name: str, tables: set[str], place: Place) -> tuple[str, str]:
    """Return table and field; the table is empty for a field of the model itself."""
    table, _, column = name.rpartition(".")
    if not table or table in _tables(model):
        if has_field(model, column):
            return "", column
    elif table in tables and any(
        column in each.fields for each in MODELS.values() if each.table == table
    ):
        return table, column
    raise QueryError(place, f"{model} has no field {name}")


def _check_order(model: str, key: OrderKey, tables: set[str]) -> None:
    _resolved(model, key.field, tables, key.place)


def _holds(test: _Test, pair: tuple[Joined, Joined]) -> bool:
    """Return whether any joined row of that table passes."""
    return any(test.of(row) for joined in pair for row in rows_of(joined, test.table))


def _sort(found: list[tuple[Joined, Joined]], model: str, key: OrderKey) -> None:
    """Sort by one key; nulls come last, or first if the order is descending."""
    table, _, column = key.field.rpartition(".")

    def value_of(pair: tuple[Joined, Joined]) -> tuple[bool, Value]:
        row: Row | None = pair[0].entry.row
        if table and table not in _tables(model):
            rows = (row for joined in pair for row in rows_of(joined, table))
            row = next(rows, None)
        value = None if row is None else row.get(column)
        return (value is None, 0 if value is None else value)

    found.sort(key=value_of, reverse=key.descending)
