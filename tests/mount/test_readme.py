"""The commands of the documents, pasted as they stand, on the sample."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from command import run
from PIL import Image

ROOT = Path(__file__).parents[2]
_STACK = re.compile(
    r"^## A stack of ISH sections\n.*?^```python\n(.*?)^```", re.MULTILINE | re.DOTALL
)
_BLOCK = re.compile(r"^```console\n(.*?)^```", re.MULTILINE | re.DOTALL)


@pytest.fixture
def mounted(mounted, tmp_path, monkeypatch):
    """A mount on `~/allen`."""
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "allen").symlink_to(mounted.root)
    return mounted


def pasted(document, heading):
    """Run the commands below a heading and compare their output.

    Return the number of commands, of lines of output, and what is on stderr.
    """
    text = (ROOT / document).read_text().partition(f"\n## {heading}\n")[2]
    section = re.split(r"^## ", text, flags=re.MULTILINE)[0]
    lines = "".join(_BLOCK.findall(section)).splitlines()
    commands = [line[2:] for line in lines if line.startswith("$ ")]
    shown = [line for line in lines if not line.startswith("$ ")]
    done = subprocess.run(
        ["bash", "-e", "-c", "\n".join(commands)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == shown
    return len(commands), len(shown), done.stderr


def images_below(folder):
    copies = sorted(folder.rglob("*.jpg"))
    assert all(copy.read_bytes()[:2] == b"\xff\xd8" for copy in copies)
    return [str(copy.relative_to(folder)) for copy in copies]


@pytest.mark.usefixtures("mounted")
def test_find_an_image_as_the_documents_do(tmp_path):
    assert pasted("docs/paths.md", "Find an image") == (10, 4, "")
    # a section, its data set, a Nissl section, two data sets, five plates, and four
    assert len(images_below(tmp_path / "out")) == 1 + 3 + 1 + (5 + 12) + 5 + 4


@pytest.mark.usefixtures("mounted")
def test_find_a_region_as_the_documents_do(tmp_path, monkeypatch, mounted):
    (tmp_path / "out").mkdir()
    monkeypatch.chdir(mounted.root)
    assert pasted("docs/paths.md", "Find a region") == (6, 5, "")
    assert len(images_below(tmp_path / "out")) == 2


def test_read_a_pyramid_as_the_documents_do(mounted, service, monkeypatch):
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    monkeypatch.chdir(mounted.root)
    assert pasted("docs/paths.md", "Pyramids") == (2, 1, "")
    assert service.image_requests == 12


def test_the_readme_s_commands_work_as_they_stand(mounted, tmp_path, monkeypatch):
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    *counts, progress = pasted("README.md", "What people do with it")
    prefetched = [*(mounted / "dataset/69782969/ds3").iterdir()]
    assert all(path.stat().st_blocks for path in prefetched)
    assert counts == [9, 2]
    assert "5 files" in progress  # the mount's read-ahead may have fetched some of them
    copies = images_below(work)
    assert {"image.jpg", "expression.jpg", "contact_sheet.jpg"} <= {*copies}
    assert (
        len(copies) == 2 + 3 + 5 + 5
    )  # a region, a data set, and the Nissl plates of an atlas
    assert (work / "sections.csv").read_text().count("\n") == 1 + 5


def size_of(path):
    with Image.open(path) as image:
        return image.size


def test_the_stack_recipe_gives_all_sections_the_same_size(mounted, tmp_path):
    (recipe,) = _STACK.findall((ROOT / "docs/recipes.md").read_text())
    run(sys.executable, "-c", recipe)
    sections = [*(mounted / "dataset/69782969/ds4").iterdir()]
    sizes = {path.name: size_of(path) for path in sections}
    assert len(set(sizes.values())) == len(sizes) == 5  # otherwise this tests nothing
    largest = tuple(map(max, zip(*sizes.values(), strict=True)))
    pages = {path.name: size_of(path) for path in (tmp_path / "stack").iterdir()}
    assert pages == dict.fromkeys(sizes, largest)
