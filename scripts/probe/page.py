"""Every URL of the institute's page "Downloading an Image", in its order."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote

if TYPE_CHECKING:
    from collections.abc import Iterator

API = "/api/v2"
_RAW = "$[]()':,"


def query(criteria: str, form: str = "json") -> str:
    """Return the target of a query."""
    return f"{API}/data/query.{form}?criteria={quote(criteria, safe=_RAW)}"


def urls(*, with_whole_images: bool) -> Iterator[tuple[str, str]]:
    """Yield title and target of each, in the page's order."""
    for title, target in URLS:
        if with_whole_images or target not in WHOLE:
            yield title, target


#: at full resolution: 10 MB each
WHOLE = (
    f"{API}/image_download/71592412",
    f"{API}/image_download/70679088",
    f"{API}/atlas_image_download/100883771",
)
URLS: tuple[tuple[str, str], ...] = (
    ("a section, downsampled", f"{API}/image_download/69750516?downsample=4"),
    (
        "its expression mask",
        f"{API}/image_download/69750516?downsample=4&view=expression",
    ),
    (
        "a region at full resolution",
        f"{API}/image_download/69750516?left=6174&top=2282&width=1000&height=1000",
    ),
    ("half the quality", f"{API}/image_download/71592261?downsample=3&quality=50"),
    (
        "with projection",
        f"{API}/projection_image_download/126862583?downsample=4&view=projection",
    ),
    (
        "the equalization of an experiment",
        f"{API}/data/SectionDataSet/100141599.xml?include=equalization,section_images",
    ),
    (
        "with its range",
        f"{API}/image_download/102146167?range=0,923,0,987,0,4095&downsample=4",
    ),
    (
        "colour blocks of a tumor",
        f"{API}/image_download/311175878?downsample=4&view=tumor_feature_annotation",
    ),
    (
        "colour boundaries of a tumor",
        f"{API}/image_download/311174547?downsample=4&view=tumor_feature_boundary",
    ),
    (
        "the closest Nissl section",
        query(
            "model::SectionImage,rma::criteria,[id$eq71592261],"
            "rma::include,associates(data_set(treatments[name$eq'NISSL']))",
            "xml",
        ),
    ),
    ("that section, whole", WHOLE[0]),
    (
        "the sagittal experiments of a gene",
        query(
            "model::SectionDataSet,rma::criteria,[failed$eq'false'],"
            "products[abbreviation$eq'Mouse'],plane_of_section[name$eq'sagittal'],"
            "genes[acronym$eq'Adora2a']",
            "xml",
        ),
    ),
    (
        "the images of one",
        query("model::SectionImage,rma::criteria,[data_set_id$eq70813257]", "xml"),
    ),
    ("one of them, whole", WHOLE[1]),
    (
        "a plate with annotations",
        f"{API}/atlas_image_download/100883869?downsample=4&annotation=true",
    ),
    (
        "those of atlas 2",
        f"{API}/atlas_image_download/100883869?downsample=4&annotation=true&atlas=2",
    ),
    (
        "those of atlas 181276165",
        f"{API}/atlas_image_download/100883869"
        "?downsample=4&annotation=true&atlas=181276165",
    ),
    (
        "the Nissl plates of an atlas",
        query(
            "model::Atlas,rma::criteria,[id$eq2],"
            "rma::include,atlas_data_sets(atlas_images(treatments))",
            "xml",
        ),
    ),
    ("one of them, whole", WHOLE[2]),
)
