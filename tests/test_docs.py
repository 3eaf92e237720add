"""The documents match the code."""

from __future__ import annotations

import errno
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from allenfs import config
from allenfs.cli.main import parser
from allenfs.model.drawings import drawing_of_url
from allenfs.model.images import request_of_url

ROOT = Path(__file__).parent.parent
PATHS = (ROOT / "docs" / "paths.md").read_text()
SETTINGS = (ROOT / "docs" / "settings.md").read_text()
TROUBLESHOOTING = (ROOT / "docs" / "troubleshooting.md").read_text()
SEMANTICS = (ROOT / "docs" / "semantics.md").read_text()

_ROW = re.compile(r"^\| `(\w+_download/[^`]+)` \| `([^`]+)` \|", re.MULTILINE)
_EXAMPLE = re.compile(r"^\$ (allenfs (?:url|path) .+)\n(.+)$", re.MULTILINE)


def test_every_promise_names_tests_that_exist():
    there = "".join(path.read_text() for path in (ROOT / "tests").rglob("test_*.py"))
    named = set(re.findall(r"`(test_\w+)`", SEMANTICS))
    assert len(named) > 30
    assert {name for name in named if f"def {name}(" not in there} == set()


@pytest.mark.parametrize(("url", "path"), _ROW.findall(PATHS))
def test_row_is_the_same_both_ways(url, path):
    whole = f"{config.DEFAULT_API_URL}/api/v2/{url}"
    request = drawing_of_url(whole) or request_of_url(whole)
    assert request.path == path
    address, _, query = request.url("").partition("?")
    assert address == f"/api/v2/{url.partition('?')[0]}"
    assert sorted(query.split("&")) == sorted(url.partition("?")[2].split("&"))


def test_paths_has_the_whole_table():
    assert len(_ROW.findall(PATHS)) == 15


@pytest.mark.parametrize(("command", "output"), _EXAMPLE.findall(PATHS))
def test_example_prints_what_it_says(command, output):
    done = subprocess.run(
        ["bash", "-c", command.replace("allenfs", f"{sys.executable} -m allenfs", 1)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == f"{output}\n"


def test_settings_names_every_flag():
    named = set(re.findall(r"--[a-z][a-z-]+", SETTINGS))
    mount = next(
        action for action in parser()._actions if action.dest == "command"
    ).choices["mount"]
    flags = {
        flag
        for action in mount._actions
        for flag in action.option_strings
        if flag.startswith("--") and flag != "--help"
    }
    assert flags - named == {"--verbose"}  # as -v


# Messages of other programs; each was seen.
_SAID_BY_OTHERS = {
    "unknown filesystem type 'allenfs'",  # mount(8)
    "option allow_other only allowed if 'user_allow_other' is set",  # fusermount
    "could not determine username",  # fusermount
    "Bus error",  # the shell
}
# Composed where they are raised.
_PUT_TOGETHER = {"neither libfuse 2 nor libfuse 3", "this machine has no /dev/fuse"}


def test_troubleshooting_lists_messages_that_exist():
    sources = sorted(
        {*ROOT.glob("allenfs/**/*.py")} - {*ROOT.glob("allenfs/sample/*.py")}
    )
    said = "".join(path.read_text() for path in sources)
    said = re.sub(r'"\s*\n\s*f?"', "", said)  # a text of several lines
    words = {os.strerror(number) for number in errno.errorcode}
    known = words | _SAID_BY_OTHERS | _PUT_TOGETHER
    messages = set(re.findall(r"^\| `([^`]+)`", TROUBLESHOOTING, re.MULTILINE))
    assert len(messages) > 30
    unknown = {one for one in messages if one.removeprefix("given up: ") not in said}
    assert unknown - known == set()


_LINK = re.compile(r"\]\(([^)#\s]*)(?:#([^)]*))?\)")
_HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)


def anchor_of(heading: str) -> str:
    return re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-")


def test_every_link_between_the_documents_leads_somewhere():
    links = 0
    for document in (*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")):
        for path, anchor in _LINK.findall(document.read_text()):
            if path.startswith("http"):
                continue
            there = (document.parent / path) if path else document
            assert there.is_file(), path
            if anchor:
                anchors = map(anchor_of, _HEADING.findall(there.read_text()))
                assert anchor in anchors, anchor
            links += 1
    assert links > 20


def test_architecture_names_modules_and_functions_that_exist():
    text = (ROOT / "docs" / "architecture.md").read_text()
    named = re.findall(r"`([\w/]+\.py)(?::(\w+))?`", text)
    assert len(named) > 40
    for module, function in named:
        paths = [ROOT / "allenfs" / module, ROOT / module]
        (path,) = (path for path in paths if path.is_file())
        assert not function or f"def {function}(" in path.read_text(), module
