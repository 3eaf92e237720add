"""Programs that people use on images, on a mount: cold, warm, in trouble, and after."""

from __future__ import annotations

import contextlib
import io
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from command import run
from mounted import Mounted, image_bytes, until
from PIL import Image

from allenfs.sample.server import Fault, SampleService

pytestmark = pytest.mark.one_libfuse

# Above 128 KiB, the largest read of the kernel.
PATH = "section/69750516/ds3/q98/image.jpg"
PATIENCE_S = 60

_PILLOW = """
import sys
from PIL import Image
with Image.open(sys.argv[1]) as picture:
    picture.convert("RGB").save(sys.argv[2])
"""
_OPENCV = """
import sys
import cv2
picture = cv2.imread(sys.argv[1])
if picture is None:
    sys.exit("no picture")
assert cv2.imwrite(sys.argv[2], picture)
"""


class ProgramError(Exception):
    """A program ended with an error of its own."""


def _run(*command: str | Path) -> bytes:
    done = subprocess.run(command, capture_output=True, check=False)
    if done.returncode:
        assert done.stderr
        raise ProgramError(done.stdout, done.stderr.decode())
    return done.stdout


def _pixels_to(*command: str, suffix: str = "ppm") -> Callable[[Path, Path], bytes]:
    """Let a program write a picture; return its pixels and shape."""

    def pixels(file: Path, out: Path) -> bytes:
        target = out / f"out.{suffix}"
        words = {"IN": str(file), "OUT": str(target)}
        try:
            _run(*(words.get(word, word) for word in command))
        except ProgramError:
            assert not target.exists() or not target.stat().st_size
            raise
        with Image.open(target) as picture:
            assert min(picture.size) > 50
            data = picture.convert("RGB").tobytes()
            assert len(set(data)) > 16  # no empty picture
            return repr(picture.size).encode() + data

    return pixels


def _words_of(*command: str) -> Callable[[Path, Path], bytes]:
    """Let a program say something of a picture."""

    def words(file: Path, _out: Path) -> bytes:
        said = _run(*command, file)
        assert b"1758" in said  # recorded: 14065 pixels wide, of which an eighth
        return said

    return words


PROGRAMS: dict[str, Callable[[Path, Path], bytes]] = {
    "identify": _words_of("identify", "-format", "%m %w %h %k %#"),
    "exiftool": _words_of(
        *("exiftool", "-FileType", "-ImageSize", "-EncodingProcess", "-FileSize#")
    ),
    "vipsheader": _words_of("vipsheader", "-f", "width"),
    "convert crop": _pixels_to("convert", "IN", "-crop", "200x150+700+300", "OUT"),
    "montage": _pixels_to("montage", "IN", "IN", "-geometry", "400x300+4+4", "OUT"),
    "vips crop": _pixels_to("vips", "crop", "IN", "OUT", "700", "300", "200", "150"),
    "vips rot": _pixels_to("vips", "rot", "IN", "OUT", "d90"),
    "vipsthumbnail": _pixels_to("vipsthumbnail", "IN", "-s", "256", "-o", "OUT"),
    "gdk-pixbuf-thumbnailer": _pixels_to(
        "gdk-pixbuf-thumbnailer", "-s", "256", "IN", "OUT", suffix="png"
    ),
    "Pillow": _pixels_to(sys.executable, "-c", _PILLOW, "IN", "OUT"),
    "OpenCV": _pixels_to(sys.executable, "-c", _OPENCV, "IN", "OUT"),
    "feh": _words_of("feh", "--customlist", "%t %w %h"),
}


@pytest.fixture
def copy(tmp_path: Path, service: SampleService) -> Path:
    """The image on a disk, under the same name."""
    folder = tmp_path / "copy"
    folder.mkdir()
    file = folder / "image.jpg"
    file.write_bytes(image_bytes(service.url, PATH))
    assert file.stat().st_size > 2 * 128 * 1024
    service.reset_counters()
    return file


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_program_makes_of_a_mount_s_image_what_it_makes_of_a_copy(
    mounted: Mounted, tmp_path: Path, service: SampleService, copy: Path, program: str
) -> None:
    expected = PROGRAMS[program](copy, tmp_path)
    for _ in ("cold", "warm"):
        assert PROGRAMS[program](mounted / PATH, tmp_path) == expected
        assert service.image_requests == 1


@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.mounted(warnings=["HTTP 503"])
def test_a_program_says_that_an_image_failed_and_then_gets_it(
    mounted: Mounted, tmp_path: Path, service: SampleService, copy: Path, program: str
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    service.fail(Fault.STATUS_503)
    with pytest.raises(ProgramError):
        PROGRAMS[program](mounted / PATH, out)
    service.heal()
    assert PROGRAMS[program](mounted / PATH, out) == PROGRAMS[program](copy, tmp_path)


class Screen:
    """A virtual screen, and keys for what is under its pointer."""

    size = 800, 500

    def __init__(self, display: str) -> None:
        self.environ = {**os.environ, "DISPLAY": display}

    def press(self, key: str) -> None:
        width, height = self.size
        middle = str(width // 2), str(height // 2)
        run("xdotool", "mousemove", *middle, "key", key, env=self.environ)

    def shot(self) -> Image.Image:
        data = run("import", "-window", "root", "-silent", "png:-", env=self.environ)
        return Image.open(io.BytesIO(data)).convert("RGB")


@pytest.fixture
def screen() -> Iterator[Screen]:
    width, height = Screen.size
    reading, writing = os.pipe()
    size = ["-screen", "0", f"{width}x{height}x24"]
    server = subprocess.Popen(
        ["Xvfb", "-displayfd", str(writing), "-nolisten", "tcp", *size],
        pass_fds=[writing],
        stderr=subprocess.DEVNULL,
    )
    os.close(writing)
    try:
        with os.fdopen(reading) as said:
            number = said.readline().strip()
        assert number, "no screen"
        yield Screen(f":{number}")
    finally:
        server.terminate()
        server.wait(PATIENCE_S)


@contextlib.contextmanager
def viewer(screen: Screen, *words: str | Path) -> Iterator[None]:
    width, height = screen.size
    place = ["--geometry", f"{width}x{height}+0+0", "--image-bg", "black"]
    process = subprocess.Popen(
        ["feh", "--quiet", "--hide-pointer", "--no-menus", *place, *words],
        env=screen.environ,
        stderr=subprocess.PIPE,
    )
    try:
        yield
    finally:
        process.terminate()
        process.communicate(timeout=PATIENCE_S)


def difference(shot: Image.Image, picture: Image.Image) -> float:
    """Mean difference of the screen's middle from a picture at its own size, 0-255."""
    left = (shot.width - picture.width) // 2
    top = (shot.height - picture.height) // 2
    box = left, top, left + picture.width, top + picture.height
    part = np.asarray(shot.crop(box), np.int16)
    return float(np.abs(part - np.asarray(picture, np.int16)).mean())


def shown(screen: Screen, picture: Image.Image) -> Image.Image:
    """Wait until the screen shows a picture; return what is on it."""
    ends_s = time.monotonic() + PATIENCE_S
    while difference(shot := screen.shot(), picture) > 2:
        assert time.monotonic() < ends_s, "it is not shown"
        time.sleep(0.05)  # a screen has no event for what is on it
    return shot


def pictures_of(files: list[Path], api_url: str) -> list[Image.Image]:
    """Download what files of a data set show, without the mount."""
    pictures = []
    for file in files:
        number = file.stem.partition("_")[2]
        data = image_bytes(api_url, f"section/{number}/{file.parent.name}/image.jpg")
        pictures.append(Image.open(io.BytesIO(data)).convert("RGB"))
    return pictures


def test_feh_shows_a_section_and_pages_to_the_next(
    mounted: Mounted, service: SampleService, screen: Screen
) -> None:
    folder = mounted / "dataset/72109410/ds3"
    files = sorted(folder.iterdir())[10:12]
    pictures = pictures_of(files, service.url)
    service.reset_counters()
    with viewer(screen, "--start-at", files[0], folder):
        first = shown(screen, pictures[0])
        assert service.image_requests == 1
        screen.press("Right")
        second = shown(screen, pictures[1])
        # two that were looked at, and two that come next
        until(lambda: len(mounted.stored) == 4)
        assert service.image_requests == 4
        screen.press("Left")
        shown(screen, pictures[0])
    assert difference(first, pictures[1]) > 4
    assert difference(second, pictures[0]) > 4


@pytest.mark.mounted(warnings=["HTTP 503"])
def test_feh_leaves_out_a_section_that_failed_and_shows_it_later(
    mounted: Mounted, service: SampleService, screen: Screen
) -> None:
    files = sorted((mounted / "dataset/69782969/ds5").iterdir())[:2]
    pictures = pictures_of(files, service.url)
    service.fail(Fault.STATUS_503, image_id=int(files[0].stem.partition("_")[2]))
    with viewer(screen, *files):
        shown(screen, pictures[1])
    service.heal()
    with viewer(screen, *files):
        shown(screen, pictures[0])


def test_a_contact_sheet_is_shown(
    mounted: Mounted, service: SampleService, screen: Screen
) -> None:
    file = mounted / "dataset/69782969/contact_sheet.jpg"
    with viewer(screen, file):
        shown(screen, Image.open(io.BytesIO(file.read_bytes())).convert("RGB"))
    assert service.image_requests == 5
