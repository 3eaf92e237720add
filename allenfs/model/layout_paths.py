"""Paths in the folders of a data set that tools open: ``quint`` and ``stack``."""

from __future__ import annotations

import re

from allenfs.model import nodes
from allenfs.model.images import ID_PATTERN, ImageRequest, ImageService
from allenfs.model.nodes import Layout, Node, Subject, View
from allenfs.model.quint import SERIES_FILE
from allenfs.model.view_paths import COLLECTION_FILE, no_such, with_parameters

_QUINT_FILE = re.compile(rf"[0-9]{{4,10}}_({ID_PATTERN.pattern})_s[0-9]{{3,10}}\.jpg")


def parse(layout: Layout, data_set_id: int, names: list[str]) -> Node:
    """Read `names`, those below the data set: ``[VIEW/…]quint[/dsN[/FILE]]``.

    PathNotFoundError if there is no such name, or a view above has a tier or a region.
    """
    place = names.index(layout.value)
    above, (tier, *file) = names[:place], names[place + 1 :] or ["ds0"]
    full = View(ImageRequest(ImageService.SECTION, 0))
    if full.request.with_parameter(tier)[0] != "downsample":
        raise no_such(tier)
    # together, so that a second tier above is rejected
    view = with_parameters(full, [*above, tier], Subject.DATA_SET)
    if view.request.roi is not None:
        raise no_such(layout.value)
    directory = nodes.CollectionDirectory(
        Subject.DATA_SET, data_set_id, view, is_view=True, layout=layout
    )
    if place == len(names) - 1:
        return nodes.LayoutDirectory(directory)
    is_quint = layout is Layout.QUINT
    match file:
        case []:
            return directory
        case [name] if is_quint and name == SERIES_FILE:
            return nodes.SeriesFile(directory)
        case [name]:
            found = (_QUINT_FILE if is_quint else COLLECTION_FILE).fullmatch(name)
            if found:
                return nodes.CollectionFile(directory, int(found[1]), name)
    raise no_such(names[-1])
