"""What a section's anatomy looks like under a stain, a view or an annotation.

The result is a stack of layers in the size of the small drawing; `drawing` enlarges
the part that is asked for.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

import numpy as np
from PIL import Image, ImageFilter

from allenfs.sample.anatomy import LABELS, labels_of, noise
from allenfs.sample.experiments import EXPERIMENTS, SENSE
from allenfs.sample.parcels import outlines, region_colors
from allenfs.sample.shapes import REGIONS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from allenfs.sample.records import ImageRecord

    Field = NDArray[np.float32]

Color = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class Layer:
    """A layer painted on those below, through a mask of 0 to 255.

    `edge` masks stay sharp however much they are enlarged, `cells` are seen as cells
    only, `soft` ones are just enlarged.
    """

    color: Color | Image.Image
    mask: Image.Image
    kind: Literal["edge", "cells", "soft"]


@dataclass(frozen=True, slots=True)
class Stack:
    """Layers on bare glass, the lowest first."""

    glass: Color
    layers: tuple[Layer, ...]


@dataclass(frozen=True, slots=True)
class Stain:
    """Colours: of the glass, of pale and of dense tissue, and of the cells."""

    glass: Color
    pale: Color
    dense: Color
    ink: Color


STAINS: Final = {
    "nissl": Stain((247, 245, 248), (232, 222, 238), (176, 146, 204), (58, 34, 108)),
    "ish": Stain((240, 239, 238), (221, 216, 217), (180, 171, 190), (48, 36, 98)),
    "connectivity": Stain((5, 5, 7), (34, 14, 12), (104, 44, 34), (70, 255, 96)),
    "glioblastoma": Stain(
        (249, 246, 248), (243, 208, 222), (205, 128, 184), (74, 36, 112)
    ),
}

#: expression, 0 to 1: where nothing else is said, and everywhere with a sense probe
_BACKGROUND: Final = 0.025
_CONTROL: Final = 0.0005
#: expression of a gene by region, 0 to 1, for each data set; low elsewhere
EXPRESSION: Final[dict[int, dict[str, float]]] = {
    69782969: {  # Pdyn
        "dentate gyrus": 1.0,
        "accumbens": 0.62,
        "striatum": 0.40,
        "hypothalamus": 0.46,
        "subplate": 0.6,
        "cortex 2/3": 0.20,
        "cortex 5": 0.13,
        "olfactory granule": 0.3,
        "medulla": 0.12,
    },
    70813257: {  # Adora2a
        "striatum": 0.95,
        "accumbens": 0.88,
        "olfactory": 0.32,
        "pallidum": 0.10,
    },
    71587929: {  # Calb1
        "cortex 2/3": 0.62,
        "cortex 4": 0.35,
        "dentate gyrus": 1.0,
        "pyramidal layer": 0.7,
        "striatum": 0.55,
        "thalamus": 0.36,
        "habenula": 0.5,
        "hypothalamus": 0.3,
    },
    69289763: {  # Prox1
        "dentate gyrus": 1.0,
        "hippocampus": 0.12,
        "granular layer": 0.35,
    },
}
#: further experiments with Adora2a, drawn like the first one
_ALIKE: Final = dict.fromkeys((71670687, 70634395, 72109410, 100076514), 70813257)
_OTHER_EXPRESSION: Final = {
    "cortex 2/3": 0.4,
    "cortex 5": 0.55,
    "pyramidal layer": 0.95,
    "thalamus": 0.3,
    "granular layer": 0.5,
}
_HEAT: Final = (  # of an expression mask, from weak to strong
    (20, 20, 120),
    (0, 120, 255),
    (0, 220, 140),
    (220, 230, 0),
    (255, 120, 0),
    (255, 20, 0),
)
_TUMOR_VIEWS: Final = ("tumor_feature_annotation", "tumor_feature_boundary")


def expression_level(data_set_id: int, region: str | None) -> float:
    """Return how strongly a data set's gene is expressed in a region, 0 to 1.

    None is tissue that the drawing does not tell apart.
    """
    experiment = EXPERIMENTS.get(data_set_id)
    if experiment and experiment.orientation == SENSE:
        return _CONTROL
    alike = _ALIKE.get(data_set_id, data_set_id)
    return EXPRESSION.get(alike, _OTHER_EXPRESSION).get(region or "", _BACKGROUND)


@functools.lru_cache(maxsize=16)
def stack_of(
    record: ImageRecord, view: str | None, *, annotation: bool, atlas_id: int | None
) -> Stack:
    """Return the layers of an image in a view."""
    if view == "expression":
        return _expression(record)
    if view == "projection":
        return _projection(record)
    labels = labels_of(record)
    if view == "tumor_feature_annotation":
        blocks = _image(region_colors(labels, None, record))
        return Stack((255, 255, 255), (Layer(blocks, _tissue(record), "edge"),))
    stack = _photograph(record)
    if view == "tumor_feature_boundary":
        colors = _image(region_colors(labels, None, record, spread_px=9))
        lines = Layer(colors, outlines(labels, None, width_px=3), "edge")
        return Stack(stack.glass, (*stack.layers, lines))
    if annotation:
        atlas = atlas_id or (2 if record.plane == "sagittal" else 1)
        colors = _image(region_colors(labels, atlas, record))
        fill = Layer(colors, _tissue(record).point(lambda v: v * 0.62), "soft")
        lines = Layer((52, 46, 60), outlines(labels, atlas, width_px=1), "edge")
        return Stack(stack.glass, (*stack.layers, fill, lines))
    return stack


@functools.lru_cache(maxsize=8)
def _photograph(record: ImageRecord) -> Stack:
    stain = STAINS[record.style]
    density = _density(record)
    cells = density
    if record.style == "ish":
        cells = np.clip(0.3 * density + 1.1 * _expressed(record), 0, 1)
    elif record.style == "connectivity":
        cells = _projected(record)
    tissue = _tissue(record)
    size = (density.shape[1], density.shape[0])
    paper = Image.composite(
        Image.new("RGB", size, stain.dense),
        Image.new("RGB", size, stain.pale),
        _gray(density),
    )
    layers = [Layer(paper, tissue, "edge")]
    if record.style in ("ish", "connectivity"):
        # Strong staining also shows between the cells.
        layers.append(Layer(stain.ink, _gray(0.45 * cells**1.3), "soft"))
    layers.append(Layer(stain.ink, _gray(cells), "cells"))
    return Stack(stain.glass, tuple(layers))


def _expression(record: ImageRecord) -> Stack:
    """Return the false colours of an expression mask, on black."""
    level = _projected(record) if record.style == "connectivity" else _expressed(record)
    knots = np.linspace(0, 1, len(_HEAT))
    heat = np.stack(
        [np.interp(level, knots, [color[i] for color in _HEAT]) for i in range(3)],
        axis=-1,
    )
    mask = np.clip((level - 0.03) * 4, 0, 1).astype(np.float32)
    colors = _image(heat.astype(np.uint8))
    layers = (
        Layer(colors, _gray(0.30 * mask), "soft"),
        Layer(colors, _gray(mask), "cells"),
    )
    return Stack((0, 0, 0), layers)


def _projection(record: ImageRecord) -> Stack:
    """Return a segmentation: signal, white on the section's grey shape."""
    level = _projected(record) if record.style == "connectivity" else _expressed(record)
    grain = noise((level.shape[1], level.shape[0]), 190, record.image_id, 2)
    signal: Field = np.clip((level + 0.09 * grain - 0.24) * 6 + 0.5, 0, 1)
    signal[level < 0.04] = 0  # grain alone is no signal
    layers = (
        Layer((44, 46, 54), _tissue(record), "edge"),
        Layer((255, 244, 190), _gray(signal), "edge"),
    )
    return Stack((0, 0, 0), layers)


def _density(record: ImageRecord) -> Field:
    """Return how densely cells lie, 0 to 1, uneven as tissue is."""
    labels = labels_of(record)
    table = np.array([region.nissl for region in REGIONS], np.float32)
    size = (labels.shape[1], labels.shape[0])
    seed = record.image_id
    uneven = 1 + 0.10 * noise(size, 12, seed) + 0.09 * noise(size, 150, seed + 1, 2)
    return _unit(_blurred(table[labels], 0.9) * uneven)


def _expressed(record: ImageRecord) -> Field:
    """Return how strongly the gene, or the tumor's marker, is expressed, 0 to 1."""
    labels = labels_of(record)
    if record.style in ("glioblastoma", "nissl"):
        return _unit(_density(record) - 0.25)
    levels = [expression_level(record.data_set_id, region.name) for region in REGIONS]
    table = np.array(levels, np.float32)
    table[0] = 0
    size = (labels.shape[1], labels.shape[0])
    uneven = 1 + 0.18 * noise(size, 9, record.image_id + 5)
    uneven += 0.20 * noise(size, 170, record.image_id + 6, 2)
    return _unit(_blurred(table[labels], 1.0) * uneven)


def _projected(record: ImageRecord) -> Field:
    """Return where labelled axons are, 0 to 1: injection site, tracts and targets."""
    labels = labels_of(record)
    height, width = labels.shape
    size = (width, height)
    random = np.random.default_rng(record.data_set_id)
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    total = np.zeros((height, width), np.float32)
    fine = 1 + 0.45 * noise(size, 120, record.image_id, 3)
    targets = (
        ("cortex 5", 0.55, 0.050, 1.0),
        ("cortex 5", 0.55, 0.085, 0.35),
        ("cortex 2/3", 0.0, 0.045, 0.30),
        ("striatum", 0.55, 0.050, 0.42),
        ("thalamus", 0.55, 0.040, 0.50),
        ("thalamus", 0.50, 0.025, 0.42),
        ("midbrain", 0.50, 0.040, 0.3),
    )
    for region, from_x, radius, level in targets:
        rows, columns = np.nonzero(labels == LABELS[region])
        chosen = (columns >= from_x * width) & (columns < (from_x + 0.45) * width)
        rows, columns = rows[chosen], columns[chosen]
        if len(rows):
            one = random.integers(0, len(rows))
            far = np.hypot(x - columns[one], y - rows[one]) / (radius * width)
            total += level * np.exp(-(far**2.2))
    tract = _blurred((labels == LABELS["fibre tracts"]).astype(np.float32), 1.2)
    total += 0.42 * tract * np.clip((x / width - 0.25) * 1.4, 0, 1)
    inside = _blurred((labels > 0).astype(np.float32), 1.0)
    return _unit(total * fine * inside)


def _tissue(record: ImageRecord) -> Image.Image:
    inside = np.where(labels_of(record) > 0, 255, 0).astype(np.uint8)
    return Image.fromarray(inside).filter(ImageFilter.GaussianBlur(1.6))


def _unit(field: Field) -> Field:
    unit: Field = np.clip(field, 0, 1)
    return unit


def _blurred(field: Field, sigma_px: float) -> Field:
    blurred = _gray(field).filter(ImageFilter.GaussianBlur(sigma_px))
    return np.asarray(blurred, np.float32) / np.float32(255)


def _gray(field: Field) -> Image.Image:
    return Image.fromarray((np.clip(field, 0, 1) * 255).astype(np.uint8))


def _image(pixels: NDArray[np.uint8]) -> Image.Image:
    return Image.fromarray(pixels)
