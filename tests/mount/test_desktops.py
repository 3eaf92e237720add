"""Names that desktops look for, and what `df` and `updatedb` make of a mount."""

from __future__ import annotations

import errno
import os
import subprocess
from pathlib import Path

import pytest
from command import run
from mounted import Mounted, errno_of

from allenfs.sample.server import SampleService
from allenfs.text import path_name, text_of

PROBED = (
    *(".Trash", ".Trash-1000", ".hidden", ".DS_Store", "._x", "._.DS_Store", ".git"),
    *(".directory", ".localized", ".fseventsd", ".xdg-volume-info", ".dmrc", ".hg"),
    *(".nomedia", ".svn", ".metadata_never_index", ".Spotlight-V100", ".trackerignore"),
    *(".autorun", ".ignore", ".gitignore", ".editorconfig", ".thumbnails", ".sh_thumb"),
    *("autorun.inf", "autorun.sh", "desktop.ini", "Desktop.ini", "Thumbs.db"),
    *("ehthumbs.db", "lost+found", "Folder.jpg", "folder.jpg", "cover.jpg"),
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


def test_names_that_desktops_look_for_are_not_there_and_nobody_is_asked(
    mounted: Mounted, service: SampleService
) -> None:
    for directory in DIRECTORIES:
        (mounted / directory).stat()  # may ask what it is
    before = service.query_requests
    for directory in DIRECTORIES:
        for name in (*PROBED, *(() if directory else PROBED_IN_ROOT)):
            assert errno_of(os.lstat, mounted / directory / name) == errno.ENOENT
    assert (service.image_requests, service.query_requests) == (0, before)


def test_what_the_service_calls_so_has_another_name_in_a_path() -> None:
    for name in PROBED:
        spelled = path_name(name)
        assert spelled not in (None, name)
        assert text_of(spelled) == name


def test_df_of_local_file_systems_leaves_it_out(mounted: Mounted) -> None:
    for flags, is_shown in (([], True), (["-l"], False)):
        done = subprocess.run(["df", *flags], capture_output=True, check=False)
        assert (str(mounted.root).encode() in done.stdout) is is_shown


@pytest.mark.parametrize("prunes", [True, False])
def test_updatedb_downloads_no_image(
    mounted: Mounted, tmp_path: Path, service: SampleService, *, prunes: bool
) -> None:
    assert os.listdir(mounted / "dataset" / "70813257")
    database = tmp_path / "names.db"
    before = service.query_requests
    kinds = ["--prunefs", "fuse.allenfs" if prunes else "", "--prunepaths", ""]
    run("updatedb", *kinds, "-l", "no", "-U", tmp_path, "-o", database)
    found = subprocess.run(
        ["plocate", "-d", database, "info.json"], stdout=subprocess.PIPE, check=False
    )
    assert service.image_requests == 0
    assert bool(found.stdout) is not prunes
    assert not prunes or service.query_requests == before
