"""Where a structure lies in a data set: the section, the pixel, and regions around it.

An estimate: the records have affine maps only, and a section is deformed by some
100 um.
"""

from __future__ import annotations

import contextlib
import enum
from dataclasses import dataclass
from typing import TYPE_CHECKING

from allenfs.errors import PathNotFoundError
from allenfs.model import records
from allenfs.model.geometry import (
    nearest,
    section_position,
    square,
    transformed,
    usual_gap,
)
from allenfs.model.images import ImageRequest, ImageService
from allenfs.model.parameters import MAX_DOWNSAMPLE, Roi
from allenfs.model.rows import coefficients_3d, positive, record_id
from allenfs.model.view_paths import EQUALIZED

if TYPE_CHECKING:
    from allenfs.model.geometry import Point
    from allenfs.model.records import Collection, SectionImage
    from allenfs.model.structures import Structure

# Recorded: 9 is P56 (coronal), 10 the same mirrored (sagittal).
_CORONAL_SPACE, _SAGITTAL_SPACE = 9, 10
_MIRRORED_SPACES = {_CORONAL_SPACE: _SAGITTAL_SPACE, _SAGITTAL_SPACE: _CORONAL_SPACE}
LISTED_SIDES_MM = (1, 2, 4)


class Hemisphere(enum.Enum):
    """A hemisphere; the value is the directory."""

    LEFT = "left"
    RIGHT = "right"


# None is the hemisphere of the atlas' own centre.
_SIDES = (None, *Hemisphere)


@dataclass(frozen=True, slots=True)
class Place:
    """The centre of a structure in a data set.

    Attributes
    ----------
    point : Point
        In the reference space of the data set.
    hemisphere : Hemisphere or None
        None if it is not known.
    image : SectionImage
        The nearest section.
    x_px, y_px : float
        Full-resolution pixels from the image's own corner.
    distance_um : float
        From the section's plane.
    orientation : str or None
        Of the probe.
    """

    structure: Structure
    data_set_id: int
    reference_space_id: int
    point: Point
    hemisphere: Hemisphere | None
    image: SectionImage
    x_px: float
    y_px: float
    distance_um: float
    orientation: str | None
    is_equalized: bool

    @property
    def rank(self) -> tuple[int, float, int]:
        """Sorts the best place first: antisense, then the nearest plane."""
        order = (*records.ORIENTATIONS.values(), None)
        return order.index(self.orientation), self.distance_um, self.data_set_id

    @property
    def section_path(self) -> str:
        """The directory of the nearest section."""
        return f"{ImageService.SECTION.value}/{self.image.image_id}"

    def has_region(self, side_mm: int) -> bool:
        """Whether the section's record has what a region depends on."""
        with contextlib.suppress(PathNotFoundError):
            return bool(self.region_path(side_mm))
        return False

    def region_path(self, side_mm: int) -> str:
        """Return the directory of a square region around the centre.

        Below it are the same files as in the section's own directory.
        PathNotFoundError if the section's record lacks its size or position.
        """
        image, corner_px = self.image, self.image.corner_px
        if not (image.resolution_um and image.width_px and image.height_px):
            raise PathNotFoundError(
                f"section {image.image_id} has no size or resolution in its record"
            )
        if corner_px is None:
            raise PathNotFoundError(
                f"section {image.image_id} has no x and y in its record"
            )
        region = square(
            side_um=side_mm * 1000,
            resolution_um=image.resolution_um,
            centre_px=(self.x_px, self.y_px),
            image_px=(image.width_px, image.height_px),
            corner_px=corner_px,
        )
        if region.downsample > MAX_DOWNSAMPLE:  # 20 mm at 0.35 um need 5
            raise PathNotFoundError(
                f"section {image.image_id} has an impossible resolution in its record"
            )
        roi = Roi(region.width_px, region.height_px, region.left_px, region.top_px)
        request = ImageRequest(
            ImageService.SECTION, image.image_id, region.downsample, roi=roi
        )
        directory, _, region_name = request.path.rpartition("/")[0].rpartition("/")
        equalized = f"/{EQUALIZED}" if self.is_equalized else ""
        return f"{directory}{equalized}/{region_name}"


class AlignedSections:
    """The sections of one data set that have a place in the reference space.

    PathNotFoundError, with the reason, if the data set has none.
    """

    def __init__(self, data_set_id: int, collection: Collection) -> None:
        record = collection.record
        trv = coefficients_3d(record, "trv")
        thickness_um = positive(record.get("section_thickness"))
        space_id = record_id(record, "reference_space_id")
        if trv is None or space_id is None or thickness_um is None:
            raise PathNotFoundError(
                f"data set {data_set_id} has no alignment to a reference space"
            )
        self._data_set_id = data_set_id
        self._trv, self._thickness_um, self._space_id = trv, thickness_um, space_id
        is_sagittal = (
            space_id == _SAGITTAL_SPACE or records.plane_of(record) == "sagittal"
        )
        self._has_two_sides = space_id == _CORONAL_SPACE and not is_sagittal
        # documented: sagittal sections are of the left hemisphere
        self._only_side = Hemisphere.LEFT if is_sagittal else None
        self._is_equalized = collection.equalization is not None
        self._orientation = records.orientation_of(record)
        numbered = [
            (image.section_number, image)
            for image in reversed(collection.images.values())
            if image.section_number is not None
        ]
        self._gap = usual_gap(sorted({number for number, _ in numbered}))
        # of two with one number, the lower id
        self._images = {number: image for number, image in numbered if image.tvs}
        self._numbers = sorted(self._images)
        if not self._numbers:
            raise PathNotFoundError(
                f"the sections of data set {data_set_id} have no alignment"
            )

    def place(
        self, structure: Structure, hemisphere: Hemisphere | None = None
    ) -> Place:
        """Return where the centre of a structure lies.

        By default in the hemisphere of the atlas' own centre. PathNotFoundError, with
        the reason, if that is nowhere in the data set: the service itself would answer
        with the last section, or a point outside the image.
        """
        found = self._find(structure, hemisphere)
        if isinstance(found, str):
            raise PathNotFoundError(found)
        return found

    def places(self, structure: Structure) -> dict[Hemisphere | None, Place]:
        """Return all places of a structure, by hemisphere; None is the default.

        PathNotFoundError, with the reason for the default one, if there is none.
        """
        found = {side: self._find(structure, side) for side in _SIDES}
        places = {
            side: place for side, place in found.items() if isinstance(place, Place)
        }
        if not places:
            raise PathNotFoundError(str(found[None]))
        return places

    def has(self, structure: Structure) -> bool:
        """Whether the centre of a structure lies in the data set, on either side."""
        return any(isinstance(self._find(structure, side), Place) for side in _SIDES)

    def _find(self, structure: Structure, hemisphere: Hemisphere | None) -> Place | str:
        """Return the place, or why there is none."""
        point = structure.centres_um.get(self._space_id)
        if point is None:
            return (
                f"{structure.acronym} has no centre in reference space "
                f"{self._space_id}, that of data set {self._data_set_id}"
            )
        if self._has_two_sides:
            own = Hemisphere.RIGHT if point.is_right else Hemisphere.LEFT
            hemisphere = hemisphere or own
            if hemisphere is not own:
                point = point.in_other_hemisphere()
        elif hemisphere is not None:
            return f"data set {self._data_set_id} has no left and right: " + (
                "sagittal sections show the left hemisphere only"
                if self._only_side
                else f"the sides of reference space {self._space_id} are not known"
            )
        else:
            hemisphere = self._only_side
        x_um, y_um, position = section_position(self._trv, point, self._thickness_um)
        number = nearest(self._numbers, position)
        distance = abs(number - position)
        # half the usual gap, plus one section because the numbers are rounded
        if distance > self._gap / 2 + 1:
            return (
                f"the centre of {structure.acronym} is at section {position:.1f} of "
                f"data set {self._data_set_id}; of its aligned sections, "
                f"{self._numbers[0]} to {self._numbers[-1]}, the nearest is {number}"
            )
        image = self._images[number]
        x_px, y_px = transformed(image.tvs or (), (x_um, y_um))
        if (image.width_px and image.height_px) and not (
            0 <= x_px < image.width_px and 0 <= y_px < image.height_px
        ):
            return (
                f"the centre of {structure.acronym} is outside image {image.image_id} "
                f"(section {number}), at x {x_px:.0f}, y {y_px:.0f} of "
                f"{image.width_px} x {image.height_px} pixels"
            )
        return Place(
            structure,
            data_set_id=self._data_set_id,
            reference_space_id=self._space_id,
            point=point,
            hemisphere=hemisphere,
            image=image,
            x_px=x_px,
            y_px=y_px,
            distance_um=distance * self._thickness_um,
            orientation=self._orientation,
            is_equalized=self._is_equalized,
        )


def where(place: Place) -> dict[str, object]:
    """Return a place as the content of ``where.json``."""
    space_id, point = place.reference_space_id, place.point
    content = {
        "structure_id": place.structure.structure_id,
        "acronym": place.structure.acronym,
        "name": place.structure.name,
        "data_set_id": place.data_set_id,
        "probe_orientation": place.orientation,
        "hemisphere": place.hemisphere and place.hemisphere.value,
        "reference_space_id": space_id,
        **point._asdict(),
        "image_id": place.image.image_id,
        "section_number": place.image.section_number,
        "section_failed": place.image.failed,
        "x_px": round(place.x_px, 2),
        "y_px": round(place.y_px, 2),
        "distance_to_plane_um": round(place.distance_um, 2),
        "method": "affine estimate from the records; a section is deformed by some "
        "100 um",
    }
    if space_id in _MIRRORED_SPACES:
        content["in_mirrored_space"] = {
            "reference_space_id": _MIRRORED_SPACES[space_id],
            **point.in_other_space()._asdict(),
        }
    return content
