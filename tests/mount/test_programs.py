"""Image programs on a mount: with failures, cold and warm."""

from __future__ import annotations

import subprocess
import sys

import pytest
from mounted import image_bytes
from PIL import Image

from allenfs.sample.server import Fault

pytestmark = pytest.mark.one_libfuse

# Above 128 KiB, the largest read of the kernel.
PATH = "section/69750516/ds3/q98/image.jpg"

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
    """A program ended with its own error."""


def _run(*command):
    done = subprocess.run(command, capture_output=True, check=False)
    if done.returncode:
        assert done.stderr
        raise ProgramError(done.stdout, done.stderr.decode())
    return done.stdout


def _pixels_to(*command, suffix="ppm"):
    """Let a program write a picture; return its pixels and shape."""

    def pixels(file, out):
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


def _words_of(*command):
    """Let a program say something of a picture."""

    def words(file, _):
        output = _run(*command, file)
        assert b"1758" in output  # recorded: 14065 pixels wide, of which an eighth
        return output

    return words


PROGRAMS = {
    "identify": _words_of("identify", "-format", "%m %w %h %k %#"),
    "exiftool": _words_of(
        *("exiftool", "-FileType", "-ImageSize", "-EncodingProcess", "-FileSize#")
    ),
    "convert crop": _pixels_to("convert", "IN", "-crop", "200x150+700+300", "OUT"),
    "vips crop": _pixels_to("vips", "crop", "IN", "OUT", "700", "300", "200", "150"),
    "vips rot": _pixels_to("vips", "rot", "IN", "OUT", "d90"),
    "gdk-pixbuf-thumbnailer": _pixels_to(
        "gdk-pixbuf-thumbnailer", "-s", "256", "IN", "OUT", suffix="png"
    ),
    "Pillow": _pixels_to(sys.executable, "-c", _PILLOW, "IN", "OUT"),
    "OpenCV": _pixels_to(sys.executable, "-c", _OPENCV, "IN", "OUT"),
    "feh": _words_of("feh", "--customlist", "%t %w %h"),
}


@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.mounted(warnings=["HTTP 503"])
def test_a_program_says_that_an_image_failed_and_then_reads_it_as_a_copy(
    mounted, tmp_path, service, program
):
    out, copy = tmp_path / "out", tmp_path / "copy" / "image.jpg"
    for folder in (out, copy.parent):
        folder.mkdir()
    copy.write_bytes(image_bytes(service.url, PATH))
    assert copy.stat().st_size > 2 * 128 * 1024
    service.fail(Fault.STATUS_503)
    with pytest.raises(ProgramError):
        PROGRAMS[program](mounted / PATH, out)
    service.heal()
    service.reset_counters()
    expected = PROGRAMS[program](copy, out)
    for _ in ("cold", "warm"):
        assert PROGRAMS[program](mounted / PATH, out) == expected
        assert service.image_requests == 1
