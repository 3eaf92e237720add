"""Answers and errors in the service's envelope, as JSON and as XML."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final
from xml.sax.saxutils import escape, quoteattr

from allenfs.sample.schema import MODELS, find_association

if TYPE_CHECKING:
    from allenfs.sample.database import Value
    from allenfs.sample.joined import Joined
    from allenfs.sample.rma import Answer

CONTENT_TYPES: Final = {
    "json": "application/json;charset=utf-8",
    "xml": "text/xml;charset=utf-8",
}
_XML_HEAD: Final = '<?xml version="1.0" encoding="UTF-8"?>\n'


def answer_body(answer: Answer, form: str) -> bytes:
    """Write an answer; `form` is json or xml."""
    numbers = {
        "id": 0,
        "start_row": answer.start_row,
        "num_rows": len(answer.rows),
        # What the original sends without a count is unknown: clients must not need it.
        "total_rows": answer.total_rows if answer.options.count else 0,
    }
    if form == "json":
        rows = [_json(answer, joined, top=True) for joined in answer.rows]
        return _dumped({"success": True, **numbers, "msg": rows})
    element = _hyphened(_snake(answer.model))
    rows_xml = "".join(
        _xml(answer, element, joined, top=True) for joined in answer.rows
    )
    plural = "atlases" if element == "atlas" else f"{element}s"
    return _response({"success": "true", **numbers}, f"<{plural}>{rows_xml}</{plural}>")


def error_body(message: str, form: str) -> bytes:
    """Write the envelope of a rejected query; its `msg` is text, as recorded."""
    numbers = {"id": 0, "start_row": 0, "num_rows": 0, "total_rows": 0}
    if form == "json":
        return _dumped({"success": False, **numbers, "msg": message})
    # Only the JSON form is recorded.
    return _response({"success": "false", **numbers}, f"<msg>{escape(message)}</msg>")


def none_body() -> bytes:
    """Write an answer without rows, as recorded for a `service::` query."""
    return _dumped({"success": True, "id": 0, "start_row": 0, "num_rows": 0, "msg": {}})


def cut_body(body: bytes) -> bytes:
    """Omit the second half of all rows, but state their full number."""
    envelope = json.loads(body)
    left = max(0, envelope["total_rows"] // 2 - envelope["start_row"])
    envelope["msg"] = envelope["msg"][:left]
    return _dumped({**envelope, "num_rows": len(envelope["msg"])})


def inflated_body(body: bytes) -> bytes:
    """State two rows more than exist."""
    envelope = json.loads(body)
    return _dumped({**envelope, "total_rows": envelope["total_rows"] + 2})


def _dumped(envelope: dict[str, object]) -> bytes:
    return json.dumps(envelope, ensure_ascii=False, separators=(",", ":")).encode()


def _json(answer: Answer, joined: Joined, *, top: bool = False) -> dict[str, object]:
    record: dict[str, object] = dict(_fields(answer, joined, top=top))
    for name, nested in joined.nested.items():
        records = [each and _json(answer, each) for each in nested]
        record[name] = records if _is_many(joined, name) else next(iter(records), None)
    return record


def _xml(answer: Answer, element: str, joined: Joined, *, top: bool = False) -> str:
    parts = [
        _xml_field(name, value) for name, value in _fields(answer, joined, top=top)
    ]
    for name, nested in joined.nested.items():
        tag = _hyphened(name)
        if _is_many(joined, name):
            single = _singular(tag)
            records = (
                f'<{single} nil="true"/>'
                if each is None
                else _xml(answer, single, each)
                for each in nested
            )
            parts.append(f'<{tag} type="array">{"".join(records)}</{tag}>')
        else:
            one = next(iter(nested), None)
            parts.append(
                f'<{tag} nil="true"/>' if one is None else _xml(answer, tag, one)
            )
    return f"<{element}>{''.join(parts)}</{element}>"


def _xml_field(name: str, value: Value) -> str:
    tag = _hyphened(name)
    if value is None:
        return f'<{tag} nil="true"/>'
    if isinstance(value, bool):
        return f'<{tag} type="boolean">{str(value).lower()}</{tag}>'
    if isinstance(value, int):
        return f'<{tag} type="integer">{value}</{tag}>'
    if isinstance(value, float):
        return f'<{tag} type="float">{value}</{tag}>'
    return f"<{tag}>{escape(value)}</{tag}>"


def _fields(
    answer: Answer, joined: Joined, *, top: bool
) -> Iterator[tuple[str, Value]]:
    """Yield the fields that `only` and `except` select.

    A bare name is a field of the top-level rows, `table.field` one of any row of that
    table. `only` does not affect tables that it does not name.
    """
    if not (answer.options.only or answer.options.hidden):
        yield from joined.entry.row.items()
        return
    table = MODELS[joined.entry.model].table
    only, hidden = answer.options.only, answer.options.hidden
    is_limited = any(_belongs(name, table, top=top) for name in only)
    for name, value in joined.entry.row.items():
        names = {f"{table}.{name}", name if top else ""}
        if not names.isdisjoint(hidden):
            continue
        if is_limited and names.isdisjoint(only):
            continue
        yield name, value


def _belongs(name: str, table: str, *, top: bool) -> bool:
    named, _, _ = name.rpartition(".")
    return named == table or (top and not named)


def _is_many(joined: Joined, association: str) -> bool:
    found = find_association(joined.entry.model, association)
    return found is not None and found.many


def _response(attributes: dict[str, object], content: str) -> bytes:
    given = " ".join(f"{k}={quoteattr(str(v))}" for k, v in attributes.items())
    return f"{_XML_HEAD}<Response {given}>{content}</Response>".encode()


def _snake(model: str) -> str:
    """Return a model's name in small letters: `SectionImage` is `section_image`."""
    return "".join(f"_{c.lower()}" if c.isupper() else c for c in model).lstrip("_")


def _hyphened(name: str) -> str:
    return name.replace("_", "-")


def _singular(name: str) -> str:
    return "atlas" if name == "atlases" else name.removesuffix("s")
