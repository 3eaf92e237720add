"""Parse paths into nodes, and list directories of images. Pure: no I/O.

A new document is a name in `DOCUMENTS`, a new directory or link a row of `PATTERNS`.
"""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import replace
from functools import lru_cache

from allenfs.errors import IsADirError, PathNotFoundError, UrlInRecordError
from allenfs.model import layout_paths, nodes, zarr_paths
from allenfs.model.drawings import DRAWING_FILE
from allenfs.model.images import ID_PATTERN, VIEWS, ImageRequest, ImageService
from allenfs.model.nodes import Layout, Node, Subject, View
from allenfs.model.sheets import SHEET_FILE
from allenfs.model.view_paths import COLLECTION_FILE, no_such, with_parameters
from allenfs.text import readable_name, text_of

# ds9 and ds10 exist but are not listed: for the largest recorded sections, ds6 is
# already a thumbnail of 256 pixels
LISTED_DOWNSAMPLES = tuple(f"ds{n}" for n in range(1, 9))
INFO_FILE = "info.json"
SECTIONS_FILE = "sections.csv"
# By the directory above the id. `catalog/documents.py` makes their contents.
DOCUMENTS = {
    "section": (INFO_FILE,),
    "atlas": (INFO_FILE,),
    "dataset": (INFO_FILE, SECTIONS_FILE),
    "browse/atlas": (INFO_FILE,),
}
ANNOTATED = "annotated"
DATA_SET_LINK, NISSL_LINK = "dataset", "nissl"
# Structures are listed in `structure` only. Elsewhere they can be named but are not
# listed, so that crawlers and `cp -r` do not walk through them.
STRUCTURE_INDEX_FILE, STRUCTURES_FILE = "index.csv", "structures.csv"
WHERE_FILE, CLOSEST = "where.json", "closest"
HEMISPHERES = ("left", "right")
GENE_STRUCTURES = "browse/product/ABBR/gene/ACRONYM/structure"
GENE_STRUCTURE = f"{GENE_STRUCTURES}/ACR"
# Not listed in the root, so that crawlers and `cp -r` do not find changing files.
OWN_DIRECTORY = ".allenfs"
STATUS_FILE, LOG_FILE = "status.json", "log"

_REGION_SIZE = re.compile(r"([1-9]|1[0-9]|20)mm")
_PLANE_AND_ID = re.compile(rf".+-{ID_PATTERN.pattern}", re.DOTALL)


ROOT_NAMES = (
    *(service.value for service in ImageService),
    *("dataset", "browse", "structure"),
)
_DATA_SET_STRUCTURES = [
    f"dataset/ID/structure/ACR{side}"
    for side in ("", *(f"/{one}" for one in HEMISPHERES))
]
LINKS = frozenset(
    {
        "structure/ACR/gene/GENE",
        f"{GENE_STRUCTURE}/best",
        f"{GENE_STRUCTURE}/PLANE-ID",
        *(f"{above}/{CLOSEST}" for above in _DATA_SET_STRUCTURES),
        *(f"{above}/NMM" for above in _DATA_SET_STRUCTURES),
        f"section/ID/{DATA_SET_LINK}",
        f"section/ID/{NISSL_LINK}",
        "browse/product/ABBR/dataset/ID",
        "browse/product/ABBR/plane/PLANE/ID",
        "browse/product/ABBR/gene/ACRONYM/PLANE/ID",
        "browse/atlas/TITLE",
    }
)
# All paths but those of images, and of the directories of a data set or atlas. A word
# in capitals is an argument: an id, or one of the service's names.
PATTERNS = (
    *("", *ROOT_NAMES),
    f"structure/{STRUCTURE_INDEX_FILE}",
    "structure/ACR",
    f"structure/ACR/{INFO_FILE}",
    "structure/ACR/gene",
    "dataset/ID/structure",
    f"dataset/ID/{STRUCTURES_FILE}",
    *_DATA_SET_STRUCTURES,
    *(f"{above}/{WHERE_FILE}" for above in _DATA_SET_STRUCTURES),
    # before those of a plane and its data sets, which begin in the same way
    GENE_STRUCTURES,
    GENE_STRUCTURE,
    "browse/product",
    "browse/product/ABBR",
    "browse/product/ABBR/dataset",
    "browse/product/ABBR/plane",
    "browse/product/ABBR/plane/PLANE",
    "browse/product/ABBR/gene",
    "browse/product/ABBR/gene/ACRONYM",
    "browse/product/ABBR/gene/ACRONYM/PLANE",
    "browse/atlas",
    *LINKS,
    *(f"{above}/ID/{name}" for above, names in DOCUMENTS.items() for name in names),
    OWN_DIRECTORY,
    *(f"{OWN_DIRECTORY}/{name}" for name in (STATUS_FILE, LOG_FILE)),
)
# Patterns by the first name and the number of names; among them, a word without
# capitals matches first.
_PATTERNS_BY_START: dict[tuple[str, int], list[list[str]]] = defaultdict(list)
for _pattern in PATTERNS:
    _words = _pattern.split("/")
    _PATTERNS_BY_START[_words[0], len(_words)].append(_words)


# Every FUSE operation parses a path. 4096 cached nodes of about 500 bytes cover the
# files of a listing, which `ls -l` stats one by one.
@lru_cache(maxsize=4096)
def parse(path: str) -> Node:
    """Return the node that `path` (below the mountpoint) names.

    PathNotFoundError if it is outside the grammar; nothing else is ever raised.
    """
    names = path.removeprefix("/").split("/")
    if (node := _parse_pattern(names)) is not None:
        return node
    match names:
        case [("section" | "projection" | "atlas") as service, image_id, *rest]:
            return _parse_image(
                ImageRequest(ImageService(service), _id(image_id)), rest
            )
        case ["dataset", data_set_id, *rest]:
            return _parse_collection(Subject.DATA_SET, _id(data_set_id), rest)
        case ["browse", "atlas", atlas_id, *rest]:
            # names below a link are resolved by the kernel, which follows it
            return _parse_collection(Subject.ATLAS, _id(atlas_id), rest)
    raise no_such(names[-1])


def _parse_pattern(names: list[str]) -> nodes.PatternNode | None:
    for words in _PATTERNS_BY_START.get((names[0], len(names)), ()):
        pairs = list(zip(words, names, strict=True))
        if all(_matches(word, name) for word, name in pairs):
            arguments = (
                _id(name) if word == "ID" else text_of(name)
                for word, name in pairs
                if word.isupper()
            )
            return nodes.PatternNode("/".join(words), tuple(arguments))
    return None


def _matches(word: str, name: str) -> bool:
    match word:
        case "TITLE":  # the id of an atlas is in the same position
            return name == readable_name(name)
        case "NMM":
            return _REGION_SIZE.fullmatch(name) is not None
        case "PLANE-ID":
            return _PLANE_AND_ID.fullmatch(name) is not None
    return word == name or word.isupper()


def is_link(path: str) -> bool:
    """Return whether a path, if it exists, is a symbolic link."""
    try:
        node = parse(path)
    except PathNotFoundError:
        return False
    return isinstance(node, nodes.PatternNode) and node.pattern in LINKS


def request_of(node: Node) -> ImageRequest:
    """Return the request of an image's node, from the path alone.

    IsADirError if it is not an image; UrlInRecordError if a part of the request
    is in the catalog: `range`, `roi`, or the groups of a drawing.
    """
    match node:
        case nodes.ImageFile(request, equalized=False, from_corner=False):
            return request
        case nodes.CollectionFile(nodes.CollectionDirectory(layout=Layout.STACK)):
            msg = "a page of a stack is drawn locally, from one image: it has no URL"
        case nodes.CollectionFile(
            nodes.CollectionDirectory(
                view=View(equalized=False, from_corner=False) as view
            )
        ):
            return view.of(node.image_id)
        case (
            nodes.ImageFile()
            | nodes.CollectionFile()
            | nodes.DrawingFile()
            | nodes.ZarrNode(is_chunk=True)
        ):
            raise UrlInRecordError(
                "the URL depends on the image's record: give its path in a mount"
            )
        case nodes.SheetFile():
            msg = "a contact sheet is drawn locally, from many images: it has no URL"
        case _:
            msg = "not an image: only images have URLs"
    raise IsADirError(msg)


def listing(
    node: nodes.ImageDirectory | nodes.ParameterDirectory,
    views: tuple[str, ...] = VIEWS,
) -> list[str]:
    """Return the names in a directory of one image that follow from the grammar.

    Finite and small, because crawlers and ``cp -r`` follow it. `views` are those that
    may apply to the image.
    """
    is_atlas = node.request.service is ImageService.ATLAS
    names = [f"{name}.jpg" for name in ("image", *(() if is_atlas else views))]
    if isinstance(node, nodes.ImageDirectory):
        names += [*LISTED_DOWNSAMPLES, *([ANNOTATED] if is_atlas else [])]
    return names


def _parse_image(request: ImageRequest, names: list[str]) -> Node:
    if not names:
        return nodes.ImageDirectory(request)
    if (place := zarr_paths.pyramid_in(names)) is not None:
        image = zarr_paths.image_beside(names[place])
        source = _parse_image(request, [*names[:place], image])
        return zarr_paths.parse(source, names[place:])
    if names[-1] == DRAWING_FILE:
        return _parse_drawing(request, names[:-1])
    if not names[-1].endswith(".jpg"):
        return with_parameters(nodes.ParameterDirectory(request), names)
    file = with_parameters(nodes.ImageFile(request), names[:-1])
    return replace(file, request=file.request.with_file(names[-1]))


def _parse_drawing(request: ImageRequest, names: list[str]) -> Node:
    view = with_parameters(View(request), names)
    downsample = view.request.downsample
    is_plain = view == View(replace(request, downsample=downsample))
    if request.service is not ImageService.ATLAS or not is_plain:
        raise no_such(DRAWING_FILE)
    return nodes.DrawingFile(request.image_id, downsample)


def _parse_collection(subject: Subject, subject_id: int, names: list[str]) -> Node:
    if subject is Subject.DATA_SET:
        for layout in Layout:
            if layout.value in names:
                return layout_paths.parse(layout, subject_id, names)
    if (place := zarr_paths.pyramid_in(names)) is not None:
        name = names[place]
        is_volume = subject is Subject.DATA_SET and name == zarr_paths.VOLUME
        above = [] if is_volume else [zarr_paths.image_beside(name)]
        source = _parse_collection(subject, subject_id, [*names[:place], *above])
        kind = nodes.CollectionDirectory if is_volume else nodes.CollectionFile
        if not isinstance(source, kind):
            raise no_such(name)
        return zarr_paths.parse(source, names[place:])
    found = COLLECTION_FILE.fullmatch(names[-1]) if names else None
    is_sheet = names[-1:] == [SHEET_FILE]
    directories = names[:-1] if found or is_sheet else names
    is_atlas = subject is Subject.ATLAS
    service = ImageService.ATLAS if is_atlas else ImageService.SECTION
    view = with_parameters(View(ImageRequest(service, 0)), directories, subject)
    if is_atlas and view.request.annotated:
        view = replace(view, request=replace(view.request, atlas_id=subject_id))
    directory = nodes.CollectionDirectory(subject, subject_id, view, bool(directories))
    if found:
        return nodes.CollectionFile(directory, int(found[1]), names[-1])
    if not is_sheet:
        return directory
    if view.request.downsample or view.request.roi is not None:
        raise no_such(SHEET_FILE)  # its thumbnails have a fixed size
    return nodes.SheetFile(directory)


def _id(name: str) -> int:
    if not ID_PATTERN.fullmatch(name):
        raise PathNotFoundError(f"not an id: {name!r}")
    return int(name)
