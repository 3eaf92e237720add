"""Where a point of the brain lies: as allenfs computes it, and as services say."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from answers import envelope, rows

from allenfs.model import geometry, records
from allenfs.model.geometry import Point
from allenfs.model.rows import coefficients_3d, first_row, number, record_id, rows_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from asking import Asker, Exchange

    from allenfs.model.rows import Row


class Place(NamedTuple):
    """A point of an image, in full-resolution pixels.

    Attributes
    ----------
    plane : float or None
        The section number where the point really lies; None if a service gave the
        place, as it says the number of the image alone.
    """

    image_id: int
    section_number: int
    x_px: float
    y_px: float
    plane: float | None = None

    def __str__(self) -> str:
        said = f"image {self.image_id}, section {self.section_number}, "
        said += f"({self.x_px:.2f}, {self.y_px:.2f})"
        return said if self.plane is None else f"{said}; its plane {self.plane:.2f}"

    def is_near(self, other: Place, most_px: float) -> bool:
        """Whether it is the same point of the same image."""
        return self[:2] == other[:2] and all(
            abs(mine - its) <= most_px
            for mine, its in zip(self[2:4], other[2:4], strict=True)
        )


def earlier(asker: Asker, title: str) -> list[Row]:
    """Return the rows of what was asked before under a title; empty if nothing was."""
    return next((rows(one) for one in asker.exchanges if one.title == title), [])


def centres_of(structure: Row) -> dict[int, list[Point]]:
    """Return the centres of a structure, by reference space."""
    found: dict[int, list[Point]] = {}
    for row in rows_of(structure.get("structure_centers")):
        space_id = record_id(row, "reference_space_id")
        point = _numbers(row, ("x", "y", "z"))
        if space_id is not None and point is not None:
            found.setdefault(space_id, []).append(Point(*point))
    return found


def computed(point: Point, data_set: Row, images: Iterable[Row]) -> Place | None:
    """Return the place of `point` in the nearest section; None without alignments."""
    trv = coefficients_3d(data_set, "trv")
    thickness_um = number(data_set.get("section_thickness"))
    aligned = {
        image.section_number: image
        for image in map(records.image_of, images)
        if image and image.section_number is not None and image.tvs
    }
    if trv is None or not thickness_um or thickness_um < 0 or not aligned:
        return None
    x_um, y_um, plane = geometry.section_position(trv, point, thickness_um)
    image = aligned[geometry.nearest(sorted(aligned), plane)]
    x_px, y_px = geometry.transformed(image.tvs or (), (x_um, y_um))
    return Place(image.image_id, image.section_number or 0, x_px, y_px, plane)


def given(exchange: Exchange) -> Place | None:
    """Return the first place that a service gave, as `image_sync` or without it."""
    for row in rows_of(envelope(exchange).get("msg")):
        sync = first_row(row.get("image_sync")) or row
        image = records.image_of({**sync, "id": sync.get("section_image_id")})
        point = _numbers(sync, ("x", "y"))
        if image and image.section_number is not None and point:
            return Place(image.image_id, image.section_number, *point)
    return None


def _numbers(row: Row, keys: Iterable[str]) -> list[float] | None:
    """Return the numbers under `keys`; None if one is missing."""
    found = [number(row.get(key)) for key in keys]
    known = [one for one in found if one is not None]
    return known if len(known) == len(found) else None
