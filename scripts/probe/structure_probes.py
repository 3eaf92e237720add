"""The unknowns of brain structures: 11, their centres; 12, the expression in them."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from answers import Answer, Probe, counts, envelope, missing, rows
from page import query
from places import Point, centres_of, earlier

from allenfs.model.rows import first_row, record_id

if TYPE_CHECKING:
    from asking import Asker, Exchange

    from allenfs.model.rows import Row

CENTRES, UNIONIZES = "Structure with its centres", "StructureUnionize"
_ALL = "rma::options[num_rows$eqall]"
_STRUCTURES = 1327  # structure_graph_download/1.json, kept by BIOP's ijp-imagetoatlas
_LEFT, _RIGHT = 10, 9  # reference spaces of the adult mouse, by where centres lie
_WIDTH_UM, _SAME_UM = 11_400, 1.0
# recorded by the tests of abagen
_SSP = {_LEFT: Point(5740, 2060, 2730), _RIGHT: Point(5740, 2060, 8670)}
_SET = "model::StructureUnionize,rma::criteria,[section_data_set_id$eq69289763]"
_FIELDS = {"structure_id", "expression_energy", "expression_density", "sum_pixels"}
_SHOWN = 5


def _centres(asker: Asker) -> list[Answer]:
    exchange = asker.get(
        CENTRES,
        query(
            "model::Structure,rma::criteria,[graph_id$eq1],"
            f"rma::include,structure_centers,{_ALL}"
        ),
    )
    found = rows(exchange)
    assumed = f"{_STRUCTURES} rows in one answer"
    if not found:
        return [missing("11", "All structures of graph 1", exchange, assumed)]
    centres = {record_id: centres_of(row) for record_id, row in _by_id(found).items()}
    joined = sum(len(points) for one in centres.values() for points in one.values())
    return [
        Answer(
            "11",
            "All structures of graph 1",
            counts(exchange),
            assumed,
            len(found) == _STRUCTURES,
        ),
        Answer(
            "11",
            "Whether total_rows counts the centres",
            f"total_rows {envelope(exchange).get('total_rows')}, {len(found)} rows, "
            f"{joined} centres",
            "it may",
            None,
        ),
        Answer("11", "Size and time of all structures", _size(exchange), "", None),
        _acronyms(found),
        *_spaces(found, centres),
        _mirror(centres),
        *_recorded(found),
    ]


def _acronyms(found: list[Row]) -> Answer:
    names = Counter(str(row.get("acronym")) for row in found)
    twice = [name for name, count in names.items() if count > 1]
    slashed = sum("/" in name for name in names)
    return Answer(
        "11",
        "Acronyms in graph 1",
        f"{len(twice)} more than once: {_some(twice)}; {slashed} with a /",
        "each once",
        not twice,
    )


def _spaces(
    found: list[Row], centres: dict[int, dict[int, list[Point]]]
) -> list[Answer]:
    spaces = Counter(space_id for one in centres.values() for space_id in one)
    several = sum(
        len(points) > 1 for one in centres.values() for points in one.values()
    )
    shown = ", ".join(
        f"{space_id}: {count}" for space_id, count in sorted(spaces.items())
    )
    without = [
        str(row.get("acronym"))
        for record_id, row in _by_id(found).items()
        if not centres[record_id]
    ]
    above = {record_id(row, "parent_structure_id") for row in found}
    parents = [record_id for record_id in centres if record_id in above]
    have = sum(bool(centres[parent]) for parent in parents)
    right_um = [one[_RIGHT][0][2] for one in centres.values() if _RIGHT in one]
    right = sum(z_um >= _WIDTH_UM / 2 for z_um in right_um)
    return [
        Answer(
            "11",
            "Structures with a centre, by reference space",
            f"{shown or 'none'}; {several} more than one in a space",
            "the same number in 9 and 10",
            bool(spaces[_LEFT]) and spaces[_LEFT] == spaces[_RIGHT],
        ),
        Answer(
            "11",
            "Structures without a centre",
            f"{len(without)} of {len(centres)}: {_some(without)}",
            "some may",
            None,
        ),
        Answer(
            "11",
            "Structures with parts that have a centre",
            f"{have} of {len(parents)}",
            "all",
            have == len(parents) > 0,
        ),
        Answer(
            "11",
            "Centres in 9 on the right, z from 5700",
            f"{right} of {len(right_um)}",
            "all",
            right == len(right_um) > 0,
        ),
    ]


def _mirror(centres: dict[int, dict[int, list[Point]]]) -> Answer:
    off_um = [
        max(
            abs(right[0] - left[0]),
            abs(right[1] - left[1]),
            abs(right[2] + left[2] - _WIDTH_UM),
        )
        for one in centres.values()
        for left in one.get(_LEFT, [])[:1]
        for right in one.get(_RIGHT, [])[:1]
    ]
    exact = sum(one <= _SAME_UM for one in off_um)
    return Answer(
        "11",
        "Centres in 9 and 10 mirrored at z 5700",
        f"{exact} of {len(off_um)}; at most {max(off_um, default=0):g} µm off",
        "all: the sum of both z is 11400, x and y are the same",
        exact == len(off_um) > 0,
    )


def _recorded(found: list[Row]) -> list[Answer]:
    ssp: Row = next((row for row in found if row.get("acronym") == "SSp"), {})
    centres = centres_of(ssp)
    return [
        Answer(
            "11",
            f"Centre of SSp in {space_id}",
            ", ".join(map(_point, centres.get(space_id, []))) or "none",
            _point(point),
            centres.get(space_id) == [point],
        )
        for space_id, point in _SSP.items()
    ]


def _unionizes(asker: Asker) -> list[Answer]:
    exchange = asker.get(UNIONIZES, query(f"{_SET},{_ALL}"))
    joined = asker.get(
        "StructureUnionize with its structure",
        query(f"{_SET},rma::include,structure,{_ALL}"),
    )
    found, said = rows(exchange), envelope(exchange)
    assumed = "all rows in one answer"
    if not found:
        return [missing("12", "StructureUnionize of a data set", exchange, assumed)]
    fields = set(found[0])
    return [
        Answer(
            "12",
            "StructureUnionize of a data set",
            counts(exchange),
            assumed,
            said.get("num_rows") == said.get("total_rows") == len(found),
        ),
        Answer("12", "Size and time of those rows", _size(exchange), "", None),
        Answer(
            "12",
            "Fields of StructureUnionize",
            ", ".join(sorted(fields)),
            f"{', '.join(sorted(_FIELDS))}, and others",
            fields >= _FIELDS,
        ),
        _graph(asker, found),
        _ontologies(joined),
    ]


def _graph(asker: Asker, found: list[Row]) -> Answer:
    adult = set(_by_id(earlier(asker, CENTRES)))
    ids = Counter(record_id(row, "structure_id") for row in found)
    known = [record_id for record_id in ids if record_id in adult]
    twice = sum(ids[record_id] > 1 for record_id in known)
    return Answer(
        "12",
        "Its structures in graph 1",
        f"{len(known)} of {len(ids)}, {twice} of them in more than one row",
        "some, each once",
        (bool(known) and not twice) if adult else None,
    )


def _ontologies(joined: Exchange) -> Answer:
    found = [first_row(row.get("structure")) for row in rows(joined)]
    question, assumed = "Ontologies of its structures", "1, and 12: the first row's"
    if not any(found):
        return missing("12", question, joined, assumed)
    number = Counter(str(row.get("ontology_id")) for row in found)
    graphs = Counter(str(row.get("graph_id")) for row in found)
    return Answer(
        "12",
        question,
        f"rows by ontology: {_numbered(number)}; the first row's: "
        f"{found[0].get('ontology_id')}; by graph: {_numbered(graphs)}; "
        f"{counts(joined)}",
        assumed,
        {"1", "12"} <= set(number) and str(found[0].get("ontology_id")) == "12",
    )


def _by_id(found: list[Row]) -> dict[int, Row]:
    ids = ((record_id(row), row) for row in found)
    return {record_id: row for record_id, row in ids if record_id is not None}


def _size(exchange: Exchange) -> str:
    return (
        f"{exchange.wire_bytes:,} bytes; head after {exchange.head_s:.2f} s, "
        f"all after {exchange.seconds:.2f} s"
    )


def _numbered(counter: Counter[Any]) -> str:
    return ", ".join(f"{name}: {count}" for name, count in counter.most_common(_SHOWN))


def _some(names: list[str]) -> str:
    shown = names[:_SHOWN] + ["..."] * (len(names) > _SHOWN)
    return " ".join(shown) or "none"


def _point(point: Point) -> str:
    return f"({', '.join(f'{value:g}' for value in point)})"


PROBES = (
    Probe("11", "Centres of structures", _centres),
    Probe("12", "Expression by structure", _unionizes),
)
