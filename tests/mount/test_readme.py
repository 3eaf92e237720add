"""The commands of the documents, pasted as they stand, on the sample."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from command import run

ROOT = Path(__file__).parents[2]
READERS = Path(__file__).with_name("tool_readers.py")
_DASK = re.compile(
    r"^### dask and zarr\n.*?^```python\n(.*?)^```", re.MULTILINE | re.DOTALL
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
    # two images, three for a region and a sheet, a data set, an atlas' Nissl plates
    assert len(copies) == 2 + 3 + 5 + 5
    assert (work / "sections.csv").read_text().count("\n") == 1 + 5


def test_tools_of_the_field_open_the_folders_as_the_readme_says(
    mounted, service, tmp_path, monkeypatch
):
    """With stand-ins for napari and ImageJ, which read as they do: `tool_readers`."""
    for program in ("napari", "imagej"):
        path = tmp_path / "bin" / program
        path.parent.mkdir(exist_ok=True)
        path.write_text(f'#!/bin/sh\nexec {sys.executable} {READERS} {program} "$@"\n')
        path.chmod(0o755)
    folders = (tmp_path / "bin", Path(sys.executable).parent, os.environ["PATH"])
    monkeypatch.setenv("PATH", ":".join(map(str, folders)))
    monkeypatch.chdir(tmp_path)
    *counts, read = pasted("README.md", "In the tools of the field")
    assert counts == [4, 1]
    assert "napari: 7 levels, (3, 114, 219)" in read
    assert "imagej: 5 slices of (880, 464)" in read
    assert len(images_below(tmp_path / "quint")) == 5
    slices = json.loads((tmp_path / "quint/series.json").read_text())["slices"]
    assert all((tmp_path / "quint" / each["filename"]).is_file() for each in slices)
    # the coarsest level of the section, and the five sections of the stack once
    assert service.image_requests == 1 + 5


def test_the_recipe_for_dask_reads_one_tile_and_each_section(mounted, service):
    (recipe,) = _DASK.findall((ROOT / "docs/recipes.md").read_text())
    values, darkest = run(sys.executable, "-c", recipe).decode().splitlines()
    assert len(values.strip("[]").split()) == 3
    assert len(darkest.strip("[]").split()) == 5
    assert service.image_requests == 1 + 5
