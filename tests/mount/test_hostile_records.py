"""Rows from a service that means harm: names, numbers, and more of them than fit."""

from __future__ import annotations

import errno
import gzip
import itertools
import json
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hostile_service import MB, Elsewhere, HostileService, Suspect, envelope, head, rows
from mounted import Mounted

# The heaviest answer that is read takes 190 MB, what is kept of answers up to 64 MiB,
# and what the allocator keeps of many threads the rest.
MOST_BYTES = 320 * MB
ERROR = "user.allenfs.error"
_ids = itertools.count(5)
EIO, ETIMEDOUT = errno.EIO, errno.ETIMEDOUT
Query = Callable[[str], Iterable[bytes]]


@pytest.fixture(scope="module")
def service() -> Iterator[HostileService]:
    with HostileService() as running:
        yield running


@pytest.fixture(scope="module")
def suspect(
    service: HostileService, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Suspect]:
    folder = tmp_path_factory.mktemp("hostile")
    with Mounted(
        folder,
        service.url,
        stall_timeout_s=1,
        deadline_s=2,
        # each look asks anew
        catalog_ttl_s=0.001,
        warnings=[""],
    ) as mounted:
        yield Suspect(mounted, folder, MOST_BYTES)


@pytest.fixture(autouse=True)
def healed(service: HostileService, suspect: Suspect) -> None:
    service.heal()
    service.requests.clear()
    suspect.begin()


def _start_row(target: str) -> int:
    return int(target.partition("start_row$eq")[2].partition("]")[0])


def one_page(text: str | bytes) -> Query:
    """Say one page, and then that there is no more."""
    return lambda target: [rows("[]" if _start_row(target) else text)]


def _good(number: int) -> Query:
    return one_page(json.dumps([{"id": number, "section_number": 7}]))


def fails_then_recovers(
    service: HostileService,
    suspect: Suspect,
    says: Query,
    expected: int,
    path: str = "dataset/{}",
) -> str:
    """Return what the log said."""
    number = next(_ids)
    directory = suspect.mounted / path.format(number)
    service.query = says
    with pytest.raises(OSError) as caught:
        directory.stat()
        os.listdir(directory)
    assert errno.errorcode[caught.value.errno] == errno.errorcode[expected]
    line = suspect.check()
    said = os.getxattr(suspect.mounted.root, ERROR).decode()
    assert said in line
    assert said.isprintable()
    assert said.isascii()
    service.query = _good(number)
    assert "info.json" in os.listdir(suspect.mounted / f"dataset/{number}")
    return line


def _filled(value: bytes, size_bytes: int) -> Query:
    """Fill a page with one value."""
    return one_page(b"[" + b",".join([value] * (size_bytes // (len(value) + 1))) + b"]")


def _row_of(value: bytes) -> Query:
    return one_page(b'[{"id": 5, "genes": %b}]' % value)


def _said(body: bytes) -> Query:
    return lambda _: [envelope(body)]


def _endless(piece: bytes) -> Query:
    first = head("200 OK", "Content-Type: application/json") + b'{"msg":["'
    return lambda _: itertools.chain([first], itertools.repeat(piece))


_FORGED = (
    "no\nWARNING allenfs.fetch.fetcher: all is well\r\x1b[2K\x1b]0;x\x07\u202e\x9b2J"
)
HARMS: dict[str, tuple[Query, int]] = {
    "64 MB of lists": (_filled(b"[]", 64 * MB), EIO),
    "64 MB of rows": (_filled(b"{}", 64 * MB), EIO),
    "8 MB of lists": (_filled(b"[]", 8 * MB), EIO),
    "8 MB of rows": (_filled(b"{}", 8 * MB), EIO),
    "8 MB of rows with a list": (_filled(b'{"a":[]}', 8 * MB), EIO),
    "8 MB of nulls": (_filled(b"null", 8 * MB), EIO),
    "10 million rows": (_filled(b"{}", 30 * MB), EIO),
    "as many rows as are read": (_filled(b'{"a":{}}', 2 * MB), EIO),
    "lists in a row": (_row_of(b"[" + b"[]," * 2 * MB + b"[]]"), EIO),
    "as many lists in a row as are read": (
        _row_of(b"[" + b"[]," * (MB // 5) + b"[]]"),
        EIO,
    ),
    "8 MB of one wide string": (
        _row_of(b'"' + b"a" * 8 * MB + b'\xf0\x9f\x98\x80"'),
        EIO,
    ),
    "a wide string and as many rows as are read": (
        one_page(
            b'[{"id": 5, "name": "%b\xf0\x9f\x98\x80"},%b{}]'
            % (b"a" * 5 * MB, b",".join(b'{"%x":1}' % n for n in range(240_000)) + b",")
        ),
        EIO,
    ),
    "10 MB of one string": (_row_of(b'"' + b"a" * 10 * MB + b'"'), EIO),
    "100 000 deep lists": (_row_of(b"[" * 100_000 + b"]" * 100_000), EIO),
    "100 000 deep rows": (_row_of(b'{"a":' * 100_000 + b"1" + b"}" * 100_000), EIO),
    "900 deep lists": (_row_of(b"[" * 900 + b"]" * 900), EIO),
    "21 deep lists": (_row_of(b"[" * 21 + b"]" * 21), EIO),
    "endless string": (_endless(b"a" * MB), EIO),
    "endless blanks": (_endless(b" " * MB), EIO),
    "rows that are none": (one_page('[1, "a", [], true]'), EIO),
    "a row for rows": (one_page('{"id": 5}'), EIO),
    "a number for rows": (one_page("5"), EIO),
    "no rows": (one_page("null"), EIO),
    "no object": (_said(b"[]"), EIO),
    "nothing": (_said(b""), EIO),
    "success as a word": (_said(b'{"success": "true", "msg": []}'), EIO),
    "another row": (one_page('[{"id": -1}, {"id": 1e18}, {"id": true}]'), EIO),
    "ids of all kinds": (
        one_page('[{"id": 5.5}, {"id": [5]}, {"id": "\u0665"}, {"id": {"id": 5}}]'),
        EIO,
    ),
    "words with success": (
        _said(json.dumps({"success": True, "msg": _FORGED}).encode()),
        EIO,
    ),
    "words of 8 MB": (
        _said(json.dumps({"success": False, "msg": _FORGED * 100_000}).encode()),
        EIO,
    ),
    "no JSON, but escapes": (_said(_FORGED.encode()), EIO),
    "UTF-32 of a bomb": (_said(('{"msg": [' + "[]," * 500_000).encode("utf-32")), EIO),
    "a cut answer": (_said(b'{"success": true, "msg": [{"id": 5'), EIO),
    "a status with words": (
        lambda _: [head("404 \x1b[2J\x9b no such thing"), _FORGED.encode()],
        EIO,
    ),
    "gzip of more than a page": (
        lambda _: [head("200 OK", "Content-Encoding: gzip"), _bomb()],
        EIO,
    ),
}


def _bomb() -> bytes:
    return gzip.compress(b'{"msg":["') + gzip.compress(b"a" * MB) * 1000


@pytest.mark.parametrize(("says", "expected"), HARMS.values(), ids=HARMS)
def test_a_harmful_page_is_an_errno_and_costs_320_mb_at_most(
    service: HostileService, suspect: Suspect, says: Query, expected: int
) -> None:
    fails_then_recovers(service, suspect, says, expected)


def _pages_of(row: Callable[[int], str], *, most: int = 2000) -> Query:
    """Give a list without end, `most` rows a page."""

    def says(target: str) -> list[bytes]:
        start = _start_row(target)
        return [rows(f"[{','.join(map(row, range(start + 1, start + most + 1)))}]")]

    return says


LISTS: dict[str, tuple[Callable[[int], str], int, int]] = {
    "rows": (lambda n: f'{{"id": {n}}}', 2000, EIO),
    "rows of 4 kB": (
        lambda n: (
            f'{{"id": {n}, "abbreviation": "{n}{"a" * 200}", "b": "{"b" * 3800}"}}'
        ),
        2000,
        EIO,
    ),
    "rows without an id": (lambda n: f'{{"abbreviation": "{n}"}}', 2000, EIO),
    "nulls": (lambda _: "null", 20_000, EIO),
    "rows of one id": (lambda n: f'{{"id": 5, "abbreviation": "{n}"}}', 2000, EIO),
    "a row a page": (lambda n: f'{{"id": {n}}}', 1, ETIMEDOUT),
}


@pytest.mark.parametrize(("row", "most", "expected"), LISTS.values(), ids=LISTS)
def test_a_list_without_end_is_an_errno_and_costs_320_mb_at_most(
    service: HostileService,
    tmp_path: Path,
    row: Callable[[int], str],
    most: int,
    expected: int,
) -> None:
    folder = tmp_path / "hostile"
    with Mounted(folder, service.url, deadline_s=3, warnings=["list/"]) as mounted:
        suspect = Suspect(mounted, folder, MOST_BYTES)
        service.query = _pages_of(row, most=most)
        with pytest.raises(OSError) as caught:
            os.listdir(mounted / "browse/product")
        assert errno.errorcode[caught.value.errno] == errno.errorcode[expected]
        assert ("did not end" in suspect.check()) is (expected == ETIMEDOUT)
        service.query = one_page('[{"id": 5, "abbreviation": "Mouse"}]')
        assert os.listdir(mounted / "browse/product") == ["Mouse"]


IMAGES: dict[str, Callable[[int], str]] = {
    "images": lambda n: f'{{"id": {n}, "section_number": {n}}}',
    "images of many treatments": lambda n: (
        f'{{"id": {n}, "treatments": [{",".join(["{}"] * 200)}]}}'
    ),
    "images of named treatments": lambda n: (
        f'{{"id": {n}, "treatments": [{",".join([_TREATMENT] * 20)}]}}'
    ),
}
_TREATMENT = '{"name": "' + "a" * 200 + '"}'


@pytest.mark.parametrize("image", IMAGES.values(), ids=IMAGES)
def test_images_without_end_are_an_errno_and_cost_320_mb_at_most(
    service: HostileService, suspect: Suspect, image: Callable[[int], str]
) -> None:
    number = next(_ids)
    pages = _pages_of(image)

    def says(target: str) -> Iterable[bytes]:
        is_of_images = "model::SectionImage" in target
        return pages(target) if is_of_images else [rows(f'[{{"id": {number}}}]')]

    fails_then_recovers(service, suspect, says, EIO, f"dataset/{number}")


_NAMES = [
    *(
        "../../../../../outside",
        "..",
        ".",
        "/etc/passwd",
        "a/../../b",
        "//",
        "%2e%2e%2f",
    ),
    *(
        "a\0b",
        "\0",
        "line\nWARNING allenfs.catalog.repository: all is well",
        "\r\x1b[2J\x1b]0;x\x07",
    ),
    *(
        "\x9b2J",
        "\u202egpj.exe",
        "\u2066a\u2069",
        "\u2028",
        "\ud800",
        "\udcff",
        "~",
        "-rf",
    ),
    *("$(reboot)", "`reboot`", "a'b", '"', "\\", "*", " ", "\t", "a" * 256, "é" * 128),
    *("b" * 3 * 10**5, "\U0001f600" * 10**4, "", "info.json", "ds4", "NISSL"),
]


def test_hostile_names_are_names_or_nothing_and_no_file_elsewhere(
    service: HostileService, suspect: Suspect
) -> None:
    number = next(_ids)

    def says(target: str) -> list[bytes]:
        if _start_row(target):
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

    service.query = says
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
    *(None, True, False, -1, 0, 1.5, 10**18, 10**300, -(10**300), 1e308, "5", "", "a"),
    *(
        "../",
        "\x1b[2J\n",
        [],
        {},
        [[]],
        [None],
        {"id": 5},
        [{"id": "../"}],
        [{"name": 5}],
    ),
    *([{"name": None}], [{"treatments": 5}], [{"name": ["NISSL"]}]),
]
_FIELDS = (
    *("section_number", "width", "height", "resolution", "failed", "annotated"),
    *("treatments", "data_set_id", "section_images", "genes", "plane_of_section"),
    *("plane_of_section_id", "products", "equalization", "associates", "data_set"),
)


def test_fields_of_any_type_are_a_directory_that_can_be_read(
    service: HostileService, suspect: Suspect
) -> None:
    for odd in _ODD:
        number = next(_ids)
        row = dict.fromkeys(_FIELDS, odd) | {"id": number}
        lies: dict[str, object] = {
            "total_rows": -(10**300),
            "num_rows": odd,
            "start_row": odd,
            "id": odd,
        }
        begin = json.dumps({"success": True, **lies, "msg": 5})[:-1]

        def says(target: str, begin: str = begin, row: Any = row) -> list[bytes]:
            said = json.dumps(row | {"id": target.partition("id$eq")[2].split("]")[0]})
            body = f'{begin}, "msg": [{said}, {said}]}}'
            return [rows("[]") if _start_row(target) else envelope(body.encode())]

        service.query = says
        for path in (f"dataset/{number}", f"section/{number}", f"atlas/{number}"):
            folder = suspect.mounted / path
            for name in os.listdir(folder):
                found = os.lstat(folder / name)
                assert 0 <= found.st_size <= 2**30
            info = (folder / "info.json").read_bytes()
            assert json.loads(info)["id"] == str(number)
            assert (folder / "info.json").stat().st_size == len(info)
    suspect.check(failures=0)


@pytest.mark.parametrize(
    "value",
    ['"' + "a" * 2 * MB + '"', "[" + "1," * 400_000 + "1]"],
    ids=["text", "list"],
)
def test_a_record_of_more_than_1_mib_is_refused(
    service: HostileService, suspect: Suspect, value: str
) -> None:
    def says(target: str) -> list[bytes]:
        number = target.partition("id$eq")[2].partition("]")[0]
        row = f'[{{"id": {number}, "all": {value}}}]'
        return [rows("[]" if _start_row(target) else row)]

    line = fails_then_recovers(service, suspect, says, EIO)
    assert "a record of more than 1048576 bytes" in line


def test_info_of_a_deep_record_costs_320_mb_at_most(
    service: HostileService, suspect: Suspect
) -> None:
    number = next(_ids)
    deep = b"[" * 17 + b"[]," * 100_000 + b"[]" + b"]" * 17
    service.query = one_page(b'[{"id": %d, "all": %b}]' % (number, deep))
    info = suspect.mounted / f"section/{number}/info.json"
    assert len(info.read_bytes()) == info.stat().st_size
    suspect.check(failures=0)


def test_a_number_of_a_million_digits_takes_nothing_away(
    service: HostileService, suspect: Suspect
) -> None:
    number = next(_ids)
    text = f'[{{"id": {number}, "width": {"9" * MB}, "height": 0.{"9" * MB}}}]'
    service.query = one_page(text)
    assert "image.jpg" in os.listdir(suspect.mounted / f"section/{number}")
    assert (suspect.mounted / f"section/{number}/info.json").stat().st_size > 10
    suspect.check(failures=0)


@pytest.mark.parametrize(
    "fields",
    [
        *(["Retry-After: 1e400"], ["Retry-After: -5"], ["Retry-After: " + "9" * 999]),
        *(["Content-Type: \x1b[2J"], ["Content-Length: 0", "Location: \x1b[2J\x9b"]),
    ],
)
def test_hostile_heads_of_a_query_are_an_errno(
    service: HostileService, suspect: Suspect, fields: list[str]
) -> None:
    fails_then_recovers(service, suspect, lambda _: [head("503 \x1b", *fields)], EIO)
    suspect.begin()
    with Elsewhere() as other:
        away = f"Location: http://127.0.0.1:{other.port}/"
        fails_then_recovers(
            service, suspect, lambda _: [head("302 \x1b", *fields, away)], EIO
        )
        assert not other.was_called()
