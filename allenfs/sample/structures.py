"""Structures of the adult mouse brain: a part of the public ontology, plain data.

Source: the Allen Mouse Brain Atlas ontology, structure graph 1
(`structure_graph_download/1` of the service, published again by BIOP in
ijp-imagetoatlas): ids, acronyms, names, colours, order, levels and parents are as
published. It holds what the sample draws with all ancestors, and two pairs of acronyms
that differ only in case: CM and cm, IPF and ipf.
"""

from __future__ import annotations

from typing import Final, NamedTuple


class Structure(NamedTuple):
    """One structure; `color` is red, green, blue in hexadecimal."""

    structure_id: int
    atlas_id: int | None
    acronym: str
    name: str
    color: str
    graph_order: int
    st_level: int
    parent_id: int | None


_Row = tuple[int, int | None, str, str, str, int, int, int | None]

# fmt: off
_ROWS: Final[tuple[_Row, ...]] = (
    (997, -1, "root", "root", "FFFFFF", 0, 0, None),
    (8, 0, "grey", "Basic cell groups and regions", "BFDAE3", 1, 1, 997),
    (567, 70, "CH", "Cerebrum", "B0F0FF", 2, 2, 8),
    (688, 85, "CTX", "Cerebral cortex", "B0FFB8", 3, 3, 567),
    (695, 86, "CTXpl", "Cortical plate", "70FF70", 4, 4, 688),
    (315, 746, "Isocortex", "Isocortex", "70FF71", 5, 5, 695),
    (500, 203, "MO", "Somatomotor areas", "1F9D5A", 12, 6, 315),
    (985, 830, "MOp", "Primary motor area", "1F9D5A", 18, 8, 500),
    (320, 888, "MOp1", "Primary motor area, Layer 1", "1F9D5A", 19, 11, 985),
    (943, 966, "MOp2/3", "Primary motor area, Layer 2/3", "1F9D5A", 20, 11, 985),
    (648, 929, "MOp5", "Primary motor area, Layer 5", "1F9D5A", 21, 11, 985),
    (844, 1095, "MOp6a", "Primary motor area, Layer 6a", "1F9D5A", 22, 11, 985),
    (993, 831, "MOs", "Secondary motor area", "1F9D5A", 24, 8, 500),
    (453, 339, "SS", "Somatosensory areas", "188064", 30, 6, 315),
    (322, 747, "SSp", "Primary somatosensory area", "188064", 37, 8, 453),
    (793, 1089, "SSp1", "Primary somatosensory area, layer 1", "188064", 38, 11, 322),
    (346, 1033, "SSp2/3", "Primary somatosensory area, layer 2/3",
     "188064", 39, 11, 322),
    (865, 1098, "SSp4", "Primary somatosensory area, layer 4", "188064", 40, 11, 322),
    (921, 1105, "SSp5", "Primary somatosensory area, layer 5", "188064", 41, 11, 322),
    (686, 934, "SSp6a", "Primary somatosensory area, layer 6a", "188064", 42, 11, 322),
    (669, 366, "VIS", "Visual areas", "08858C", 157, 6, 315),
    (385, 755, "VISp", "Primary visual area", "08858C", 185, 8, 669),
    (593, 1064, "VISp1", "Primary visual area, layer 1", "08858C", 186, 11, 385),
    (821, 951, "VISp2/3", "Primary visual area, layer 2/3", "08858C", 187, 11, 385),
    (721, 1080, "VISp4", "Primary visual area, layer 4", "08858C", 188, 11, 385),
    (778, 1087, "VISp5", "Primary visual area, layer 5", "08858C", 189, 11, 385),
    (33, 428, "VISp6a", "Primary visual area, layer 6a", "08858C", 190, 11, 385),
    (31, 3, "ACA", "Anterior cingulate area", "40A666", 220, 8, 315),
    (39, 4, "ACAd", "Anterior cingulate area, dorsal part", "40A666", 226, 9, 31),
    (254, 314, "RSP", "Retrosplenial area", "1AA698", 297, 8, 315),
    (879, 392, "RSPd", "Retrosplenial area, dorsal part", "1AA698", 325, 9, 254),
    (698, 228, "OLF", "Olfactory areas", "9AD2BD", 379, 5, 695),
    (507, 204, "MOB", "Main olfactory bulb", "9AD2BD", 380, 8, 698),
    (220, 734, "MOBgr", "Main olfactory bulb, granule layer", "82C7AE", 382, 11, 507),
    (236, 736, "MOBmi", "Main olfactory bulb, mitral layer", "82C7AE", 384, 11, 507),
    (244, 737, "MOBopl", "Main olfactory bulb, outer plexiform layer",
     "9AD2BD", 385, 11, 507),
    (159, 19, "AON", "Anterior olfactory nucleus", "54BF94", 390, 8, 698),
    (961, 261, "PIR", "Piriform area", "6ACBBA", 416, 8, 698),
    (1089, 135, "HPF", "Hippocampal formation", "7ED04B", 454, 5, 695),
    (1080, 134, "HIP", "Hippocampal region", "7ED04B", 455, 6, 1089),
    (375, 46, "CA", "Ammon's horn", "7ED04B", 456, 8, 1080),
    (382, 47, "CA1", "Field CA1", "7ED04B", 457, 9, 375),
    (407, 50, "CA1sp", "Field CA1, pyramidal layer", "66A83D", 460, 11, 382),
    (463, 57, "CA3", "Field CA3", "7ED04B", 467, 9, 375),
    (495, 61, "CA3sp", "Field CA3, pyramidal layer", "66A83D", 471, 11, 463),
    (726, 90, "DG", "Dentate gyrus", "7ED04B", 473, 8, 1080),
    (10703, None, "DG-mo", "Dentate gyrus, molecular layer", "7ED04B", 474, 11, 726),
    (10704, None, "DG-po", "Dentate gyrus, polymorph layer", "7ED04B", 475, 11, 726),
    (632, 927, "DG-sg", "Dentate gyrus, granule cell layer", "66A83D", 476, 11, 726),
    (703, 87, "CTXsp", "Cortical subplate", "8ADA87", 555, 5, 688),
    (295, 36, "BLA", "Basolateral amygdalar nucleus", "9DE79C", 562, 8, 703),
    (623, 77, "CNU", "Cerebral nuclei", "98D6F9", 570, 3, 567),
    (477, 342, "STR", "Striatum", "98D6F9", 571, 5, 623),
    (485, 343, "STRd", "Striatum dorsal region", "98D6F9", 572, 6, 477),
    (672, 83, "CP", "Caudoputamen", "98D6F9", 573, 8, 485),
    (493, 344, "STRv", "Striatum ventral region", "80CDF8", 574, 6, 477),
    (56, 6, "ACB", "Nucleus accumbens", "80CDF8", 575, 8, 493),
    (275, 175, "LSX", "Lateral septal complex", "90CBED", 585, 6, 477),
    (803, 241, "PAL", "Pallidum", "8599CC", 608, 5, 623),
    (818, 243, "PALd", "Pallidum, dorsal region", "8599CC", 609, 6, 803),
    (1022, 127, "GPe", "Globus pallidus, external segment", "8599CC", 610, 8, 818),
    (343, 42, "BS", "Brain stem", "FF7080", 639, 2, 8),
    (1129, 140, "IB", "Interbrain", "FF7080", 640, 3, 343),
    (549, 351, "TH", "Thalamus", "FF7080", 641, 5, 1129),
    (856, 106, "DORpm", "Thalamus, polymodal association cortex related",
     "FF909F", 666, 6, 549),
    (51, 147, "ILM", "Intralaminar nuclei of the dorsal thalamus",
     "FF909F", 696, 7, 856),
    (599, 74, "CM", "Central medial nucleus of the thalamus", "FF909F", 698, 8, 51),
    (958, 119, "EPI", "Epithalamus", "FF909F", 711, 7, 856),
    (483, 201, "MH", "Medial habenula", "FF909F", 712, 8, 958),
    (1097, 136, "HY", "Hypothalamus", "E64438", 715, 5, 1129),
    (313, 180, "MB", "Midbrain", "FF64FF", 806, 5, 343),
    (339, 183, "MBsen", "Midbrain, sensory related", "FF7AFF", 807, 6, 313),
    (302, 320, "SCs", "Superior colliculus, sensory related", "FF7AFF", 808, 8, 339),
    (4, 141, "IC", "Inferior colliculus", "FF7AFF", 812, 8, 339),
    (323, 181, "MBmot", "Midbrain, motor related", "FF90FF", 821, 6, 313),
    (294, 319, "SCm", "Superior colliculus, motor related", "FF90FF", 830, 8, 323),
    (1065, 132, "HB", "Hindbrain", "FF9B88", 882, 3, 343),
    (771, 237, "P", "Pons", "FF9B88", 883, 5, 1065),
    (354, 185, "MY", "Medulla", "FF9BCD", 935, 5, 1065),
    (512, 63, "CB", "Cerebellum", "F0F080", 1014, 2, 8),
    (528, 65, "CBX", "Cerebellar cortex", "F0F080", 1015, 5, 512),
    (1144, 1142, "CBXmo", "Cerebellar cortex, molecular layer",
     "FFFC91", 1016, 11, 528),
    (1143, 1141, "CBXgr", "Cerebellar cortex, granular layer", "ECE754", 1018, 11, 528),
    (645, 363, "VERM", "Vermal regions", "FFFC91", 1019, 6, 528),
    (928, 398, "CUL", "Culmen", "FFFC91", 1033, 7, 645),
    (1091, 843, "CUL4, 5", "Lobules IV-V", "FFFC91", 1042, 8, 928),
    (519, 64, "CBN", "Cerebellar nuclei", "F0F080", 1096, 5, 512),
    (1009, 691, "fiber tracts", "fiber tracts", "CCCCCC", 1101, 1, 997),
    (967, 686, "cm", "cranial nerves", "CCCCCC", 1102, 2, 1009),
    (983, 688, "lfbs", "lateral forebrain bundle system", "CCCCCC", 1190, 2, 1009),
    (776, 662, "cc", "corpus callosum", "CCCCCC", 1191, 8, 983),
    (1024, 693, "grv", "grooves", "AAAAAA", 1304, 1, 997),
    (1040, 695, "grv of CBX", "grooves of the cerebellar cortex",
     "AAAAAA", 1310, 7, 1024),
    (49, 713, "ipf", "intraparafloccular fissure", "AAAAAA", 1322, 8, 1040),
    (624, 926, "IPF", "Interpeduncular fossa", "AAAAAA", 1325, 7, 1024),
)
# fmt: on

#: every structure by its acronym, parents before their children
STRUCTURES: Final = {row[2]: Structure(*row) for row in _ROWS}
