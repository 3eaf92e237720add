"""Resolve nodes by the service's records into directories, links and files.

The grammar parses a path into a node (``nodes.py``); this module resolves it to an
entry, or finds that it does not exist. A failed query is a different error, and never
means that something does not exist.
"""

from __future__ import annotations

import contextlib
from dataclasses import replace
from typing import TYPE_CHECKING, NoReturn

from allenfs.catalog import documents, info, queries
from allenfs.catalog.browse import Browser
from allenfs.catalog.documents import Document
from allenfs.catalog.entries import Entry, Folder, Link, Picture, Sheet
from allenfs.errors import PathNotFoundError
from allenfs.model import sheets, tree, views
from allenfs.model.images import ImageService
from allenfs.model.nodes import (
    CatalogFile,
    CatalogNode,
    CollectionDirectory,
    CollectionFile,
    DataSetsDirectory,
    ImageDirectory,
    ImageFile,
    InfoFile,
    ParameterDirectory,
    SectionLink,
    SectionsFile,
    SheetFile,
    Subject,
)
from allenfs.text import path_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from allenfs.catalog.queries import Question
    from allenfs.catalog.quick_lookup import QuickLookup
    from allenfs.catalog.record_cache import Held
    from allenfs.catalog.repository import Repository
    from allenfs.model.images import ImageRequest
    from allenfs.model.records import Collection, Plate, SectionImage, SectionRecord


class Catalog:
    """Resolves nodes by the service's records. Safe to use from many threads."""

    def __init__(self, repository: Repository, quick_lookup: QuickLookup) -> None:
        self._repository = repository
        self._quick_lookup = quick_lookup
        self._browser = Browser(repository)

    def resolve(
        self,
        node: CatalogNode | ParameterDirectory | ImageFile,
        interrupted: Callable[[], bool],
    ) -> Entry:
        """Return the entry of a node.

        Raises
        ------
        PathNotFoundError
            It does not exist.
        ServiceError, InterruptedWaitError
            The query failed.
        """
        match node:
            case ImageFile():
                request = self._completed(node, interrupted)
                return Picture(request, self._held_px(request))
            case ParameterDirectory():
                self._completed(node, interrupted)
                return Folder()
            case DataSetsDirectory():
                return Folder()
            case InfoFile(subject, subject_id):
                return info.document(self._repository, subject, subject_id, interrupted)
            case SectionsFile(data_set_id):
                question = queries.data_set(data_set_id)
                held = self._repository.existing(question, interrupted)
                return Document(documents.sections(held.record), held.fetched_ns)
            case SectionLink(image_id, name):
                return self._link(image_id, name, interrupted)
            case CollectionDirectory():
                return self._folder(node, interrupted)
            case CollectionFile() | SheetFile():
                collection = self._collection(node.directory, interrupted)
                return _file_of(collection, node)
            case _:
                return self._browser.resolve(node, interrupted)

    def names(self, node: CatalogNode, interrupted: Callable[[], bool]) -> list[str]:
        """Return the names in a directory; raises as `resolve` does."""
        match node:
            case DataSetsDirectory():
                known = filter(str.isdecimal, self._repository.cache.names("dataset"))
                return sorted(known, key=int)
            case CollectionDirectory():
                return self._collection_names(node, interrupted)
            case _ if isinstance(node, CatalogFile):
                raise PathNotFoundError(str(node))
            case _:
                return self._browser.names(node, interrupted)

    def series(self, directory: CollectionDirectory) -> tuple[ImageRequest, ...]:
        """Return the images that a directory lists, if its record is cached."""
        held = self._repository.cache.any(_question(directory))
        collection: Collection | None = held.record if held else None
        if collection is None:
            return ()
        requests = []
        for image in views.listed(directory, collection):
            with contextlib.suppress(PathNotFoundError):
                requests.append(_seen(directory, collection, image))
        return tuple(requests)

    def image_names(
        self,
        node: ImageDirectory | ParameterDirectory,
        interrupted: Callable[[], bool],
    ) -> list[str]:
        """Return the names in a directory of one image.

        If the service is slow, busy or unreachable, all views are listed, and the
        names of records and links are omitted; they can still be opened.
        Raises as `resolve` does.
        """
        if node.request.service is ImageService.ATLAS:
            return tree.listing(node, []) + self._plate_names(node, interrupted)
        image_id = node.request.image_id
        section = self._quick_lookup.at(
            queries.section(image_id), image_id, interrupted
        )
        if section is None:
            return tree.listing(node, [])
        data_set: Collection | None = None
        if section.data_set_id is not None:
            question = queries.data_set(section.data_set_id)
            data_set = self._quick_lookup.at(question, image_id, interrupted)
        shown = views.applicable([section.image], data_set)
        names = tree.listing(node, [], shown)
        if (
            isinstance(node, ParameterDirectory)
            or node.request.service is not ImageService.SECTION
        ):
            return names
        names.append(tree.INFO_FILE)
        if section.data_set_id is not None:
            names.append(tree.DATA_SET_LINK)
        if data_set is not None and data_set.equalization is not None:
            names.append(tree.EQUALIZED)
        nissl = self._quick_lookup.at(queries.nissl(image_id), image_id, interrupted)
        if nissl is not None and nissl.image_id is not None:
            names.append(tree.NISSL_LINK)
        return names

    def last_failure(self) -> str | None:
        """Why the last query failed; None if it succeeded."""
        return self._repository.last_failure()

    def _plate_names(
        self,
        node: ImageDirectory | ParameterDirectory,
        interrupted: Callable[[], bool],
    ) -> list[str]:
        """Return the names that the catalog adds to a directory of a plate."""
        request = node.request
        question = queries.plate(request.image_id)
        if isinstance(node, ImageDirectory):
            seen = self._quick_lookup.at(question, request.image_id, interrupted)
            return [] if seen is None else [tree.INFO_FILE]
        if not request.annotated:
            return []
        plate = self._repository.get(question, interrupted).record
        if plate is None or not plate.image.annotated:
            return []
        return [f"atlas{atlas_id}.jpg" for atlas_id in plate.atlas_ids]

    def _held_px(self, request: ImageRequest) -> tuple[int, int] | None:
        """Return width and height of an image, if its record is cached."""
        held: Held[Plate | None] | Held[SectionRecord | None] | None
        if request.service is ImageService.ATLAS:
            held = self._repository.cache.fresh(queries.plate(request.image_id))
        else:
            held = self._repository.cache.fresh(queries.section(request.image_id))
        return _full_px(held.record.image) if held and held.record else None

    def _completed(
        self,
        node: ImageFile | ParameterDirectory,
        interrupted: Callable[[], bool],
    ) -> ImageRequest:
        """Return a request with `range` and `roi` filled in from the records."""
        request = node.request
        if node.from_corner:
            request = self._from_corner(request, interrupted)
        return self._equalized(request, interrupted) if node.equalized else request

    def _from_corner(
        self, request: ImageRequest, interrupted: Callable[[], bool]
    ) -> ImageRequest:
        record: Plate | SectionRecord
        if request.service is ImageService.ATLAS:
            question = queries.plate(request.image_id)
            record = self._repository.existing(question, interrupted).record
        else:
            section = queries.section(request.image_id)
            record = self._repository.existing(section, interrupted).record
        corner_px = record.image.corner_px
        if corner_px is None:
            return _deny(f"x and y of image {request.image_id}")
        return request.with_corner(corner_px)

    def _equalized(
        self, request: ImageRequest, interrupted: Callable[[], bool]
    ) -> ImageRequest:
        section = queries.section(request.image_id)
        data_set_id = self._repository.existing(section, interrupted).record.data_set_id
        if data_set_id is not None:
            question = queries.data_set(data_set_id)
            data_set = self._repository.get(question, interrupted).record
            if data_set is not None and data_set.equalization is not None:
                return request.with_range(data_set.equalization)
        return _deny(f"equalization of section {request.image_id}")

    def _collection(
        self, directory: CollectionDirectory, interrupted: Callable[[], bool]
    ) -> Collection:
        return self._repository.existing(_question(directory), interrupted).record

    def _folder(
        self, directory: CollectionDirectory, interrupted: Callable[[], bool]
    ) -> Folder:
        view, subject_id = directory.view, directory.subject_id
        if view.equalized or view.treatment is not None:
            collection = self._collection(directory, interrupted)
            if view.equalized and collection.equalization is None:
                return _deny(f"equalization of data set {subject_id}")
            if view.treatment not in (None, *collection.treatments):
                return _deny(f"treatment {view.treatment!r}")
        elif directory.subject is Subject.ATLAS:
            if subject_id not in self._browser.atlas_ids(interrupted):
                return _deny(f"atlas {subject_id}")
        elif subject_id not in self._browser.data_set_ids:
            self._collection(directory, interrupted)
        return Folder()

    def _collection_names(
        self, directory: CollectionDirectory, interrupted: Callable[[], bool]
    ) -> list[str]:
        collection = self._collection(directory, interrupted)
        names = [image.file_name for image in views.listed(directory, collection)]
        if directory.is_view:
            return names
        if sheets.is_possible(len(names)):
            names.append(sheets.SHEET_FILE)
        names += [tree.INFO_FILE, *tree.LISTED_DOWNSAMPLES]
        if directory.subject is Subject.ATLAS:
            return [*names, tree.ANNOTATED, *_treatment_names(directory, collection)]
        if collection.equalization is not None:
            names.append(tree.EQUALIZED)
        shown = views.applicable(collection.images.values(), collection)
        return [*names, tree.SECTIONS_FILE, *shown]

    def _link(self, image_id: int, name: str, interrupted: Callable[[], bool]) -> Link:
        section = self._repository.existing(queries.section(image_id), interrupted)
        data_set_id = section.record.data_set_id
        if name == tree.NISSL_LINK:
            nissl = self._repository.get(queries.nissl(image_id), interrupted).record
            if nissl.image_id is not None:
                return Link(f"../{nissl.image_id}")
        elif data_set_id is not None:
            return Link(f"../../dataset/{data_set_id}")
        return _deny(f"{name} of section {image_id}")


def _question(directory: CollectionDirectory) -> Question[Collection | None]:
    is_atlas = directory.subject is Subject.ATLAS
    return (queries.atlas if is_atlas else queries.data_set)(directory.subject_id)


def _full_px(image: SectionImage) -> tuple[int, int] | None:
    full_px = image.width_px, image.height_px
    return full_px if all(full_px) else None


def _file_of(collection: Collection, file: CollectionFile | SheetFile) -> Entry:
    directory = file.directory
    if isinstance(file, SheetFile):
        view = _equalized_view(directory, collection)
        sheet = sheets.sheet(directory, collection, view)
        return _deny("sheet of these images") if sheet is None else Sheet(sheet)
    image = collection.images.get(file.image_id)
    if image is None or image.file_name != file.name:
        return _deny(file.name)
    if not directory.view.shows(image):
        return _deny(f"{file.name} in this view")
    return Picture(_seen(directory, collection, image), _full_px(image))


def _seen(
    directory: CollectionDirectory, collection: Collection, image: SectionImage
) -> ImageRequest:
    """Return the request of an image in a directory's view."""
    view = _equalized_view(directory, collection)
    request = replace(view, image_id=image.image_id)
    if directory.view.from_corner and image.corner_px is not None:
        return request.with_corner(image.corner_px)
    return request


def _equalized_view(
    directory: CollectionDirectory, collection: Collection
) -> ImageRequest:
    """Return the view's request for any image, with the data set's range."""
    request = directory.view.request
    if not directory.view.equalized:
        return request
    if collection.equalization is None:
        return _deny(f"equalization of data set {directory.subject_id}")
    return request.with_range(collection.equalization)


def _treatment_names(
    directory: CollectionDirectory, collection: Collection
) -> Iterator[str]:
    """Yield the treatments' names, except those that the grammar uses itself."""
    for treatment in collection.treatments:
        name = path_name(treatment)
        path = f"{directory.subject.value}/{directory.subject_id}/{name}"
        node = tree.parse(path) if name is not None else None
        if isinstance(node, CollectionDirectory) and node.view.treatment == treatment:
            yield path.rpartition("/")[2]


def _deny(what: str) -> NoReturn:
    msg = f"the catalog has no {what}"
    raise PathNotFoundError(msg)
