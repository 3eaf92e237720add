"""Path to node and back, and what a directory lists. Pure: no network, no store."""

from __future__ import annotations

import functools
from dataclasses import dataclass

from allenfs.errors import PathNotFoundError
from allenfs.images import ID_PATTERN, ImageRequest, ImageService, file_names

# ds9 and ds10 can be named but are not listed: a thumbnail of 256 pixels is
# reached at ds6 for the largest recorded sections
_LISTED_DOWNSAMPLES = tuple(f"ds{n}" for n in range(1, 9))


@dataclass(frozen=True, slots=True)
class Root:
    """The mountpoint."""


@dataclass(frozen=True, slots=True)
class ServiceDirectory:
    """``section``, ``projection`` or ``atlas``."""

    service: ImageService


@dataclass(frozen=True, slots=True)
class ImageDirectory:
    """``section/ID``."""

    request: ImageRequest


@dataclass(frozen=True, slots=True)
class ParameterDirectory:
    """Below it, with what its parameters ask for."""

    request: ImageRequest


@dataclass(frozen=True, slots=True)
class ImageFile:
    """A file: one image."""

    request: ImageRequest


Directory = Root | ServiceDirectory | ImageDirectory | ParameterDirectory
Node = Directory | ImageFile


# Every FUSE operation brings a path: 4096 nodes of about 500 bytes save the
# parsing of a listing's files, which `ls -l` stats one by one.
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
    try:
        service = ImageService(first)
    except ValueError:
        msg = f"no such directory: {first!r}"
        raise PathNotFoundError(msg) from None
    if not names:
        return ServiceDirectory(service)
    if not ID_PATTERN.fullmatch(names[0]):
        msg = f"not an id: {names[0]!r}"
        raise PathNotFoundError(msg)
    return _parse_image(ImageRequest(service, int(names[0])), names[1:])


def _parse_image(request: ImageRequest, names: list[str]) -> Node:
    if not names:
        return ImageDirectory(request)
    *directories, last = names
    seen: set[str] = set()
    for name in directories:
        request = _with_new_parameter(request, name, seen)
    if last.endswith(".jpg"):
        return ImageFile(request.with_file(last))
    return ParameterDirectory(_with_new_parameter(request, last, seen))


def _with_new_parameter(
    request: ImageRequest, name: str, seen: set[str]
) -> ImageRequest:
    field, request = request.with_parameter(name)
    if field in seen:
        msg = f"{field} stands twice"
        raise PathNotFoundError(msg)
    seen.add(field)
    return request


def listing(directory: Directory, used_ids: list[int]) -> list[str]:
    """Return the names in `directory`, without ``.`` and ``..``.

    Finite and small, because crawlers and ``cp -r`` follow it.

    Parameters
    ----------
    directory : Directory
    used_ids : list of int
        Images of the service that were used before; a service directory
        lists them.
    """
    match directory:
        case Root():
            return [service.value for service in ImageService]
        case ServiceDirectory():
            return [str(image_id) for image_id in sorted(used_ids)]
        case ImageDirectory(request):
            names = [*file_names(request.service), *_LISTED_DOWNSAMPLES]
            if request.service is ImageService.ATLAS:
                names.append("annotated")
            return names
        case ParameterDirectory(request):
            return list(file_names(request.service))
