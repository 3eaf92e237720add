"""Where each structure lies in the reference spaces, and how the sample draws it.

Only the centre of SSp is published (5740, 2060, 2730 in space 10, 8670 in space 9, by
the tests of abagen). The others are invented: they lie in the drawn structure, in
every plane whose drawing has it.
"""

from __future__ import annotations

from typing import Final, NamedTuple

#: reference spaces of the adult mouse; the second is the first with right and left
#: exchanged
CORONAL_SPACE, SAGITTAL_SPACE = 9, 10
#: left to right, in um: a point at r in one space is at this minus r in the other
SPACE_WIDTH_UM: Final = 11_400


class Center(NamedTuple):
    """A centre in space 9, in um: anterior to posterior, top to bottom, left to right.

    `region` is the name of the tissue in the drawing, None where it draws none.
    """

    region: str | None
    p_um: int
    i_um: int
    r_um: int


CENTERS: Final[dict[str, Center]] = {
    "root": Center(None, 7000, 3900, 6300),
    "grey": Center(None, 7000, 3860, 6700),
    "CH": Center(None, 5600, 2900, 7600),
    "CTX": Center(None, 5900, 2200, 8000),
    "CTXpl": Center(None, 5880, 2000, 8100),
    "Isocortex": Center("cortex 5", 5760, 1630, 8580),
    "MO": Center("cortex 5", 3980, 2620, 9370),
    "MOp": Center("cortex 5", 3980, 2620, 9370),
    "MOp1": Center("cortex 1", 3510, 2290, 9860),
    "MOp2/3": Center("cortex 2/3", 3680, 2420, 9710),
    "MOp5": Center("cortex 5", 4000, 2650, 9300),
    "MOp6a": Center("cortex 6", 4240, 2820, 9020),
    "MOs": Center("cortex 5", 3050, 4060, 9760),
    "SS": Center("cortex 5", 5760, 1630, 8580),
    "SSp": Center("cortex 5", 5740, 2060, 8670),
    "SSp1": Center("cortex 1", 5330, 1050, 8720),
    "SSp2/3": Center("cortex 2/3", 5490, 1260, 8690),
    "SSp4": Center("cortex 4", 5580, 1450, 8560),
    "SSp5": Center("cortex 5", 5770, 1670, 8510),
    "SSp6a": Center("cortex 6", 5910, 1970, 8380),
    "VIS": Center("cortex 5", 7380, 1180, 7380),
    "VISp": Center("cortex 5", 7380, 1180, 7380),
    "VISp1": Center("cortex 1", 7430, 540, 7650),
    "VISp2/3": Center("cortex 2/3", 7400, 760, 7550),
    "VISp4": Center("cortex 4", 7200, 1030, 7740),
    "VISp5": Center("cortex 5", 7260, 1250, 7600),
    "VISp6a": Center("cortex 6", 7110, 1600, 7610),
    "ACA": Center("cortex 5", 4890, 1450, 6040),
    "ACAd": Center("cortex 5", 4890, 1450, 6040),
    "RSP": Center("cortex 5", 8390, 1260, 6300),
    "RSPd": Center("cortex 5", 8390, 1260, 6300),
    "OLF": Center("olfactory", 3000, 5200, 6700),
    "MOB": Center("olfactory granule", 1550, 4700, 6560),
    "MOBgr": Center("olfactory granule", 1570, 4630, 6560),
    "MOBmi": Center("mitral", 830, 5250, 6600),
    "MOBopl": Center("olfactory", 1410, 3970, 6560),
    "AON": Center("olfactory", 3220, 5480, 6700),
    "PIR": Center("olfactory", 5500, 5930, 8720),
    "HPF": Center("hippocampus", 7820, 2700, 7800),
    "HIP": Center("hippocampus", 7860, 2700, 7820),
    "CA": Center("hippocampus", 7300, 2480, 7700),
    "CA1": Center("hippocampus", 6640, 2360, 7580),
    "CA1sp": Center("pyramidal layer", 6740, 2340, 7660),
    "CA3": Center("hippocampus", 7740, 2600, 7760),
    "CA3sp": Center("pyramidal layer", 8180, 3060, 8220),
    "DG": Center("dentate gyrus", 6920, 2720, 6600),
    "DG-mo": Center("hippocampus", 7040, 2820, 7700),
    "DG-po": Center("hippocampus", 6940, 2740, 6640),
    "DG-sg": Center("dentate gyrus", 6560, 2800, 6920),
    "CTXsp": Center("subplate", 6900, 5100, 8400),
    "BLA": Center("subplate", 6900, 5240, 8430),
    "CNU": Center("striatum", 4900, 4200, 8200),
    "STR": Center("striatum", 4760, 4060, 8260),
    "STRd": Center("striatum", 4740, 3980, 8280),
    "CP": Center("striatum", 4740, 3980, 8280),
    "STRv": Center("accumbens", 4120, 5440, 7640),
    "ACB": Center("accumbens", 4120, 5440, 7640),
    "LSX": Center(None, 5350, 3270, 6100),
    "PAL": Center("pallidum", 5780, 4640, 7880),
    "PALd": Center("pallidum", 5780, 4600, 7880),
    "GPe": Center("pallidum", 5780, 4600, 7880),
    "BS": Center(None, 8900, 4400, 6500),
    "IB": Center("thalamus", 7060, 4400, 6600),
    "TH": Center("thalamus", 7200, 3860, 6700),
    "DORpm": Center("thalamus", 7000, 3700, 6300),
    "ILM": Center("thalamus", 6920, 3660, 6200),
    "CM": Center("thalamus", 6900, 3640, 6100),
    "EPI": Center("habenula", 7890, 3150, 5940),
    "MH": Center("habenula", 7890, 3150, 5940),
    "HY": Center("hypothalamus", 6840, 5480, 6440),
    "MB": Center("midbrain", 8890, 3860, 6600),
    "MBsen": Center("colliculus", 9500, 2440, 6500),
    "SCs": Center("colliculus", 9180, 2290, 6500),
    "IC": Center("colliculus", 9920, 2580, 6700),
    "MBmot": Center("midbrain", 9100, 3700, 6500),
    "SCm": Center("midbrain", 9150, 3690, 6500),
    "IPF": Center("midbrain", 8690, 4440, 5760),
    "HB": Center("medulla", 10900, 4700, 6400),
    "P": Center("pons", 9510, 5270, 6400),
    "MY": Center("medulla", 11510, 4500, 6400),
    "CB": Center("fibre tracts", 11080, 2200, 6600),
    "CBX": Center("granular layer", 11000, 1900, 6600),
    "CBXmo": Center("molecular layer", 10400, 890, 6500),
    "CBXgr": Center("granular layer", 10480, 1350, 6500),
    "VERM": Center("granular layer", 10660, 1220, 5900),
    "CUL": Center("granular layer", 10660, 1200, 5900),
    "CUL4, 5": Center("granular layer", 10660, 1200, 5900),
    "CBN": Center(None, 11000, 2700, 6900),
    "lfbs": Center("fibre tracts", 6600, 2080, 8000),
    "cc": Center("fibre tracts", 6520, 2060, 8040),
}

#: structures with a centre in space 9 only
ONE_SPACE: Final = frozenset({"CTXsp", "BLA"})
