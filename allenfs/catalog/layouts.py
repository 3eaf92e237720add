"""The folders of a data set that tools open as they are: ``quint`` and ``stack``."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from allenfs.catalog.documents import Document
from allenfs.catalog.entries import Picture
from allenfs.errors import PathNotFoundError
from allenfs.model import quint, stack, views
from allenfs.model.nodes import Layout
from allenfs.model.tree import LISTED_DOWNSAMPLES

if TYPE_CHECKING:
    from allenfs.catalog.record_cache import CachedRecord
    from allenfs.model.images import ImageRequest
    from allenfs.model.nodes import CollectionDirectory, CollectionFile
    from allenfs.model.records import Collection


def require(directory: CollectionDirectory, collection: Collection) -> None:
    """Raise PathNotFoundError, with the reason, if a folder cannot exist.

    Only a stack may be impossible: its pages have a largest size.
    """
    if directory.layout is Layout.STACK:
        stack.page_px(collection, directory.view.request.downsample)


def tier_names(directory: CollectionDirectory, collection: Collection) -> Iterator[str]:
    """Yield the tiers of ``quint`` or ``stack``: those that can exist."""
    for tier, name in enumerate(LISTED_DOWNSAMPLES, start=1):
        request = replace(directory.view.request, downsample=tier)
        view = replace(directory.view, request=request)
        with contextlib.suppress(PathNotFoundError):
            require(replace(directory, view=view), collection)
            yield name


def page(file: CollectionFile, collection: Collection, source: ImageRequest) -> Picture:
    """Return a page of a stack; `source` is the request of the image on it.

    When a page is drawn, the images for the next pages are read ahead.
    """
    plain = replace(file.directory, layout=None)
    return Picture(stack.page(file, collection, source), listed_in=plain)


def series(
    directory: CollectionDirectory, data_set: CachedRecord[Collection]
) -> Document:
    """Return ``series.json`` of the images in ``quint/dsN``."""
    found = quint.series(
        f"Allen Brain Atlas data set {directory.subject_id}",
        data_set.record,
        views.listed(directory, data_set.record),
        directory.view.request.downsample,
    )
    return Document(f"{json.dumps(found, indent=1)}\n".encode(), data_set.fetched_ns)
