"""Rows that tie structures to images: centres, alignments, unionizes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, cast

from allenfs.sample.alignments import (
    coefficients2d,
    coefficients3d,
    image_from_volume,
    volume_from_drawing,
    volume_from_space,
)
from allenfs.sample.centers import (
    CENTERS,
    CORONAL_SPACE,
    ONE_SPACE,
    SAGITTAL_SPACE,
    SPACE_WIDTH_UM,
)
from allenfs.sample.database import facet
from allenfs.sample.experiments import DENTATE_SECTIONS, FAILED_IMAGE_IDS
from allenfs.sample.records import RECORDS
from allenfs.sample.structures import STRUCTURES
from allenfs.sample.unionizes import add_unionizes

if TYPE_CHECKING:
    from allenfs.sample.database import Database
    from allenfs.sample.frame import Matrix
    from allenfs.sample.records import ImageRecord

#: of the adult mouse: structure graph and ontology
_GRAPH_ID: Final = 1
_BOTH_HEMISPHERES: Final = 3
#: recorded for every structure of the graph
_WEIGHT: Final = 8690


def add_structures(database: Database) -> None:
    """Add the structures of the adult mouse, with their centres."""
    paths: dict[int | None, tuple[str, int]] = {None: ("/", -1)}
    for each in STRUCTURES.values():
        above, depth = paths[each.parent_id]
        path = f"{above}{each.structure_id}/"
        paths[each.structure_id] = (path, depth + 1)
        database.add(
            "Structure",
            id=each.structure_id,
            acronym=each.acronym,
            atlas_id=each.atlas_id,
            color_hex_triplet=each.color,
            depth=depth + 1,
            failed=False,
            failed_facet=facet("false"),
            graph_id=_GRAPH_ID,
            graph_order=each.graph_order,
            hemisphere_id=_BOTH_HEMISPHERES,
            name=each.name,
            ontology_id=_GRAPH_ID,
            parent_structure_id=each.parent_id,
            safe_name=each.name.replace(",", ""),
            sphinx_id=each.graph_order + 1,
            st_level=each.st_level,
            structure_id_path=path,
            structure_name_facet=facet(each.name),
            weight=_WEIGHT,
        )
    for acronym, center in CENTERS.items():
        _, p_um, i_um, r_um = center
        sides = {CORONAL_SPACE: r_um, SAGITTAL_SPACE: SPACE_WIDTH_UM - r_um}
        if acronym in ONE_SPACE:
            del sides[SAGITTAL_SPACE]
        for space, side_um in sides.items():
            database.add(
                "StructureCenter",
                structure_id=STRUCTURES[acronym].structure_id,
                reference_space_id=space,
                x=p_um,
                y=i_um,
                z=side_um,
            )


def add_alignments(database: Database) -> None:
    """Add the alignments of data sets and their images, and the unionizes that follow.

    A failed image has no alignment.
    """
    by_set: dict[int, list[ImageRecord]] = {}
    spaces: dict[int, Matrix] = {}
    for record in RECORDS.values():
        by_set.setdefault(record.data_set_id, []).append(record)
    for set_id, dentate_section in DENTATE_SECTIONS.items():
        records = by_set[set_id]
        entry = database.get("SectionDataSet", set_id)
        thickness_um = cast("float", entry.row["section_thickness"]) if entry else 0.0
        volume = volume_from_drawing(records)
        space = volume_from_space(records[0], volume, thickness_um, dentate_section)
        spaces[set_id] = space
        database.add(
            "Alignment3d",
            aligned_id=set_id,
            aligned_type="DataSet",
            **coefficients3d(space),
        )
        for record in records:
            if record.image_id not in FAILED_IMAGE_IDS:
                database.add(
                    "Alignment2d",
                    section_image_id=record.image_id,
                    **coefficients2d(image_from_volume(record, volume)),
                )
    add_unionizes(database, spaces, by_set)
