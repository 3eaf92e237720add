"""Names that desktops look for, and what `df` and `updatedb` make of a mount."""

from __future__ import annotations

import errno
import os
import subprocess
from pathlib import Path

import pytest
from mounted import Mounted

from allenfs.sample.server import SampleService
from allenfs.text import path_name, text_of

PROBED = (
    *(".Trash", ".Trash-1000", ".hidden", ".DS_Store", "._x", "._.DS_Store", ".git"),
    *(".directory", ".localized", ".fseventsd", ".xdg-volume-info", ".dmrc", ".hg"),
    *(".nomedia", ".svn", ".metadata_never_index", ".Spotlight-V100", ".trackerignore"),
    *(".autorun", ".ignore", ".gitignore", ".editorconfig", ".thumbnails", ".sh_thumb"),
    *("autorun.inf", "autorun.sh", "desktop.ini", "Desktop.ini", "Thumbs.db"),
    *(
        "ehthumbs.db",
        "lost+found",
        "Folder.jpg",
        "folder.jpg",
        "cover.jpg",
        "Cover.png",
    ),
    *("AlbumArtSmall.jpg", "front.jpg", "System Volume Information", "$RECYCLE.BIN"),
    *("Cover.png", "Icon\r"),
)
# in the root of a volume, of what kind it is
PROBED_IN_ROOT = ("BDMV", "VIDEO_TS", "AUDIO_TS", "DCIM", "PICTURES", "autorun")
DIRECTORIES = (
    *("", "section", "projection", "atlas", "dataset", "browse"),
    *("section/70679088", "section/70679088/ds4", "section/102146167/equalized"),
    *("projection/126862583", "atlas/100883869", "atlas/100883869/annotated"),
    *("dataset/70813257", "dataset/70813257/ds4", "dataset/70813257/expression"),
    *("dataset/100141599/equalized", "browse/product", "browse/product/Mouse"),
    *("browse/product/Mouse/dataset", "browse/product/Mouse/gene"),
    *("browse/product/Mouse/gene/Adora2a", "browse/atlas", "browse/atlas/1"),
    *("browse/product/Mouse/gene/Adora2a/sagittal", "browse/atlas/1/ds4"),
    *("browse/atlas/1/annotated", "browse/atlas/1/NISSL"),
)


def errno_of_look(path: Path) -> int | None:
    try:
        path.lstat()
    except OSError as error:
        return error.errno
    raise AssertionError(path)


def test_names_that_desktops_look_for_are_not_there_and_nobody_is_asked(
    mounted: Mounted, service: SampleService
) -> None:
    for directory in DIRECTORIES:
        (mounted / directory).stat()  # may ask what it is
    before = len(service.requested) + service.query_requests
    for directory in DIRECTORIES:
        for name in (*PROBED, *(() if directory else PROBED_IN_ROOT)):
            assert errno_of_look(mounted / directory / name) == errno.ENOENT
    assert len(service.requested) + service.query_requests == before
    assert service.image_requests == 0


@pytest.mark.parametrize("name", PROBED)
def test_what_the_service_calls_so_has_another_name_in_a_path(name: str) -> None:
    spelt = path_name(name)
    assert spelt is not None
    assert spelt != name
    assert text_of(spelt) == name


def test_df_of_local_file_systems_leaves_it_out(mounted: Mounted) -> None:
    everything = subprocess.run(["df"], capture_output=True, text=True, check=False)
    local = subprocess.run(["df", "-l"], capture_output=True, text=True, check=False)
    assert str(mounted.root) in everything.stdout
    assert str(mounted.root) not in local.stdout


@pytest.mark.parametrize("prunes", [True, False])
def test_updatedb_downloads_no_image(
    mounted: Mounted, tmp_path: Path, service: SampleService, *, prunes: bool
) -> None:
    sections = mounted / "dataset" / "70813257"
    assert os.listdir(sections)
    database = tmp_path / "names.db"
    kinds = "fuse.allenfs" if prunes else ""
    before = service.query_requests
    updatedb = ["updatedb", "--prunefs", kinds, "--prunepaths", ""]
    subprocess.run(
        [*updatedb, "-l", "no", "-U", str(tmp_path), "-o", str(database)], check=True
    )
    found = subprocess.run(
        ["plocate", "-d", str(database), "info.json"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert service.image_requests == 0
    print(f"{service.query_requests - before} queries")
    assert bool(found.stdout) is not prunes
    if prunes:
        assert service.query_requests == before
