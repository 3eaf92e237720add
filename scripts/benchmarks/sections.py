"""The images that everything is measured with, as the sample service has them."""

from __future__ import annotations

import json
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

DATA_SET_ID = 72109410
DOWNSAMPLE = 2
#: of the data set whose images are only listed
LONG_LIST_ID, LONG_LIST_IMAGES = 4711, 2600
#: of the stand-in
PRODUCT = "Product"

_QUERY = (
    "{api_url}/api/v2/data/query.json?criteria=model::SectionImage,"
    f"rma::criteria,[data_set_id$eq{DATA_SET_ID}],rma::options[num_rows$eqall]"
)


@dataclass(frozen=True)
class Section:
    """One of the 60 images of the data set."""

    number: int
    image_id: int

    @property
    def file_name(self) -> str:
        """Name in a listing of the data set."""
        return f"{self.number:04}_{self.image_id}.jpg"

    @property
    def path(self) -> str:
        """Path of the image by itself, where it has no neighbours."""
        return f"section/{self.image_id}/ds{DOWNSAMPLE}/image.jpg"

    def url(self, api_url: str) -> str:
        """Address of the image."""
        query = f"downsample={DOWNSAMPLE}"
        return f"{api_url}/api/v2/image_download/{self.image_id}?{query}"


def sections_of(api_url: str) -> list[Section]:
    """Ask the service which images there are."""
    rows = json.loads(_get(_QUERY.format(api_url=api_url)))["msg"]
    return sorted(
        (Section(row["section_number"], row["id"]) for row in rows),
        key=lambda section: section.number,
    )


def download(api_url: str, sections: list[Section], folder: Path) -> None:
    """Save what the service answers, without allenfs; it keeps what it drew."""
    folder.mkdir(exist_ok=True)
    with ThreadPoolExecutor(4) as pool:
        urls = [section.url(api_url) for section in sections]
        for section, data in zip(sections, pool.map(_get, urls), strict=True):
            (folder / section.file_name).write_bytes(data)


def _get(url: str) -> bytes:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(url) as answer:
        data: bytes = answer.read()
    return data
