"""Programs that ask for the size before they open are right after `prefetch`."""

from __future__ import annotations

import tarfile

import pytest
from command import allenfs, run
from mounted import image_bytes

DATA_SET = "dataset/100141599"


def listed_by_rsync(folder, copy):
    """The files that rsync would copy again, in their order."""
    listed = run("rsync", "-rcn", "--out-format=%n", f"{folder}/", f"{copy}/")
    return listed.decode().split()


def archived_by_python(files, archive):
    with tarfile.open(archive, "w") as writer:
        for file in files:
            writer.add(file, file.name)
    with tarfile.open(archive) as reader:
        return [reader.extractfile(file.name).read() for file in files]


@pytest.mark.mounted(readahead=0)  # which would make some of the sizes exact
def test_programs_that_ask_for_sizes_first_agree_after_prefetch(
    mounted, service, tmp_path
):
    """In the same mount, although the kernel was told the upper bounds before."""
    compared, archived = mounted / DATA_SET / "ds7", mounted / DATA_SET / "ds8"
    copy = tmp_path / "copy"
    copy.mkdir()
    images = {tier: [] for tier in ("ds7", "ds8")}
    names = sorted(file.name for file in compared.iterdir())
    for name in names:
        image_id = name.partition("_")[2].removesuffix(".jpg")
        for tier, found in images.items():
            path = f"section/{image_id}/{tier}/image.jpg"
            found.append(image_bytes(service.url, path))
        (copy / name).write_bytes(images["ds7"][-1])
    files = [archived / name for name in names]

    assert listed_by_rsync(compared, copy) == names
    with pytest.raises(OSError, match="unexpected end of data"):
        archived_by_python(files, tmp_path / "cold.tar")

    assert allenfs("prefetch", compared, archived).returncode == 0
    assert listed_by_rsync(compared, copy) == []
    assert archived_by_python(files, tmp_path / "whole.tar") == images["ds8"]


def test_files_with_known_sizes_need_no_prefetch(mounted, tmp_path):
    """Documents, and the chunks of a pyramid."""
    level = mounted / "section/69750516/image.zarr/6"
    chunks = [file for file in level.rglob("*") if file.is_file()]
    assert chunks
    files = [mounted / DATA_SET / "info.json", mounted / DATA_SET / "sections.csv"]
    archived = archived_by_python([*files, *chunks], tmp_path / "a.tar")
    assert archived == [file.read_bytes() for file in (*files, *chunks)]
