"""The drawing of a plate: ``svg_download``, the vector form of its annotation.

The service draws the groups of graphics that a request names, and nothing without
them: an empty document of some 108 bytes was recorded, also for images without
annotation. So a request has the groups of all atlases of the plate, from its record.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from allenfs.errors import PathNotFoundError
from allenfs.model.images import (
    ID_PATTERN,
    ImageRequest,
    ImageService,
    no_path,
    parts_of_url,
    refuse_other_parameters,
)
from allenfs.model.rows import record_id, rows_of
from allenfs.model.svg import MAX_BYTES, SVG

if TYPE_CHECKING:
    from allenfs.model.content import Content
    from allenfs.model.records import ImageRecord

DRAWING_FILE = "drawing.svg"
_ENDPOINT, _INLINE = "svg_download", "svg"  # to save, and to show in a page
_GROUPS = re.compile(rf"{ID_PATTERN.pattern}(?:,{ID_PATTERN.pattern})*")
# The store's file name has room for ten ids of 18 digits. A plate has one to three.
_MAX_GROUPS = 10


@dataclass(frozen=True, slots=True)
class DrawingRequest:
    """The request for one drawing: equal requests share one stored file and one URL.

    `groups` are ids of graphic group labels, ascending. `downsample` divides width and
    height by 2 to its power, 0 to 10; the paths have the coordinates of the full
    resolution, below a ``scale``.
    """

    image_id: int
    groups: tuple[int, ...]
    downsample: int = 0

    @property
    def service(self) -> ImageService:
        """The first name of the path."""
        return ImageService.ATLAS

    @property
    def content(self) -> Content:
        """What the service's answer must be."""
        return SVG

    @property
    def path(self) -> str:
        """Canonical path below the mountpoint: the groups are in the plate's record."""
        return "/".join([*self._directories, DRAWING_FILE])

    @property
    def key(self) -> str:
        """Path in the store.

        With the groups: the bytes depend on them, and a later record may name others.
        """
        groups = ",".join(map(str, self.groups))
        return "/".join([*self._directories, f"groups{groups}", DRAWING_FILE])

    @property
    def _directories(self) -> list[str]:
        names = [self.service.value, str(self.image_id)]
        return [*names, f"ds{self.downsample}"] if self.downsample else names

    def url(self, base_url: str) -> str:
        """Return the download URL below `base_url` (``https://host``)."""
        query = [f"groups={','.join(map(str, self.groups))}"] if self.groups else []
        if self.downsample:
            # after the groups, as in svg/100960224?groups=28&downsample=4, recorded
            query.append(f"downsample={self.downsample}")
        url = f"{base_url}/api/v2/{_ENDPOINT}/{self.image_id}"
        return f"{url}?{'&'.join(query)}" if query else url

    def size_bound_bytes(self, _: tuple[int, int] | None = None) -> int:
        """Return an upper bound of the size: a larger answer is rejected."""
        return MAX_BYTES


def drawing_of(plate: ImageRecord, downsample: int = 0) -> DrawingRequest | None:
    """Return the drawing of a plate; None if its record has none.

    It has none if it is not annotated, or if none of its atlases has a group.
    """
    groups = {
        group
        for data_set in rows_of(plate.record.get("atlas_data_set"))
        for atlas in rows_of(data_set.get("atlases"))
        if (group := record_id(atlas, "graphic_group_label_id")) is not None
    }
    if not plate.image.annotated or not 0 < len(groups) <= _MAX_GROUPS:
        return None
    return DrawingRequest(plate.image.image_id, tuple(sorted(groups)), downsample)


def drawing_of_url(url: str) -> DrawingRequest | None:
    """Return the drawing of a download URL; None if it is the URL of something else.

    Its groups are those of the URL, if it has any. UrlError if no path corresponds to
    it.
    """
    parts = parts_of_url(url)
    if parts is None or parts.endpoint not in (_ENDPOINT, _INLINE):
        return None
    image_id, query = parts.image_id, parts.query
    groups, downsample = query.pop("groups", ""), query.pop("downsample", "0")
    try:
        refuse_other_parameters(query)
        if groups and not _GROUPS.fullmatch(groups):
            raise PathNotFoundError(f"not a list of groups: {groups!r}")
        plate = ImageRequest(ImageService.ATLAS, image_id)
        _, plate = plate.with_parameter(f"ds{downsample}")
    except PathNotFoundError as error:
        raise no_path(url, error) from error
    ids = sorted({int(group) for group in groups.split(",") if group})
    return DrawingRequest(image_id, tuple(ids), plate.downsample)
