"""Parse paths into nodes, and list directories of images. Pure: no I/O.

A new document is a name in `DOCUMENTS`, a new directory or link a row of `_FIXED`.
"""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import replace
from functools import lru_cache, partial
from typing import TYPE_CHECKING, TypeVar

from allenfs.errors import IsADirError, PathNotFoundError
from allenfs.model import nodes
from allenfs.model.images import ID_PATTERN, VIEWS, ImageRequest, ImageService
from allenfs.model.nodes import Node, Subject, View
from allenfs.model.parameters import region_from_corner
from allenfs.model.sheets import SHEET_FILE
from allenfs.text import readable_name, text_of

if TYPE_CHECKING:
    from collections.abc import Callable

    _Make = Callable[..., Node]
    _Row = tuple[list[str], _Make]

# ds9 and ds10 exist but are not listed: for the largest recorded sections, ds6 is
# already a thumbnail of 256 pixels
LISTED_DOWNSAMPLES = tuple(f"ds{n}" for n in range(1, 9))
INFO_FILE = "info.json"
SECTIONS_FILE = "sections.csv"
# `catalog/documents.py` says what is in them.
DOCUMENTS = {
    Subject.SECTION: (INFO_FILE,),
    Subject.PLATE: (INFO_FILE,),
    Subject.DATA_SET: (INFO_FILE, SECTIONS_FILE),
    Subject.ATLAS: (INFO_FILE,),
}
EQUALIZED = "equalized"
ANNOTATED = "annotated"
DATA_SET_LINK, NISSL_LINK = "dataset", "nissl"
# Not listed in the root, so that crawlers and `cp -r` do not find changing files.
OWN_DIRECTORY = ".allenfs"
STATUS_FILE, LOG_FILE = "status.json", "log"

_V = TypeVar("_V", bound=View)
_COLLECTION_FILE = re.compile(rf"[0-9]{{4,10}}_({ID_PATTERN.pattern})\.jpg")


def _link_in(directory: Callable[..., nodes.DataSetLinksDirectory]) -> _Make:
    return lambda *names: nodes.DataSetLink(directory(*names[:-1]), names[-1])


# All paths but those of images, of the directories of a data set or atlas, and of an
# atlas' name. A word in capitals is an argument: an id, or one of the service's names.
_FIXED: dict[str, _Make] = {
    "": nodes.Root,
    "section": partial(nodes.ServiceDirectory, ImageService.SECTION),
    f"section/ID/{DATA_SET_LINK}": partial(nodes.SectionLink, name=DATA_SET_LINK),
    f"section/ID/{NISSL_LINK}": partial(nodes.SectionLink, name=NISSL_LINK),
    "projection": partial(nodes.ServiceDirectory, ImageService.PROJECTION),
    "atlas": partial(nodes.ServiceDirectory, ImageService.ATLAS),
    "dataset": nodes.DataSetsDirectory,
    "browse": nodes.BrowseDirectory,
    "browse/product": nodes.ProductsDirectory,
    "browse/product/ABBR": nodes.ProductDirectory,
    "browse/product/ABBR/dataset": nodes.ProductDataSetsDirectory,
    "browse/product/ABBR/dataset/ID": _link_in(nodes.ProductDataSetsDirectory),
    "browse/product/ABBR/plane": nodes.ProductPlanesDirectory,
    "browse/product/ABBR/plane/PLANE": nodes.ProductPlaneDirectory,
    "browse/product/ABBR/plane/PLANE/ID": _link_in(nodes.ProductPlaneDirectory),
    "browse/product/ABBR/gene": nodes.GenesDirectory,
    "browse/product/ABBR/gene/ACRONYM": nodes.GeneDirectory,
    "browse/product/ABBR/gene/ACRONYM/PLANE": nodes.PlaneDirectory,
    "browse/product/ABBR/gene/ACRONYM/PLANE/ID": _link_in(nodes.PlaneDirectory),
    "browse/atlas": nodes.AtlasesDirectory,
    **{
        f"{subject.value}/ID/{name}": partial(nodes.DocumentFile, subject, name=name)
        for subject, names in DOCUMENTS.items()
        for name in names
    },
    OWN_DIRECTORY: nodes.OwnDirectory,
    f"{OWN_DIRECTORY}/{STATUS_FILE}": partial(nodes.OwnFile, STATUS_FILE),
    f"{OWN_DIRECTORY}/{LOG_FILE}": partial(nodes.OwnFile, LOG_FILE),
}
# By the first name and the number of names.
_FIXED_BY_START: dict[tuple[str, int], list[_Row]] = defaultdict(list)
for _path, _make in _FIXED.items():
    _names = _path.split("/")
    _FIXED_BY_START[_names[0], len(_names)].append((_names, _make))


# Every FUSE operation parses a path. 4096 cached nodes of about 500 bytes cover the
# files of a listing, which `ls -l` stats one by one.
@lru_cache(maxsize=4096)
def parse(path: str) -> Node:
    """Return the node that `path` (below the mountpoint) names.

    PathNotFoundError if it is outside the grammar; nothing else is ever raised.
    """
    names = path.removeprefix("/").split("/")
    if (node := _parse_fixed(names)) is not None:
        return node
    match names:
        case [("section" | "projection" | "atlas") as service, image_id, *rest]:
            return _parse_image(
                ImageRequest(ImageService(service), _id(image_id)), rest
            )
        case ["dataset", data_set_id, *rest]:
            return _parse_collection(Subject.DATA_SET, _id(data_set_id), rest)
        case ["browse", "atlas", name] if name == readable_name(name):
            return nodes.AtlasLink(name)
        case ["browse", "atlas", atlas_id, *rest]:
            # names below a link are resolved by the kernel, which follows it
            return _parse_collection(Subject.ATLAS, _id(atlas_id), rest)
    raise _no_such(names[-1])


def _parse_fixed(names: list[str]) -> Node | None:
    for parts, make in _FIXED_BY_START.get((names[0], len(names)), ()):
        pairs = list(zip(parts, names, strict=True))
        if all(part == name or part.isupper() for part, name in pairs):
            return make(
                *(
                    _id(name) if part == "ID" else text_of(name)
                    for part, name in pairs
                    if part.isupper()
                )
            )
    return None


def request_of(node: Node) -> ImageRequest:
    """Return the request of an image's node, from the path alone.

    IsADirError if it is not an image, or its `range` or `roi` is in the catalog.
    """
    match node:
        case nodes.ImageFile(request, equalized=False, from_corner=False):
            return request
        case nodes.CollectionFile(
            nodes.CollectionDirectory(
                view=View(equalized=False, from_corner=False) as view
            )
        ):
            return view.of(node.image_id)
        case nodes.ImageFile() | nodes.CollectionFile():
            msg = "the URL is in the image's record: see user.allenfs.url in a mount"
        case nodes.SheetFile():
            msg = "a contact sheet is drawn locally, from many images: it has no URL"
        case _:
            msg = "not an image: only images have URLs"
    raise IsADirError(msg)


def listing(
    node: nodes.Root
    | nodes.ServiceDirectory
    | nodes.ImageDirectory
    | nodes.ParameterDirectory,
    used_ids: list[int],
    views: tuple[str, ...] = VIEWS,
) -> list[str]:
    """Return the names in a directory that follow from the grammar.

    Finite and small, because crawlers and ``cp -r`` follow it. A service directory
    lists `used_ids`, its images that were used before, and an image those of its
    `views` that are known to apply.
    """
    match node:
        case nodes.Root():
            return [*(service.value for service in ImageService), "dataset", "browse"]
        case nodes.ServiceDirectory():
            return [str(image_id) for image_id in sorted(used_ids)]
        case nodes.ImageDirectory(request):
            names = [*_file_names(request, views), *LISTED_DOWNSAMPLES]
            is_atlas = request.service is ImageService.ATLAS
            return [*names, ANNOTATED] if is_atlas else names
        case nodes.ParameterDirectory(request):
            return _file_names(request, views)


def _file_names(request: ImageRequest, views: tuple[str, ...]) -> list[str]:
    if request.service is ImageService.ATLAS:
        views = ()
    return [f"{name}.jpg" for name in ("image", *views)]


def _parse_image(request: ImageRequest, names: list[str]) -> Node:
    if not names:
        return nodes.ImageDirectory(request)
    if not names[-1].endswith(".jpg"):
        return _with_parameters(nodes.ParameterDirectory(request), names)
    file = _with_parameters(nodes.ImageFile(request), names[:-1])
    return replace(file, request=file.request.with_file(names[-1]))


def _parse_collection(subject: Subject, subject_id: int, names: list[str]) -> Node:
    found = _COLLECTION_FILE.fullmatch(names[-1]) if names else None
    is_sheet = names[-1:] == [SHEET_FILE]
    directories = names[:-1] if found or is_sheet else names
    is_atlas = subject is Subject.ATLAS
    service = ImageService.ATLAS if is_atlas else ImageService.SECTION
    view = _with_parameters(View(ImageRequest(service, 0)), directories, subject)
    if is_atlas and view.request.annotated:
        view = replace(view, request=replace(view.request, atlas_id=subject_id))
    directory = nodes.CollectionDirectory(subject, subject_id, view, bool(directories))
    if found:
        return nodes.CollectionFile(directory, int(found[1]), names[-1])
    if not is_sheet:
        return directory
    if view.request.downsample or view.request.roi is not None:
        raise _no_such(SHEET_FILE)  # its thumbnails have a fixed size
    return nodes.SheetFile(directory)


def _with_parameters(view: _V, names: list[str], subject: Subject | None = None) -> _V:
    seen: set[str] = set()
    for name in names:
        field, view = _with_parameter(view, name, subject)
        if field in seen:
            msg = f"{field} appears twice"
            raise PathNotFoundError(msg)
        seen.add(field)
    return view


def _with_parameter(view: _V, name: str, subject: Subject | None) -> tuple[str, _V]:
    """Return the field that a directory sets, and the view in it."""
    request = view.request
    if name == EQUALIZED and request.service is not ImageService.ATLAS:
        return "range", replace(view, equalized=True)
    if subject is Subject.DATA_SET and name in VIEWS:
        return "view", replace(view, request=request.with_file(f"{name}.jpg"))
    if (roi := region_from_corner(name)) is not None:
        return "roi", replace(view, request=replace(request, roi=roi), from_corner=True)
    try:
        field, request = request.with_parameter(name)
    except PathNotFoundError:
        if subject is not Subject.ATLAS:
            raise
        return "treatment", replace(view, treatment=text_of(name))
    return field, replace(view, request=request)


def _id(name: str) -> int:
    if not ID_PATTERN.fullmatch(name):
        msg = f"not an id: {name!r}"
        raise PathNotFoundError(msg)
    return int(name)


def _no_such(name: str) -> PathNotFoundError:
    return PathNotFoundError(f"no such name: {name!r}")
