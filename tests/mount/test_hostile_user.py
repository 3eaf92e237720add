"""Other users of the machine: they see nothing, and have no hand in the store."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from command import allenfs, fails
from mounted import image_bytes, until

from allenfs.config import StoreSettings, service_name
from allenfs.model.images import request_of_url
from allenfs.mount.mount_table import is_mounted
from allenfs.sample.server import SampleService
from allenfs.store.image_files import ImageFiles
from allenfs.store.stored_file import Facts, footer

PATH = "section/69750516/ds6/image.jpg"
OTHER = "section/69750516/ds7/image.jpg"
STRANGER = 65534
AS_STRANGER = ["setpriv", f"--reuid={STRANGER}", f"--regid={STRANGER}"]
AS_STRANGER += ["--clear-groups"]


@pytest.fixture
def place() -> Iterator[Path]:
    """A folder that everybody can enter, as /home/somebody often is."""
    place = Path(tempfile.mkdtemp(prefix="allenfs-place-"))
    place.chmod(0o755)
    (place / "mnt").mkdir()
    yield place
    if is_mounted(place / "mnt"):
        subprocess.run(["umount", "-l", place / "mnt"], check=True)
    shutil.rmtree(place)


def stranger(*command: str | Path) -> subprocess.CompletedProcess[bytes]:
    """Run a command as another user."""
    return subprocess.run([*AS_STRANGER, *command], capture_output=True, check=False)


def mount(
    place: Path, service: SampleService, *flags: str
) -> subprocess.CompletedProcess[str]:
    return allenfs(
        *("mount", "--api-url", service.url, "--cache-dir", place / "store"),
        *(*flags, place / "mnt"),
    )


def refused(place: Path, service: SampleService) -> str:
    """Nothing touches a store that is not safe; return the line that says so."""
    store, root = place / "store", place / "mnt"
    before = everything(place)
    said = fails(3, "mount", "--api-url", service.url, "--cache-dir", store, root)
    for action in ("info", "verify", "clear"):
        assert fails(1, "cache", action, "--cache-dir", store) == said
    assert not is_mounted(root)
    assert everything(place) == before
    assert said.startswith("allenfs: the store is not safe: ")
    assert said.endswith(", or use another with --cache-dir")
    return said


def everything(place: Path) -> dict[str, tuple[int, int, int, int]]:
    return {
        str(path): (found.st_mode, found.st_uid, found.st_mtime_ns, found.st_size)
        for path in sorted(place.rglob("*"))
        for found in [path.lstat()]
    }


def a_used_store(place: Path, service: SampleService) -> Path:
    assert mount(place, service).returncode == 0
    assert (place / "mnt" / PATH).read_bytes()
    assert allenfs("umount", place / "mnt").returncode == 0
    return place / "store"


def test_other_users_see_neither_the_mount_nor_the_store(
    place: Path, service: SampleService
) -> None:
    old_umask = os.umask(0)
    try:
        assert mount(place, service).returncode == 0
    finally:
        os.umask(old_umask)
    (place / "mnt" / PATH).read_bytes()
    (place / "mnt/section/69750516/info.json").read_bytes()
    for command in (
        *(["ls", place / "mnt"], ["cat", place / "mnt" / PATH]),
        *(["stat", place / "mnt" / "section"], ["ls", place / "store"]),
        *(["cat", place / "store/journal"], ["touch", place / "store/incoming/x"]),
        ["getfattr", "-d", place / "mnt"],
    ):
        done = stranger(*command)
        assert done.returncode != 0, command
        assert b"Permission denied" in done.stderr
        assert done.stdout == b""
    # and where somebody has opened the store's own directory to all
    (place / "store").chmod(0o755)
    for path in (place / "store").rglob("*"):
        if path.is_file() and path.name != "CACHEDIR.TAG":
            assert stranger("cat", path).returncode != 0, path
    assert allenfs("umount", place / "mnt").returncode == 0


def test_allow_other_lets_them_read_and_nothing_else(
    place: Path, service: SampleService
) -> None:
    expected = image_bytes(service.url, PATH)
    assert mount(place, service, "--allow-other").returncode == 0
    assert stranger("cat", place / "mnt" / PATH).stdout == expected
    assert stranger("ls", place / "mnt/section").stdout == b"69750516\n"
    done = stranger("touch", place / "mnt/section/new")
    assert b"Read-only file system" in done.stderr
    assert stranger("ls", place / "store").returncode != 0
    assert allenfs("umount", place / "mnt").returncode == 0


def _of_somebody_else(store: Path) -> None:
    os.chown(store, STRANGER, STRANGER)


def _writable_by_all(store: Path) -> None:
    store.chmod(0o777)


def _writable_by_its_group(store: Path) -> None:
    store.chmod(0o770)


def _images_of_somebody_else(store: Path) -> None:
    os.chown(store / "images", STRANGER, STRANGER)


def _images_elsewhere(store: Path) -> None:
    (store / "images").rename(store.parent / "elsewhere")
    (store / "images").symlink_to(store.parent / "elsewhere")


def _downloads_elsewhere(store: Path) -> None:
    (store / "incoming").rmdir()
    (store / "incoming").symlink_to(store.parent / "elsewhere")
    (store.parent / "elsewhere").mkdir()


def _journal_elsewhere(store: Path) -> None:
    victim = store.parent / "victim"
    victim.write_text("somebody's")
    (store / "journal").unlink()
    (store / "journal").symlink_to(victim)


def _tag_elsewhere(store: Path) -> None:
    (store / "CACHEDIR.TAG").unlink()
    (store / "CACHEDIR.TAG").symlink_to(store.parent / "made by following it")


def _journal_has_two_names(store: Path) -> None:
    victim = store.parent / "victim"
    victim.write_text("somebody's")
    (store / "journal").unlink()
    os.link(victim, store / "journal")


REFUSED: list[tuple[Callable[[Path], None], str]] = [
    (_of_somebody_else, "store belongs to nobody"),
    (_writable_by_all, "store can be written by others (drwxrwxrwx)"),
    (_writable_by_its_group, "store can be written by others (drwxrwx---)"),
]


@pytest.mark.parametrize(("trick", "said"), REFUSED)
def test_a_store_of_others_is_refused_and_left_alone(
    place: Path, service: SampleService, trick: Callable[[Path], None], said: str
) -> None:
    trick(a_used_store(place, service))
    assert said in refused(place, service)


@pytest.mark.parametrize(
    "trick",
    [
        *(_images_of_somebody_else, _images_elsewhere, _downloads_elsewhere),
        *(_journal_elsewhere, _tag_elsewhere, _journal_has_two_names),
    ],
)
def test_what_others_left_in_a_store_leads_to_nothing_outside_it(
    place: Path, service: SampleService, trick: Callable[[Path], None]
) -> None:
    trick(a_used_store(place, service))
    before = outside(place)
    log = place / "log"
    assert mount(place, service, "--log-file", str(log)).returncode == 0
    for path in (PATH, OTHER):
        assert (place / "mnt" / path).read_bytes() == image_bytes(service.url, path)
    for action in ("verify", "clear"):
        allenfs("cache", action, "--cache-dir", place / "store")
    assert allenfs("umount", place / "mnt").returncode == 0
    assert outside(place) == before
    assert log.read_text().count("trouble with the store") == (
        trick is not _tag_elsewhere
    )


def outside(place: Path) -> dict[str, bytes]:
    """The files next to the store."""
    return {
        str(path): path.read_bytes()
        for name in ("elsewhere", "victim", "made by following it")
        for path in (place / name, *(place / name).rglob("*"))
        if path.is_file()
    }


@pytest.mark.parametrize("trick", [_of_somebody_else, _writable_by_all])
def test_an_empty_directory_of_others_is_refused_too(
    place: Path, service: SampleService, trick: Callable[[Path], None]
) -> None:
    (place / "store").mkdir()
    trick(place / "store")
    refused(place, service)
    assert os.listdir(place / "store") == []


def test_a_link_to_a_directory_of_ones_own_is_a_store(
    place: Path, service: SampleService
) -> None:
    (place / "large disk").mkdir()
    (place / "store").symlink_to(place / "large disk")
    a_used_store(place, service)
    assert os.listdir(place / "large disk" / "images")


def test_a_directory_of_a_users_own_group_becomes_a_store_of_his_own(
    place: Path, service: SampleService
) -> None:
    (place / "store").mkdir()
    (place / "store").chmod(0o775)
    a_used_store(place, service)
    assert (place / "store").stat().st_mode & 0o777 == 0o700


def test_a_link_below_the_images_has_nothing_read_written_or_removed_behind_it(
    place: Path, service: SampleService
) -> None:
    expected = image_bytes(service.url, PATH)
    (stored,) = a_used_store(place, service).glob("images/*/*/*/*")
    photos = place / "photos"
    photos.mkdir()
    (photos / stored.name).write_text("a photo of the user's own")
    stored.unlink()
    stored.parent.rmdir()
    stored.parent.symlink_to(photos)
    before = everything(photos)
    log = place / "log"
    assert mount(place, service, "--log-file", str(log)).returncode == 0
    assert (place / "mnt" / PATH).read_bytes() == expected
    assert (place / "mnt" / PATH).read_bytes() == expected
    assert allenfs("cache", "verify", "--cache-dir", place / "store").returncode == 0
    assert allenfs("cache", "clear", "--cache-dir", place / "store").returncode == 0
    assert everything(photos) == before
    assert allenfs("umount", place / "mnt").returncode == 0
    assert log.read_text().count("trouble with the store") == 1


def forged(store: Path, path: str, service: SampleService) -> None:
    """Make a store in which a valid file of a stranger has an image's name."""
    images = ImageFiles(StoreSettings(store, 2**30, service_name(service.url)))
    request = request_of_url(f"{service.url}/api/v2/image_download/69750516?{path}")
    data = b"forged"
    digest = hashlib.sha256(data)
    facts = Facts(len(data), digest.hexdigest(), 1, 1)
    file = Path(images.path(request))
    file.parent.mkdir(parents=True)
    file.write_bytes(data + footer(images.name(request), facts, digest))
    (store / "CACHEDIR.TAG").symlink_to(store.parent / "made by following it")
    (store / "incoming").mkdir()
    for one in (store, *store.rglob("*")):
        os.chown(one, STRANGER, STRANGER, follow_symlinks=False)


def test_a_store_that_somebody_puts_in_its_place_gives_and_takes_nothing(
    place: Path, service: SampleService
) -> None:
    """As in /tmp, when its cleaner has removed the store under a mount."""
    store, log = place / "store", place / "log"
    expected = image_bytes(service.url, PATH)
    assert mount(place, service, "--log-file", str(log)).returncode == 0
    until((store / "journal").exists)  # a thread opens the store
    store.rename(place / "aside")
    forged(store, "downsample=6", service)
    before = everything(store)
    for _ in range(2):
        assert (place / "mnt" / PATH).read_bytes() == expected
    assert (place / "mnt" / OTHER).read_bytes() == image_bytes(service.url, OTHER)
    assert {path: found[3] for path, found in everything(store).items()} == {
        path: found[3] for path, found in before.items()
    }
    assert not (place / "made by following it").exists()
    assert log.read_text().count("trouble with the store") == 1
    shutil.rmtree(store)
    (place / "aside").rename(store)
    (place / "mnt" / PATH).read_bytes()
    assert len(list(store.glob("images/*/*/*/*"))) == 1
    assert allenfs("umount", place / "mnt").returncode == 0


def test_a_strangers_file_among_the_stored_ones_is_not_given(
    place: Path, service: SampleService
) -> None:
    expected = image_bytes(service.url, PATH)
    (stored,) = a_used_store(place, service).glob("images/*/*/*/*")
    os.chown(stored, STRANGER, STRANGER)
    log = place / "log"
    assert mount(place, service, "--log-file", str(log)).returncode == 0
    assert (place / "mnt" / PATH).read_bytes() == expected
    assert f"stored file of user {STRANGER}: " in log.read_text()
    assert allenfs("umount", place / "mnt").returncode == 0
    assert stored.stat().st_uid == os.geteuid()


def test_in_a_place_of_all_the_store_is_a_directory_of_its_own(
    place: Path, service: SampleService
) -> None:
    (place / "store").mkdir()
    (place / "store").chmod(0o1777)  # a fresh tmpfs
    a_used_store(place, service)
    own = place / "store" / "allenfs-store"
    assert own.stat().st_mode & 0o777 == 0o700
    assert (own / "images").is_dir()
