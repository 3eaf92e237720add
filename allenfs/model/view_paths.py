"""The directories that set a view: parameters, views of a data set, treatments."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TypeVar

from allenfs.errors import PathNotFoundError
from allenfs.model.images import ID_PATTERN, VIEWS, ImageService
from allenfs.model.nodes import Subject, View
from allenfs.model.parameters import region_from_corner
from allenfs.text import text_of

EQUALIZED = "equalized"
COLLECTION_FILE = re.compile(rf"[0-9]{{4,10}}_({ID_PATTERN.pattern})\.jpg")

_V = TypeVar("_V", bound=View)


def with_parameters(view: _V, names: list[str], subject: Subject | None = None) -> _V:
    """Return a view in directories, in any order; `subject` is the kind of collection.

    PathNotFoundError if one is outside the grammar, or a parameter appears twice.
    """
    seen: set[str] = set()
    for name in names:
        field, view = _with_parameter(view, name, subject)
        if field in seen:
            raise PathNotFoundError(f"{field} appears twice")
        seen.add(field)
    return view


def _with_parameter(view: _V, name: str, subject: Subject | None) -> tuple[str, _V]:
    """Return the field that a directory sets, and the view in it."""
    request = view.request
    if name == EQUALIZED and request.service is not ImageService.ATLAS:
        return "range", replace(view, equalized=True)
    if subject is Subject.DATA_SET and name in VIEWS:
        return "view", replace(view, request=request.with_file(f"{name}.jpg"))
    if (roi := region_from_corner(name)) is not None:
        return "roi", replace(view, request=replace(request, roi=roi), from_corner=True)
    try:
        field, request = request.with_parameter(name)
    except PathNotFoundError:
        if subject is not Subject.ATLAS:
            raise
        return "treatment", replace(view, treatment=text_of(name))
    return field, replace(view, request=request)


def no_such(name: str) -> PathNotFoundError:
    """Return the error for a name outside the grammar."""
    return PathNotFoundError(f"no such name: {name!r}")
