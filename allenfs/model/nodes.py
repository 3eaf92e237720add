"""Everything a path can name: images, collections, and the rows of `tree.PATTERNS`.

A node follows from the path alone. Whether it exists is decided by the grammar for
images, and by the catalog for everything else.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from allenfs.model.images import ImageRequest
    from allenfs.model.records import SectionImage


@dataclass(frozen=True, slots=True)
class PatternNode:
    """A path that matches a row of `tree.PATTERNS`, such as ``browse/product/ABBR``.

    `arguments` are what the path has in place of each word in capitals: an id (int), or
    one of the service's names.
    """

    pattern: str
    arguments: tuple[Any, ...] = ()

    @property
    def is_of_structures(self) -> bool:
        """Whether it is a directory, link or file of structures."""
        names = self.pattern.split("/")
        return "structure" in names or "structures.csv" in names


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
        Its id is 0 if the view is for any image.
    equalized : bool
        With the `range` of its data set, from the catalog.
    from_corner : bool
        The `roi` is measured from the image's own corner, whose position on the slide
        is in the catalog.
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


@dataclass(frozen=True, slots=True)
class DrawingFile:
    """``drawing.svg`` of a plate, halved `downsample` times."""

    image_id: int
    downsample: int


class Layout(enum.Enum):
    """The folders of a data set that tools open as they are; the value is the name."""

    QUINT = "quint"
    STACK = "stack"


class Subject(enum.Enum):
    """The kinds of image collections; the value is the path above the id."""

    DATA_SET = "dataset"
    ATLAS = "browse/atlas"


@dataclass(frozen=True, slots=True)
class CollectionDirectory:
    """``dataset/ID``, ``browse/atlas/ID``, and the views below them.

    With a `layout`, it is ``quint/dsN`` or ``stack/dsN`` of a data set.
    """

    subject: Subject
    subject_id: int
    view: View
    is_view: bool
    layout: Layout | None = None


@dataclass(frozen=True, slots=True)
class LayoutDirectory:
    """``quint`` or ``stack``, which has a directory for each tier.

    `directory` is that of the full resolution.
    """

    directory: CollectionDirectory


@dataclass(frozen=True, slots=True)
class CollectionFile:
    """``NNNN_IMAGEID.jpg`` in one of those; in `quint` with ``_sNNN``."""

    directory: CollectionDirectory
    image_id: int
    name: str


@dataclass(frozen=True, slots=True)
class SheetFile:
    """``contact_sheet.jpg`` in one of those."""

    directory: CollectionDirectory


@dataclass(frozen=True, slots=True)
class SeriesFile:
    """``series.json`` in ``quint/dsN``."""

    directory: CollectionDirectory


@dataclass(frozen=True, slots=True)
class ZarrNode:
    """``NAME.zarr``, the pyramid of an image or of a data set, and what is in it.

    Attributes
    ----------
    source : ImageFile, CollectionFile or CollectionDirectory
        Whose pixels it has; neither with a tier nor with a region.
    numbers : tuple of int
        The level, then indices of chunks: channel, z (of a data set), row, column.
    file : str
        The name of a file that describes it; empty for directories and chunks.
    """

    source: ImageFile | CollectionFile | CollectionDirectory
    numbers: tuple[int, ...] = ()
    file: str = ""

    @property
    def depth(self) -> int:
        """How many numbers a chunk has."""
        return 5 if isinstance(self.source, CollectionDirectory) else 4

    @property
    def is_chunk(self) -> bool:
        """Whether it is a chunk, and not a directory."""
        return len(self.numbers) == self.depth


Node = (
    PatternNode
    | ImageDirectory
    | ParameterDirectory
    | ImageFile
    | DrawingFile
    | CollectionDirectory
    | LayoutDirectory
    | CollectionFile
    | SheetFile
    | SeriesFile
    | ZarrNode
)

# What read-ahead knows as a listing: images that are often opened in order. Of a
# pyramid, it is a row of chunks, or the planes of a volume.
Listing = CollectionDirectory | ZarrNode
