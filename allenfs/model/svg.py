"""Check that data is a complete SVG document. Nothing in it is expanded or loaded.

expat reads it piece by piece and checks that it is well-formed XML 1.0. Some valid SVG
is rejected, because it lets a small document take much memory, and the service's
drawings do not contain it: a document type with declarations, such as entities; deep
nesting; a great many names, which expat keeps; and a megabyte without a tag.
"""

from __future__ import annotations

from xml.parsers import expat
from xml.parsers.expat import errors as codes

from allenfs.errors import BrokenDrawingError
from allenfs.model.content import Content, CutContentError, Data, WrongContentError
from allenfs.text import in_one_line

# 130 times the mean size of a human drawing, 121 KB; that of a mouse is 33 KB.
MAX_BYTES = 16 * 2**20
_NAMESPACE = "http://www.w3.org/2000/svg"
# Those that expat decodes itself. For another one, Python would import a module that
# the document names.
_ENCODINGS = frozenset({"utf-8", "utf-16", "iso-8859-1", "us-ascii"})
# A recorded drawing has four levels, and six attributes for each of its paths.
_MAX_DEPTH, _MAX_NAMES = 200, 200_000
# expat holds a tag in memory up to its end. Since 2.6 it may parse a long one only when
# twice as much is there, so the limit is 0.5 to 1 MiB.
_PIECE_BYTES = 2**16
_MAX_PIECES_OF_A_TAG = 16
_MAX_WORDS_CHARS = 80

_CUT = frozenset(
    codes.codes[text]
    for text in (
        codes.XML_ERROR_NO_ELEMENTS,
        codes.XML_ERROR_UNCLOSED_TOKEN,
        codes.XML_ERROR_PARTIAL_CHAR,
        codes.XML_ERROR_UNCLOSED_CDATA_SECTION,
    )
)


class CutSvgError(CutContentError):
    """The bytes begin as an SVG document, but are truncated."""


class NotAnSvgError(WrongContentError):
    """The bytes are not well-formed XML, not SVG, or have what is rejected here."""


def inspect(data: Data) -> None:
    """Read the whole document; its root is ``svg``, in SVG's namespace or in none.

    CutSvgError if the data ends before the root does, NotAnSvgError for anything else
    that is not an SVG document.
    """
    # no namespaces: a prefix without a declaration is still well-formed XML. And no
    # memory of names: a document may have a million different ones.
    parser = expat.ParserCreate(intern=None)
    # it has no reference to the parser: a cycle would keep expat's buffers for a while
    reader = _Reader()
    parser.XmlDeclHandler = reader.declared
    parser.StartDoctypeDeclHandler = reader.document_type
    parser.StartElementHandler = reader.started
    parser.EndElementHandler = reader.ended
    for start in range(0, len(data), _PIECE_BYTES):
        _parse(parser, data[start : start + _PIECE_BYTES])
        reader.end_piece()
    _parse(parser, b"", is_final=True)


def _parse(
    parser: expat.XMLParserType, piece: bytes, *, is_final: bool = False
) -> None:
    try:
        parser.Parse(piece, is_final)
    except expat.ExpatError as error:
        what = f"{expat.ErrorString(error.code)} in line {error.lineno}"
        if is_final and error.code in _CUT:
            raise CutSvgError(f"cut SVG: {what}") from error
        raise NotAnSvgError(f"not an SVG: {what}") from error


class _Reader:
    """What expat calls; each method may raise NotAnSvgError."""

    def __init__(self) -> None:
        self._depth = 0
        self._names = 0  # of elements and attributes
        self._pieces_of_a_tag = 0

    def declared(self, _version: str, encoding: str | None, _standalone: int) -> None:
        if encoding is not None and encoding.lower() not in _ENCODINGS:
            raise NotAnSvgError(f"not an SVG: encoding {_words(encoding)}")

    def document_type(
        self, name: str, _system: object, _public: object, has_declarations: int
    ) -> None:
        if has_declarations:
            raise NotAnSvgError(
                f"not an SVG: document type {_words(name)} with declarations"
            )

    def started(self, name: str, attributes: dict[str, str]) -> None:
        self._pieces_of_a_tag = 0
        self._depth += 1
        if self._depth > _MAX_DEPTH:
            raise NotAnSvgError(f"not an SVG: more than {_MAX_DEPTH} nested elements")
        if not self._names:
            self._require_svg(name, attributes)
        self._names += 1 + len(attributes)
        if self._names > _MAX_NAMES:
            raise NotAnSvgError(f"not an SVG: more than {_MAX_NAMES} names")

    def _require_svg(self, name: str, attributes: dict[str, str]) -> None:
        prefix, _, local = name.rpartition(":")
        namespace = attributes.get(f"xmlns:{prefix}" if prefix else "xmlns", "")
        is_svg = namespace == _NAMESPACE or not (namespace or prefix)
        if local != "svg" or not is_svg:
            raise NotAnSvgError(f"not an SVG: its root element is {_words(name)}")

    def ended(self, _name: str) -> None:
        self._pieces_of_a_tag = 0
        self._depth -= 1

    def end_piece(self) -> None:
        self._pieces_of_a_tag += 1
        if self._pieces_of_a_tag >= _MAX_PIECES_OF_A_TAG:
            raise NotAnSvgError("not an SVG: a megabyte without a tag")


def _words(text: str) -> str:
    return repr(in_one_line(text, _MAX_WORDS_CHARS))


# Any Content-Type: that of the live service is not known.
SVG = Content("an SVG drawing", "", inspect, BrokenDrawingError, MAX_BYTES)
