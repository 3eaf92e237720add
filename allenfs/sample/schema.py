"""The models of the sample database: their fields, tables and associations."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Final, Literal


@dataclass(frozen=True, slots=True)
class Association:
    """How the rows of one model link to those of another.

    There are three ways: `field` is a field of this model that holds the other's id;
    `target_field` is a field of the other model that holds this one's id; `link` is
    the name of a table of pairs, of which this model's id is the one at `side`.
    """

    target: str
    many: bool = False
    field: str = ""
    target_field: str = ""
    link: str = ""
    side: Literal[0, 1] = 0


@dataclass(frozen=True, slots=True)
class Model:
    """One model; `parts` are the models whose rows are its rows, if it has no own."""

    table: str
    fields: tuple[str, ...] = ()
    associations: tuple[tuple[str, Association], ...] = ()
    parts: tuple[str, ...] = ()


def _one(target: str, field: str) -> Association:
    return Association(target, field=field)


def _children(target: str, target_field: str, *, many: bool = True) -> Association:
    return Association(target, many, target_field=target_field)


def _linked(target: str, link: str, side: Literal[0, 1] = 0) -> Association:
    return Association(target, many=True, link=link, side=side)


#: recorded: the keys of a SectionImage; plates are rows of the same table
_SUB_IMAGE_FIELDS: Final = (
    "annotated", "axes", "bits_per_component", "data_set_id", "expression",
    "expression_path", "failed", "height", "id", "image_height", "image_type",
    "image_width", "isi_experiment_id", "lims1_id", "number_of_components",
    "ophys_experiment_id", "path", "projection_function", "resolution",
    "section_number", "specimen_id", "structure_id", "tier_count", "width", "x", "y",
)  # fmt: skip
#: recorded: the keys of a SectionDataSet
_SECTION_DATA_SET_FIELDS: Final = (
    "blue_channel", "delegate", "expression", "failed", "failed_facet",
    "green_channel", "id", "name", "plane_of_section_id", "qc_date", "red_channel",
    "reference_space_id", "rnaseq_design_id", "section_thickness", "specimen_id",
    "sphinx_id", "storage_directory", "weight",
)  # fmt: skip
_ATLAS_DATA_SET_FIELDS: Final = (
    "expression", "failed", "id", "name", "plane_of_section_id", "qc_date",
    "reference_space_id", "rnaseq_design_id", "section_thickness", "specimen_id",
    "sphinx_id", "storage_directory", "weight",
)  # fmt: skip

_STRUCTURE_FIELDS: Final = (
    "acronym", "atlas_id", "color_hex_triplet", "depth", "failed", "failed_facet",
    "graph_id", "graph_order", "hemisphere_id", "id", "name",
    "neuro_name_structure_id", "neuro_name_structure_id_path", "ontology_id",
    "parent_structure_id", "safe_name", "sphinx_id", "st_level",
    "structure_id_path", "structure_name_facet", "weight",
)  # fmt: skip


def _numbered(count: int, *names: str) -> tuple[str, ...]:
    return tuple(f"{name}_{place:02}" for name in names for place in range(count))


MODELS: Final[dict[str, Model]] = {
    "SectionImage": Model(
        "sub_images",
        _SUB_IMAGE_FIELDS,
        (
            ("data_set", _one("SectionDataSet", "data_set_id")),
            ("section_data_set", _one("SectionDataSet", "data_set_id")),
            ("associates", _linked("SectionImage", "section_associates")),
            ("treatments", _linked("Treatment", "section_treatments")),
            ("structure", _one("Structure", "structure_id")),
            (
                "alignment2d",
                _children("Alignment2d", "section_image_id", many=False),
            ),
        ),
    ),
    "AtlasImage": Model(
        "sub_images",
        _SUB_IMAGE_FIELDS,
        (
            ("data_set", _one("AtlasDataSet", "data_set_id")),
            ("atlas_data_set", _one("AtlasDataSet", "data_set_id")),
            ("associates", _linked("SectionImage", "plate_associates")),
            ("treatments", _linked("Treatment", "plate_treatments")),
            ("alternate_images", _children("AlternateImage", "sub_image_id")),
            ("structure", _one("Structure", "structure_id")),
        ),
    ),
    "SubImage": Model("sub_images", parts=("SectionImage", "AtlasImage")),
    "SectionDataSet": Model(
        "data_sets",
        _SECTION_DATA_SET_FIELDS,
        (
            ("section_images", _children("SectionImage", "data_set_id")),
            (
                "equalization",
                _children("Equalization", "section_data_set_id", many=False),
            ),
            ("genes", _linked("Gene", "section_genes")),
            ("plane_of_section", _one("PlaneOfSection", "plane_of_section_id")),
            ("probes", _linked("Probe", "section_probes")),
            ("products", _linked("Product", "section_products")),
            ("reference_space", _one("ReferenceSpace", "reference_space_id")),
            ("specimen", _one("Specimen", "specimen_id")),
            ("treatments", _linked("Treatment", "section_set_treatments")),
            ("alignment3d", _children("Alignment3d", "aligned_id", many=False)),
            (
                "structure_unionizes",
                _children("StructureUnionize", "section_data_set_id"),
            ),
        ),
    ),
    "AtlasDataSet": Model(
        "data_sets",
        _ATLAS_DATA_SET_FIELDS,
        (
            ("atlas_images", _children("AtlasImage", "data_set_id")),
            ("atlases", _linked("Atlas", "atlas_data_sets", 1)),
            ("plane_of_section", _one("PlaneOfSection", "plane_of_section_id")),
            ("products", _linked("Product", "atlas_products")),
            ("reference_space", _one("ReferenceSpace", "reference_space_id")),
            ("specimen", _one("Specimen", "specimen_id")),
            ("treatments", _linked("Treatment", "atlas_set_treatments")),
        ),
    ),
    "DataSet": Model("data_sets", parts=("SectionDataSet", "AtlasDataSet")),
    "Atlas": Model(
        "atlases",
        (
            "graphic_group_label_id", "id", "image_type", "name",
            "reference_space_id", "specimen_id", "structure_graph_id",
            "treatment_id", "xyz_sort",
        ),
        (
            ("atlas_data_sets", _linked("AtlasDataSet", "atlas_data_sets")),
            ("reference_space", _one("ReferenceSpace", "reference_space_id")),
            ("structure_graph", _one("StructureGraph", "structure_graph_id")),
            ("treatment", _one("Treatment", "treatment_id")),
        ),
    ),
    "Product": Model(
        "products",
        (
            "abbreviation", "description", "id", "name", "product_name_facet",
            "resource", "species", "species_name_facet", "tags",
        ),
        (
            ("data_sets", _linked("SectionDataSet", "section_products", 1)),
            ("section_data_sets", _linked("SectionDataSet", "section_products", 1)),
            ("atlas_data_sets", _linked("AtlasDataSet", "atlas_products", 1)),
            ("genes", _linked("Gene", "gene_products", 1)),
        ),
    ),
    "Gene": Model(
        "genes",
        (
            "acronym", "alias_tags", "chromosome_id", "ensembl_id", "entrez_id",
            "homologene_id", "id", "legacy_ensembl_gene_id", "name", "organism_id",
            "sphinx_id", "type",
        ),
        (
            ("data_sets", _linked("SectionDataSet", "section_genes", 1)),
            ("section_data_sets", _linked("SectionDataSet", "section_genes", 1)),
            ("organism", _one("Organism", "organism_id")),
            ("products", _linked("Product", "gene_products")),
        ),
    ),
    "Probe": Model(
        "probes",
        ("gene_id", "id", "name", "orientation_id"),
        (
            ("data_sets", _linked("SectionDataSet", "section_probes", 1)),
            ("section_data_sets", _linked("SectionDataSet", "section_probes", 1)),
            ("gene", _one("Gene", "gene_id")),
            ("orientation", _one("Orientation", "orientation_id")),
        ),
    ),
    "Orientation": Model("orientations", ("id", "name")),
    "Treatment": Model(
        "treatments",
        ("id", "name", "tags"),
        (
            ("data_sets", _linked("SectionDataSet", "section_set_treatments", 1)),
            (
                "section_data_sets",
                _linked("SectionDataSet", "section_set_treatments", 1),
            ),
        ),
    ),
    "Equalization": Model(
        "equalizations",
        (
            "blue_lower", "blue_mean", "blue_std_dev", "blue_upper", "green_lower",
            "green_mean", "green_std_dev", "green_upper", "id", "red_lower",
            "red_mean", "red_std_dev", "red_upper", "section_data_set_id",
        ),
        (("section_data_set", _one("SectionDataSet", "section_data_set_id")),),
    ),
    "PlaneOfSection": Model(
        "plane_of_sections",
        ("id", "name"),
        (
            ("data_sets", _children("SectionDataSet", "plane_of_section_id")),
            ("section_data_sets", _children("SectionDataSet", "plane_of_section_id")),
        ),
    ),
    "AlternateImage": Model(
        "alternate_images", ("id", "image_type", "path", "sub_image_id")
    ),
    "ReferenceSpace": Model("reference_spaces", ("id", "name")),
    "Organism": Model("organisms", ("id", "name")),
    "Alignment2d": Model(
        "alignment2ds",
        ("id", "section_image_id", *_numbered(6, "tsv", "tvs")),
        (("section_image", _one("SectionImage", "section_image_id")),),
    ),
    "Alignment3d": Model(
        "alignment3ds",
        ("aligned_id", "aligned_type", "id", *_numbered(12, "trv", "tvr")),
    ),
    "Structure": Model(
        "structures",
        _STRUCTURE_FIELDS,
        (
            ("parent", _one("Structure", "parent_structure_id")),
            ("structure_centers", _children("StructureCenter", "structure_id")),
            ("structure_graph", _one("StructureGraph", "graph_id")),
        ),
    ),
    "StructureUnionize": Model(
        "structure_unionizes",
        (
            "expression_density", "expression_energy", "id", "section_data_set_id",
            "structure_id", "sum_expressing_pixel_intensity", "sum_expressing_pixels",
            "sum_pixel_intensity", "sum_pixels", "voxel_energy_cv",
            "voxel_energy_mean",
        ),
        (
            ("section_data_set", _one("SectionDataSet", "section_data_set_id")),
            ("structure", _one("Structure", "structure_id")),
        ),
    ),
    "StructureCenter": Model(
        "structure_centers",
        ("id", "reference_space_id", "structure_id", "x", "y", "z"),
        (
            ("reference_space", _one("ReferenceSpace", "reference_space_id")),
            ("structure", _one("Structure", "structure_id")),
        ),
    ),
    "StructureGraph": Model("structure_graphs", ("id", "name")),
    "Specimen": Model(
        "specimens",
        ("donor_id", "hemisphere", "id", "name", "specimen_id_path"),
        (("donor", _one("Donor", "donor_id")),),
    ),
    "Donor": Model(
        "donors",
        ("age_id", "id", "name", "organism_id", "sex", "strain"),
        (("age", _one("Age", "age_id")), ("organism", _one("Organism", "organism_id"))),
    ),
    "Age": Model("ages", ("days", "embryonic", "id", "name", "organism_id")),
}  # fmt: skip


def concrete(model: str) -> tuple[str, ...]:
    """Return the models whose rows are those of `model`: itself, or its parts."""
    return MODELS[model].parts or (model,)


@functools.cache
def find_association(model: str, name: str) -> Association | None:
    """Return the association of a model, or of the first part that has it."""
    for part in concrete(model):
        found = dict(MODELS[part].associations).get(name)
        if found is not None:
            return found
    return None


def has_field(model: str, name: str) -> bool:
    """Return whether the rows of a model have that field."""
    return any(name in MODELS[part].fields for part in concrete(model))
