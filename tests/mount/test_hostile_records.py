"""Rows from a service that means harm: names, numbers, and more of them than fit."""

from __future__ import annotations

import errno
import gzip
import itertools
import json
import os
from collections.abc import Iterable
from typing import Any

import pytest
from hostile_service import (
    MB,
    HostileService,
    Says,
    Suspect,
    envelope,
    head,
    id_of,
    once,
    one_page,
    rows,
    start_row,
)
from mounted import Mounted, errno_of

# The heaviest answer that is read takes 190 MB, what is kept of answers up to 64 MiB,
# and what the allocator keeps of many threads the rest.
MOST_BYTES = 320 * MB
_ids = itertools.count(5)


def fails_then_recovers(
    hostile: HostileService, suspect: Suspect, says: Says, path: str = "dataset/{}"
) -> None:
    """List a directory that fails with EIO, and then works."""
    number = next(_ids)
    directory = suspect.mounted / path.format(number)
    hostile.query = says
    assert (errno_of(directory.stat) or errno_of(os.listdir, directory)) == errno.EIO
    suspect.check_failure(suspect.mounted.root)
    hostile.query = one_page(f'[{{"id": {number}, "section_number": 7}}]')
    assert "info.json" in os.listdir(suspect.mounted / f"dataset/{number}")


def _row(value: str) -> Says:
    return one_page(f'[{{"id": 5, "genes": {value}}}]')


def _filled(value: str, size_bytes: int) -> Says:
    """Fill a page with one value."""
    return one_page(f"[{','.join([value] * (size_bytes // (len(value) + 1)))}]")


def _said(body: object) -> Says:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return lambda _: [envelope(data)]


def _endless(piece: bytes) -> Says:
    first = head("200 OK", "Content-Type: application/json") + b'{"msg":["'
    return lambda _: itertools.chain([first], itertools.repeat(piece))


_FORGED = "no\nWARNING allenfs.fetch: all is well\r\x1b[2K\x1b]0;x\x07\u202e\x9b2J"
_MANY = ",".join(f'{{"{n:x}":1}}' for n in range(240_000))
_BOMB = gzip.compress(b'{"msg":["') + gzip.compress(b"a" * MB) * 1000
_IDS = '[{"id": 5.5}, {"id": [5]}, {"id": "\u0665"}, {"id": {"id": 5}}]'
HARMS = {
    "64 MB of rows": _filled("{}", 64 * MB),
    "8 MB of lists": _filled("[]", 8 * MB),
    "as many lists in a row as are read": _row("[" + "[]," * (MB // 5) + "[]]"),
    "a wide string and as many rows as are read": one_page(
        f'[{{"id": 5, "name": "{"a" * 5 * MB}\U0001f600"}},{_MANY},{{}}]'
    ),
    "100 000 deep lists": _row("[" * 100_000 + "]" * 100_000),
    "21 deep lists": _row("[" * 21 + "]" * 21),
    "a number of a million digits": _row(f'1, "width": {"9" * MB}'),
    "endless string": _endless(b"a" * MB),
    "rows that are none": one_page('[1, "a", [], true]'),
    "a number for rows": one_page("5"),
    "success as a word": _said({"success": "true", "msg": []}),
    "ids of all kinds": one_page(_IDS),
    "words of 8 MB": _said({"success": False, "msg": _FORGED * 100_000}),
    "UTF-32 of a bomb": _said(('{"msg": [' + "[]," * 500_000).encode("utf-32")),
    "a redirect with words": once(
        head("302 \x1b", "Location: http://127.1\x1b[2J\x9b")
    ),
    "a status with words": once(head("404 \x1b[2J\x9b no such"), _FORGED.encode()),
    "gzip of more than a page": once(head("200 OK", "Content-Encoding: gzip"), _BOMB),
}


@pytest.mark.parametrize("says", HARMS.values(), ids=HARMS)
def test_a_harmful_page_is_an_errno_and_costs_320_mb_at_most(hostile, suspect, says):
    fails_then_recovers(hostile, suspect, says)


def _pages_of(row: str, *, most: int = 2000) -> Says:
    """Give a list without end, `most` rows a page; {0} in a row is its number."""

    def says(target: str) -> list[bytes]:
        numbers = range(start_row(target) + 1, start_row(target) + most + 1)
        return [rows(f"[{','.join(map(row.format, numbers))}]")]

    return says


_WIDE = '"abbreviation": "{0}' + "a" * 200 + '", "b": "' + "b" * 3800 + '"'
LISTS = {  # a row, and how many there are in a page
    "rows of 4 kB": (f'{{{{"id": {{0}}, {_WIDE}}}}}', 2000),
    "nulls": ("null", 20_000),
    "rows of one id": ('{{"id": 5, "abbreviation": "{0}"}}', 2000),
    "a row a page": ('{{"id": {0}}}', 1),
}


@pytest.mark.parametrize(("row", "most"), LISTS.values(), ids=LISTS)
def test_a_list_without_end_is_an_errno_and_costs_320_mb_at_most(
    hostile, tmp_path, row, most
):
    folder, is_slow = tmp_path / "hostile", most == 1
    settings = {"deadline_s": 3 if is_slow else 60, "warnings": ["list/"]}
    with Mounted(folder, hostile.url, **settings) as mounted:
        suspect = Suspect(mounted, folder, MOST_BYTES)
        hostile.query = _pages_of(row, most=most)
        found = errno_of(os.listdir, mounted / "browse/product")
        assert found == (errno.ETIMEDOUT if is_slow else errno.EIO)
        assert ("was not complete" in suspect.check()) is is_slow
        hostile.query = one_page('[{"id": 5, "abbreviation": "Mouse"}]')
        assert os.listdir(mounted / "browse/product") == ["Mouse"]


def test_four_heavy_pages_at_a_time_cost_200_mb_at_most(hostile, tmp_path):
    """Each of the further pages takes 100 MB until it is reduced."""

    def says(target: str) -> list[bytes]:
        start = start_row(target)
        heavy = _MANY if start else ""
        row = f'{{"id": {start + 1}, "abbreviation": "P{start}", "a": [{heavy}]}}'
        text = row if start < 5 else ""
        return [envelope(f'{{"success":true,"total_rows":5,"msg":[{text}]}}'.encode())]

    folder = tmp_path / "hostile"
    with Mounted(folder, hostile.url, deadline_s=60) as mounted:
        suspect = Suspect(mounted, folder, 200 * MB)
        hostile.query = says
        names = os.listdir(mounted / "browse/product")
        assert names == [f"P{number}" for number in range(5)]
        suspect.check(failures=0)


def test_images_without_end_are_an_errno_and_cost_320_mb_at_most(hostile, suspect):
    number = next(_ids)
    treatments = ", ".join(['{{"name": "' + "a" * 200 + '"}}'] * 20)
    pages = _pages_of(f'{{{{"id": {{0}}, "treatments": [{treatments}]}}}}')

    def says(target: str) -> Iterable[bytes]:
        is_of_images = "model::SectionImage" in target
        return pages(target) if is_of_images else [rows(f'[{{"id": {number}}}]')]

    fails_then_recovers(hostile, suspect, says, f"dataset/{number}")


_NAMES = [
    *("../../../../../outside", "..", ".", "/etc/passwd", "a/../../b", "//", "a\0b"),
    *("%2e%2e%2f", "\0", "line\nWARNING allenfs.catalog.repository: all is well", "~"),
    *("\r\x1b[2J\x1b]0;x\x07", "\x9b2J", "\u202egpj.exe", "\u2066a\u2069", "\u2028"),
    *("\ud800", "\udcff", "-rf", "$(reboot)", "`reboot`", "a'b", '"', "\\", "*", " "),
    *("\t", "a" * 256, "é" * 128, "b" * 3 * 10**5, "\U0001f600" * 10**4, ""),
    *("info.json", "ds4", "NISSL"),
]


def test_hostile_names_are_names_or_nothing_and_no_file_elsewhere(hostile, suspect):
    number = next(_ids)

    def says(target: str) -> list[bytes]:
        if start_row(target):
            return [rows("[]")]
        named = [
            {"id": place, "abbreviation": name, "acronym": name, "name": name}
            for place, name in enumerate(_NAMES, 1)
        ]
        if "model::Atlas," in target:
            images = [{"id": 5, "treatments": [*named]}]
            named.append({"id": number, "atlas_data_sets": [{"atlas_images": images}]})
        if "id$eq" in target:
            named = named[-1:]
        return [rows(json.dumps(named))]

    hostile.query = says
    root = suspect.mounted.root
    for folder in ("browse/product", "browse/atlas", f"browse/atlas/{number}"):
        names = os.listdir(root / folder)
        assert names
        for name in names:
            assert name.isprintable()
            assert not name.startswith(".")
            assert len(name.encode()) <= 255
            assert os.lstat(root / folder / name)
    for product in ("%2E.", "%2E.%2F..%2F..%2F..%2F..%2Foutside", "~", "-rf"):
        for name in os.listdir(root / "browse/product" / product / "gene"):
            os.listdir(root / "browse/product" / product / "gene" / name)
    suspect.check(failures=0)


_ODD: list[object] = [
    *(None, True, -1, 1.5, 10**18, 10**300, -(10**300), "5", "../", [], {}, [None]),
    *([{"id": "../"}], [{"name": 5}], [{"treatments": 5}], [{"name": ["NISSL"]}]),
]
_FIELDS = (
    *("section_number", "width", "height", "resolution", "failed", "annotated"),
    *("treatments", "data_set_id", "section_images", "genes", "plane_of_section"),
    *("plane_of_section_id", "products", "equalization", "associates", "data_set"),
)


def test_fields_of_any_type_are_a_directory_that_can_be_read(hostile, suspect):
    for odd in _ODD:
        number = next(_ids)
        row = dict.fromkeys(_FIELDS, odd)
        lies = dict.fromkeys(("num_rows", "start_row", "id"), odd)

        def says(target: str, lies: Any = lies, row: Any = row) -> list[bytes]:
            one = [] if start_row(target) else [row | {"id": id_of(target)}] * 2
            said = {"success": True, **lies, "total_rows": -(10**300), "msg": one}
            return [envelope(json.dumps(said).encode())]

        hostile.query = says
        for path in (f"dataset/{number}", f"section/{number}", f"atlas/{number}"):
            folder = suspect.mounted / path
            for name in os.listdir(folder):
                assert 0 <= os.lstat(folder / name).st_size <= 2**30
            info = (folder / "info.json").read_bytes()
            assert json.loads(info)["id"] == str(number)
            assert (folder / "info.json").stat().st_size == len(info)
    suspect.check(failures=0)


def test_info_of_a_deep_record_costs_320_mb_at_most(hostile, suspect):
    number = next(_ids)
    deep = "[" * 17 + "[]," * 100_000 + "[]" + "]" * 17
    hostile.query = one_page(f'[{{"id": {number}, "all": {deep}}}]')
    info = suspect.mounted / f"section/{number}/info.json"
    assert len(info.read_bytes()) == info.stat().st_size > 10
    suspect.check(failures=0)
