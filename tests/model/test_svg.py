"""A whole SVG is accepted, a cut or foreign one never; a hostile one costs little."""

from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from allenfs.model.svg import CutSvgError, NotAnSvgError, inspect

# The form of a recorded drawing.
DRAWING = (
    b'<svg width="660" height="472" xmlns="http://www.w3.org/2000/svg">'
    b'<g transform="scale(0.0625)"><g id="182623213" order="1" parent_id="" '
    b'graphic_group_label_id="28" graphic_group_label="Atlas - Adult Mouse" '
    b'sub_image_id="100960224" transform=" scale(1.0, 1.0)">'
    b'<path id="1" parent_id="182623213" order="2" structure_id="8" '
    b'style="stroke:black;fill:#bfdae3" d="M1,2 3,4Z"/></g></g></svg>\n'
)
ACCEPTED = {
    "drawing": DRAWING,
    "declaration": b'<?xml version="1.0" encoding="UTF-8"?>\n' + DRAWING,
    "byte order mark": b"\xef\xbb\xbf" + DRAWING,
    "UTF-16": DRAWING.decode().encode("utf-16"),
    "Latin 1": '<?xml version="1.0" encoding="ISO-8859-1"?><svg>é</svg>'.encode(
        "latin-1"
    ),
    "no namespace": b"<svg/>",
    "empty namespace": b'<svg xmlns=""/>',
    "prefix": b'<s:svg xmlns:s="http://www.w3.org/2000/svg"/>',
    "undeclared prefix inside": b'<svg><a xlink:href="#b"/></svg>',
    "document type": b'<!DOCTYPE svg PUBLIC "-//W3C//DTD SVG 1.1//EN" "a.dtd"><svg/>',
    "comments": b"<!-- a --><svg><!-- <!DOCTYPE svg> --></svg><!-- b -->\n",
    "escapes": b"<svg>&amp;&#65;<![CDATA[<!ENTITY a 'b'>]]></svg>",
    "long path": b'<svg><path d="%s"/></svg>' % (b"1,2 " * 100_000),
    "many paths": b"<svg>%s</svg>" % (b'<path d="M1,2"/>' * 60_000),
}
FOREIGN = {
    "text": b"Informatics service request failed",
    "JPEG": b"\xff\xd8\xff\xe0\x00\x10JFIF",
    "JSON": b'{"success": false}',
    "page": b"<html><body>Log in</body></html>",
    "cut page": b"<html><body>Log in",
    "other XML": b"<Response success='true'/>",
    "other namespace": b'<svg xmlns="urn:x"/>',
    "undeclared prefix": b"<s:svg/>",
    "undefined entity": b"<svg>&nbsp;</svg>",
    "two roots": DRAWING + DRAWING,
    "bytes after it": DRAWING + b"\0",
    "wrong nesting": b"<svg><a><b></a></b></svg>",
    "no UTF-8": b"<svg>\xe9</svg>",
    "attribute twice": b'<svg a="1" a="2"/>',
    "unusual encoding": b'<?xml version="1.0" encoding="punycode"?><svg/>',
    "module as encoding": b'<?xml version="1.0" encoding="../os"?><svg/>',
    "entity": b'<!DOCTYPE svg [<!ENTITY a "b">]><svg>&a;</svg>',
    "parameter entity": b'<!DOCTYPE svg [<!ENTITY % a SYSTEM "http://h/"> %a;]><svg/>',
    "escapes of a terminal": b'<\xc2\x9b31m xmlns="\xe2\x80\xae"/>',
}
each_document = pytest.mark.parametrize("data", ACCEPTED.values(), ids=ACCEPTED)


@each_document
def test_a_whole_svg_is_accepted(data):
    inspect(data)


@pytest.mark.parametrize("data", FOREIGN.values(), ids=FOREIGN)
def test_anything_else_is_rejected_in_one_line(data):
    with pytest.raises(NotAnSvgError, match=r"^not an SVG: ") as raised:
        inspect(data)
    assert str(raised.value).isprintable()


def test_every_beginning_of_a_drawing_is_cut():
    whole = DRAWING.rstrip()
    for length in range(len(whole)):
        with pytest.raises(CutSvgError, match=r"^cut SVG: "):
            inspect(whole[:length])


@settings(max_examples=300, deadline=None)
@given(data=st.data(), document=st.sampled_from(sorted(ACCEPTED)))
def test_any_bytes_are_accepted_cut_or_rejected(data, document):
    mutable = bytearray(ACCEPTED[document][:2000])
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(mutable) - 1))
        mutable[place] = data.draw(st.integers(0, 255))
    try:
        inspect(bytes(mutable))
    except (CutSvgError, NotAnSvgError) as error:
        assert str(error).isprintable()


_MIB = 2**20
_LAUGHS = "".join(f'<!ENTITY a{n} "{f"&a{n - 1};" * 10}">' for n in range(1, 12))
# Expressions, because the test's own copy must not be in the measured process.
BOMBS = {
    "entities": repr(
        f'<!DOCTYPE s [<!ENTITY a0 "lol">{_LAUGHS}]><svg>&a11;</svg>'.encode()
    ),
    "quadratic": (
        "b'<!DOCTYPE s [<!ENTITY a \"%s\">]><svg>%s</svg>'"
        " % (b'x' * 60_000, b'&a;' * 200_000)"
    ),
    "nested": f"b'<svg>' + b'<a>' * {5 * _MIB}",
    "one attribute": f"b'<svg d=\"' + b'1' * {16 * _MIB} + b'\"/>'",
    "attributes": "b'<svg ' + b' '.join(b'a%d=\"\"' % n for n in range(10**6)) + b'/>'",
    "names": "b'<svg>' + b''.join(b'<a%d/>' % n for n in range(10**6)) + b'</svg>'",
    "comment": f"b'<!--' + b' ' * {16 * _MIB} + b'--><svg/>'",
    "text": f"b'<svg>' + b' ' * {16 * _MIB} + b'</svg>'",
}
_WRITE = "import sys; open(sys.argv[1], 'wb').write({})"
_MEASURE = """
import sys
from allenfs.model import svg

def peak_kib():
    with open("/proc/self/status") as status:
        return int(next(line for line in status if "VmHWM" in line).split()[1])

class Slices:
    def __len__(self): return size
    def __getitem__(self, where):
        file.seek(where.start)
        return file.read(min(where.stop, size) - where.start)

with open(sys.argv[1], "rb") as file:
    size = file.seek(0, 2)
    before_kib = peak_kib()
    try:
        svg.inspect(Slices())
    except svg.NotAnSvgError as error:
        print(peak_kib() - before_kib, error)
"""


@pytest.mark.parametrize("bomb", BOMBS.values(), ids=BOMBS)
def test_a_document_that_would_grow_is_rejected_with_32_mib_at_most(tmp_path, bomb):
    path = tmp_path / "bomb.svg"
    subprocess.run([sys.executable, "-c", _WRITE.format(bomb), path], check=True)
    done = subprocess.run(
        [sys.executable, "-c", _MEASURE, path],
        capture_output=True,
        text=True,
        check=True,
        timeout=20,
    )
    grown_kib, _, said = done.stdout.partition(" ")
    assert said.startswith("not an SVG: ")
    assert int(grown_kib) < 32 * 1024
