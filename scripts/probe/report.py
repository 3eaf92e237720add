"""The report of all questions and answers, as Markdown."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from answers import excerpt, rows
from pictures import pixels, quality
from query_probes import MODELS
from structure_probes import CENTRES, UNIONIZES

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from answers import Answer
    from asking import Asker, Exchange

_HEADERS = (
    *("Content-Type", "Content-Length", "Transfer-Encoding", "ETag", "Last-Modified"),
    *("Accept-Ranges", "Content-Range", "Content-Encoding", "Vary"),
    *("Content-Disposition", "Date", "Server", "Cache-Control", "Expires", "Age"),
    *("Retry-After", "Connection", "Keep-Alive", "Access-Control-Allow-Origin"),
)
_SHOWN_URL, _SHOWN_CELL, _SHOWN_ROW = 400, 300, 4000
_VERDICTS = {True: "agree", False: "**DIFFERS**", None: "-"}


@dataclass
class Report:
    """What is to be written."""

    about: Mapping[str, str]
    answers: list[Answer] = field(default_factory=list)
    page: list[Exchange] = field(default_factory=list)
    #: title of a probe, and its question
    details: list[tuple[str, Sequence[Exchange]]] = field(default_factory=list)


def as_markdown(report: Report, asker: Asker) -> str:
    """Return the whole report."""
    parts = [
        "# What the Allen image services answer",
        _list(report.about),
        "## Summary",
        "What was not known, by its number; `agree` and `DIFFERS` are about what "
        "allenfs assumes, `-` where it assumes nothing or nothing was seen.",
        _summary(report.answers),
        '## Every URL of "Downloading an Image"',
        _page(report.page),
        "## Records",
        *_records(asker.exchanges),
        "## Everything that was asked",
        *_details(report),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def differences(answers: Iterable[Answer]) -> int:
    """Count what is otherwise than assumed."""
    return sum(answer.agrees is False for answer in answers)


def _list(about: Mapping[str, str]) -> str:
    return "\n".join(f"- {name}: {_plain(value)}" for name, value in about.items())


def _summary(answers: Iterable[Answer]) -> str:
    head = ("#", "unknown", "seen", "allenfs assumes", "")
    lines = [
        (one.number, one.question, one.seen, one.assumed, _VERDICTS[one.agrees])
        for one in sorted(answers, key=lambda one: int(one.number))
    ]
    return _table(head, lines)


def _page(exchanges: Iterable[Exchange]) -> str:
    head = ("", "status", "redirect", "type", "bytes", "px", "quality", "s", "sha256")
    return _table(head, [_page_row(one) for one in exchanges])


def _page_row(one: Exchange) -> tuple[str, ...]:
    shape = pixels(one.body)
    status = str(one.status) if one.status is not None else "none"
    return (
        f"{one.title}: `{_target(one)}`",
        f"{status} {one.trouble}".strip(),
        " ".join(location.partition("?")[0] for location in one.locations),
        one.header("Content-Type"),
        f"{one.wire_bytes:,}",
        f"{shape[0]} x {shape[1]}" if shape else "",
        quality(one.body) if shape else "",
        f"{one.seconds:.2f}",
        one.sha256[:16] if one.body else "",
    )


def _records(exchanges: Iterable[Exchange]) -> Iterable[str]:
    """Yield keys and types of one row of each model, and the row; the products."""
    titles = {model.title for model in MODELS} | {"all products", CENTRES, UNIONIZES}
    for one in exchanges:
        if one.title not in titles:
            continue
        found = rows(one)
        yield f"### {one.title}"
        if not found:
            yield f"No rows: {_plain(excerpt(one.body) or one.trouble)}"
        elif one.title == "all products":
            yield _table(
                ("id", "abbreviation", "name"),
                [
                    tuple(str(row.get(key)) for key in ("id", "abbreviation", "name"))
                    for row in found
                ],
            )
        else:
            yield f"```json\n{_json(_shape(found[0]))}\n```"
            yield f"```json\n{_json(found[0])}\n```"


def _details(report: Report) -> Iterable[str]:
    for title, exchanges in [("The page's URLs", report.page), *report.details]:
        yield f"### {title}"
        for one in exchanges:
            yield f"{_plain(one.title)}\n\n```\n{_dialogue(one)}\n```"


def _dialogue(one: Exchange) -> str:
    lines = [f"{one.method} {_target(one)}"]
    lines += [
        f"> {key}: {value}" for key, value in one.sent.items() if key != "User-Agent"
    ]
    for hop in one.hops:
        lines.append(f"< {hop.status}")
        named = ("Location", *_HEADERS)
        lines += [f"< {key}: {hop.headers[key]}" for key in named if key in hop.headers]
    if one.trouble:
        lines.append(f"! {one.trouble}")
    lines.append(
        f"= {one.wire_bytes} bytes, head after {one.head_s:.2f} s, all after "
        f"{one.seconds:.2f} s, sha256 {one.sha256 if one.body else 'of nothing'}"
    )
    if one.body and not pixels(one.body):
        lines.append(f"= {excerpt(one.body)}")
    return "\n".join(_visible(line)[:_SHOWN_URL] for line in lines)


def _target(one: Exchange) -> str:
    return unquote("/" + one.url.split("/", 3)[-1])[:_SHOWN_URL].replace("`", "'")


def _shape(value: Any) -> Any:
    """Return keys and types: of a list, those of its first."""
    if isinstance(value, dict):
        return {key: _shape(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_shape(value[0]), f"... {len(value)} in all"] if value else []
    return "null" if value is None else type(value).__name__


def _json(value: Any) -> str:
    text = json.dumps(value, indent=1, ensure_ascii=True).replace("`", "\\u0060")
    return text if len(text) <= _SHOWN_ROW else f"{text[:_SHOWN_ROW]}\n... cut here"


def _table(head: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    rule = ["---"] * len(head)
    cells = [head, rule, *([_cell(one) for one in line] for line in lines)]
    return "\n".join(f"| {' | '.join(line)} |" for line in cells)


def _cell(text: str) -> str:
    return _plain(text).replace("|", "\\|")


def _plain(text: str) -> str:
    return _visible(text)[:_SHOWN_CELL].replace("<", "&lt;")


def _visible(text: str) -> str:
    return "".join(char if char.isprintable() else "?" for char in text).replace(
        "```", "'''"
    )
