"""The README's commands, pasted as they stand, on the sample."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from mounted import Mounted
from PIL import Image

if TYPE_CHECKING:
    import pytest

    from allenfs.sample.server import SampleService

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
RECIPES = (ROOT / "docs" / "recipes.md").read_text()
_SECTION = re.compile(r"^## Find an image\n(.*?)^## ", re.MULTILINE | re.DOTALL)
_STACK = re.compile(
    r"^## A stack of ISH sections\n.*?^```python\n(.*?)^```", re.MULTILINE | re.DOTALL
)
_BLOCK = re.compile(r"^```console\n(.*?)^```", re.MULTILINE | re.DOTALL)


def test_find_an_image_as_the_readme_does(
    tmp_path: Path, service: SampleService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    with Mounted(tmp_path, service.url) as mounted:
        (tmp_path / "allen").symlink_to(mounted.root)
        (section,) = _SECTION.findall(README)
        lines = "".join(_BLOCK.findall(section)).splitlines()
        commands = [line[2:] for line in lines if line.startswith("$ ")]
        shown = [line for line in lines if not line.startswith("$ ")]
        assert (len(commands), len(shown)) == (10, 4)
        done = subprocess.run(
            ["bash", "-e", "-c", "\n".join(commands)],
            capture_output=True,
            text=True,
            check=False,
        )
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.splitlines() == shown
    copies = [path for path in (tmp_path / "out").rglob("*") if path.is_file()]
    # a section, its data set, a Nissl section, two data sets, five plates, and four
    assert len(copies) == 1 + 3 + 1 + (5 + 12) + 5 + 4
    for copy in copies:
        assert copy.read_bytes()[:2] == b"\xff\xd8"


def test_the_stack_recipe_gives_all_sections_the_same_size(
    tmp_path: Path, service: SampleService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (recipe,) = _STACK.findall(RECIPES)
    with Mounted(tmp_path, service.url) as mounted:
        (tmp_path / "allen").symlink_to(mounted.root)
        subprocess.run([sys.executable, "-c", recipe], check=True)
        sizes = {}
        for path in (mounted / "dataset/69782969/ds4").iterdir():
            with Image.open(path) as image:
                sizes[path.name] = image.size
    assert len(set(sizes.values())) == len(sizes) == 5  # otherwise this tests nothing
    largest = tuple(map(max, zip(*sizes.values(), strict=True)))
    assert {path.name for path in (tmp_path / "stack").iterdir()} == sizes.keys()
    for name in sizes:
        with Image.open(tmp_path / "stack" / name) as page:
            assert page.size == largest
