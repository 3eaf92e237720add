"""The records of each data set, except its images: plain data.

*Recorded* are: products 1, 3 and 5, the id of product 17, treatments 3, 5 and 16,
planes, reference spaces, orientations of probes, the three equalizations, atlases with
their graphs and groups, and the fields of the section data sets 123, 479, 69289763 and
100055044. The rest is invented: gene ids, specimens, probes, treatments 1 and
21, reference space 7, the abbreviations of products 5, 12 and 17.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

MOUSE, DEV_MOUSE, CONNECTIVITY, REFERENCE, TUMOR = 1, 3, 5, 12, 17

#: id, abbreviation, name, resource, species
PRODUCTS: Final = (
    (MOUSE, "Mouse", "Mouse Brain", "Allen Mouse Brain Atlas", "Mouse"),
    (
        DEV_MOUSE, "DevMouse", "Developing Mouse Brain",
        "Allen Developing Mouse Brain Atlas", "Mouse"
    ),
    (
        CONNECTIVITY, "MouseConn", "Mouse Connectivity Projection",
        "Allen Mouse Brain Connectivity Atlas", "Mouse"
    ),
    (
        REFERENCE, "MouseRef", "Mouse reference",
        "Allen Mouse Brain Atlas", "Mouse"
    ),
    (
        TUMOR, "Glioblastoma", "Glioblastoma",
        "Ivy Glioblastoma Atlas Project", "Human"
    ),
)  # fmt: skip

HUMAN_ORGANISM, MOUSE_ORGANISM = 1, 2
ORGANISMS: Final = ((HUMAN_ORGANISM, "Homo Sapiens"), (MOUSE_ORGANISM, "Mus musculus"))

ADORA2A, PDYN, CALB1, CRH = 11323, 18376, 12096, 12694
PROX1, H2_K1, NPY = 18893, 14751, 19106
#: id, acronym, name, Entrez id, organism
GENES: Final = (
    (ADORA2A, "Adora2a", "adenosine A2a receptor", 11540, MOUSE_ORGANISM),
    (PDYN, "Pdyn", "prodynorphin", 18610, MOUSE_ORGANISM),
    (CALB1, "Calb1", "calbindin 1", 12307, MOUSE_ORGANISM),
    (CRH, "Crh", "corticotropin releasing hormone", 12918, MOUSE_ORGANISM),
    (PROX1, "Prox1", "prospero homeobox 1", 19130, MOUSE_ORGANISM),
    (H2_K1, "H2-K1", "histocompatibility 2, K1, K region", 14972, MOUSE_ORGANISM),
    (NPY, "Npy", "neuropeptide Y", 109648, MOUSE_ORGANISM),
    # Acronyms are case-sensitive: this one has no experiment here.
    (78, "CALB1", "calbindin 1, 28kDa", 793, HUMAN_ORGANISM),
)

SENSE, ANTISENSE = 1, 2
ORIENTATIONS: Final = ((SENSE, "Sense"), (ANTISENSE, "Antisense"))

ISH, NISSL, SMI_32, PARVALBUMIN, HE = 1, 3, 5, 16, 21
TREATMENTS: Final = (
    (ISH, "ISH", "In Situ Hybridization histology"),
    (NISSL, "NISSL", "histology"),
    (SMI_32, "SMI-32", "histology"),
    (PARVALBUMIN, "Parvalbumin", "histology"),
    (HE, "H&E", "histology"),
)

PLANES: Final = (
    (1, "coronal"), (2, "sagittal"), (4, "variable"), (5, "n/a"), (6, "transverse"),
    (7, "Lateral to Medial"), (8, "Medial to Lateral"), (9, "Ventral to Dorsal"),
    (10, "Dorsal to Ventral"), (11, "Coronal (Caudal to Rostral)"),
    (531107579, "Coronal (Rostral to Caudal)"), (1082279372, "Tangential"),
)  # fmt: skip
P14_SPACE = 7
REFERENCE_SPACES: Final = (
    (P14_SPACE, "P14"),
    (9, "P56 (coronal)"),
    (10, "P56 left/right flipped (sagittal)"),
)
STRUCTURE_GRAPHS: Final = (
    (1, "Mouse Brain Atlas"),
    (17, "Developing Mouse Brain Atlas"),
)

P14, P56, ADULT_HUMAN = 13, 15, 90
#: id, name, days, organism
AGES: Final = (
    (P14, "P14", 14.0, MOUSE_ORGANISM),
    (P56, "P56", 56.0, MOUSE_ORGANISM),
    (ADULT_HUMAN, "adult", 20_000.0, HUMAN_ORGANISM),
)


@dataclass(frozen=True, slots=True)
class Experiment:
    """The record of a data set of sections; treatment None means no treatment.

    The probe of a gene is antisense; a sense probe binds nothing and is a control.
    """

    products: tuple[int, ...]
    treatment: int | None
    gene: int | None = None
    orientation: int = ANTISENSE
    failed: bool = False
    age: int = P56
    specimen: int | None = None
    delegate: bool = False
    qc_date: str | None = None


EXPERIMENTS: Final[dict[int, Experiment]] = {
    69782969: Experiment((MOUSE,), ISH, PDYN, qc_date="2009-05-02T22:45:57Z"),
    71587929: Experiment((MOUSE,), ISH, CALB1, delegate=True),
    71587930: Experiment((REFERENCE,), NISSL),
    70813257: Experiment((MOUSE,), ISH, ADORA2A, delegate=True),
    71064081: Experiment((MOUSE,), ISH, PDYN, SENSE),
    123: Experiment((MOUSE,), ISH, CRH, specimen=702643),
    126862385: Experiment((CONNECTIVITY,), None),
    100141599: Experiment((CONNECTIVITY,), None),
    297225422: Experiment((CONNECTIVITY,), None),
    311174541: Experiment((TUMOR,), HE, age=ADULT_HUMAN),
    311175872: Experiment((TUMOR,), HE, age=ADULT_HUMAN),
    71670687: Experiment((MOUSE,), ISH, ADORA2A),
    70634395: Experiment((MOUSE,), ISH, ADORA2A, failed=True),
    72109410: Experiment((MOUSE,), ISH, ADORA2A),
    479: Experiment((MOUSE,), ISH, H2_K1, specimen=702765),
    100055044: Experiment((MOUSE,), ISH, NPY, specimen=702566),
    69289763: Experiment((DEV_MOUSE, MOUSE), ISH, PROX1, specimen=68870790),
    100076514: Experiment((DEV_MOUSE,), ISH, ADORA2A, age=P14),
}

#: recorded fields of two data sets, in place of invented ones, and the space of another
RECORDED_FIELDS: Final[dict[int, dict[str, str | int]]] = {
    123: {
        "sphinx_id": 136385,
        "storage_directory": "/external/mouse/prod1/image_series_123/",
        "weight": 5270,
    },
    479: {
        "sphinx_id": 138110,
        "storage_directory": "/external/mouse/prod2/image_series_479/",
        "weight": 5470,
    },
    100076514: {"reference_space_id": P14_SPACE},
}

#: upper bounds of red, green and blue, all recorded; every lower one is 0
EQUALIZATIONS: Final = {
    100141599: (923, 987, 4095),
    126862385: (932, 1279, 4095),
    297225422: (825, 943, 4095),
}

#: the section with the centre of the dentate gyrus, for each aligned data set
DENTATE_SECTIONS: Final = {
    69782969: 78,
    71064081: 78,
    123: 171,
    100055044: 141,
    71670687: 85,
    69289763: 118,
    100076514: 42,
    71587929: 195,
    71587930: 196,
    479: 227,
    72109410: 244,
    126862385: 72,
    100141599: 61,
    297225422: 67,
}

#: an image that failed within a data set that did not
FAILED_IMAGE_IDS: Final = frozenset({71663128})
#: the data set whose list of images holds a null, as lists of the original do
NULL_LIST_DATA_SET_ID: Final = 123


@dataclass(frozen=True, slots=True)
class PlateSet:
    """The record of an atlas data set, and its plates without drawings."""

    atlases: tuple[int, ...]
    treatment: int
    not_annotated: frozenset[int] = frozenset()


PLATE_SETS: Final[dict[int, PlateSet]] = {
    100048576: PlateSet((1,), NISSL),
    100048575: PlateSet((2, 181276165), NISSL, frozenset({100883900})),
    100048577: PlateSet((2,), PARVALBUMIN, frozenset({100884210, 100884214})),
}

#: id, name, image type, structure graph, group label
ATLASES: Final = (
    (1, "Mouse, P56, Coronal", "Atlas - Adult Mouse", 1, 28),
    (2, "Mouse, P56, Sagittal", "Atlas - Adult Mouse", 1, 28),
    (181276165, "Developing Mouse, P56", "Atlas - Developing Mouse", 17, 32),
)
