"""Convert addresses of the institute's viewers to paths.

Browsers show these addresses, and papers and programs cite them:

- ``mouse.brain-map.org/experiment/show/ID``, ``…/experiment/siv?id=ID&imageId=IMAGE``
- ``connectivity.brain-map.org/projection/experiment/ID?imageId=IMAGE``, also
  ``…/projection/experiment/siv/ID?…``
- ``atlas.brain-map.org/atlas?atlas=ATLAS&plate=IMAGE``, whose fragment may repeat
  the parameters, for the plate on the screen
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, unquote, urlsplit

from allenfs.model.drawings import drawing_of_url
from allenfs.model.images import (
    ID_PATTERN,
    ImageRequest,
    ImageService,
    no_path,
    request_of_url,
)

if TYPE_CHECKING:
    from allenfs.errors import UrlError

_EXPERIMENT_HOSTS = re.compile(
    r"(mouse|human|developingmouse|connectivity)\.brain-map\.org"
)
_ATLAS_HOST = "atlas.brain-map.org"
# The id is in the path or in `id`; human and connectivity prefix a name.
_EXPERIMENT = re.compile(
    r"(?:/[a-z]+)?/experiment(?:/(?:show|siv))?(?:/(?P<id>[^/]+))?/?"
)
_ATLAS = re.compile(r"/atlas/?")
_ACCEPTED = (
    "allenfs accepts download URLs of the image services, and viewer pages of an "
    "experiment (experiment/show/ID), a section (experiment/siv?id=ID&imageId=IMAGE) "
    "or a plate (atlas?atlas=ID&plate=IMAGE)"
)


def path_of_url(url: str) -> str:
    """Return the path of a download URL or a viewer page; UrlError if it has none.

    An image or a drawing becomes a file, an experiment its directory ``dataset/ID``,
    and an atlas ``browse/atlas/ID``.
    """
    url = url.replace("&amp;", "&")  # copied from the source of a page
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
    except ValueError:
        return request_of_url(url).path  # raises an error that names the problem
    page = unquote(parts.path)
    # viewers keep the current view in the fragment, which is newer than the query
    parameters = dict(parse_qsl(parts.query) + parse_qsl(parts.fragment))
    if not parts.scheme and ".brain-map.org/" in url:
        raise _no_path(url, "it does not begin with https://")
    if parts.scheme not in ("http", "https") or "/api/v2/" in page:
        return (drawing_of_url(url) or request_of_url(url)).path
    experiment = _EXPERIMENT.fullmatch(page)
    if experiment and _EXPERIMENT_HOSTS.fullmatch(host):
        return _experiment_path(url, experiment["id"], parameters)
    if host == _ATLAS_HOST and _ATLAS.fullmatch(page):
        return _atlas_path(url, parameters)
    raise _no_path(url, "allenfs does not know this page")


def _experiment_path(
    url: str, data_set_id: str | None, parameters: dict[str, str]
) -> str:
    if "imageId" in parameters:
        image_id = _id(url, "imageId", parameters["imageId"])
        return ImageRequest(ImageService.SECTION, image_id).path
    data_set_id = data_set_id or parameters.get("id")
    if data_set_id is None:
        raise _no_path(url, "it names no experiment")
    return f"dataset/{_id(url, 'experiment', data_set_id)}"


def _atlas_path(url: str, parameters: dict[str, str]) -> str:
    if "atlas" not in parameters:
        raise _no_path(url, "it names no atlas")
    atlas_id = _id(url, "atlas", parameters["atlas"])
    if "plate" not in parameters:
        return f"browse/atlas/{atlas_id}"
    plate_id = _id(url, "plate", parameters["plate"])
    return ImageRequest(
        ImageService.ATLAS, plate_id, annotated=True, atlas_id=atlas_id
    ).path


def _id(url: str, name: str, text: str) -> int:
    if not ID_PATTERN.fullmatch(text):
        raise _no_path(url, f"{name} is not an id: {text!r}")
    return int(text)


def _no_path(url: str, why: str) -> UrlError:
    return no_path(url, f"{why}; {_ACCEPTED}")
