"""The unknowns of the queries: 7 to 10."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from answers import Answer, Probe, counts, envelope, outcome, rows
from page import API, query

from allenfs.model import records
from allenfs.model.rows import first_row, record_id, rows_of, texts

if TYPE_CHECKING:
    from collections.abc import Callable

    from asking import Asker

_MANY = "model::Gene,rma::options[only$eq'id']"
_LIMITS = ("Retry-After", "X-RateLimit-Limit", "X-RateLimit-Remaining", "RateLimit")
_DEFAULT_ROWS, _PAGE_ROWS = 50, 2000
_SET = "rma::include,equalization,genes,plane_of_section,products,treatments"


def _size(row: dict[str, Any]) -> str:
    image = records.image_of(row)
    return f"{image.width_px} x {image.height_px}" if image else "no image"


def _range(row: dict[str, Any]) -> str:
    return f"range {records.channels(first_row(row.get('equalization')))}"


def _atlases(row: dict[str, Any]) -> str:
    found = rows_of(row.get("atlas_data_set"))
    ids = [one.get("id") for part in found for one in rows_of(part.get("atlases"))]
    treatments = ", ".join(texts(row.get("treatments"), "name"))
    return f"{treatments}; of atlas 2: {2 in ids}"


def _named(key: str) -> Callable[[dict[str, Any]], str]:
    return lambda row: str(row.get(key))


@dataclass(frozen=True)
class Model:
    """A record, of which the report shows keys, types and values.

    `read` reads it as allenfs does, and `wanted` is what should come of that.
    """

    title: str
    criteria: str
    read: Callable[[dict[str, Any]], str]
    wanted: str


MODELS = (
    Model(
        "SectionImage",
        "model::SectionImage,rma::criteria,[id$eq69750516]",
        _size,
        "14065 x 7297",
    ),
    Model(
        "SectionImage with associates",
        "model::SectionImage,rma::criteria,[id$eq71592261],"
        "rma::include,associates(data_set(treatments[name$eq'NISSL']))",
        lambda row: f"Nissl section {records.nissl_of(row)}",
        "Nissl section 71592412",
    ),
    Model(
        "SectionDataSet with its equalization",
        f"model::SectionDataSet,rma::criteria,[id$eq100141599],{_SET}",
        _range,
        "range (0, 923, 0, 987, 0, 4095)",
    ),
    Model(
        "SectionDataSet without one",
        f"model::SectionDataSet,rma::criteria,[id$eq69782969],{_SET}",
        _range,
        "range None",
    ),
    Model(
        "Equalization",
        "model::Equalization,rma::criteria,[section_data_set_id$eq100141599]",
        _named("red_upper"),
        "923",
    ),
    Model(
        "AtlasImage",
        "model::AtlasImage,rma::criteria,[id$eq100883869],"
        "rma::include,treatments,atlas_data_set(atlases)",
        _atlases,
        "NISSL; of atlas 2: True",
    ),
    Model(
        "Atlas",
        "model::Atlas,rma::criteria,[id$eq2],rma::include,atlas_data_sets",
        lambda row: "data sets" if first_row(row["atlas_data_sets"]) else "none",
        "data sets",
    ),
    Model(
        "AtlasDataSet",
        "model::AtlasDataSet,rma::options[num_rows$eq1]",
        lambda row: "an id" if record_id(row) else "no id",
        "an id",
    ),
    Model(
        "Gene",
        "model::Gene,rma::criteria,[acronym$eq'Adora2a'],rma::options[num_rows$eq1]",
        _named("acronym"),
        "Adora2a",
    ),
    Model(
        "Treatment",
        "model::Treatment,rma::criteria,[name$eq'NISSL']",
        _named("name"),
        "NISSL",
    ),
)


def _pages(asker: Asker) -> list[Answer]:
    plain = asker.get("genes, no num_rows", query(_MANY))
    total = envelope(plain).get("total_rows")
    count = len(rows(plain))
    found = [
        Answer(
            "7",
            "Rows where no number is asked",
            counts(plain),
            f"{_DEFAULT_ROWS}, or all if fewer",
            count == min(_DEFAULT_ROWS, total) if isinstance(total, int) else None,
        )
    ]
    for wanted in ("2000", "2001", "5000", "all"):
        many = asker.get(
            f"genes, num_rows$eq{wanted}", query(f"{_MANY}[num_rows$eq{wanted}]")
        )
        count = len(rows(many))
        agrees = None
        if wanted == "2000" and isinstance(total, int):
            agrees = count == min(_PAGE_ROWS, total)
        assumed = "2000, or all if fewer" if wanted == "2000" else "not used"
        found.append(Answer("7", f"num_rows$eq{wanted}", counts(many), assumed, agrees))
    return found


def _joined(asker: Asker) -> list[Answer]:
    one = asker.get(
        "one experiment with its images",
        query(
            "model::SectionDataSet,rma::criteria,[id$eq69782969],"
            "rma::include,section_images"
        ),
    )
    images = sum(len(row.get("section_images") or []) for row in rows(one))
    return [
        Answer(
            "7",
            "Whether an include counts in total_rows",
            f"{counts(one)}; {images} images in it",
            "it may: pages are read until they are empty",
            None,
        )
    ]


def _refused(asker: Asker) -> list[Answer]:
    found = []
    for title, criteria in (
        ("a query that is none", "model::SectionImage,rma::criteria,[id$eq'1]"),
        ("a model that there is not", "model::NoSuchModel"),
        ("no row", "model::SectionImage,rma::criteria,[id$eq1]"),
    ):
        exchange = asker.get(title, query(criteria))
        said = envelope(exchange)
        is_text = isinstance(said.get("msg"), str)
        wanted = title != "no row"
        found.append(
            Answer(
                "7",
                f"Answer to {title}",
                f"{exchange.status}, success {said.get('success')}, msg "
                f"{type(said.get('msg')).__name__}: {str(said.get('msg'))[:100]!r}"
                if said
                else outcome(exchange),
                "success false and msg a text" if wanted else "success true, msg []",
                (is_text if wanted else said.get("msg") == []) if said else None,
            )
        )
    return found


def _records(asker: Asker) -> list[Answer]:
    found = []
    for model in MODELS:
        exchange = asker.get(model.title, query(model.criteria))
        first = next(iter(rows(exchange)), None)
        read = model.read(first) if first else ""
        seen = f"{len(first)} fields; read as: {read}" if first else outcome(exchange)
        agrees = read == model.wanted if exchange.hops else None
        found.append(Answer("8", model.title, seen, model.wanted, agrees))
    place = f"{API}/image_to_atlas/69750516.json?x=7000&y=3000&atlas_id=2"
    exchange = asker.get("image_to_atlas", place)
    found.append(Answer("8", "image_to_atlas", outcome(exchange), "not used", None))
    return found


def _products(asker: Asker) -> list[Answer]:
    exchange = asker.get(
        "all products", query("model::Product,rma::options[num_rows$eqall]")
    )
    found = rows(exchange)
    if not found:
        return [Answer("9", "Products", outcome(exchange), "a list", None)]
    by_id: dict[Any, Any] = {row.get("id"): row for row in found}
    tumor = [
        f"{row.get('id')} ({row.get('abbreviation')})"
        for row in found
        if "glioblastoma" in str(row.get("name")).lower()
    ]
    five = by_id.get(5, {})
    return [
        Answer("9", "Number of products", str(len(found)), "some 64", None),
        Answer(
            "9",
            "Product 5",
            f"{five.get('abbreviation')} ({five.get('name')})" if five else "none",
            "Mouse Connectivity Projection; its abbreviation is not known",
            None,
        ),
        Answer(
            "9", "Glioblastoma", ", ".join(tumor) or "none", "there is one", bool(tumor)
        ),
        Answer(
            "9",
            "Product 1, which the page names by its abbreviation",
            str(by_id.get(1, {}).get("abbreviation")),
            "Mouse",
            by_id.get(1, {}).get("abbreviation") == "Mouse",
        ),
    ]


def _limits(asker: Asker) -> list[Answer]:
    """Examine previous responses: limits are never provoked."""
    answered = [one for one in asker.exchanges if one.hops]
    said = {
        f"{name}: {one.header(name)}"
        for one in answered
        for name in _LIMITS
        if one.header(name)
    }
    busy = [one for one in answered if one.status in (429, 503)]
    heads_s = sorted(one.head_s for one in answered) or [0.0]
    return [
        Answer(
            "10",
            "Signs of a rate limit",
            f"{len(busy)} of {len(answered)} answers were 429 or 503; "
            f"{', '.join(sorted(said)) or 'no header says so'}",
            "none for one request at a time",
            not busy and not said if answered else None,
        ),
        Answer(
            "10",
            "Time to an answer's head",
            f"median {statistics.median(heads_s):.2f} s, most {heads_s[-1]:.2f} s",
            "below 10 s",
            heads_s[-1] < 10 if answered else None,
        ),
    ]


PROBES = (
    Probe("7", "Pages", _pages),
    Probe("7", "Counting with an include", _joined),
    Probe("7", "Refused queries", _refused),
    Probe("8", "Records", _records),
    Probe("9", "Products", _products),
)
#: it looks at all responses, so it is the last
LIMITS = Probe("10", "Rate limits", _limits)
