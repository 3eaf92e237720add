"""Resolve nodes to directories, links and files, using the service's records.

The grammar parses a path into a node (``nodes.py``); this module resolves it to an
entry, or finds that it does not exist. A failed query is a different error, and never
means that something does not exist.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from allenfs.catalog import layouts, queries
from allenfs.catalog.browse import Browser
from allenfs.catalog.documents import DOCUMENTS
from allenfs.catalog.entries import Entry, Folder, Link, Picture, deny
from allenfs.catalog.pyramids import Pyramids
from allenfs.catalog.regions import Regions
from allenfs.catalog.view_requests import (
    collection_question,
    completed,
    image_question,
    seen,
)
from allenfs.errors import PathNotFoundError
from allenfs.model import nodes, sheets, tree, views
from allenfs.model.drawings import DRAWING_FILE, drawing_of
from allenfs.model.images import ImageService
from allenfs.model.quint import SERIES_FILE
from allenfs.model.view_paths import EQUALIZED
from allenfs.text import path_name

if TYPE_CHECKING:
    from allenfs.catalog.record_cache import RecordCache
    from allenfs.catalog.repository import Repository
    from allenfs.model.images import ImageRequest
    from allenfs.model.records import Collection, SectionImage
    from allenfs.service.single_flight import Caller


class Catalog:
    """Resolves nodes using the service's records. Safe to use from many threads."""

    def __init__(self, repository: Repository, cache: RecordCache) -> None:
        self._repository = repository
        self._cache = cache
        self._browser = Browser(repository, cache)
        self._regions = Regions(repository, cache, self._browser)
        self._pyramids = Pyramids(repository)

    def resolve(self, node: nodes.Node, caller: Caller) -> Entry:
        """Return the entry of a node.

        PathNotFoundError if it does not exist; ServiceError or InterruptedWaitError if
        the query failed.
        """
        match node:
            case nodes.ImageFile():
                request = self._completed(node, caller)
                return Picture(request, self._cached_px(request))
            case nodes.DrawingFile(image_id, downsample):
                return self._drawing(image_id, downsample, caller)
            case nodes.ParameterDirectory():
                self._completed(node, caller)
                return Folder()
            case nodes.CollectionDirectory():
                return self._folder(node, caller)
            case nodes.LayoutDirectory(directory):
                return self._folder(replace(directory, layout=None), caller)
            case nodes.SeriesFile(directory):
                self._folder(directory, caller)
                question = collection_question(directory)
                found = self._repository.existing(question, caller)
                return layouts.series(directory, found)
            case nodes.CollectionFile() | nodes.SheetFile():
                collection = self._collection(node.directory, caller)
                return _file_of(collection, node)
            case nodes.ZarrNode():
                return self._pyramids.resolve(node, caller)
            case nodes.PatternNode():
                return self._resolve_pattern(node, caller)
        return Folder()  # one image

    def _resolve_pattern(self, node: nodes.PatternNode, caller: Caller) -> Entry:
        match node:
            case nodes.PatternNode("section/ID/dataset", (image_id,)):
                return self._data_set_link(image_id, caller)
            case nodes.PatternNode("section/ID/nissl", (image_id,)):
                return self._nissl_link(image_id, caller)
            case nodes.PatternNode(pattern, (subject_id,)) if pattern in DOCUMENTS:
                return DOCUMENTS[pattern](self._repository, subject_id, caller)
            case nodes.PatternNode() if node.is_of_structures:
                return self._regions.resolve(node, caller)
            case nodes.PatternNode(pattern) if pattern.startswith("browse"):
                return self._browser.resolve(node, caller)
        return Folder()  # a service, or `dataset`

    def names(self, node: nodes.Node, caller: Caller) -> list[str]:
        """Return the names in a directory; raises as `resolve` does."""
        match node:
            case nodes.ImageDirectory() | nodes.ParameterDirectory():
                return self._image_names(node, caller)
            case nodes.PatternNode("dataset"):
                known = filter(str.isdecimal, self._cache.names("dataset"))
                return sorted(known, key=int)
            case nodes.CollectionDirectory():
                return self._collection_names(node, caller)
            case nodes.LayoutDirectory(directory):
                collection = self._collection(directory, caller)
                return list(layouts.tier_names(directory, collection))
            case nodes.ZarrNode():
                return self._pyramids.names(node, caller)
            case nodes.PatternNode() if node.is_of_structures:
                return self._regions.names(node, caller)
            case nodes.PatternNode():
                return self._browser.names(node, caller)
        raise PathNotFoundError(str(node))

    def series(self, directory: nodes.Listing) -> tuple[ImageRequest, ...]:
        """Return the images that a directory lists, if its record is cached."""
        if isinstance(directory, nodes.ZarrNode):
            return self._pyramids.series(directory)
        cached = self._cache.any(collection_question(directory))
        if cached is None or cached.record is None:
            return ()
        requests = []
        for image in views.listed(directory, cached.record):
            with contextlib.suppress(PathNotFoundError):
                requests.append(seen(directory, cached.record, image))
        return tuple(requests)

    def _image_names(
        self, node: nodes.ImageDirectory | nodes.ParameterDirectory, caller: Caller
    ) -> list[str]:
        """Return the names in a directory of one image.

        If the service is slow, busy or unreachable, all views are listed, and the
        names of records and links are omitted; they can still be opened.
        """
        service, image_id = node.request.service, node.request.image_id
        if service is ImageService.ATLAS:
            return tree.listing(node) + self._plate_names(node, caller)
        lookup = functools.partial(
            self._repository.optional, image_id=image_id, caller=caller
        )
        section = lookup(queries.section(image_id))
        if section is None:
            return tree.listing(node)
        data_set: Collection | None = None
        if section.data_set_id is not None:
            data_set = lookup(queries.data_set(section.data_set_id))
        names = tree.listing(node, views.applicable([section.image], data_set))
        is_projection = service is ImageService.PROJECTION
        if isinstance(node, nodes.ParameterDirectory) or is_projection:
            return names
        names += tree.DOCUMENTS["section"]
        if section.data_set_id is not None:
            names.append(tree.DATA_SET_LINK)
        if data_set is not None and data_set.equalization is not None:
            names.append(EQUALIZED)
        nissl = lookup(queries.nissl(image_id))
        if nissl is not None and nissl.image_id is not None:
            names.append(tree.NISSL_LINK)
        return names

    def _plate_names(
        self, node: nodes.ImageDirectory | nodes.ParameterDirectory, caller: Caller
    ) -> list[str]:
        """Return the names that the catalog adds to a directory of a plate."""
        request = node.request
        question = queries.plate(request.image_id)
        if isinstance(node, nodes.ImageDirectory):
            seen = self._repository.optional(question, request.image_id, caller)
            if seen is None:
                return []
            has_drawing = drawing_of(seen) is not None
            return [*tree.DOCUMENTS["atlas"], *([DRAWING_FILE] if has_drawing else [])]
        if not request.annotated:
            return []
        plate = self._repository.get(question, caller).record
        if plate is None or not plate.image.annotated:
            return []
        return [f"atlas{atlas_id}.jpg" for atlas_id in plate.atlas_ids]

    def _drawing(self, image_id: int, downsample: int, caller: Caller) -> Picture:
        plate = self._repository.existing(queries.plate(image_id), caller).record
        drawing = drawing_of(plate, downsample)
        if drawing is None:
            raise PathNotFoundError(
                f"plate {image_id} has no drawing: it is not annotated, or its "
                "atlases have no group of graphics"
            )
        return Picture(drawing)

    def _cached_px(self, request: ImageRequest) -> tuple[int, int] | None:
        """Return width and height of an image, if its record is cached."""
        cached = self._cache.fresh(image_question(request))
        return _full_px(cached.record.image) if cached and cached.record else None

    def _completed(
        self, node: nodes.ImageFile | nodes.ParameterDirectory, caller: Caller
    ) -> ImageRequest:
        """Return a request with `range` and `roi` filled in from the records."""
        corner_px = equalization = None
        if node.from_corner:
            existing = self._repository.existing(image_question(node.request), caller)
            corner_px = existing.record.image.corner_px
        if node.equalized:
            equalization = self._equalization(node.request.image_id, caller)
        return completed(node, corner_px, equalization)

    def _equalization(self, image_id: int, caller: Caller) -> tuple[int, ...] | None:
        data_set_id = self._regions.data_set_ids.get(image_id)
        if data_set_id is None:
            section = self._repository.existing(queries.section(image_id), caller)
            data_set_id = section.record.data_set_id
        if data_set_id is None:
            return None
        question = queries.data_set(data_set_id)
        data_set = self._repository.get(question, caller).record
        return None if data_set is None else data_set.equalization

    def _collection(
        self, directory: nodes.CollectionDirectory, caller: Caller
    ) -> Collection:
        return self._repository.existing(collection_question(directory), caller).record

    def _folder(self, directory: nodes.CollectionDirectory, caller: Caller) -> Folder:
        view, subject_id = directory.view, directory.subject_id
        if view.equalized or view.treatment is not None or directory.layout:
            collection = self._collection(directory, caller)
            if view.equalized and collection.equalization is None:
                return deny(f"equalization of data set {subject_id}")
            if view.treatment not in (None, *collection.treatments):
                return deny(f"treatment {view.treatment!r}")
            layouts.require(directory, collection)
        elif directory.subject is nodes.Subject.ATLAS:
            if subject_id not in self._browser.atlas_ids(caller):
                return deny(f"atlas {subject_id}")
        elif subject_id not in self._browser.data_set_ids:
            self._collection(directory, caller)
        return Folder()

    def _collection_names(
        self, directory: nodes.CollectionDirectory, caller: Caller
    ) -> list[str]:
        collection = self._collection(directory, caller)
        images = views.listed(directory, collection)
        names = [views.name_of(directory, image) for image in images]
        if directory.layout is nodes.Layout.QUINT:
            names.append(SERIES_FILE)
        if directory.is_view:
            return names
        if sheets.is_possible(len(names)):
            names.append(sheets.SHEET_FILE)
        names += [*tree.DOCUMENTS[directory.subject.value], *tree.LISTED_DOWNSAMPLES]
        if directory.subject is nodes.Subject.ATLAS:
            return [*names, tree.ANNOTATED, *_treatment_names(directory, collection)]
        if collection.equalization is not None:
            names.append(EQUALIZED)
        shown = views.applicable(collection.images.values(), collection)
        return [*names, *shown]

    def _data_set_link(self, image_id: int, caller: Caller) -> Link:
        section = self._repository.existing(queries.section(image_id), caller)
        data_set_id = section.record.data_set_id
        if data_set_id is None:
            return deny(f"data set of section {image_id}")
        return Link(f"../../dataset/{data_set_id}")

    def _nissl_link(self, image_id: int, caller: Caller) -> Link:
        self._repository.existing(queries.section(image_id), caller)
        nissl = self._repository.get(queries.nissl(image_id), caller).record
        if nissl.image_id is None:
            return deny(f"Nissl section of section {image_id}")
        return Link(f"../{nissl.image_id}")


def _full_px(image: SectionImage) -> tuple[int, int] | None:
    full_px = image.width_px, image.height_px
    return full_px if all(full_px) else None


def _file_of(
    collection: Collection, file: nodes.CollectionFile | nodes.SheetFile
) -> Entry:
    directory = file.directory
    if isinstance(file, nodes.SheetFile):
        view = completed(directory.view, None, collection.equalization)
        sheet = sheets.sheet(directory, collection, view)
        return deny("sheet of these images") if sheet is None else Picture(sheet)
    image = collection.images.get(file.image_id)
    if image is None or views.name_of(directory, image) != file.name:
        return deny(file.name)
    if not directory.view.shows(image):
        return deny(f"{file.name} in this view")
    request = seen(directory, collection, image)
    if directory.layout is nodes.Layout.STACK:
        return layouts.page(file, collection, request)
    return Picture(request, _full_px(image), directory)


def _treatment_names(
    directory: nodes.CollectionDirectory, collection: Collection
) -> Iterator[str]:
    """Yield the treatments' names, except those that the grammar reserves."""
    for treatment in collection.treatments:
        name = path_name(treatment)
        path = f"{directory.subject.value}/{directory.subject_id}/{name}"
        node = tree.parse(path) if name is not None else None
        if (
            isinstance(node, nodes.CollectionDirectory)
            and node.view.treatment == treatment
        ):
            yield path.rpartition("/")[2]
