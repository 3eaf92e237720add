"""``info.json``: a record of the catalog, with fields of its experiment."""

from __future__ import annotations

from typing import TYPE_CHECKING

from allenfs.catalog import documents, queries
from allenfs.catalog.documents import Document
from allenfs.model import records
from allenfs.model.nodes import Subject

if TYPE_CHECKING:
    from collections.abc import Callable

    from allenfs.catalog.repository import Repository
    from allenfs.model.records import Row


def document(
    repository: Repository,
    subject: Subject,
    subject_id: int,
    interrupted: Callable[[], bool],
) -> Document:
    """Return the service's record of a section, plate, data set or atlas.

    Added fields: ``plane`` (its name), ``treatments``, ``genes``, ``equalization``
    and, for an experiment, its ``probes`` with their orientation (sense or
    antisense). A section has those of its data set.

    Raises
    ------
    PathNotFoundError
        The record does not exist.
    ServiceError, InterruptedWaitError
        The query failed.
    """
    if subject is Subject.SECTION:
        section = repository.existing(queries.section(subject_id), interrupted)
        row, fetched_ns = section.record.record, section.fetched_ns
        if section.record.data_set_id is None:
            return _written(row, {}, fetched_ns)
        question = queries.data_set(section.record.data_set_id)
        data_set = repository.get(question, interrupted)
        experiment = data_set.record.record if data_set.record else {}
        return _written(row, experiment, max(fetched_ns, data_set.fetched_ns))
    if subject is Subject.DATA_SET:
        own = repository.existing(queries.data_set(subject_id), interrupted)
        row = own.record.record
        return _written(row, row, own.fetched_ns)
    if subject is Subject.PLATE:
        plate = repository.existing(queries.plate(subject_id), interrupted)
        row = plate.record.record
        experiment = records.first_row(row.get("atlas_data_set"))
        return _written(row, experiment, plate.fetched_ns)
    atlas = repository.existing(queries.atlas(subject_id), interrupted)
    row = atlas.record.record
    experiment = records.first_row(row.get("atlas_data_sets"))
    treatments = {"treatments": list(atlas.record.treatments)}
    return _written(row, experiment | treatments, atlas.fetched_ns)


def _written(row: Row, experiment: Row, fetched_ns: int) -> Document:
    added = {
        "plane": records.plane_of(experiment),
        "treatments": experiment.get("treatments", []),
        "genes": experiment.get("genes", []),
        "equalization": experiment.get("equalization"),
    }
    if "probes" in experiment:  # an atlas has none
        added["probes"] = experiment["probes"]
    return Document(documents.info(row, added), fetched_ns)
