"""The documents speak of what is there."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from allenfs import config
from allenfs.cli import parser
from allenfs.images import request_of_url

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
SEMANTICS = (ROOT / "docs" / "semantics.md").read_text()

_ROW = re.compile(r"^\| `(\w+_download/[^`]+)` \| `([^`]+)` \|", re.MULTILINE)
_EXAMPLE = re.compile(r"^\$ (allenfs (?:url|path) .+)\n(.+)$", re.MULTILINE)


def test_every_promise_names_tests_that_exist() -> None:
    there = "".join(path.read_text() for path in (ROOT / "tests").rglob("test_*.py"))
    named = set(re.findall(r"`(test_\w+)`", SEMANTICS))
    assert len(named) > 30
    assert {name for name in named if f"def {name}(" not in there} == set()


@pytest.mark.parametrize(("url", "path"), _ROW.findall(README))
def test_readme_row_is_the_same_both_ways(url: str, path: str) -> None:
    request = request_of_url(f"{config.DEFAULT_API_URL}/api/v2/{url}")
    assert request.path == path
    address, _, query = request.url("").partition("?")
    assert address == f"/api/v2/{url.partition('?')[0]}"
    assert sorted(query.split("&")) == sorted(url.partition("?")[2].split("&"))


def test_readme_has_the_whole_table() -> None:
    assert len(_ROW.findall(README)) == 14


@pytest.mark.parametrize(("command", "output"), _EXAMPLE.findall(README))
def test_readme_example_prints_what_it_says(command: str, output: str) -> None:
    done = subprocess.run(
        ["bash", "-c", command.replace("allenfs", f"{sys.executable} -m allenfs", 1)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == f"{output}\n"


def test_readme_names_every_flag() -> None:
    named = set(re.findall(r"--[a-z][a-z-]+", README))
    mount = next(
        action for action in parser()._actions if action.dest == "command"
    ).choices["mount"]  # type: ignore[index]
    flags = {
        flag
        for action in mount._actions
        for flag in action.option_strings
        if flag.startswith("--") and flag != "--help"
    }
    assert flags - named == {"--verbose"}  # as -v
