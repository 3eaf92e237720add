"""Files that allenfs generates: records as JSON, data sets as tables."""

from __future__ import annotations

import csv
import hashlib
import io
import json
from typing import TYPE_CHECKING, Any, Protocol

from allenfs.store.stored_file import Facts

if TYPE_CHECKING:
    from allenfs.model.records import Collection, Row

_COLUMNS = (
    *("section_number", "image_id", "width_px", "height_px"),
    *("resolution_um_per_px", "failed", "file_name", "x_px", "y_px"),
)


class Readable(Protocol):
    """The content of an open file."""

    @property
    def facts(self) -> Facts:
        """Size and time."""

    def read(self, offset: int, size: int) -> bytes:
        """Return bytes [offset, offset + size); shorter only at the end."""


class Document:
    """Immutable bytes, read like an image.

    Attributes
    ----------
    facts : Facts
    """

    def __init__(self, data: bytes, modified_ns: int) -> None:
        digest = hashlib.sha256(data).hexdigest()
        self.facts = Facts(len(data), digest, modified_ns, modified_ns)
        self._data = data

    def read(self, offset: int, size: int) -> bytes:
        """Return bytes [offset, offset + size); shorter only at the end."""
        return self._data[offset : offset + size]


def info(record: Row, added: dict[str, Any]) -> bytes:
    """Return ``info.json``: the service's record, and fields that allenfs adds.

    Added fields come first, and never replace a field of the service.
    """
    whole = {name: value for name, value in added.items() if name not in record}
    text = json.dumps(whole | record, indent=2, ensure_ascii=False)
    # half a surrogate pair is valid JSON, but not UTF-8
    return text.encode(errors="backslashreplace") + b"\n"


def sections(data_set: Collection) -> bytes:
    """Return ``sections.csv``: one line for each image, in section order.

    A cell is empty if the record has no value. ``x_px`` and ``y_px`` are the
    image's corner on its slide, in full-resolution pixels.
    """
    table = io.StringIO()
    writer = csv.writer(table, lineterminator="\n")
    writer.writerow(_COLUMNS)
    for image in data_set.images.values():
        writer.writerow(
            (
                *(image.section_number, image.image_id),
                *(image.width_px or "", image.height_px or ""),
                "" if image.resolution_um is None else f"{image.resolution_um:.12g}",
                "true" if image.failed else "false",
                *(image.file_name, image.x_px, image.y_px),
            )
        )
    return table.getvalue().encode()
