"""The database of the sample: its records and experiments, as rows and links."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from allenfs.sample import experiments as known
from allenfs.sample.database import Database, facet
from allenfs.sample.records import DATA_SETS, RECORDS
from allenfs.sample.structure_rows import add_alignments, add_structures

if TYPE_CHECKING:
    from allenfs.sample.data_sets import DataSet
    from allenfs.sample.database import Value
    from allenfs.sample.experiments import Experiment, PlateSet
    from allenfs.sample.records import ImageRecord

#: a whole slide, of which a plate is a part; the recorded one is about 37408 high
_SLIDE_PX: Final = (19_328, 38_912)
#: the largest distance between neighbouring sections
_NEIGHBOUR_SECTIONS: Final = 4
_PLANE_IDS: Final = {"coronal": 1, "sagittal": 2}
_SPACE_IDS: Final = {"coronal": 9, "sagittal": 10}
_SPECIMENS_FROM: Final = 700_000
_TILE_PX: Final = 256
#: models whose rows have only a name
_NAMED: Final = (
    ("Organism", known.ORGANISMS),
    ("Orientation", known.ORIENTATIONS),
    ("PlaneOfSection", known.PLANES),
    ("ReferenceSpace", known.REFERENCE_SPACES),
    ("StructureGraph", known.STRUCTURE_GRAPHS),
)


def sample_database() -> Database:
    """Return a new database with everything that the sample service can draw."""
    database = Database()
    _add_vocabulary(database)
    for data_set in DATA_SETS:
        if data_set.kind == "atlas":
            _add_plates(database, data_set, known.PLATE_SETS[data_set.data_set_id])
        else:
            experiment = known.EXPERIMENTS[data_set.data_set_id]
            _add_sections(database, data_set, experiment)
    _link_neighbours(database)
    add_structures(database)
    add_alignments(database)
    database.add_null(
        "SectionDataSet", known.NULL_LIST_DATA_SET_ID, "section_images", 1
    )
    return database


def section_image(record: ImageRecord, *, failed: bool = False) -> dict[str, Value]:
    """Return the fields of a section image; x and y are those of its record."""
    storage = f"/external/sample/prod{record.data_set_id % 50}/{record.image_id}"
    return {
        **_sub_image(record, *_slide_px(record)),
        "annotated": False,
        "bits_per_component": 8,
        # Nissl sections and projections have no mask.
        "expression_path": f"{storage}_expression.aff"
        if record.style == "ish"
        else None,
        "failed": failed,
        "image_type": "Primary",
        "lims1_id": record.image_id % 100_000,
        "path": f"{storage}.aff",
    }


def tier_count(width_px: int, height_px: int) -> int:
    """Return the tiers of a slide: the last one fits a tile of 256 pixels."""
    return math.ceil(math.log2(max(width_px, height_px) / _TILE_PX)) + 1


def _slide_px(record: ImageRecord) -> tuple[int, int]:
    if record.slide is None:
        return record.width_px, record.height_px
    return record.slide.width_px, record.slide.height_px


def _sub_image(
    record: ImageRecord, slide_width_px: int, slide_height_px: int
) -> dict[str, Value]:
    return {
        "data_set_id": record.data_set_id,
        "height": record.height_px,
        "id": record.image_id,
        "image_height": slide_height_px,
        "image_width": slide_width_px,
        "number_of_components": 3,
        "resolution": record.resolution_um,
        "section_number": record.section_number,
        "tier_count": tier_count(slide_width_px, slide_height_px),
        "width": record.width_px,
        "x": record.left_px,
        "y": record.top_px,
    }


def _add_vocabulary(database: Database) -> None:
    """Add everything except data sets and images."""
    for product, abbreviation, name, resource, species in known.PRODUCTS:
        database.add(
            "Product", id=product, abbreviation=abbreviation, name=name,
            resource=resource, species=species, product_name_facet=facet(name),
            species_name_facet=facet(species),
        )  # fmt: skip
    for model, rows in _NAMED:
        for row_id, name in rows:
            database.add(model, id=row_id, name=name)
    for gene, acronym, name, entrez_id, organism in known.GENES:
        database.add(
            "Gene", id=gene, acronym=acronym, name=name, entrez_id=entrez_id,
            organism_id=organism, chromosome_id=entrez_id % 20 + 1,
        )  # fmt: skip
    for treatment, name, tags in known.TREATMENTS:
        database.add("Treatment", id=treatment, name=name, tags=tags)
    for age, name, days, organism in known.AGES:
        database.add(
            "Age", id=age, name=name, days=days, organism_id=organism, embryonic=False
        )
    for atlas, name, image_type, graph, group in known.ATLASES:
        database.add(
            "Atlas", id=atlas, name=name, image_type=image_type,
            structure_graph_id=graph, graphic_group_label_id=group,
        )  # fmt: skip


def _add_sections(database: Database, data_set: DataSet, known_of: Experiment) -> None:
    """Add a data set of sections with its images, specimen, genes and products."""
    set_id = data_set.data_set_id
    is_projection = data_set.style == "connectivity"
    fields: dict[str, Value] = {
        "id": set_id,
        "delegate": known_of.delegate,
        "expression": False,
        "failed": known_of.failed,
        "failed_facet": facet(str(known_of.failed).lower()),
        "green_channel": "rAAV" if is_projection else None,
        "plane_of_section_id": _PLANE_IDS[data_set.plane],
        "qc_date": known_of.qc_date,
        "red_channel": "background fluorescence" if is_projection else None,
        "reference_space_id": _SPACE_IDS[data_set.plane],
        "section_thickness": 100.0 if is_projection else 25.0,
        "specimen_id": _add_specimen(database, set_id, known_of),
        "sphinx_id": set_id % 1_000_000,
        "storage_directory": f"/external/sample/image_series_{set_id}/",
        "weight": 5000 + set_id % 500,
        **known.RECORDED_FIELDS.get(set_id, {}),
    }
    database.add("SectionDataSet", **fields)
    for product in known_of.products:
        database.link("SectionDataSet", set_id, "products", product)
    if known_of.gene is not None:
        database.link("SectionDataSet", set_id, "genes", known_of.gene)
        probe = database.add(
            "Probe",
            name=f"RP_{set_id % 1_000_000:06}",
            gene_id=known_of.gene,
            orientation_id=known_of.orientation,
        )
        database.link("SectionDataSet", set_id, "probes", probe)
        _link_gene(database, known_of.gene, product)
    if known_of.treatment is not None:
        database.link("SectionDataSet", set_id, "treatments", known_of.treatment)
    for image_id, *_ in data_set.images:
        failed = image_id in known.FAILED_IMAGE_IDS
        database.add("SectionImage", **section_image(RECORDS[image_id], failed=failed))
        if known_of.treatment is not None:
            database.link("SectionImage", image_id, "treatments", known_of.treatment)
    bounds = known.EQUALIZATIONS.get(set_id)
    if bounds is not None:
        red, green, blue = bounds
        database.add(
            "Equalization", id=set_id - 17, section_data_set_id=set_id,
            red_lower=0, red_upper=red, green_lower=0, green_upper=green,
            blue_lower=0, blue_upper=blue,
        )  # fmt: skip


def _link_gene(database: Database, gene: int, product: int) -> None:
    """Link a gene to a product, of which it may have several experiments, once."""
    entry = database.get("Gene", gene)
    linked = database.related(entry, "products") if entry else []
    if all(other is None or other.row["id"] != product for other in linked):
        database.link("Gene", gene, "products", product)


def _add_specimen(database: Database, set_id: int, known_of: Experiment) -> int:
    """Add the brain of an experiment and its donor; return the brain's id."""
    specimen_id = known_of.specimen or _SPECIMENS_FROM + set_id
    is_human = known_of.age == known.ADULT_HUMAN
    name = f"{5 + set_id % 3:02}-{set_id % 10_000:04}"
    donor_id = database.add(
        "Donor",
        name=name,
        age_id=known_of.age,
        organism_id=known.HUMAN_ORGANISM if is_human else known.MOUSE_ORGANISM,
        sex="M",
        strain=None if is_human else "C57BL/6J",
    )
    return database.add(
        "Specimen",
        id=specimen_id,
        name=name,
        donor_id=donor_id,
        hemisphere="(none)",
        specimen_id_path=f"/{specimen_id}/",
    )


def _add_plates(database: Database, data_set: DataSet, known_of: PlateSet) -> None:
    """Add an atlas data set with its plates, and link it to its atlases."""
    set_id = data_set.data_set_id
    database.add(
        "AtlasDataSet",
        id=set_id,
        expression=False,
        failed=False,
        plane_of_section_id=_PLANE_IDS[data_set.plane],
        reference_space_id=_SPACE_IDS[data_set.plane],
        section_thickness=25.0,
        storage_directory=f"/external/sample/atlas_{set_id}/",
        weight=5000 + set_id % 500,
    )
    database.link("AtlasDataSet", set_id, "products", known.MOUSE)
    database.link("AtlasDataSet", set_id, "treatments", known_of.treatment)
    for atlas in known_of.atlases:
        database.link("AtlasDataSet", set_id, "atlases", atlas)
    image_types = [
        image_type
        for atlas, _, image_type, *_ in known.ATLASES
        if atlas in known_of.atlases
    ]
    for image_id, *_ in data_set.images:
        annotated = image_id not in known_of.not_annotated
        path = f"/external/sample/atlas_{set_id}/{image_id}"
        database.add(
            "AtlasImage",
            **{
                **_sub_image(RECORDS[image_id], *_SLIDE_PX),
                "annotated": annotated,
                "failed": False,
                "image_type": "Primary",
                "path": f"{path}.aff",
            },
        )
        database.link("AtlasImage", image_id, "treatments", known_of.treatment)
        for image_type in image_types if annotated else ():
            drawn = f"{path}_{image_type.rpartition(' - ')[2].replace(' ', '_')}.aff"
            database.add(
                "AlternateImage",
                sub_image_id=image_id, image_type=image_type, path=drawn,
            )  # fmt: skip


def _link_neighbours(database: Database) -> None:
    """Link sections and plates of other stains to the closest Nissl section."""
    nissl = [
        record
        for record in RECORDS.values()
        if record.kind == "section" and record.style == "nissl"
    ]
    for record in RECORDS.values():
        if record in nissl or record.style not in ("ish", "nissl"):
            continue

        def distance(other: ImageRecord, record: ImageRecord = record) -> int:
            return abs(other.section_number - record.section_number)

        near = [other for other in nissl if other.plane == record.plane]
        closest = min(near, key=distance, default=None)
        if closest is not None and distance(closest) <= _NEIGHBOUR_SECTIONS:
            model = "SectionImage" if record.kind == "section" else "AtlasImage"
            database.link(model, record.image_id, "associates", closest.image_id)
