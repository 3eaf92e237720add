"""``allenfs status`` as a person reads it."""

from __future__ import annotations

import copy
import json
import os
from typing import TYPE_CHECKING, Any

import pytest

from allenfs.cli import main
from allenfs.cli.status import page as page_of
from allenfs.filesystem.status import MountStatus
from allenfs.mount import mount_table

if TYPE_CHECKING:
    from pathlib import Path

TIME = "2026-11-22T12:00:30Z"
STATUS: dict[str, Any] = {
    "version": "0.1.0",
    "pid": 4711,
    "mountpoint": "/home/me/Gehirn für мозг",
    "started": "2026-11-22T09:57:00Z",
    "time": TIME,
    "service": {
        "url": "https://api.brain-map.org",
        "name": "api.brain-map.org",
        "is_sample": False,
        "connections": 4,
        "connections_in_use": 4,
        "waiting": 3,
        "reachable": True,
        "last_answer": "2026-11-22T12:00:27Z",
        "last_failure": "2026-11-22T11:00:30Z",
        "last_failure_cause": "HTTP 503",
        "requests": 120,
        "failed_requests": 2,
    },
    "store": {
        "directory": "/home/me/.cache/allenfs",
        "capacity_bytes": 10 * 2**30,
        "used_bytes": 3 * 2**30,
        "images": 812,
        "images_bytes": 3 * 2**30 - 4096,
        "records": 1,
        "records_bytes": 4096,
    },
    "images": {
        "hits": 40,
        "misses": 20,
        "failed": 2,
        "read_bytes": 2**20,
        "downloads": 30,
        "downloaded_bytes": 2**25,
    },
    "downloads": [
        {
            "path": "section/69750516/image.jpg",
            "url": "https://api.brain-map.org/api/v2/image_download/69750516",
            "state": "downloading",
            "attempt": 2,
            "bytes": 2**20,
            "total_bytes": 2**22,
            "seconds": 12.3,
            "ahead": False,
        },
        {
            "path": "section/1/ds4/image.jpg",
            "url": "https://api.brain-map.org/api/v2/image_download/1?downsample=4",
            "state": "waiting",
            "attempt": 0,
            "bytes": 0,
            "total_bytes": None,
            "seconds": 0.4,
            "ahead": True,
        },
    ],
    "readahead": {"images": 8, "downloaded": 10, "used": 9, "under_way": 1},
    "failures": [
        {
            "time": "2026-11-22T11:58:30Z",
            "path": "section/2/image.jpg",
            "url": "https://api.brain-map.org/api/v2/image_download/2",
            "cause": "HTTP 404 Not Found",
            "errno": "ENOENT",
        }
    ],
    "open_files": 5,
    "log": {"file": "/home/me/.local/state/allenfs/allenfs.log", "failure": None},
}
DOWNLOAD = STATUS["downloads"][0]
PAGE = """\
/home/me/Gehirn für мозг: https://api.brain-map.org
  service      reachable, last answer 3 s ago; 120 requests, 2 failed
  connections  4 of 4 in use, 3 requests waiting
  store        3.0 GiB of 10.0 GiB used (30 %): 812 images, 1 record
               /home/me/.cache/allenfs
  opened       60 images: 40 from the store, 20 after a download; 2 failed
  downloaded   30 images, 32.0 MiB
  read ahead   10 images, 9 used, 1 running
  log          /home/me/.local/state/allenfs/allenfs.log
  running      for 2 h 3 min: process 4711, allenfs 0.1.0

downloading
  section/69750516/image.jpg  1.0 MiB of 4.0 MiB (25 %)  12 s  attempt 2
  section/1/ds4/image.jpg     0 bytes                    0 s   waiting for a \
connection, read ahead

last failures
  2 min ago  section/2/image.jpg  HTTP 404 Not Found (ENOENT)
"""


def changed(**changes: Any) -> dict[str, Any]:
    status = copy.deepcopy(STATUS)
    for name, change in changes.items():
        if isinstance(change, dict):
            status[name] |= change
        else:
            status[name] = change
    return status


def page(status: dict[str, Any]) -> list[str]:
    return page_of(MountStatus.from_json(json.dumps(status).encode("ascii")))


def test_a_page_is_aligned_and_has_units() -> None:
    assert page(STATUS) == PAGE.splitlines()


def test_a_store_that_cannot_be_written_says_so_first() -> None:
    lines = page(changed(store={"failure": "Read-only file system: /x"}))
    begin = "  store        CANNOT BE WRITTEN: Read-only file system: /x; 3.0 GiB of "
    assert sum(line.startswith(begin) for line in lines) == 1
    assert page(changed(store={"failure": None})) == page(STATUS)


def test_a_mount_that_has_done_nothing_has_a_short_page() -> None:
    quiet = changed(
        downloads=[],
        failures=[],
        service={"reachable": None, "waiting": 0, "connections_in_use": 0},
        readahead={"images": 0},
    )
    lines = page(quiet)
    assert len(lines) == 10
    assert "  service      no request yet" in lines
    assert "  connections  0 of 4 in use" in lines
    assert "  read ahead   off" in lines


def test_a_service_that_is_away_is_said_so_with_the_cause() -> None:
    away = changed(service={"reachable": False, "last_failure": TIME})
    said = page(away)[1]
    assert said.startswith("  service      NOT reachable, 0 s ago: HTTP 503; ")


def test_a_log_that_cannot_be_written_is_shown_with_the_cause() -> None:
    full = changed(log={"file": "/log", "failure": "No space left on device"})
    said = "  log          /log CANNOT BE WRITTEN: No space left on device"
    assert said in page(full)
    closed = changed(log={"file": None, "failure": "Broken pipe"})
    assert "  log          stderr CANNOT BE WRITTEN: Broken pipe" in page(closed)


def test_the_sample_goes_by_its_name() -> None:
    sample = page(changed(service={"is_sample": True}))
    assert sample[0].endswith(": the sample service")


def test_long_lists_are_cut_and_say_so() -> None:
    many = changed(downloads=STATUS["downloads"] * 10, failures=STATUS["failures"] * 20)
    lines = page(many)
    assert "  and 10 more, see --json" in lines
    assert lines[-1] == "  and 15 more, see --json"
    assert len(lines) < 35


@pytest.mark.parametrize("text", ["a\x1b[2Jb", "a\nb", "a\tb", "a\u202eb", "a\udcffb"])
def test_words_of_others_stay_in_their_line_and_move_no_cursor(text: str) -> None:
    hostile = changed(
        mountpoint=text,
        version=text,
        service={"url": text, "reachable": False, "last_failure_cause": text},
        store={"directory": text, "failure": text},
        failures=[STATUS["failures"][0] | {"path": text, "cause": text, "errno": text}],
        downloads=[STATUS["downloads"][0] | {"path": text, "state": text}],
        log={"file": text, "failure": text},
    )
    lines = page(hostile)
    assert len(lines) == 16
    for line in lines:
        assert text[1] not in line
        line.encode()


def mounts(folder: Path, *places: Path, user: int | None = None) -> Path:
    """Write a table in which allenfs is mounted on `places`; nothing of it is true."""
    user = os.geteuid() if user is None else user
    table = folder / "mountinfo"
    table.write_text(
        "".join(
            f"36 35 0:41 / {place} ro - fuse.allenfs allenfs:x ro,user_id={user}\n"
            for place in places
        )
    )
    return table


def told(
    folder: Path, monkeypatch: pytest.MonkeyPatch, *pages: str | None
) -> list[Path]:
    """Let plain directories be taken for mounts that tell `pages`."""
    places = []
    for number, text in enumerate(pages):
        place = folder / f"mnt{number}"
        place.mkdir()
        places.append(place)
        if text is not None:
            (place / ".allenfs").mkdir()
            (place / ".allenfs" / "status.json").write_text(text)
    monkeypatch.setattr(mount_table, "_OWN_TABLE", mounts(folder, *places))
    return places


def test_without_a_mountpoint_all_mounts_of_this_user_are_told(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    told(tmp_path, monkeypatch, *[json.dumps(STATUS)] * 2)
    assert main.main(["status"]) == 0
    assert capsys.readouterr() == (f"{PAGE}\n{PAGE}", "")
    assert main.main(["status", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == [STATUS, STATUS]


def test_one_mount_is_a_list_of_one_unless_it_is_named(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (place,) = told(tmp_path, monkeypatch, json.dumps(STATUS, indent=1))
    assert main.main(["status", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == [STATUS]
    assert main.main(["status", "--json", str(place)]) == 0
    assert capsys.readouterr().out == json.dumps(STATUS, indent=1) + "\n"


def test_with_no_mount_of_this_user_there_is_one_line(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    strange = mounts(tmp_path, tmp_path, user=os.geteuid() + 1)
    monkeypatch.setattr(mount_table, "_OWN_TABLE", strange)
    for arguments in (["status"], ["status", "--json"], ["status", "--watch"]):
        assert main.main(arguments) == 1
        said = capsys.readouterr()
        assert said.out == ""
        assert said.err.splitlines() == [
            "allenfs: this user has no mounts: see allenfs mount"
        ]


def test_one_mount_that_does_not_tell_hides_no_other(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    places = told(tmp_path, monkeypatch, None, json.dumps(STATUS), "{}", None)
    assert main.main(["status"]) == 1
    said = capsys.readouterr()
    assert said.out == PAGE
    for line, number in zip(said.err.splitlines(), (0, 2, 3), strict=True):
        assert str(places[number]) in line.split()
    assert main.main(["status", "--json"]) == 1
    assert json.loads(capsys.readouterr().out) == [STATUS, {}]


@pytest.mark.parametrize(
    "text",
    [
        *("", "{", "[]", "null", "1", '{"service": 1}', "мозг", "[" * 100_000),
        json.dumps(STATUS | {"service": {}}),
        json.dumps(STATUS | {"time": "yesterday"}),
        json.dumps(STATUS | {"failures": [1]}),
        json.dumps(STATUS | {"downloads": {"a": 1}}),
        json.dumps(STATUS | {"pid": "x"}),
        json.dumps(STATUS | {"pid": 10**400}),
        json.dumps(STATUS | {"open_files": True}),
        json.dumps(STATUS | {"downloads": [DOWNLOAD | {"seconds": float("nan")}]}),
    ],
)
def test_what_is_no_status_is_one_line(
    text: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (place,) = told(tmp_path, monkeypatch, text)
    assert main.main(["status", str(place)]) == 1
    said = capsys.readouterr()
    assert said.out == ""
    (line,) = said.err.splitlines()
    assert line == f"allenfs: this version of allenfs cannot read the status of {place}"


def test_the_json_is_read_back_and_may_be_of_another_version() -> None:
    data = (json.dumps(STATUS, indent=2) + "\n").encode("ascii")
    status = MountStatus.from_json(data)
    shown = json.loads(status.to_json())
    assert shown == changed(service={"proxy": None}, store={"failure": None})
    assert MountStatus.from_json(status.to_json()) == status
    newer = changed(service={"unknown": 1}, unknown=[{}])
    assert MountStatus.from_json(json.dumps(newer).encode()) == status
    older = {name: value for name, value in STATUS.items() if name != "log"}
    assert page(older) == [
        line for line in page(STATUS) if not line[2:].startswith("log ")
    ]


def test_a_store_of_no_capacity_has_a_page() -> None:
    assert "(100 %)" in page(changed(store={"capacity_bytes": 0}))[3]


def test_an_endless_status_is_not_read_to_its_end(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (place,) = told(tmp_path, monkeypatch, "")
    os.truncate(place / ".allenfs" / "status.json", 2**40)
    assert main.main(["status", str(place)]) == 1
    assert "File too large" in capsys.readouterr().err
