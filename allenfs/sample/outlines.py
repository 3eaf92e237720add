"""The outlines of hand-drawn shapes: polygons in the drawing's unit."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

import numpy as np

from allenfs.sample.shapes import Area, Blob, Lobes, Points, Ribbon, Shape, Stroke

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Polygon = NDArray[np.float64]
    Outline = tuple[str, Polygon]

#: points between two control points of a smoothed line
_STEPS: Final = 24


def outlines_of(shape: Shape) -> Iterator[Outline]:
    """Yield the polygons of a shape, each with its region; later ones cover earlier.

    A polygon has rows of x and y.
    """
    if isinstance(shape, Blob):
        yield shape.region, _ellipse(shape)
    elif isinstance(shape, Area):
        yield shape.region, smoothed(shape.points, closed=True)
    elif isinstance(shape, Stroke):
        yield shape.region, _band(shape)
    elif isinstance(shape, Ribbon):
        start = 0.0
        for region, stop in shape.layers:
            yield region, ribbon_part(shape, (start, stop))
            start = stop
    else:
        yield from _leaves(shape)


def ribbon_part(
    ribbon: Ribbon,
    depths: tuple[float, float],
    knots: tuple[float, float] | None = None,
) -> Polygon:
    """Return a part of a ribbon between two depths, 0 (outer line) to 1.

    `knots` limit it along the lines, counted in control points; by default it is whole.
    """
    outer = smoothed(ribbon.outer, closed=False)
    inner = smoothed(ribbon.inner, closed=False)
    if knots is not None:
        first, last = (round(knot * _STEPS) for knot in knots)
        outer, inner = outer[first : last + 1], inner[first : last + 1]
    upper = outer + (inner - outer) * depths[0]
    lower = outer + (inner - outer) * depths[1]
    return np.concatenate((upper, lower[::-1]))


def smoothed(points: Points, *, closed: bool) -> NDArray[np.float64]:
    """Return a Catmull-Rom spline through `points`, as rows of x and y."""
    knots = np.asarray(points, np.float64)
    if closed:
        around = np.concatenate((knots[-1:], knots, knots[:2]))
    else:
        around = np.concatenate((knots[:1], knots, knots[-1:]))
    t = np.linspace(0, 1, _STEPS, endpoint=False)[:, None]
    pieces = []
    for p0, p1, p2, p3 in zip(around, around[1:], around[2:], around[3:], strict=False):
        linear = (p2 - p0) * t
        square = (2 * p0 - 5 * p1 + 4 * p2 - p3) * t**2
        cube = (3 * p1 - p0 - 3 * p2 + p3) * t**3
        pieces.append(0.5 * (2 * p1 + linear + square + cube))
    if not closed:
        pieces.append(knots[-1:])
    return np.concatenate(pieces)


def _band(stroke: Stroke) -> Polygon:
    line = smoothed(stroke.points, closed=False)
    along = np.gradient(line, axis=0)
    length = np.maximum(np.hypot(along[:, 0], along[:, 1]), 1e-9)
    across = np.stack((-along[:, 1], along[:, 0]), axis=1) / length[:, None]
    # rounded ends: the half width shrinks to nothing over the last points
    place = np.linspace(-1, 1, len(line))
    half = 0.5 * stroke.width * np.sqrt(np.clip(1 - place**16, 0, 1))[:, None]
    return np.concatenate((line + across * half, (line - across * half)[::-1]))


def _leaves(lobes: Lobes) -> Iterator[Outline]:
    angle = np.linspace(0, 2 * math.pi, 1440)
    # Leaves of unequal width, each with small folds.
    phase = lobes.leaves / 2 * (angle + 0.22 * np.sin(2 * angle + 1.0))
    leaf = np.abs(np.cos(phase))
    fold = np.abs(np.cos(3.0 * phase))
    reach = lobes.radius * (1 + 0.06 * np.cos(angle - 2.4) - 0.04 * np.cos(3 * angle))
    rim = np.stack((1.08 * reach * np.cos(angle), reach * np.sin(angle)), axis=1)
    center = np.asarray((lobes.x, lobes.y))
    # White matter branches from a root near the stem, not from the middle.
    root = center + np.asarray((-0.10, 0.42)) * lobes.radius
    for region, least, most, power, folds in (
        ("molecular layer", 0.84, 1.0, 0.35, 0.035),
        ("granular layer", 0.50, 0.89, 0.55, 0.045),
        ("fibre tracts", 0.27, 0.80, 5.0, 0.0),
    ):
        part = least + (most - least) * leaf**power + folds * (fold**0.6 - 1)
        yield region, root + (center + rim - root) * part[:, None]


def _ellipse(blob: Blob) -> NDArray[np.float64]:
    angle = np.linspace(0, 2 * math.pi, 90)
    turn = math.radians(blob.turn_deg)
    along, across = blob.radius_x * np.cos(angle), blob.radius_y * np.sin(angle)
    x = blob.x + along * math.cos(turn) - across * math.sin(turn)
    y = blob.y + along * math.sin(turn) + across * math.cos(turn)
    return np.stack((x, y), axis=1)
