"""Files that allenfs generates from records: ``info.json`` and ``sections.csv``.

`DOCUMENTS` has one function for each document in the grammar (`tree.DOCUMENTS`).
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections.abc import Callable
from typing import TYPE_CHECKING

from allenfs.catalog import queries
from allenfs.model import records
from allenfs.model.rows import COEFFICIENTS_2D, first_row, positive
from allenfs.model.tree import INFO_FILE, SECTIONS_FILE
from allenfs.store.stored_file import Facts

if TYPE_CHECKING:
    from allenfs.catalog.repository import Repository
    from allenfs.model.records import SectionImage
    from allenfs.model.rows import Row
    from allenfs.service.single_flight import Caller

_COLUMNS = (
    *("section_number", "image_id", "width_px", "height_px"),
    *("resolution_um_per_px", "failed", "file_name", "x_px", "y_px"),
    *("position_um", "tier_count"),
    *(f"{name}_{n:02d}" for name in ("tsv", "tvs") for n in range(COEFFICIENTS_2D)),
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


def _section_info(repository: Repository, image_id: int, caller: Caller) -> Document:
    section = repository.existing(queries.section(image_id), caller)
    experiment: Row = {}
    fetched_ns = section.fetched_ns
    if section.record.data_set_id is not None:
        question = queries.data_set(section.record.data_set_id)
        data_set = repository.get(question, caller)
        experiment = data_set.record.record if data_set.record else {}
        fetched_ns = max(fetched_ns, data_set.fetched_ns)
    return _info(section.record.record, experiment, fetched_ns)


def _data_set_info(
    repository: Repository, data_set_id: int, caller: Caller
) -> Document:
    data_set = repository.existing(queries.data_set(data_set_id), caller)
    row = data_set.record.record
    return _info(row, row, data_set.fetched_ns)


def _plate_info(repository: Repository, image_id: int, caller: Caller) -> Document:
    plate = repository.existing(queries.plate(image_id), caller)
    row = plate.record.record
    return _info(row, first_row(row.get("atlas_data_set")), plate.fetched_ns)


def _atlas_info(repository: Repository, atlas_id: int, caller: Caller) -> Document:
    atlas = repository.existing(queries.atlas(atlas_id), caller)
    row = atlas.record.record
    experiment = first_row(row.get("atlas_data_sets"))
    experiment = experiment | {"treatments": list(atlas.record.treatments)}
    return _info(row, experiment, atlas.fetched_ns)


def _info(row: Row, experiment: Row, fetched_ns: int) -> Document:
    """Return a record of the service as JSON, with some fields of its experiment.

    These come first, and never replace a field of the service: ``plane`` (its name),
    ``treatments``, ``genes``, ``equalization`` and, where the experiment has them,
    its ``probes`` with their orientation (sense or antisense).
    """
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
    # a lone surrogate is valid in JSON, but not in UTF-8
    return Document(text.encode(errors="backslashreplace") + b"\n", fetched_ns)


def sections(repository: Repository, data_set_id: int, caller: Caller) -> Document:
    """Return one line for each image of a data set, in section order.

    A cell is empty if the record has no value. ``x_px`` and ``y_px`` are the
    image's corner on its slide, in full-resolution pixels. ``position_um`` is the
    section number times the thickness of a section; ``tsv`` maps pixels to um of the
    data set's volume, and ``tvs`` back (``geometry.py``).
    """
    data_set = repository.existing(queries.data_set(data_set_id), caller)
    record = data_set.record.record
    thickness_um = positive(record.get("section_thickness"))
    table = io.StringIO()
    writer = csv.writer(table, lineterminator="\n")
    writer.writerow(_COLUMNS)
    for image in data_set.record.images.values():
        writer.writerow(
            (
                *(image.section_number, image.image_id),
                *(image.width_px or "", image.height_px or ""),
                _cell(image.resolution_um),
                "true" if image.failed else "false",
                *(image.file_name, image.x_px, image.y_px),
                *(_cell(_position_um(image, thickness_um)), image.tier_count),
                *map(_cell, image.tsv or (None,) * COEFFICIENTS_2D),
                *map(_cell, image.tvs or (None,) * COEFFICIENTS_2D),
            )
        )
    return Document(table.getvalue().encode(), data_set.fetched_ns)


def _position_um(image: SectionImage, thickness_um: float | None) -> float | None:
    if image.section_number is None or thickness_um is None:
        return None
    return image.section_number * thickness_um


def _cell(value: float | None) -> str:
    return "" if value is None else f"{value:.12g}"


DOCUMENTS: dict[str, Callable[[Repository, int, Caller], Document]] = {
    f"section/ID/{INFO_FILE}": _section_info,
    f"dataset/ID/{INFO_FILE}": _data_set_info,
    f"dataset/ID/{SECTIONS_FILE}": sections,
    f"atlas/ID/{INFO_FILE}": _plate_info,
    f"browse/atlas/ID/{INFO_FILE}": _atlas_info,
}
