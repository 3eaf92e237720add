"""Parse paths into nodes, and list directories of images. Pure: no I/O."""

from __future__ import annotations

import functools
import re
from dataclasses import replace

from allenfs.errors import IsADirError, PathNotFoundError
from allenfs.model.images import (
    ID_PATTERN,
    VIEWS,
    ImageRequest,
    ImageService,
    file_names,
)
from allenfs.model.nodes import (
    AtlasesDirectory,
    AtlasLink,
    BrowseDirectory,
    CollectionDirectory,
    CollectionFile,
    DataSetLink,
    DataSetLinksDirectory,
    DataSetsDirectory,
    DocumentFile,
    GeneDirectory,
    GenesDirectory,
    ImageDirectory,
    ImageFile,
    Node,
    OwnDirectory,
    OwnFile,
    ParameterDirectory,
    PlaneDirectory,
    ProductDataSetsDirectory,
    ProductDirectory,
    ProductPlaneDirectory,
    ProductPlanesDirectory,
    ProductsDirectory,
    Root,
    SectionLink,
    ServiceDirectory,
    SheetFile,
    Subject,
    View,
)
from allenfs.model.parameters import region_from_corner
from allenfs.model.sheets import SHEET_FILE
from allenfs.text import readable_name, text_of

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

_COLLECTION_FILE = re.compile(rf"[0-9]{{4,10}}_({ID_PATTERN.pattern})\.jpg")
_SUBJECTS = {
    ImageService.SECTION: Subject.SECTION,
    ImageService.ATLAS: Subject.PLATE,
}


# Every FUSE operation parses a path. 4096 cached nodes of about 500 bytes cover the
# files of a listing, which `ls -l` stats one by one.
@functools.lru_cache(maxsize=4096)
def parse(path: str) -> Node:
    """Return the node that `path` (below the mountpoint) names.

    Raises
    ------
    PathNotFoundError
        The name is outside the grammar. Nothing else is ever raised.
    """
    path = path.removeprefix("/")
    if not path:
        return Root()
    first, *names = path.split("/")
    if first == "dataset":
        return _parse_data_set(names) if names else DataSetsDirectory()
    if first == "browse":
        return _parse_browse(names)
    if first == OWN_DIRECTORY:
        return _parse_own(names)
    try:
        service = ImageService(first)
    except ValueError:
        raise _no_such(first) from None
    if not names:
        return ServiceDirectory(service)
    return _parse_image(ImageRequest(service, _id(names[0])), names[1:])


def request_of(node: Node) -> ImageRequest:
    """Return the request of an image's node, from the path alone.

    Raises
    ------
    IsADirError
        The node is not an image, or its `range` or `roi` is in the catalog.
    """
    match node:
        case ImageFile(request, equalized=False, from_corner=False):
            return request
        case CollectionFile(
            CollectionDirectory(view=View(equalized=False, from_corner=False) as view)
        ):
            return view.of(node.image_id)
        case ImageFile() | CollectionFile():
            msg = "the URL is in the image's record: see user.allenfs.url in a mount"
            raise IsADirError(msg)
        case SheetFile():
            msg = "a contact sheet is drawn locally, from many images: it has no URL"
            raise IsADirError(msg)
    msg = "not an image: only images have URLs"
    raise IsADirError(msg)


def listing(
    node: Root | ServiceDirectory | ImageDirectory | ParameterDirectory,
    used_ids: list[int],
    views: tuple[str, ...] = VIEWS,
) -> list[str]:
    """Return the names in a directory that follow from the grammar.

    Finite and small, because crawlers and ``cp -r`` follow it.

    Parameters
    ----------
    used_ids : list of int
        Images of the service that were used before; a service directory
        lists them.
    views : tuple of str
        The views of the image; all if they are not known.
    """
    match node:
        case Root():
            return [*(service.value for service in ImageService), "dataset", "browse"]
        case ServiceDirectory():
            return [str(image_id) for image_id in sorted(used_ids)]
        case ImageDirectory(request):
            names = [*file_names(request.service, views), *LISTED_DOWNSAMPLES]
            if request.service is ImageService.ATLAS:
                names.append(ANNOTATED)
            return names
        case ParameterDirectory(request):
            return list(file_names(request.service, views))


def _parse_image(request: ImageRequest, names: list[str]) -> Node:
    if not names:
        return ImageDirectory(request)
    *directories, last = names
    if not directories:
        subject = _SUBJECTS.get(request.service)
        if subject is not None and last in DOCUMENTS[subject]:
            return DocumentFile(subject, request.image_id, last)
        if last in (DATA_SET_LINK, NISSL_LINK) and subject is Subject.SECTION:
            return SectionLink(request.image_id, last)
    if last.endswith(".jpg"):
        view = _with_parameters(View(request), directories)
        request = view.request.with_file(last)
        return ImageFile(request, view.equalized, view.from_corner)
    view = _with_parameters(View(request), names)
    return ParameterDirectory(view.request, view.equalized, view.from_corner)


def _parse_data_set(names: list[str]) -> Node:
    data_set_id, *names = _id(names[0]), *names[1:]
    view = View(ImageRequest(ImageService.SECTION, 0))
    return _parse_collection(Subject.DATA_SET, data_set_id, view, names)


def _parse_atlas(names: list[str]) -> Node:
    if not ID_PATTERN.fullmatch(names[0]):
        # names below a link are resolved by the kernel, which follows it
        if names[0] != readable_name(names[0]) or len(names) > 1:
            raise _no_such(names[0])
        return AtlasLink(names[0])
    view = View(ImageRequest(ImageService.ATLAS, 0))
    return _parse_collection(Subject.ATLAS, int(names[0]), view, names[1:])


def _parse_collection(
    subject: Subject, subject_id: int, view: View, names: list[str]
) -> Node:
    if len(names) == 1 and names[0] in DOCUMENTS[subject]:
        return DocumentFile(subject, subject_id, names[0])
    found = _COLLECTION_FILE.fullmatch(names[-1]) if names else None
    is_sheet = names[-1:] == [SHEET_FILE]
    directories = names[:-1] if found or is_sheet else names
    view = _with_parameters(view, directories, subject)
    if subject is Subject.ATLAS and view.request.annotated:
        view = replace(view, request=replace(view.request, atlas_id=subject_id))
    directory = CollectionDirectory(subject, subject_id, view, bool(directories))
    if found:
        return CollectionFile(directory, int(found[1]), names[-1])
    if not is_sheet:
        return directory
    if view.request.downsample or view.request.roi is not None:
        raise _no_such(SHEET_FILE)  # its thumbnails have a fixed size
    return SheetFile(directory)


def _with_parameters(
    view: View, names: list[str], subject: Subject | None = None
) -> View:
    seen: set[str] = set()
    for name in names:
        field, view = _with_parameter(view, name, subject)
        if field in seen:
            msg = f"{field} appears twice"
            raise PathNotFoundError(msg)
        seen.add(field)
    return view


def _with_parameter(view: View, name: str, subject: Subject | None) -> tuple[str, View]:
    if name == EQUALIZED and view.request.service is not ImageService.ATLAS:
        return "range", replace(view, equalized=True)
    if subject is Subject.DATA_SET and name in VIEWS:
        return "view", replace(view, request=view.request.with_file(f"{name}.jpg"))
    if (roi := region_from_corner(name)) is not None:
        request = replace(view.request, roi=roi)
        return "roi", replace(view, request=request, from_corner=True)
    try:
        field, request = view.request.with_parameter(name)
    except PathNotFoundError:
        if subject is not Subject.ATLAS:
            raise
        return "treatment", replace(view, treatment=text_of(name))
    return field, replace(view, request=request)


def _parse_browse(names: list[str]) -> Node:
    match names:
        case []:
            return BrowseDirectory()
        case ["product"]:
            return ProductsDirectory()
        case ["product", product, *rest]:
            return _parse_product(text_of(product), rest)
        case ["atlas"]:
            return AtlasesDirectory()
        case ["atlas", *rest]:
            return _parse_atlas(rest)
    raise _no_such(names[0])


def _parse_own(names: list[str]) -> Node:
    match names:
        case []:
            return OwnDirectory()
        case [name] if name in (STATUS_FILE, LOG_FILE):
            return OwnFile(name)
    raise _no_such(names[-1])


def _parse_product(product: str, names: list[str]) -> Node:
    match names:
        case []:
            return ProductDirectory(product)
        case ["dataset", *rest]:
            return _parse_links(ProductDataSetsDirectory(product), rest)
        case ["plane"]:
            return ProductPlanesDirectory(product)
        case ["plane", plane, *rest]:
            return _parse_links(ProductPlaneDirectory(product, text_of(plane)), rest)
        case ["gene"]:
            return GenesDirectory(product)
        case ["gene", acronym]:
            return GeneDirectory(product, text_of(acronym))
        case ["gene", acronym, plane, *rest]:
            directory = PlaneDirectory(product, text_of(acronym), text_of(plane))
            return _parse_links(directory, rest)
    raise _no_such(names[-1])


def _parse_links(directory: DataSetLinksDirectory, names: list[str]) -> Node:
    match names:
        case []:
            return directory
        case [number]:
            return DataSetLink(directory, _id(number))
    raise _no_such(names[-1])


def _id(name: str) -> int:
    if not ID_PATTERN.fullmatch(name):
        msg = f"not an id: {name!r}"
        raise PathNotFoundError(msg)
    return int(name)


def _no_such(name: str) -> PathNotFoundError:
    return PathNotFoundError(f"no such name: {name!r}")
