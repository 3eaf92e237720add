"""Inode numbers: of the path alone, so that backups know what they have already."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from command import run
from mounted import Mounted

DATA_SET = "dataset/71670687/ds6"
DIRECTORIES = ["", "section/71592261", "section/71592261/ds4", DATA_SET, "browse"]


def inodes(mounted: Mounted) -> dict[str, int]:
    """Return the numbers that a listing and `stat` give, which must be the same."""
    found = {}
    for directory in DIRECTORIES:
        found[directory] = os.stat(mounted / directory).st_ino
        with os.scandir(mounted / directory) as entries:
            for entry in entries:
                found[entry.path] = entry.inode()
                assert os.lstat(entry.path).st_ino == entry.inode()
    return found


@pytest.mark.both_libfuses
def test_inode_numbers_survive_dropped_caches_and_a_remount(mounted):
    before = inodes(mounted)
    assert before[""] == 1
    assert before[f"{mounted.root}/section/71592261/nissl"] > 1
    assert len(set(before.values())) == len({mounted / path for path in before})
    assert max(before.values()) < 2**63
    Path("/proc/sys/vm/drop_caches").write_text("2")
    assert inodes(mounted) == before
    mounted.stop()
    mounted.start()
    assert inodes(mounted) == before


def archived(mounted: Mounted, archive: Path, record: Path) -> list[str]:
    """Back up a data set incrementally; return the files that were read for it."""
    flags = ["--no-check-device", "-g", record, "-cf", archive]
    run("tar", *flags, DATA_SET, cwd=mounted.root)
    names = run("tar", "-tf", archive).decode().splitlines()
    return [name for name in names if not name.endswith("/")]


def test_an_incremental_backup_reads_no_unchanged_file_again(mounted, tmp_path):
    archive, record = tmp_path / "backup.tar", tmp_path / "record"
    assert len(archived(mounted, archive, record)) == 12
    mounted.stop()
    mounted.start()
    assert archived(mounted, archive, record) == []


def test_cp_copies_a_listing_in_its_order_and_so_reads_ahead(mounted, tmp_path):
    with os.scandir(mounted / DATA_SET) as entries:
        in_listing_order = [entry for entry in entries if "_" in entry.name]
    in_inode_order = sorted(in_listing_order, key=os.DirEntry.inode)
    assert in_inode_order == in_listing_order
    run("cp", "-r", mounted / DATA_SET, tmp_path / "out")
    assert mounted.status["readahead"]["used"] > 0
