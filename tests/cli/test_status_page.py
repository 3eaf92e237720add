"""``allenfs status`` as a person reads it."""

from __future__ import annotations

import copy
import json
import os
from pathlib import Path
from typing import Any

import pytest

from allenfs.cli import main
from allenfs.cli.status import page as page_of
from allenfs.filesystem.status import MountStatus
from allenfs.mount import mount_table

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
  store        3.0 GiB of 10.0 GiB used (30%): 812 images, 1 record
               /home/me/.cache/allenfs
  opened       60 images: 40 from the store, 20 after a download; 2 failed
  downloaded   30 images, 32.0 MiB
  read ahead   10 images, 9 used, 1 running
  log          /home/me/.local/state/allenfs/allenfs.log
  running      for 2 h 3 min: process 4711, allenfs 0.1.0

downloading
  section/69750516/image.jpg  1.0 MiB of 4.0 MiB (25%)  12 s  attempt 2
  section/1/ds4/image.jpg     0 bytes                   0 s   waiting for a \
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


def test_a_page_is_aligned_and_has_units():
    assert page(STATUS) == PAGE.splitlines()
    assert len(page(changed(downloads=[], failures=[]))) == 10
    sample = page(changed(service={"is_sample": True}))
    assert sample[0].endswith(": the sample service")


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        (
            {"store": {"failure": "Read-only file system: /x"}},
            "store        CANNOT BE WRITTEN: Read-only file system: /x; 3.0 GiB of "
            "10.0 GiB used (30%): 812 images, 1 record",
        ),
        (
            {"store": {"capacity_bytes": 0}},
            "store        3.0 GiB of 0 bytes used (100%): 812 images, 1 record",
        ),
        ({"service": {"reachable": None}}, "service      no request yet"),
        (
            {"service": {"reachable": False, "last_failure": TIME}},
            "service      NOT reachable, 0 s ago: HTTP 503; 120 requests, 2 failed",
        ),
        (
            {"service": {"waiting": 0, "connections_in_use": 0}},
            "connections  0 of 4 in use",
        ),
        ({"readahead": {"images": 0}}, "read ahead   off"),
        (
            {"log": {"file": "/log", "failure": "No space left on device"}},
            "log          /log CANNOT BE WRITTEN: No space left on device",
        ),
        (
            {"log": {"file": None, "failure": "Broken pipe"}},
            "log          stderr CANNOT BE WRITTEN: Broken pipe",
        ),
    ],
)
def test_each_trouble_has_its_line(changes, line):
    lines = page(changed(**changes))
    assert lines.count(f"  {line}") == 1
    assert len(set(lines) - set(page(STATUS))) == 1


def test_long_lists_are_cut():
    many = changed(downloads=STATUS["downloads"] * 10, failures=STATUS["failures"] * 20)
    lines = page(many)
    assert "  and 10 more, see --json" in lines
    assert lines[-1] == "  and 15 more, see --json"
    assert len(lines) < 35


@pytest.mark.parametrize("text", ["a\x1b[2Jb", "a\nb", "a\u202eb", "a\udcffb"])
def test_text_of_the_status_is_escaped(text):
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


class Command:
    """`allenfs status`, where plain directories are taken for mounts."""

    def __init__(
        self,
        folder: Path,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        self._folder = folder
        self._table = folder / "proc/self/mountinfo"
        self._table.parent.mkdir(parents=True)
        self._capsys = capsys
        monkeypatch.setattr(mount_table, "PROC", folder / "proc")

    def mounts(self, *pages: str | None) -> list[Path]:
        """Have a mount for each `status.json`."""
        places = [self._folder / f"mnt{number}" for number in range(len(pages))]
        for place, text in zip(places, pages, strict=True):
            place.mkdir()
            if text is not None:
                (place / ".allenfs").mkdir()
                (place / ".allenfs" / "status.json").write_text(text)
        kind = f"ro - fuse.allenfs allenfs:x ro,user_id={os.geteuid()}"
        lines = [f"36 35 0:41 / {place} {kind}\n" for place in places]
        self._table.write_text("".join(lines))
        return places

    def __call__(self, *arguments: str | Path) -> tuple[int, str, list[str]]:
        """Run it; return the exit code, its output, and the lines of stderr."""
        code = main.main(["status", *map(str, arguments)])
        out, err = self._capsys.readouterr()
        return code, out, err.splitlines()


@pytest.fixture
def status(tmp_path, monkeypatch, capsys):
    return Command(tmp_path, monkeypatch, capsys)


def test_without_a_mountpoint_all_mounts_of_the_user_are_shown(status):
    status.mounts(*[json.dumps(STATUS)] * 2)
    assert status() == (0, f"{PAGE}\n{PAGE}", [])
    code, out, _ = status("--json")
    assert (code, json.loads(out)) == (0, [STATUS, STATUS])


def test_one_mount_is_a_list_of_one_unless_it_is_named(status):
    text = json.dumps(STATUS, indent=1) + "\n"
    (place,) = status.mounts(text)
    code, out, _ = status("--json")
    assert (code, json.loads(out)) == (0, [STATUS])
    assert status("--json", place) == (0, text, [])


def test_one_mount_without_a_status_hides_no_other(status):
    places = status.mounts(None, json.dumps(STATUS), "{}", None)
    code, out, errors = status()
    assert (code, out) == (1, PAGE)
    for line, number in zip(errors, (0, 2, 3), strict=True):
        assert str(places[number]) in line.split()
    code, out, _ = status("--json")
    assert (code, json.loads(out)) == (1, [STATUS, {}])


@pytest.mark.parametrize(
    "text",
    [
        *("", "[]", '{"service": 1}', "мозг", "[" * 100_000),
        json.dumps(STATUS | {"time": "yesterday"}),
        json.dumps(STATUS | {"failures": [1]}),
        json.dumps(STATUS | {"downloads": {"a": 1}}),
        json.dumps(STATUS | {"pid": 10**400}),
        json.dumps(STATUS | {"open_files": True}),
        json.dumps(STATUS | {"downloads": [DOWNLOAD | {"seconds": float("nan")}]}),
    ],
)
def test_an_invalid_status_is_one_line(status, text):
    (place,) = status.mounts(text)
    line = f"allenfs: this version of allenfs cannot read the status of {place}"
    assert status(place) == (1, "", [line])


def test_the_json_may_be_of_another_version():
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


def test_an_endless_status_is_not_read_to_its_end(status):
    (place,) = status.mounts("")
    os.truncate(place / ".allenfs" / "status.json", 2**40)
    code, _, (line,) = status(place)
    assert code == 1
    assert "File too large" in line
