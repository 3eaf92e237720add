"""Rows in bulk, to test clients with a larger database."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from allenfs.sample.content import section_image
from allenfs.sample.experiments import ISH, MOUSE, MOUSE_ORGANISM
from allenfs.sample.records import ImageRecord

if TYPE_CHECKING:
    from allenfs.sample.data_sets import Plane
    from allenfs.sample.database import Database

_WIDTH_PX, _HEIGHT_PX = 11_409, 7_985


def add_genes(
    database: Database, acronyms: Iterable[str], *, product: int = MOUSE
) -> list[int]:
    """Add a gene per acronym and link it to the product; return their ids."""
    ids = []
    for acronym in acronyms:
        gene = database.add(
            "Gene", acronym=acronym, name=acronym, organism_id=MOUSE_ORGANISM
        )
        database.link("Gene", gene, "products", product)
        ids.append(gene)
    return ids


def add_data_set(
    database: Database,
    data_set_id: int,
    image_ids: Iterable[int] = (),
    *,
    genes: Iterable[int] = (),
    products: Iterable[int] = (MOUSE,),
    treatment: int = ISH,
    plane: Plane = "sagittal",
    failed: bool = False,
) -> None:
    """Add a section data set, with one section image per id, ten sections apart.

    The service cannot draw these images.
    """
    database.add(
        "SectionDataSet",
        id=data_set_id,
        delegate=False,
        expression=False,
        failed=failed,
        plane_of_section_id=1 if plane == "coronal" else 2,
        section_thickness=25.0,
    )
    for gene in genes:
        database.link("SectionDataSet", data_set_id, "genes", gene)
    for product in products:
        database.link("SectionDataSet", data_set_id, "products", product)
    database.link("SectionDataSet", data_set_id, "treatments", treatment)
    for place, image_id in enumerate(image_ids):
        record = ImageRecord(
            image_id, "section", _WIDTH_PX, _HEIGHT_PX, 0, 0, 10 * (place + 1),
            data_set_id, "ish", plane, 1.049, "",
        )  # fmt: skip
        database.add("SectionImage", **section_image(record))
        database.link("SectionImage", image_id, "treatments", treatment)
