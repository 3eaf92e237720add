"""Files that allenfs generates from records: ``info.json`` and ``sections.csv``.

`DOCUMENTS` has one function for each file name in the grammar (`tree.DOCUMENTS`).
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
from typing import TYPE_CHECKING

from allenfs.catalog import queries
from allenfs.model import records
from allenfs.model.nodes import Subject
from allenfs.model.tree import INFO_FILE, SECTIONS_FILE
from allenfs.store.stored_file import Facts

if TYPE_CHECKING:
    from collections.abc import Callable

    from allenfs.catalog.repository import Repository
    from allenfs.model.records import Row
    from allenfs.service.single_flight import Caller

_COLUMNS = (
    *("section_number", "image_id", "width_px", "height_px"),
    *("resolution_um_per_px", "failed", "file_name", "x_px", "y_px"),
)


class Document:
    """Immutable bytes, read like an image."""

    def __init__(self, data: bytes, modified_ns: int) -> None:
        digest = hashlib.sha256(data).hexdigest()
        self.facts = Facts(len(data), digest, modified_ns, modified_ns)
        self._data = data

    def read(self, offset: int, size: int) -> bytes:
        """Return bytes [offset, offset + size); shorter only at the end."""
        return self._data[offset : offset + size]


def info(
    repository: Repository, subject: Subject, subject_id: int, caller: Caller
) -> Document:
    """Return the service's record of a section, plate, data set or atlas, as JSON.

    Added fields come first, and never replace a field of the service: ``plane`` (its
    name), ``treatments``, ``genes``, ``equalization`` and, for an experiment, its
    ``probes`` with their orientation (sense or antisense). A section has those of its
    data set.
    """
    experiment: Row
    match subject:
        case Subject.SECTION:
            section = repository.existing(queries.section(subject_id), caller)
            row, fetched_ns = section.record.record, section.fetched_ns
            experiment = {}
            if section.record.data_set_id is not None:
                question = queries.data_set(section.record.data_set_id)
                data_set = repository.get(question, caller)
                experiment = data_set.record.record if data_set.record else {}
                fetched_ns = max(fetched_ns, data_set.fetched_ns)
        case Subject.DATA_SET:
            own = repository.existing(queries.data_set(subject_id), caller)
            row, fetched_ns = own.record.record, own.fetched_ns
            experiment = row
        case Subject.PLATE:
            plate = repository.existing(queries.plate(subject_id), caller)
            row, fetched_ns = plate.record.record, plate.fetched_ns
            experiment = records.first_row(row.get("atlas_data_set"))
        case Subject.ATLAS:
            atlas = repository.existing(queries.atlas(subject_id), caller)
            row, fetched_ns = atlas.record.record, atlas.fetched_ns
            experiment = {
                **records.first_row(row.get("atlas_data_sets")),
                "treatments": list(atlas.record.treatments),
            }
    added = {
        "plane": records.plane_of(experiment),
        "treatments": experiment.get("treatments", []),
        "genes": experiment.get("genes", []),
        "equalization": experiment.get("equalization"),
    }
    if "probes" in experiment:  # an atlas has none
        added["probes"] = experiment["probes"]
    whole = {name: value for name, value in added.items() if name not in row} | row
    text = json.dumps(whole, indent=2, ensure_ascii=False)
    # half a surrogate pair is valid JSON, but not UTF-8
    return Document(text.encode(errors="backslashreplace") + b"\n", fetched_ns)


def sections(
    repository: Repository, _: Subject, data_set_id: int, caller: Caller
) -> Document:
    """Return one line for each image of a data set, in section order.

    A cell is empty if the record has no value. ``x_px`` and ``y_px`` are the
    image's corner on its slide, in full-resolution pixels.
    """
    data_set = repository.existing(queries.data_set(data_set_id), caller)
    table = io.StringIO()
    writer = csv.writer(table, lineterminator="\n")
    writer.writerow(_COLUMNS)
    for image in data_set.record.images.values():
        writer.writerow(
            (
                *(image.section_number, image.image_id),
                *(image.width_px or "", image.height_px or ""),
                "" if image.resolution_um is None else f"{image.resolution_um:.12g}",
                "true" if image.failed else "false",
                *(image.file_name, image.x_px, image.y_px),
            )
        )
    return Document(table.getvalue().encode(), data_set.fetched_ns)


DOCUMENTS: dict[str, Callable[[Repository, Subject, int, Caller], Document]] = {
    INFO_FILE: info,
    SECTIONS_FILE: sections,
}
