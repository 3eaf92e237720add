"""Everything a path can name: one class for each kind of directory, file and link.

A node follows from the path alone. Whether it exists is decided by the grammar for
images, and by the catalog for `CatalogNode`s.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from allenfs.model.images import ImageRequest, ImageService
    from allenfs.model.records import SectionImage


@dataclass(frozen=True, slots=True)
class Root:
    """The mountpoint."""


@dataclass(frozen=True, slots=True)
class ServiceDirectory:
    """``section``, ``projection`` or ``atlas``."""

    service: ImageService


@dataclass(frozen=True, slots=True)
class ImageDirectory:
    """``section/ID``."""

    request: ImageRequest


@dataclass(frozen=True, slots=True)
class View:
    """How images are requested: what the path says, and what the catalog adds.

    Attributes
    ----------
    request : ImageRequest
        Its id is 0 where the view is of any image.
    equalized : bool
        With the `range` of its data set, from the catalog.
    from_corner : bool
        The `roi` counts from the image's own corner, whose place on the slide is in
        the catalog.
    treatment : str or None
        Only the plates of this treatment, by the service's name for it.
    """

    request: ImageRequest
    equalized: bool = False
    from_corner: bool = False
    treatment: str | None = None

    def of(self, image_id: int) -> ImageRequest:
        """Return the request of one image, without what the catalog adds."""
        return replace(self.request, image_id=image_id)

    def shows(self, image: SectionImage) -> bool:
        """Whether the view shows an image."""
        if self.request.annotated and not image.annotated:
            return False
        if self.from_corner and not image.has_region(self.request.roi):
            return False
        return self.treatment is None or self.treatment in image.treatments


@dataclass(frozen=True, slots=True)
class ParameterDirectory(View):
    """A directory below ``section/ID``, with the parameters in its path."""


@dataclass(frozen=True, slots=True)
class ImageFile(View):
    """An image."""


class Subject(enum.Enum):
    """What a directory with documents is about."""

    SECTION = "section"
    PLATE = "atlas"
    DATA_SET = "dataset"
    ATLAS = "browse/atlas"


@dataclass(frozen=True, slots=True)
class DocumentFile:
    """A file that allenfs generates from the records of its directory."""

    subject: Subject
    subject_id: int
    name: str


@dataclass(frozen=True, slots=True)
class SectionLink:
    """``section/ID/dataset`` or ``section/ID/nissl``."""

    image_id: int
    name: str


@dataclass(frozen=True, slots=True)
class DataSetsDirectory:
    """``dataset``."""


@dataclass(frozen=True, slots=True)
class CollectionDirectory:
    """``dataset/ID``, ``browse/atlas/ID``, and the views below them."""

    subject: Subject
    subject_id: int
    view: View
    is_view: bool


@dataclass(frozen=True, slots=True)
class CollectionFile:
    """``NNNN_IMAGEID.jpg`` in one of those."""

    directory: CollectionDirectory
    image_id: int
    name: str


@dataclass(frozen=True, slots=True)
class SheetFile:
    """``contact_sheet.jpg`` in one of those."""

    directory: CollectionDirectory


@dataclass(frozen=True, slots=True)
class BrowseDirectory:
    """``browse``."""


@dataclass(frozen=True, slots=True)
class ProductsDirectory:
    """``browse/product``."""


@dataclass(frozen=True, slots=True)
class ProductDirectory:
    """``browse/product/ABBR``."""

    product: str


@dataclass(frozen=True, slots=True)
class GenesDirectory:
    """``browse/product/ABBR/gene``."""

    product: str


@dataclass(frozen=True, slots=True)
class GeneDirectory:
    """``browse/product/ABBR/gene/ACRONYM``."""

    product: str
    acronym: str


@dataclass(frozen=True, slots=True)
class PlaneDirectory:
    """``browse/product/ABBR/gene/ACRONYM/PLANE``."""

    product: str
    acronym: str
    plane: str


@dataclass(frozen=True, slots=True)
class ProductDataSetsDirectory:
    """``browse/product/ABBR/dataset``."""

    product: str


@dataclass(frozen=True, slots=True)
class ProductPlanesDirectory:
    """``browse/product/ABBR/plane``."""

    product: str


@dataclass(frozen=True, slots=True)
class ProductPlaneDirectory:
    """``browse/product/ABBR/plane/PLANE``."""

    product: str
    plane: str


DataSetLinksDirectory = (
    PlaneDirectory | ProductDataSetsDirectory | ProductPlaneDirectory
)


@dataclass(frozen=True, slots=True)
class DataSetLink:
    """A link to a data set in one of these directories."""

    directory: DataSetLinksDirectory
    data_set_id: int


@dataclass(frozen=True, slots=True)
class AtlasesDirectory:
    """``browse/atlas``."""


@dataclass(frozen=True, slots=True)
class AtlasLink:
    """An atlas by its readable name."""

    name: str


BrowseNode = (
    BrowseDirectory
    | ProductsDirectory
    | ProductDirectory
    | GenesDirectory
    | GeneDirectory
    | PlaneDirectory
    | ProductDataSetsDirectory
    | ProductPlanesDirectory
    | ProductPlaneDirectory
    | DataSetLink
    | AtlasesDirectory
    | AtlasLink
)


@dataclass(frozen=True, slots=True)
class OwnDirectory:
    """``.allenfs``: status and log of the mount."""


@dataclass(frozen=True, slots=True)
class OwnFile:
    """A file in it."""

    name: str


CatalogFile = DocumentFile | SectionLink | CollectionFile | SheetFile
CatalogNode = CatalogFile | DataSetsDirectory | CollectionDirectory | BrowseNode
Node = (
    Root
    | ServiceDirectory
    | ImageDirectory
    | ParameterDirectory
    | ImageFile
    | OwnDirectory
    | OwnFile
    | CatalogNode
)
