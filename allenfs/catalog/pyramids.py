"""Resolve what is in a pyramid, such as ``section/ID/image.zarr``, from the records."""

from __future__ import annotations

import contextlib
import operator
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

from allenfs.catalog import queries
from allenfs.catalog.documents import Document
from allenfs.catalog.entries import Entry, Folder, Picture, deny
from allenfs.catalog.view_requests import (
    collection_question,
    completed,
    image_question,
    seen,
)
from allenfs.model import nodes, views
from allenfs.model.images import ImageService
from allenfs.model.pyramids import BLACK, WHITE, Plane, Pyramid, level_count
from allenfs.model.rows import positive
from allenfs.model.volumes import Section, volume

if TYPE_CHECKING:
    from allenfs.catalog.record_cache import CachedRecord
    from allenfs.catalog.repository import Repository
    from allenfs.model.images import ImageRequest
    from allenfs.model.records import Collection, ImageRecord
    from allenfs.service.single_flight import Caller

# A viewer opens the files of a few pyramids again and again.
_REMEMBERED = 64


_Source = nodes.ImageFile | nodes.CollectionFile | nodes.CollectionDirectory


class _Built(NamedTuple):
    """A pyramid, the records it was made from, and when these were fetched."""

    pyramid: Pyramid
    records: tuple[Any, ...]
    fetched_ns: int


class Pyramids:
    """Resolves the nodes of pyramids. Safe to use from many threads.

    A pyramid costs the record of its image, and that of the data set, whose
    Equalization tells the background; nothing in it costs more.
    """

    def __init__(self, repository: Repository) -> None:
        self._repository = repository
        # a dictionary without a lock: each step is atomic
        self._built: dict[_Source, _Built] = {}

    def resolve(self, node: nodes.ZarrNode, caller: Caller) -> Entry:
        """Return the entry of a node; raises as `Catalog.resolve` does."""
        built = self._existing(node, caller)
        pyramid = built.pyramid
        if node.file:
            return Document(pyramid.metadata(node).encode(), built.fetched_ns)
        if not node.is_chunk:
            return Folder()
        chunk = pyramid.chunk(node.numbers)
        listing = replace(node, numbers=pyramid.listing(node.numbers))
        return Picture(chunk.request, listed_in=listing, chunk=chunk)

    def names(self, node: nodes.ZarrNode, caller: Caller) -> list[str]:
        """Return the names in a directory; raises as `resolve` does."""
        return self._existing(node, caller).pyramid.names(node.numbers)

    def series(self, listing: nodes.ZarrNode) -> tuple[ImageRequest, ...]:
        """Return the tiles of chunks in order, if their pyramid was resolved before."""
        source = listing.source
        if isinstance(source, nodes.CollectionFile):
            view = source.directory.view
            source = nodes.ImageFile(view.of(source.image_id), equalized=view.equalized)
        built = self._built.get(source)
        if built is None or not built.pyramid.has(listing.numbers):
            return ()
        return built.pyramid.tiles(listing.numbers)

    def _existing(self, node: nodes.ZarrNode, caller: Caller) -> _Built:
        built: _Built
        match node.source:
            case nodes.ImageFile() as image:
                built = self._of_image(image, caller)
            case nodes.CollectionFile() as file:
                built = self._of_image(self._image_of(file, caller), caller)
            case nodes.CollectionDirectory() as directory:
                built = self._of_data_set(directory, caller)
        if not built.pyramid.has(node.numbers):
            return deny(f"level or chunk {'/'.join(map(str, node.numbers))}")
        return built

    def _image_of(self, file: nodes.CollectionFile, caller: Caller) -> nodes.ImageFile:
        """Return an image of a data set or an atlas as it is below its own id."""
        directory, view = file.directory, file.directory.view
        question = collection_question(directory)
        collection = self._repository.existing(question, caller).record
        image = collection.images.get(file.image_id)
        is_listed = image is not None and image.file_name == file.name
        if image is None or not (is_listed and view.shows(image)):
            return deny(file.name)
        return nodes.ImageFile(view.of(file.image_id), equalized=view.equalized)

    def _of_image(self, image: nodes.ImageFile, caller: Caller) -> _Built:
        question = image_question(image.request)
        found: list[CachedRecord[Any]] = [self._repository.existing(question, caller)]
        data_set_id = found[0].record.data_set_id
        is_plate = image.request.service is ImageService.ATLAS
        if data_set_id is not None and not is_plate:
            data_set = queries.data_set(data_set_id)
            found.append(self._repository.get(data_set, caller))
        return self._build(image, found, lambda: _pyramid(image, *_records(found)))

    def _of_data_set(
        self, directory: nodes.CollectionDirectory, caller: Caller
    ) -> _Built:
        question = collection_question(directory)
        found = self._repository.existing(question, caller)
        return self._build(directory, [found], lambda: _volume(directory, found.record))

    def _build(
        self,
        source: _Source,
        found: list[CachedRecord[Any]],
        build: Callable[[], Pyramid],
    ) -> _Built:
        """Build a pyramid, unless it was built from these very records."""
        records = _records(found)
        built = self._built.get(source)
        if built is None or not all(map(operator.is_, built.records, records)):
            fetched_ns = max(one.fetched_ns for one in found)
            built = self._built[source] = _Built(build(), records, fetched_ns)
            if len(self._built) > _REMEMBERED:
                with contextlib.suppress(KeyError, RuntimeError):  # another thread did
                    del self._built[next(iter(self._built))]
        return built


def _records(found: list[CachedRecord[Any]]) -> tuple[Any, ...]:
    return tuple(one.record for one in found)


def _pyramid(
    file: nodes.ImageFile, existing: ImageRecord, data_set: Collection | None = None
) -> Pyramid:
    """Return the pyramid of one image; PathNotFoundError if its record has no size."""
    image = existing.image
    equalization = data_set.equalization if data_set is not None else None
    full_px = image.width_px, image.height_px
    if not all(full_px):
        return deny(f"width and height of image {image.image_id}")
    if image.corner_px is None:
        return deny(f"x and y of image {image.image_id}")
    request = completed(file, None, equalization)
    return Pyramid(
        full_px,
        level_count(full_px, image.tier_count),
        image.resolution_um,
        _background(data_set),
        {0: Plane(request, full_px, image.corner_px)},
    )


def _volume(directory: nodes.CollectionDirectory, data_set: Collection) -> Pyramid:
    """Return the volume of a data set; PathNotFoundError if no section is in it."""
    sections = [
        Section(image, seen(directory, data_set, image))
        for image in views.listed(directory, data_set)
    ]
    thickness_um = positive(data_set.record.get("section_thickness"))
    found = volume(sections, thickness_um, _background(data_set))
    return found or deny("section with a number, a size and a corner")


def _background(data_set: Collection | None) -> int:
    """Return the value of pixels without tissue."""
    equalization = data_set.equalization if data_set is not None else None
    return WHITE if equalization is None else BLACK
