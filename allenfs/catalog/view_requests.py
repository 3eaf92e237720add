"""What a view leaves to the records: the question for them, and the whole request."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from allenfs.catalog import queries
from allenfs.catalog.entries import deny
from allenfs.model import nodes
from allenfs.model.images import ImageService

if TYPE_CHECKING:
    from allenfs.catalog.queries import Question
    from allenfs.model.images import ImageRequest
    from allenfs.model.records import Collection, ImageRecord, SectionImage


def collection_question(
    directory: nodes.CollectionDirectory,
) -> Question[Collection | None]:
    """Return the question for the record of a data set or an atlas."""
    is_atlas = directory.subject is nodes.Subject.ATLAS
    return (queries.atlas if is_atlas else queries.data_set)(directory.subject_id)


def image_question(request: ImageRequest) -> Question[ImageRecord | None]:
    """Return the question for the record of a section or a plate."""
    is_atlas = request.service is ImageService.ATLAS
    return (queries.plate if is_atlas else queries.section)(request.image_id)


def seen(
    directory: nodes.CollectionDirectory, collection: Collection, image: SectionImage
) -> ImageRequest:
    """Return the request of an image in a directory's view."""
    view = replace(directory.view, request=directory.view.of(image.image_id))
    return completed(view, image.corner_px, collection.equalization)


def completed(
    view: nodes.View,
    corner_px: tuple[int, int] | None,
    equalization: tuple[int, ...] | None,
) -> ImageRequest:
    """Return a view's request with `range` and `roi` filled in from the records.

    PathNotFoundError if the records do not have what the view needs.
    """
    request = view.request
    if view.from_corner:
        if corner_px is None:
            return deny(f"x and y of image {request.image_id}")
        request = request.with_corner(corner_px)
    if view.equalized:
        if equalization is None:
            return deny("equalization of this experiment")
        request = replace(request, range=equalization)
    return request
