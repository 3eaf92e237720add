"""Other users of the machine: they see nothing, and have no hand in the store."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from command import allenfs, fails, run, serving_pid, until_gone
from mounted import image_bytes

from allenfs.mount.mount_table import is_mounted
from allenfs.sample.server import SampleService

PATH = "section/69750516/ds6/image.jpg"
OTHER = "section/69750516/ds7/image.jpg"
STRANGER = 65534


@pytest.fixture
def place(place):
    """Like an open home directory, with a mountpoint."""
    (place / "mnt").mkdir()
    yield place
    if is_mounted(place / "mnt"):
        run("umount", "-l", place / "mnt")


def as_stranger(*command: str | Path) -> subprocess.CompletedProcess[bytes]:
    drop = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
    return subprocess.run([*drop, *command], capture_output=True, check=False)


def give_away(path: Path) -> None:
    os.chown(path, STRANGER, STRANGER, follow_symlinks=False)


@contextlib.contextmanager
def mounted(place: Path, service: SampleService, *flags: str) -> Iterator[Path]:
    """A mount on a store in this directory, with its log next to it."""
    own = ["--api-url", service.url, "--cache-dir", place / "store"]
    own += ["--log-file", place / "log"]
    done = allenfs("mount", *own, *flags, place / "mnt")
    assert done.returncode == 0, done.stderr
    pid = serving_pid(place / "mnt")
    yield place / "mnt"
    assert allenfs("umount", place / "mnt").returncode == 0
    until_gone(pid)  # its last line is in the log


def warnings(place: Path) -> int:
    return (place / "log").read_text().count("trouble with the store")


def everything(place: Path) -> dict[str, tuple[int, int, int, int]]:
    return {
        str(path): (found.st_mode, found.st_uid, found.st_mtime_ns, found.st_size)
        for path in sorted(place.rglob("*"))
        for found in [path.lstat()]
    }


def a_used_store(place: Path, service: SampleService) -> Path:
    with mounted(place, service) as root:
        assert (root / PATH).read_bytes()
    (place / "log").unlink()
    return place / "store"


def stored(store: Path) -> Path:
    (file,) = store.glob("images/*/*/*/*")
    return file


def test_other_users_see_neither_the_mount_nor_the_store(place, service):
    with contextlib.ExitStack() as stack:
        stack.callback(os.umask, os.umask(0))
        root = stack.enter_context(mounted(place, service))
        (root / PATH).read_bytes()
        (root / "section/69750516/info.json").read_bytes()
        store = place / "store"
        for command in (
            *(["ls", root], ["cat", root / PATH], ["getfattr", "-d", root]),
            *(["ls", store], ["cat", store / "journal"]),
            ["touch", store / "incoming/x"],
        ):
            done = as_stranger(*command)
            assert done.returncode != 0, command
            assert b"Permission denied" in done.stderr
            assert done.stdout == b""
        # and if the owner has made the store's directory writable for all
        store.chmod(0o755)
        for path in store.rglob("*"):
            if path.is_file() and path.name != "CACHEDIR.TAG":
                assert as_stranger("cat", path).returncode != 0, path


def test_allow_other_lets_them_read_and_nothing_else(place, service):
    with mounted(place, service, "--allow-other") as root:
        expected = image_bytes(service.url, PATH)
        assert as_stranger("cat", root / PATH).stdout == expected
        assert as_stranger("ls", root / "section").stdout == b"69750516\n"
        done = as_stranger("touch", root / "section/new")
        assert b"Read-only file system" in done.stderr
        assert as_stranger("ls", place / "store").returncode != 0


REFUSED: dict[str, Callable[[Path], None]] = {
    "belongs to nobody": give_away,
    "is writable by other users (drwxrwxrwx)": lambda store: store.chmod(0o777),
}


@pytest.mark.parametrize("is_empty", [False, True])
@pytest.mark.parametrize("why", REFUSED)
def test_a_store_of_others_is_refused_and_left_alone(place, service, why, is_empty):
    store = place / "store"
    if is_empty:
        store.mkdir()
    else:
        a_used_store(place, service)
    REFUSED[why](store)
    before = everything(place)
    flags = ["--api-url", service.url, "--cache-dir", store]
    line = fails(3, "mount", *flags, place / "mnt")
    for action in ("info", "verify", "clear"):
        assert fails(1, "cache", action, "--cache-dir", store) == line
    assert line.startswith(f"allenfs: the store is not safe: {store} {why}")
    assert line.endswith(", or use another with --cache-dir")
    assert everything(place) == before


def moved(path: Path, place: Path) -> None:
    """Replace it by a link to another user's files in `place`."""
    elsewhere = place / "elsewhere"
    path.rename(elsewhere)
    for file in (elsewhere, *elsewhere.rglob("*")):
        if file.is_file():
            file.write_text("somebody's")
    path.symlink_to(elsewhere)


TRICKS: dict[str, Callable[[Path], object]] = {
    "images of somebody else": lambda store: give_away(store / "images"),
    "images elsewhere": lambda store: moved(stored(store).parent, store.parent),
    "downloads elsewhere": lambda store: moved(store / "incoming", store.parent),
    "tag elsewhere": lambda store: moved(store / "CACHEDIR.TAG", store.parent),
}


@pytest.mark.parametrize("trick", TRICKS)
def test_what_others_left_in_a_store_leads_to_nothing_outside_it(place, service, trick):
    store = a_used_store(place, service)
    TRICKS[trick](store)

    def outside() -> list[tuple[Path, bytes]]:
        files = [place / "elsewhere", *place.glob("elsewhere/**/*")]
        return [(path, path.read_bytes()) for path in files if path.is_file()]

    before = outside()
    with mounted(place, service) as root:
        for path in (PATH, OTHER, PATH):
            assert (root / path).read_bytes() == image_bytes(service.url, path)
        for action in ("verify", "clear"):
            allenfs("cache", action, "--cache-dir", store)
        assert outside() == before
    assert warnings(place) == (trick != "tag elsewhere")


@pytest.mark.parametrize(
    ("mode", "name"), [(0o755, ""), (0o775, ""), (0o1777, "allenfs-store")]
)
def test_an_empty_directory_or_a_link_to_it_becomes_a_private_store(
    place, service, mode, name
):
    """0775: of a user's own group. 1777: for all, as a fresh tmpfs; the store below."""
    (place / "large disk").mkdir()
    (place / "large disk").chmod(mode)
    (place / "store").symlink_to(place / "large disk")
    a_used_store(place, service)
    assert (place / "large disk" / name).stat().st_mode & 0o777 == 0o700
    assert stored(place / "large disk" / name)


def test_a_store_replaced_by_another_user_is_not_used(place, service):
    """As in /tmp, when its cleaner has removed the store under a mount."""

    def sizes() -> dict[str, int]:
        return {path: found[3] for path, found in everything(store).items()}

    store, tag = place / "store", place / "store" / "CACHEDIR.TAG"
    expected = {path: image_bytes(service.url, path) for path in (PATH, OTHER)}
    with mounted(place, service) as root:
        (root / PATH).read_bytes()
        store.rename(place / "aside")
        shutil.copytree(place / "aside", store)
        tag.unlink()
        tag.symlink_to(place / "made by following it")
        for path in (store, *store.rglob("*")):
            give_away(path)
        before = sizes()
        service.reset_counters()
        for path in (PATH, PATH, OTHER):
            assert (root / path).read_bytes() == expected[path]
        assert len(set(service.requested)) == 2  # nothing came from that store
        assert sizes() == before
        assert not (place / "made by following it").exists()
        assert warnings(place) == 1
        shutil.rmtree(store)
        (place / "aside").rename(store)
        (root / OTHER).read_bytes()
        assert len(list(store.glob("images/*/*/*/*"))) == 2


def test_another_users_file_in_the_store_is_not_served(place, service):
    file = stored(a_used_store(place, service))
    give_away(file)
    with mounted(place, service) as root:
        assert (root / PATH).read_bytes() == image_bytes(service.url, PATH)
    assert f"stored file of user {STRANGER}: " in (place / "log").read_text()
    assert file.stat().st_uid == os.geteuid()
