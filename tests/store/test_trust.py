"""Which directories are accepted as a private store, and why others are rejected."""

from __future__ import annotations

import os
import pwd
import stat
import subprocess

import pytest
from mounted import STRICT_PYTHON
from store_helpers import found, put, store_at, stored_files, warnings_in

from allenfs.config import StoreSettings
from allenfs.errors import UnsafeStoreError
from allenfs.store.directory import require_own
from allenfs.store.record_files import RecordFiles, StoredRecord

FIND = """
import sys
from pathlib import Path
from allenfs.config import StoreSettings
from allenfs.model.tree import parse, request_of
from allenfs.store.image_files import ImageFiles
images = ImageFiles(StoreSettings(Path(sys.argv[1]), 2**20, "test"))
print(images.find(request_of(parse("section/1/image.jpg"))))
"""


def keep(directory):
    """Let a store keep an image."""
    put(store_at(directory), 1, b"bytes")


@pytest.fixture
def store(tmp_path):
    """A used one, in a directory that only its owner can write to."""
    keep(tmp_path / "store")
    return tmp_path / "store"


def refused(directory):
    with pytest.raises(UnsafeStoreError) as raised:
        require_own(directory)
    return str(raised.value)


def test_a_used_store_and_what_is_not_there_are_safe(store):
    require_own(store)
    require_own(store / "missing")
    (store / "lock").chmod(0o666)
    require_own(store / "lock")  # not a directory: fails when it is used


@pytest.mark.parametrize("parent_mode", [0o777, 0o1777])
def test_others_may_look_at_a_store_and_write_beside_it(store, parent_mode):
    """A replacement by another user is detected at each use."""
    store.chmod(0o755)
    store.parent.chmod(parent_mode)
    require_own(store)


def test_a_store_of_any_other_user_is_refused_and_the_user_is_named(store, monkeypatch):
    """Including root: only root can have created it, but others can use it."""
    mine = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: mine + 1)
    assert f"store belongs to {pwd.getpwuid(mine).pw_name}: chown it" in refused(store)

    def nobody(user_id):
        raise KeyError(user_id)

    monkeypatch.setattr(pwd, "getpwuid", nobody)
    assert f"store belongs to user {mine}: chown it" in refused(store)


def journal_is_a_hard_link(store, target):
    target.write_text("a text of the user's own")
    (store / "journal").unlink()
    os.link(target, store / "journal")


def journal_is_a_pipe(store, _):
    (store / "journal").unlink()
    os.mkfifo(store / "journal")


def writable_by_all(store, _):
    (store / "images/test").chmod(0o777)


@pytest.mark.parametrize(
    "trick", [journal_is_a_hard_link, journal_is_a_pipe, writable_by_all]
)
def test_files_of_others_in_a_store_are_not_used_with_one_warning(store, trick, caplog):
    """Links are in `test_nothing_is_written_through_a_link`."""
    target = store.parent / "target"
    trick(store, target)
    require_own(store)
    again = store_at(store)
    again.load()
    for number in (2, 3):
        put(again, number, b"bytes")
        assert found(again, number) is None
    assert found(again, 1) == b"bytes"
    assert not target.exists() or target.read_text() == "a text of the user's own"
    assert len(warnings_in(caplog)) == 1


@pytest.mark.parametrize("name", ["", "incoming", "images"])
def test_nothing_is_stored_where_others_can_write_since_the_last_time(
    tmp_path, name, caplog
):
    in_use = store_at(tmp_path / "store")
    put(in_use, 1, b"bytes")
    (tmp_path / "store" / name).chmod(0o777)
    put(in_use, 2, b"bytes")
    assert found(in_use, 2) is None
    assert len(warnings_in(caplog)) == 1


def test_backups_skip_a_store_whose_tag_was_removed(store):
    tag = store / "CACHEDIR.TAG"
    text = tag.read_text()
    tag.unlink()
    keep(store)
    assert tag.read_text() == text


def test_a_message_about_a_store_with_an_odd_name_is_one_line(tmp_path):
    directory = tmp_path / "a\nallenfs: all is well\x1b[2J"
    keep(directory)
    directory.chmod(0o777)
    assert refused(directory).isprintable()


def test_a_group_may_write_to_a_store_only_before_it_is_one(tmp_path):
    directory = tmp_path / "new"
    directory.mkdir()
    directory.chmod(0o775)
    require_own(directory)
    store_at(directory).temp_file().discard()
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    directory.chmod(0o775)
    assert "is writable by other users (drwxrwxr-x)" in refused(directory)


def test_all_of_a_store_is_its_owners_alone_whatever_the_umask(tmp_path):
    old_umask = os.umask(0)
    try:
        keep(tmp_path / "new")
        settings = StoreSettings(tmp_path / "new", 2**20, "test")
        RecordFiles(settings).put(("section", "1"), StoredRecord([1], 1))
    finally:
        os.umask(old_umask)
    below = list((tmp_path / "new").rglob("*"))
    assert sum(path.is_dir() for path in below) == 8
    below.remove(tmp_path / "new/CACHEDIR.TAG")
    for path in (tmp_path / "new", *below):
        mode = 0o700 if path.is_dir() else 0o600
        assert stat.S_IMODE(path.stat().st_mode) == mode, path


def test_a_stored_file_of_another_user_is_removed_without_root_s_rights_to_it(store):
    """Linux refuses to open it without setting its access time."""
    (file,) = stored_files(store)
    os.chown(file, 65534, 65534)
    unprivileged = ["setpriv", "--bounding-set=-fowner", *STRICT_PYTHON]
    done = subprocess.run(
        [*unprivileged, "-c", FIND, store], capture_output=True, text=True, check=True
    )
    assert done.stdout == "None\n"
    assert done.stderr == (
        "stored file of another user: test/section/1/image.jpg: downloading it again\n"
    )
    assert not file.exists()
