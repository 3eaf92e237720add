"""Other users of the machine: they see nothing, and have no hand in the store."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from command import allenfs, fails, run
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
AS_STRANGER = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]


@pytest.fixture
def place(place: Path) -> Iterator[Path]:
    """Like an open home directory, with a mountpoint."""
    (place / "mnt").mkdir()
    yield place
    if is_mounted(place / "mnt"):
        run("umount", "-l", place / "mnt")


def stranger(*command: str | Path) -> subprocess.CompletedProcess[bytes]:
    """Run a command as another user."""
    return subprocess.run([*AS_STRANGER, *command], capture_output=True, check=False)


@contextlib.contextmanager
def mounted(place: Path, service: SampleService, *flags: str) -> Iterator[Path]:
    """A mount on a store in this place, with a log beside it."""
    own = ["--api-url", service.url, "--cache-dir", place / "store"]
    own += ["--log-file", place / "log"]
    done = allenfs("mount", *own, *flags, place / "mnt")
    assert done.returncode == 0, done.stderr
    yield place / "mnt"
    assert allenfs("umount", place / "mnt").returncode == 0


def troubles(place: Path) -> int:
    return (place / "log").read_text().count("trouble with the store")


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
    with mounted(place, service) as root:
        assert (root / PATH).read_bytes()
    (place / "log").unlink()
    return place / "store"


def test_other_users_see_neither_the_mount_nor_the_store(
    place: Path, service: SampleService
) -> None:
    with contextlib.ExitStack() as stack:
        stack.callback(os.umask, os.umask(0))
        root = stack.enter_context(mounted(place, service))
        (root / PATH).read_bytes()
        (root / "section/69750516/info.json").read_bytes()
        store = place / "store"
        for command in (
            *(["ls", root], ["cat", root / PATH], ["stat", root / "section"]),
            *(["getfattr", "-d", root], ["ls", store], ["cat", store / "journal"]),
            ["touch", store / "incoming/x"],
        ):
            done = stranger(*command)
            assert done.returncode != 0, command
            assert b"Permission denied" in done.stderr
            assert done.stdout == b""
        # and where somebody has opened the store's own directory to all
        store.chmod(0o755)
        for path in store.rglob("*"):
            if path.is_file() and path.name != "CACHEDIR.TAG":
                assert stranger("cat", path).returncode != 0, path


def test_allow_other_lets_them_read_and_nothing_else(
    place: Path, service: SampleService
) -> None:
    with mounted(place, service, "--allow-other") as root:
        expected = image_bytes(service.url, PATH)
        assert stranger("cat", root / PATH).stdout == expected
        assert stranger("ls", root / "section").stdout == b"69750516\n"
        done = stranger("touch", root / "section/new")
        assert b"Read-only file system" in done.stderr
        assert stranger("ls", place / "store").returncode != 0


def given_away(path: Path) -> None:
    os.chown(path, STRANGER, STRANGER)


def moved(path: Path, put_back: Callable[[Path, Path], None] = os.symlink) -> Path:
    """Replace it by a link to a file of somebody else; return that file."""
    target = path.parent.with_name("elsewhere")
    path.rename(target)
    if target.is_file():
        target.write_text("somebody's")
    put_back(target, path)
    return target


REFUSED: dict[str, Callable[[Path], None]] = {
    "belongs to nobody": given_away,
    "can be written by others (drwxrwxrwx)": lambda store: store.chmod(0o777),
    "can be written by others (drwxrwx---)": lambda store: store.chmod(0o770),
}
TRICKS: dict[str, Callable[[Path], object]] = {
    "images of somebody else": lambda store: given_away(store / "images"),
    "images elsewhere": lambda store: moved(store / "images"),
    "downloads elsewhere": lambda store: moved(store / "incoming"),
    "journal elsewhere": lambda store: moved(store / "journal"),
    "journal has two names": lambda store: moved(store / "journal", os.link),
    "tag elsewhere": lambda store: moved(store / "CACHEDIR.TAG").unlink(),
}


@pytest.mark.parametrize("said", REFUSED)
def test_a_store_of_others_is_refused_and_left_alone(
    place: Path, service: SampleService, said: str
) -> None:
    REFUSED[said](a_used_store(place, service))
    assert f"store {said}" in refused(place, service)


@pytest.mark.parametrize("trick", TRICKS)
def test_what_others_left_in_a_store_leads_to_nothing_outside_it(
    place: Path, service: SampleService, trick: str
) -> None:
    def outside() -> dict[Path, bytes]:
        paths = place.glob("elsewhere/**/*") if aside.is_dir() else [aside]
        return {path: path.read_bytes() for path in paths if path.is_file()}

    store, aside = a_used_store(place, service), place / "elsewhere"
    TRICKS[trick](store)
    before = outside()
    with mounted(place, service) as root:
        for path in (PATH, OTHER):
            assert (root / path).read_bytes() == image_bytes(service.url, path)
        for action in ("verify", "clear"):
            allenfs("cache", action, "--cache-dir", store)
    assert outside() == before
    assert troubles(place) == (trick != "tag elsewhere")


@pytest.mark.parametrize("said", [*REFUSED][:2])
def test_an_empty_directory_of_others_is_refused_too(
    place: Path, service: SampleService, said: str
) -> None:
    (place / "store").mkdir()
    REFUSED[said](place / "store")
    assert f"store {said}" in refused(place, service)
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
    store = a_used_store(place, service)
    (stored,) = store.glob("images/*/*/*/*")
    photos = place / "photos"
    photos.mkdir()
    (photos / stored.name).write_text("a photo of the user's own")
    stored.unlink()
    stored.parent.rmdir()
    stored.parent.symlink_to(photos)
    before = everything(photos)
    with mounted(place, service) as root:
        for _ in range(2):
            assert (root / PATH).read_bytes() == image_bytes(service.url, PATH)
        for action in ("verify", "clear"):
            assert allenfs("cache", action, "--cache-dir", store).returncode == 0
        assert everything(photos) == before
    assert troubles(place) == 1


def forged(store: Path, path: str, service: SampleService) -> None:
    """Make a store in which a valid file of a stranger has an image's name."""
    images = ImageFiles(StoreSettings(store, 2**30, service_name(service.url)))
    request = request_of_url(f"{service.url}/api/v2/image_download/69750516?{path}")
    data = b"forged"
    digest = hashlib.sha256(data)
    facts = Facts(len(data), digest.hexdigest(), 1, 1)
    file = store / "images" / images.name(request)
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

    def sizes() -> dict[str, int]:
        return {path: found[3] for path, found in everything(store).items()}

    store = place / "store"
    with mounted(place, service) as root:
        until((store / "journal").exists)  # a thread opens the store
        store.rename(place / "aside")
        forged(store, "downsample=6", service)
        before = sizes()
        for path in (PATH, PATH, OTHER):
            assert (root / path).read_bytes() == image_bytes(service.url, path)
        assert sizes() == before
        assert not (place / "made by following it").exists()
        assert troubles(place) == 1
        shutil.rmtree(store)
        (place / "aside").rename(store)
        (root / PATH).read_bytes()
        assert len(list(store.glob("images/*/*/*/*"))) == 1


def test_a_strangers_file_among_the_stored_ones_is_not_given(
    place: Path, service: SampleService
) -> None:
    (stored,) = a_used_store(place, service).glob("images/*/*/*/*")
    given_away(stored)
    with mounted(place, service) as root:
        assert (root / PATH).read_bytes() == image_bytes(service.url, PATH)
    assert f"stored file of user {STRANGER}: " in (place / "log").read_text()
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
