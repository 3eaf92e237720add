"""A contact sheet: its thumbnails, its text and its layout.

All of it, the key in the store and an upper bound of the size are computed from the
record of a data set or an atlas, before any image is downloaded.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, NamedTuple

from allenfs.model import records, views
from allenfs.model.drawings import DrawingRequest
from allenfs.model.images import ImageRequest
from allenfs.model.nodes import Subject
from allenfs.model.rows import texts
from allenfs.model.stack import PageRequest

if TYPE_CHECKING:
    from allenfs.model.nodes import CollectionDirectory
    from allenfs.model.records import Collection, SectionImage
    from allenfs.model.rows import Row

SHEET_FILE = "contact_sheet.jpg"
# Changes with the layout: sheets in the store with another value are not reused.
_DRAWING_VERSION = 1
_DOWNSAMPLE = 6
# 24 megapixels are 96 MB while they are drawn, and 5000 cells of the smallest kind.
# The largest data sets have 2600 images.
_MAX_PX, _MAX_IMAGES = 24_000_000, 5000
# Size of pictures whose record has none; and the largest of any thumbnail.
_USUAL_PX, _MAX_SIDE_PX = (220, 150), 400
# Ten digits of the smallest label: there is room for them below any picture.
_LEAST_WIDTH_PX, _LEAST_HEIGHT_PX = 60, 30
_MAX_TITLE_CHARS = 500
_LANDSCAPE = 1.5
_KIB = 2**10

MARGIN_PX, GAP_PX, TITLE_PX, LABEL_PX = 20, 12, 64, 32
_MIN_WIDTH_PX = 760
_SMALL_GAP_PX, _SMALL_LABEL_PX, _SMALL_CELL_PX = 6, 22, 80


class Grid(NamedTuple):
    """The layout, in pixels of the sheet; cells are filled row by row.

    All thumbnails have one `scale`, at most 1, so that they can be compared.
    `picture_px` is width and height of the space for one, `label_px` the height of the
    two lines below it.
    """

    columns: int
    rows: int
    scale: float
    picture_px: tuple[int, int]
    label_px: int
    gap_px: int

    @property
    def cell_px(self) -> tuple[int, int]:
        """Width and height from one cell to the next."""
        width_px, height_px = self.picture_px
        return width_px + self.gap_px, height_px + self.label_px + self.gap_px

    @property
    def size_px(self) -> tuple[int, int]:
        """Width and height of the sheet."""
        width_px, height_px = self.cell_px
        wanted_px = self.columns * width_px - self.gap_px + 2 * MARGIN_PX
        return (
            max(wanted_px, _MIN_WIDTH_PX),
            TITLE_PX + self.rows * height_px - self.gap_px + 2 * MARGIN_PX,
        )

    def corner_px(self, place: int) -> tuple[int, int]:
        """Return left and top of the cell of an image, by its index."""
        row, column = divmod(place, self.columns)
        width_px, height_px = self.cell_px
        return MARGIN_PX + column * width_px, MARGIN_PX + TITLE_PX + row * height_px


@dataclass(frozen=True, slots=True)
class SheetRequest:
    """The request for one contact sheet: equal requests share one stored image.

    The `path` is canonical, and `edition` 16 hex digits that depend on everything that
    is drawn: the `view` of the thumbnails, for any image; the two lines of the title,
    `heading` and `facts`, from the service's names; the image count; and the images, in
    section order.
    """

    path: str
    edition: str
    view: ImageRequest = field(compare=False)
    heading: str = field(compare=False)
    facts: str = field(compare=False)
    count: str = field(compare=False)
    images: tuple[SectionImage, ...] = field(compare=False)

    @property
    def key(self) -> str:
        """Path in the store, like that of images."""
        subject, subject_id = self.path.removeprefix("browse/").split("/")[:2]
        return f"sheet/{subject_id}/{subject}_{self.edition}.jpg"

    @property
    def grid(self) -> Grid:
        """The layout."""
        return _grid(self.images)

    def thumbnail(self, place: int) -> ImageRequest:
        """Return the request of the thumbnail at an index."""
        return replace(self.view, image_id=self.images[place].image_id)

    def size_bound_bytes(self, _: tuple[int, int] | None = None) -> int:
        """Return an upper bound of the JPEG's size before it is drawn."""
        width_px, height_px = self.grid.size_px
        return width_px * height_px * 3 + 64 * _KIB


# What the service sends, what is drawn here, and everything that is stored.
Download = ImageRequest | DrawingRequest
Drawn = SheetRequest | PageRequest
Request = Download | Drawn


def is_possible(number: int) -> bool:
    """Whether a sheet can show this many images."""
    return 0 < number <= _MAX_IMAGES


def sheet(
    directory: CollectionDirectory, collection: Collection, view: ImageRequest
) -> SheetRequest | None:
    """Return the sheet of the images that a directory lists; None if it lists none.

    `view` is the directory's request, equalized if the directory is.
    """
    images = views.listed(directory, collection)
    if not is_possible(len(images)):
        return None
    names = [directory.subject.value, str(directory.subject_id)]
    parameters = [*view.path.split("/")[2:-1], *filter(None, [view.view])]
    treatment = [*filter(None, [directory.view.treatment])]
    heading, recorded = _title(directory, collection.record)
    facts = _joined([*recorded, *treatment, *parameters])
    view = replace(view, downsample=_DOWNSAMPLE)
    drawn = [_DRAWING_VERSION, view.path, heading, facts]
    shown = [(*image[:4], image.failed) for image in images]
    digest = hashlib.sha256(json.dumps([drawn, shown]).encode())
    return SheetRequest(
        "/".join([*names, *treatment, *parameters, SHEET_FILE]),
        digest.hexdigest()[:16],
        view,
        heading,
        facts,
        _count(directory.subject, images),
        images,
    )


def _title(directory: CollectionDirectory, record: Row) -> tuple[str, list[str]]:
    """Return the heading of a data set or atlas, and the facts of its record."""
    if directory.subject is Subject.ATLAS:
        names = texts(record, "name")
        return _joined([f"Atlas {directory.subject_id}", *names]), []
    genes = record.get("genes")
    facts = [
        *texts(genes, "name"),
        *texts(record.get("products"), "name"),
        records.plane_of(record) or "",
        *texts(record.get("treatments"), "name"),
        "failed" if record.get("failed") is True else "",
    ]
    acronyms = texts(genes, "acronym")
    heading = _joined([f"Data set {directory.subject_id}", *acronyms])
    return heading, [*filter(None, facts)]


def _count(subject: Subject, images: tuple[SectionImage, ...]) -> str:
    word = "plate" if subject is Subject.ATLAS else "section"
    failed = sum(image.failed for image in images)
    count = f"{len(images)} {word}{'s' * (len(images) != 1)}"
    return f"{count}, {failed} failed" if failed else count


def _joined(words: Iterable[str]) -> str:
    # more do not fit into a line; a data set may have a hundred genes
    return " \u00b7 ".join(words)[:_MAX_TITLE_CHARS]


def _grid(images: tuple[SectionImage, ...]) -> Grid:
    """Choose the columns, and the largest scale within the limit of a sheet."""
    sizes_px = [
        (image.width_px >> _DOWNSAMPLE, image.height_px >> _DOWNSAMPLE)
        for image in images
        if image.width_px and image.height_px
    ] or [_USUAL_PX]
    widest_px, highest_px = (max(sides_px) for sides_px in zip(*sizes_px, strict=True))
    scale = min(1.0, _MAX_SIDE_PX / max(widest_px, highest_px, 1))
    while True:
        width_px = max(math.ceil(widest_px * scale), _LEAST_WIDTH_PX)
        height_px = max(math.ceil(highest_px * scale), _LEAST_HEIGHT_PX)
        grid = _arranged(len(images), scale, (width_px, height_px))
        if math.prod(grid.size_px) <= _MAX_PX:
            return grid
        scale *= 0.95


def _arranged(number: int, scale: float, picture_px: tuple[int, int]) -> Grid:
    is_small = max(picture_px) < _SMALL_CELL_PX
    label_px = _SMALL_LABEL_PX if is_small else LABEL_PX
    gap_px = _SMALL_GAP_PX if is_small else GAP_PX
    width_px, height_px = picture_px[0] + gap_px, picture_px[1] + label_px + gap_px
    columns = round(math.sqrt(number * _LANDSCAPE * height_px / width_px))
    fitting = (_MIN_WIDTH_PX - 2 * MARGIN_PX + gap_px) // width_px
    columns = min(max(columns, fitting, 1), number)
    rows = math.ceil(number / columns)
    # balance the rows, if that adds none
    columns = max(math.ceil(number / rows), min(fitting, number))
    return Grid(columns, rows, scale, picture_px, label_px, gap_px)
