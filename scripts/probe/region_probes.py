"""The unknowns of a structure's place in a section: 13 to 15."""

from __future__ import annotations

from typing import TYPE_CHECKING

import places
from answers import Answer, Probe, counts, missing, rows
from page import API, query
from places import Place, Point
from structure_probes import CENTRES

from allenfs.model.rows import (
    coefficients_2d,
    coefficients_3d,
    first_row,
    record_id,
    rows_of,
)

if TYPE_CHECKING:
    from asking import Asker, Exchange

    from allenfs.model.rows import Row

_ISH, _CONNECTIVITY = 69289763, 100141599
_DG_SG = 632
# of the data set's grid_data archive, kept by oganm/allenBrain
_ISH_IMAGES, _ISH_TRANSLATION = 18, [1047.61, 1230.56, -2025.27]
# by the crops that oganm/allenBrain kept, to 4 px; (6592, 2760) in 2017
_DG_SG_PLACE, _CROP_PX = Place(69177654, 70, 6384, 2744), 4
_SSP = Point(5740, 2060, 8670)  # in space 9, right
_SPACE_ID, _THICKNESS_UM = 9, 100
_RECORDS = f"structure_to_image of DG-sg in {_ISH} and the records"
_SAME_PX = _SAME_UM = 0.01


def _title(data_set_id: int, what: str) -> str:
    return f"data set {data_set_id}: {what}"


def _ask(asker: Asker, data_set_id: int) -> tuple[Exchange, Exchange, Exchange]:
    """Ask for the data set, for its images, and for both at once."""
    one = f"model::SectionDataSet,rma::criteria,[id$eq{data_set_id}]"
    images = f"model::SectionImage,rma::criteria,[data_set_id$eq{data_set_id}]"
    return (
        asker.get(
            _title(data_set_id, "alignment3d"),
            query(f"{one},rma::include,alignment3d"),
        ),
        asker.get(
            _title(data_set_id, "alignment2d of its images"),
            query(f"{images},rma::include,alignment2d,rma::options[num_rows$eqall]"),
        ),
        asker.get(
            _title(data_set_id, "both, nested"),
            query(f"{one},rma::include,alignment3d,section_images(alignment2d)"),
        ),
    )


def _data_set(asker: Asker, data_set_id: int) -> Row:
    found = places.earlier(asker, _title(data_set_id, "alignment3d"))
    return first_row(found)


def _computed(asker: Asker, data_set_id: int, point: Point) -> Place | None:
    images = places.earlier(asker, _title(data_set_id, "alignment2d of its images"))
    return places.computed(point, _data_set(asker, data_set_id), images)


def _alone(
    number: str, data_set_id: int, alone: Exchange, wanted: int | None
) -> Answer:
    """Return how many images came with an alignment; `wanted` is None if not known."""
    question = _title(data_set_id, "alignment2d of its images")
    assumed = f"{wanted or 'all'}, each with one"
    images = _planes(rows(alone))
    if not images:
        return missing(number, question, alone, assumed)
    have = sum(tvs is not None for tvs in images.values())
    return Answer(
        number,
        question,
        f"{have} of {len(images)} images; {counts(alone)}",
        assumed,
        have == len(images) == (wanted or have),
    )


def _nested(number: str, data_set_id: int, nested: Exchange, alone: Exchange) -> Answer:
    """Compare the images in the data set with those asked for themselves."""
    question = _title(data_set_id, "alignment2d nested in it")
    assumed = "all images, as asked for themselves"
    wanted = _planes(rows(alone))
    one = first_row(rows(nested))
    images = _planes(rows_of(one.get("section_images")))
    if not images:
        return missing(number, question, nested, assumed)
    have = sum(tvs is not None for tvs in images.values())
    return Answer(
        number,
        question,
        f"{have} of {len(images)} images; "
        f"{'the same' if images == wanted else 'others'}; {counts(nested)}",
        assumed,
        images == wanted if wanted else None,
    )


def _planes(images: list[Row]) -> dict[int, tuple[float, ...] | None]:
    ids = ((record_id(image), coefficients_2d(image, "tvs")) for image in images)
    return {image_id: tvs for image_id, tvs in ids if image_id is not None}


def _ish(asker: Asker) -> list[Answer]:
    first, alone, nested = _ask(asker, _ISH)
    question = _title(_ISH, "alignment3d")
    assumed = f"translation {_ISH_TRANSLATION}, as recorded"
    trv = coefficients_3d(_data_set(asker, _ISH), "trv")
    is_same = trv is not None and all(
        abs(mine - its) <= _SAME_UM
        for mine, its in zip(trv[9:], _ISH_TRANSLATION, strict=True)
    )
    return [
        Answer("13", question, f"translation {[*trv[9:]]}", assumed, is_same)
        if trv
        else missing("13", question, first, assumed),
        _alone("13", _ISH, alone, _ISH_IMAGES),
        _nested("13", _ISH, nested, alone),
    ]


def _structure_to_image(asker: Asker) -> list[Answer]:
    exchange = asker.get(
        "structure_to_image",
        f"{API}/structure_to_image/{_ISH}.json?structure_ids={_DG_SG}",
    )
    given = places.given(exchange)
    assumed = f"{_DG_SG_PLACE}, to {_CROP_PX} px; the centre may have changed"
    question = f"structure_to_image of DG-sg in {_ISH}"
    answers = [
        Answer(
            "14", question, str(given), assumed, given.is_near(_DG_SG_PLACE, _CROP_PX)
        )
        if given
        else missing("14", question, exchange, assumed)
    ]
    space_id = record_id(_data_set(asker, _ISH), "reference_space_id")
    point = _centre(asker, space_id)
    if space_id is None or point is None:
        seen = f"not computed: reference space {space_id}, centre {point}"
        return [*answers, Answer("14", _RECORDS, seen, "the same place", None)]
    place = _computed(asker, _ISH, point)
    return [
        *answers,
        _compared("14", _RECORDS, place, given, exchange),
        _synced(asker, "14", _ISH, space_id, point),
    ]


def _centre(asker: Asker, space_id: int | None) -> Point | None:
    for row in places.earlier(asker, CENTRES):
        if record_id(row) == _DG_SG and space_id is not None:
            return next(iter(places.centres_of(row).get(space_id, [])), None)
    return None


def _synced(
    asker: Asker, number: str, data_set_id: int, space_id: int, point: Point
) -> Answer:
    """Compare reference_to_image with the records."""
    p_um, i_um, r_um = point
    title = f"reference_to_image of {data_set_id}"
    exchange = asker.get(
        title,
        f"{API}/reference_to_image/{space_id}.json?x={p_um:f}&y={i_um:f}&z={r_um:f}"
        f"&section_data_set_ids={data_set_id}",
    )
    place = _computed(asker, data_set_id, point)
    return _compared(
        number, f"{title} and the records", place, places.given(exchange), exchange
    )


def _compared(
    number: str,
    question: str,
    place: Place | None,
    given: Place | None,
    exchange: Exchange,
) -> Answer:
    """Return whether the service said what the records say."""
    assumed = (
        f"by the records: {place}" if place else "by the records: no alignment came"
    )
    if given is None:
        return missing(number, question, exchange, assumed)
    agrees = place.is_near(given, _SAME_PX) if place else None
    return Answer(number, question, str(given), assumed, agrees)


def _connectivity(asker: Asker) -> list[Answer]:
    first, alone, nested = _ask(asker, _CONNECTIVITY)
    data_set = _data_set(asker, _CONNECTIVITY)
    question = _title(_CONNECTIVITY, "reference space and section thickness")
    assumed = f"{_SPACE_ID}, {_THICKNESS_UM} µm"
    space_id = data_set.get("reference_space_id")
    thickness_um = data_set.get("section_thickness")
    return [
        Answer(
            "15",
            question,
            f"{space_id}, {thickness_um} µm",
            assumed,
            (space_id, thickness_um) == (_SPACE_ID, _THICKNESS_UM),
        )
        if data_set
        else missing("15", question, first, assumed),
        _alone("15", _CONNECTIVITY, alone, None),
        _nested("15", _CONNECTIVITY, nested, alone),
        _synced(asker, "15", _CONNECTIVITY, _SPACE_ID, _SSP),
    ]


PROBES = (
    Probe("13", "Alignments of a data set", _ish),
    Probe("14", "A structure in a section", _structure_to_image),
    Probe("15", "A point in a connectivity data set", _connectivity),
)
