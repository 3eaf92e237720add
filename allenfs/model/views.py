"""Select the views that a listing shows: those that apply according to the records.

It is not known how the service answers a request for a view that an image does not
have. So listings, which `cp -r` follows, omit such views. They can still be opened.

Sources:

- The `expression_path` of a SectionImage has been recorded as a path (101945191, ISH)
  and as null (576989001, Nissl); that null means "no mask" is inferred.
- "Set the value to tumor_feature_annotation to retrieve the color block image for a
  Glioblastoma SectionImage": the institute's page "Downloading an Image", which shows
  `projection` with an image of the mouse connectivity atlas, and the Equalization as
  what such a data set has. For ISH, the recorded `projection` is the plain image.
- Product 5 is "Mouse Connectivity Projection" and product 17 is glioblastoma, as
  clients of the live service query them.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from allenfs.model import quint
from allenfs.model.images import VIEWS
from allenfs.model.nodes import Layout
from allenfs.model.rows import record_id, rows_of

if TYPE_CHECKING:
    from allenfs.model.nodes import CollectionDirectory
    from allenfs.model.records import Collection, SectionImage

_CONNECTIVITY_PRODUCT, _GLIOBLASTOMA_PRODUCT = 5, 17
_EXPRESSION, _PROJECTION = "expression", "projection"
_TUMOR_FEATURES = ("tumor_feature_annotation", "tumor_feature_boundary")


def applicable(
    images: Iterable[SectionImage], data_set: Collection | None
) -> tuple[str, ...]:
    """Return the views that apply, or may apply, to one image or all of a data set.

    `data_set` is None if it is not known.
    """
    hidden: set[str] = set()
    if {image.has_expression for image in images} == {False}:
        hidden.add(_EXPRESSION)
    if data_set is not None:
        products = {record_id(row) for row in rows_of(data_set.record.get("products"))}
        is_connectivity = (
            _CONNECTIVITY_PRODUCT in products or data_set.equalization is not None
        )
        if products and not is_connectivity:
            hidden.add(_PROJECTION)
        if (products or is_connectivity) and _GLIOBLASTOMA_PRODUCT not in products:
            hidden.update(_TUMOR_FEATURES)
    return tuple(view for view in VIEWS if view not in hidden)


def listed(
    directory: CollectionDirectory, collection: Collection
) -> tuple[SectionImage, ...]:
    """Return the images that a directory lists, in section order.

    Below `expression`, images without a mask are omitted if others have one; in
    `quint`, images without a section number.
    """
    images = tuple(filter(directory.view.shows, collection.images.values()))
    if directory.layout is Layout.QUINT:
        images = tuple(one for one in images if one.section_number is not None)
    if directory.view.request.view != _EXPRESSION:
        return images
    masked = tuple(image for image in images if image.has_expression is not False)
    return masked or images


def name_of(directory: CollectionDirectory, image: SectionImage) -> str:
    """Return the name of an image in a directory.

    An image without a section number keeps its plain name, which is none of `quint`.
    """
    if directory.layout is Layout.QUINT and image.section_number is not None:
        return quint.file_name(image)
    return image.file_name
