"""``stack.zarr``: the sections of a data set as the planes of one volume."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING, NamedTuple

from allenfs.model.pyramids import Plane, Pyramid, Spacing, level_count

if TYPE_CHECKING:
    from allenfs.model.images import ImageRequest
    from allenfs.model.records import SectionImage


class Section(NamedTuple):
    """A section, and the request for it at full resolution."""

    image: SectionImage
    request: ImageRequest


def volume(
    sections: Iterable[Section], thickness_um: float | None, fill_value: int
) -> Pyramid | None:
    """Return a volume of sections; None if none of them has a place in it.

    Planes are at equal distances, the greatest that fits all section numbers; those
    without a section are empty. Each section is centred, as far as its pixels then are
    whole pixels of each level. A section whose record has no number, size or corner is
    omitted, and so are all but the one with the lowest id, if several have one number.

    Parameters
    ----------
    thickness_um : float or None
        The distance from one section number to the next.
    """
    placed: dict[int, Section] = {}
    omitted: list[int] = []
    for one in sorted(sections, key=lambda section: section.image.image_id):
        number = one.image.section_number
        if number is None or number in placed or not _has_place(one.image):
            omitted.append(one.image.image_id)
        else:
            placed[number] = one
    if not placed:
        return None
    first = min(placed)
    step = math.gcd(*(number - first for number in placed)) or 1
    images = [section.image for section in placed.values()]
    width_px = max(image.width_px for image in images)
    height_px = max(image.height_px for image in images)
    levels = min(
        level_count((image.width_px, image.height_px), image.tier_count)
        for image in images
    )

    def shift_px(free_px: int) -> int:
        return free_px // 2 >> levels - 1 << levels - 1

    planes = {}
    for number, (image, request) in sorted(placed.items()):
        planes[(number - first) // step] = Plane(
            request,
            (image.width_px, image.height_px),
            image.corner_px or (0, 0),
            (
                shift_px(width_px - image.width_px),
                shift_px(height_px - image.height_px),
            ),
        )
    resolutions_um = {image.resolution_um for image in images} - {None}
    return Pyramid(
        (width_px, height_px),
        levels,
        resolutions_um.pop() if len(resolutions_um) == 1 else None,
        fill_value,
        planes,
        Spacing(
            max(planes) + 1, step, None if thickness_um is None else step * thickness_um
        ),
        {
            "allenfs": {
                "sections": [
                    {
                        "z": z,
                        "section_number": first + z * step,
                        "image_id": plane.request.image_id,
                        "x_px": plane.shift_px[0],
                        "y_px": plane.shift_px[1],
                    }
                    for z, plane in planes.items()
                ],
                "omitted_image_ids": omitted,
            }
        },
    )


def _has_place(image: SectionImage) -> bool:
    return bool(image.width_px and image.height_px) and image.corner_px is not None
