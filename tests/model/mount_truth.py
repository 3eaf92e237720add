"""What the machine names, what goes wrong with it, and what is right of it."""

from __future__ import annotations

import errno
import functools
import json
import shutil
import tempfile
from pathlib import Path
from typing import NamedTuple

from model_world import PAGE, request_of
from mounted import image_bytes
from worlds import DirectWorld, settings_of, started_service

from allenfs.model.images import ImageRequest
from allenfs.sample.faults import Fault

# By path, the path of the request that it stands for.
IMAGES = {
    path: path
    for path in (
        "section/69750516/ds6/image.jpg",
        "section/69750516/ds6/expression.jpg",
        "section/69750516/ds7/q50/image.jpg",
        "section/71592261/roi33x17+5000+3000/image.jpg",
        "section/71592261/ds4/image.jpg",
        "projection/126862583/ds8/projection.jpg",
        "atlas/100883869/ds6/annotated/atlas2.jpg",
    )
} | {
    "section/69750516/q50/ds7/image.jpg": "section/69750516/ds7/q50/image.jpg",
    "dataset/69782969/ds6/0078_69750516.jpg": "section/69750516/ds6/image.jpg",
    "dataset/69782969/ds7/expression/0086_69750520.jpg": (
        "section/69750520/ds7/expression.jpg"
    ),
    "section/102146167/ds8/equalized/image.jpg": (
        "section/102146167/ds8/range0,923,0,987,0,4095/image.jpg"
    ),
}
UNKNOWN = "section/999999999/ds7/image.jpg"  # to the service
DOCUMENTS = (
    "section/69750516/info.json",
    "atlas/100883869/info.json",
    "dataset/69782969/sections.csv",
)
LINKS = ("section/69750516/dataset", "section/71592261/nissl")
SERVICES = ("section", "projection", "atlas")
DIRECTORIES = (
    "",
    *SERVICES,
    "dataset",
    "browse",
    "section/69750516",
    "section/69750516/ds6",
    "atlas/100883869",
    "atlas/100883869/annotated",
    "dataset/69782969",
    "dataset/69782969/ds7/expression",
    "browse/atlas",
)
OUTSIDE = (".Trash", "section/007", "section/1/ds11", "section/1/ds6/image.png")
FILES = (*IMAGES, UNKNOWN, *DOCUMENTS)
# While the catalog fails, all views are listed, but not the names that it adds.
GLANCED = ("section/69750516", "section/69750516/ds6", "atlas/100883869")
OF_THE_GRAMMAR = {"", *SERVICES, "dataset", "browse", *GLANCED}

# These need a record to be listed, but none to be there.
ALWAYS_THERE = {"browse/atlas", "atlas/100883869/annotated"}

ATTEMPTS = 4
# fault: errno, 0 for a good answer, and whether it is worth another attempt
FAULTS = {
    Fault.STATUS_204: (errno.EIO, False),
    Fault.STATUS_206: (errno.EIO, False),
    Fault.STATUS_400: (errno.EINVAL, False),
    Fault.STATUS_401: (errno.EACCES, False),
    Fault.STATUS_403: (errno.EACCES, False),
    Fault.STATUS_404: (errno.ENOENT, False),
    Fault.STATUS_429: (errno.EIO, True),
    Fault.STATUS_500: (errno.EIO, True),
    Fault.STATUS_503: (errno.EIO, True),
    Fault.HTML_200: (errno.EIO, False),
    Fault.NOT_A_JPEG: (errno.EIO, True),
    Fault.HALF_JPEG_HONEST_LENGTH: (errno.EIO, True),
    Fault.CUT_CONTENT_LENGTH: (errno.EIO, True),
    Fault.CUT_CHUNKED: (errno.EIO, True),
    Fault.CUT_CLOSE: (errno.EIO, True),
    Fault.EMPTY_BODY: (errno.EIO, True),
    Fault.RESET_BEFORE: (errno.EIO, True),
    Fault.RESET_MID_BODY: (errno.EIO, True),
    Fault.REDIRECT_LOOP: (errno.EIO, False),
    Fault.REDIRECT_OTHER_HOST: (errno.EIO, False),
    Fault.REDIRECT_OTHER_PORT: (errno.EIO, False),
    Fault.REDIRECT_FILE: (errno.EIO, False),
    Fault.REDIRECT_NO_LOCATION: (errno.EIO, False),
    Fault.ENDLESS_BODY: (errno.EFBIG, False),
    Fault.GZIP_ANYWAY: (0, False),
    Fault.WITH_CONTENT_LENGTH: (0, False),
    Fault.CLOSE_DELIMITED: (0, False),
}
# of queries; whatever it is, EIO
QUERY_FAULTS = (Fault.STATUS_404, Fault.STATUS_503, Fault.HTML_200, Fault.CUT_CHUNKED)


def request_behind(path: str) -> ImageRequest:
    return request_of(IMAGES.get(path, path))


def catalog_key(path: str) -> str | None:
    """The records that a path needs: once there, they are kept; None without any."""
    if path.startswith("dataset/"):
        return "dataset/69782969"
    if path in (*DOCUMENTS, *LINKS) or "equalized" in path:
        return path
    return path if path in DIRECTORIES and path not in OF_THE_GRAMMAR else None


class Truth(NamedTuple):
    """The correct results, from a working service.

    Images come from the service itself. What the catalog makes of its records has
    tests of its own; here it is taken from a filesystem that met no trouble.

    Attributes
    ----------
    bounds : dict
        Sizes of images that are not here, where their records are.
    """

    files: dict[str, bytes]
    bounds: dict[str, int]
    names: dict[str, set[str]]
    targets: dict[str, str]


@functools.cache
def truth() -> Truth:
    folder = Path(tempfile.mkdtemp(prefix="allenfs-truth-"))
    service = started_service()
    world = DirectWorld(folder, *settings_of(service.url, folder / "store", 0))
    try:
        files = {path: image_bytes(service.url, own) for path, own in IMAGES.items()}
        for path in DOCUMENTS:
            handle = world.open(path, past_cache=False)
            files[path] = world.whole(handle, PAGE)
            world.close(handle)
        for path in (*IMAGES, UNKNOWN):
            world.names(
                f"section/{request_behind(path).image_id}"
            )  # requests its record
        bounds = {path: world.stat(path).size_bytes for path in (*IMAGES, UNKNOWN)}
        names = {path: set(world.names(path)) for path in DIRECTORIES}
        targets = {path: world.target(path) for path in LINKS}
    finally:
        world.end()
        service.close()
        shutil.rmtree(folder)
    assert all(json.loads(files[path]) for path in DOCUMENTS[:2])
    assert "0078_69750516.jpg" in names["dataset/69782969"]
    return Truth(files, bounds, names, targets)
