"""The images of the sample service, by id."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from allenfs.sample.data_sets import DOCUMENTED
from allenfs.sample.series import SERIES

if TYPE_CHECKING:
    from allenfs.sample.data_sets import DataSet, Kind, Plane, Slide, Style


@dataclass(frozen=True, slots=True)
class ImageRecord:
    """One image of the sample service.

    `width_px` and `height_px` are full-resolution pixels. `left_px` and `top_px` say
    where on its slide the image begins: 0 for most sections, not 0 for atlas plates.
    `slide` is what a region beyond the image shows; None if it is clipped at the
    edges.
    """

    image_id: int
    kind: Kind
    width_px: int
    height_px: int
    left_px: int
    top_px: int
    section_number: int
    data_set_id: int
    style: Style
    plane: Plane
    resolution_um: float
    title: str
    slide: Slide | None = None

    @property
    def modified_s(self) -> int:
        """Seconds since 1970 of the last change: fixed for an image, 2011 to 2013."""
        return 1_300_000_000 + self.image_id * 7919 % 60_000_000


#: every data set of the sample
DATA_SETS: Final[tuple[DataSet, ...]] = (*DOCUMENTED, *SERIES)


def _records() -> dict[int, ImageRecord]:
    """Return every image of `DATA_SETS` under its id."""
    return {
        image_id: ImageRecord(
            image_id=image_id,
            kind=data_set.kind,
            width_px=width_px,
            height_px=height_px,
            left_px=left_px,
            top_px=top_px,
            section_number=section_number,
            data_set_id=data_set.data_set_id,
            style=data_set.style,
            plane=data_set.plane,
            resolution_um=data_set.resolution_um,
            title=data_set.title,
            slide=next(
                (slide for slide in data_set.slides if image_id in slide.image_ids),
                None,
            ),
        )
        for data_set in DATA_SETS
        for image_id, section_number, width_px, height_px, left_px, top_px in (
            data_set.images
        )
    }


RECORDS: dict[int, ImageRecord] = _records()
