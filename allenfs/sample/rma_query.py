"""Parse RMA text into a query; errors have line and column."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, NamedTuple, NoReturn

OPERATORS: Final = frozenset(
    {"$eq", "$ne", "$li", "$il", "$gt", "$lt", "$ge", "$le", "$in"}
)

_BLANKS = re.compile(r"\s*")
_NAME = re.compile(r"[A-Za-z_]\w*(\.\w+)*")
_STAGE = re.compile(r"(model|rma|pipe|service|attribute)::(\w+)")
_OPERATOR = re.compile(r"\$[a-z]{2}")
_STRING = re.compile(r"'([^']*)'")
_BARE = re.compile(r"[^\s\[\](),'$]([^\[\](),'$]*[^\s\[\](),'$])?")
_SUFFIX = re.compile(r"\$(asc|desc)\b")


class Place(NamedTuple):
    """A position in a query: lines from 1, columns from 0."""

    line: int
    column: int


START: Final = Place(1, 0)


class QueryError(ValueError):
    """A query that the service rejects; the message is that of its envelope."""

    def __init__(self, place: Place, what: str) -> None:
        super().__init__(f"line {place.line}, column {place.column}: {what}")


@dataclass(frozen=True, slots=True)
class Filter:
    """`[field$op values]`; without an operator it requires a value."""

    field: str
    operator: str | None
    values: tuple[str, ...]
    place: Place


@dataclass(frozen=True, slots=True)
class Branch:
    """An association, the filters on its rows, and the associations below it."""

    association: str
    filters: tuple[Filter, ...]
    branches: tuple[Branch, ...]
    place: Place


@dataclass(frozen=True, slots=True)
class Query:
    """A parsed query, not yet checked against a schema."""

    model: str | None = None
    place: Place = START
    filters: tuple[Filter, ...] = ()
    criteria: tuple[Branch, ...] = ()
    include: tuple[Branch, ...] = ()
    options: tuple[Filter, ...] = ()


def parse_query(text: str) -> Query:
    """Parse `model::M,rma::criteria,...,rma::include,...,rma::options[...]`.

    The model may be missing, as in the path form of a query.

    Raises
    ------
    QueryError
        With the position where parsing stopped.
    """
    return _Parser(text).query()


def parse_include(text: str) -> tuple[Branch, ...]:
    """Parse the value of `include=`: associations separated by commas."""
    return _Parser(text).only_branches()


class _Parser:
    """Reads one text from left to right."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        if text.count("'") % 2:
            # The original tokenizes the text first, and misses the second quote.
            self._at = len(text)
            self._fail('mismatched character <EOF>; expecting "\'"')

    def query(self) -> Query:
        model, place = None, START
        filters: list[Filter] = []
        options: list[Filter] = []
        branches: dict[str, list[Branch]] = {"criteria": [], "include": []}
        section = "criteria"
        while not self._is_done():
            stage = self._match(_STAGE)
            if stage is not None:
                kind, name = stage[1], stage[2]
                if kind == "model" and model is None:
                    model, place = name, self._place(stage.start(2))
                elif kind == "rma" and name in ("criteria", "include", "options"):
                    section = name
                else:
                    self._fail(f"no viable alternative at input '{stage[0]}'", stage)
            elif self._peek() == "[" and section != "include":
                (options if section == "options" else filters).append(self._filter())
            elif section != "options":
                branches[section].append(self._branch())
            else:
                self._fail_here("[")
            self._separate()
        return Query(
            model,
            place,
            tuple(filters),
            tuple(branches["criteria"]),
            tuple(branches["include"]),
            tuple(options),
        )

    def only_branches(self) -> tuple[Branch, ...]:
        branches = []
        while not self._is_done():
            branches.append(self._branch())
            self._separate()
        return tuple(branches)

    def _separate(self) -> None:
        """Take the comma between two elements; filters may follow without one."""
        comma = self._take(",")
        if comma and self._is_done():
            self._fail_here("a name")
        if not comma and not self._is_done() and self._peek() != "[":
            self._fail_here(",")

    def _branch(self) -> Branch:
        self._blanks()
        start = self._at
        name = self._match(_NAME)
        if name is None:
            self._fail_here("a name")
        filters = self._filters()
        branches: list[Branch] = []
        if self._take("("):
            while True:
                nested = self._filters()
                filters += nested
                if not nested or self._peek() not in (",", ")"):
                    branches.append(self._branch())
                if not self._take(","):
                    break
            self._expect(")")
        return Branch(name[0], tuple(filters), tuple(branches), self._place(start))

    def _filters(self) -> list[Filter]:
        filters = []
        while self._peek() == "[":
            filters.append(self._filter())
        return filters

    def _filter(self) -> Filter:
        self._expect("[")
        self._blanks()
        start = self._at
        field = self._match(_NAME)
        if field is None:
            self._fail_here("a name")
        operator = self._match(_OPERATOR)
        if operator is None:
            self._expect("]")
            return Filter(field[0], None, (), self._place(start))
        if operator[0] not in OPERATORS:
            self._fail(f"no viable alternative at input '{operator[0]}'", operator)
        values = [self._value()]
        while self._take(","):
            values.append(self._value())
        self._expect("]")
        return Filter(field[0], operator[0], tuple(values), self._place(start))

    def _value(self) -> str:
        text = self._match(_STRING)
        if text is not None:
            return text[1]
        bare = self._match(_BARE)
        if bare is None:
            self._fail_here("a value")
        # Only the sort order has a suffix, and it may stand without quotes.
        suffix = self._match(_SUFFIX)
        return bare[0] + (suffix[0] if suffix else "")

    def _match(self, pattern: re.Pattern[str]) -> re.Match[str] | None:
        self._blanks()
        match = pattern.match(self._text, self._at)
        if match is not None:
            self._at = match.end()
        return match

    def _blanks(self) -> None:
        blanks = _BLANKS.match(self._text, self._at)
        self._at = blanks.end() if blanks else self._at

    def _is_done(self) -> bool:
        self._blanks()
        return self._at == len(self._text)

    def _peek(self) -> str:
        self._blanks()
        return self._text[self._at : self._at + 1]

    def _take(self, char: str) -> bool:
        taken = self._peek() == char
        self._at += taken
        return taken

    def _expect(self, char: str) -> None:
        if not self._take(char):
            self._fail_here(char)

    def _place(self, at: int) -> Place:
        line_start = self._text.rfind("\n", 0, at) + 1
        return Place(self._text.count("\n", 0, at) + 1, at - line_start)

    def _fail(self, what: str, match: re.Match[str] | None = None) -> NoReturn:
        at = self._at if match is None else match.start()
        raise QueryError(self._place(at), what)

    def _fail_here(self, expected: str) -> NoReturn:
        found = self._peek() or "<EOF>"
        self._fail(f"mismatched input '{found}' expecting '{expected}'")
