"""The Python of the recipes without a mount, pasted as it stands, on a real service."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

RECIPES = (Path(__file__).parents[2] / "docs/recipes.md").read_text()


def recipes(heading):
    text = RECIPES.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    return re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


FILES, PYRAMIDS, SAMPLE = recipes("Python without a mount")
(DASK,) = recipes("dask on one machine")
OF_ZARR_2 = "ignore:Call to deprecated function:DeprecationWarning"


@pytest.mark.parametrize(
    ("recipe", "lines", "images"),
    [(FILES, 6 + 2 + 5, 2 + 5), (PYRAMIDS, 2, 1 + 2), (SAMPLE, 6, 0), (DASK, 3, 60)],
    ids=["files", "pyramids", "sample", "dask"],
)
def test_recipe_without_a_mount_runs_as_it_stands(
    service, tmp_path, monkeypatch, recipe, lines, images
):
    monkeypatch.setenv("ALLENFS_API_URL", service.url)
    monkeypatch.setenv("ALLENFS_CACHE_DIR", str(tmp_path / "store"))
    monkeypatch.delenv("PYTHONDEVMODE")  # asyncio reports what takes 0.1 s
    monkeypatch.setenv("PYTHONWARNINGS", f"error,{OF_ZARR_2}")
    script = tmp_path / "recipe.py"
    script.write_text(recipe)
    done = subprocess.run(
        [sys.executable, script], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert len(done.stdout.splitlines()) == lines, done.stdout
    assert service.image_requests == images
    assert service.peak_all_requests <= 4
