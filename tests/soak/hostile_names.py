"""Names and texts that nobody would think of, by the hundred thousand, from dice."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_words = str.split

_NUMBERS = [
    *_words("0 -1 007 1_0 1e3 1.5 +1 0x10 nan inf 10 11 100 101 65536 999999999"),
    *("9" * 18, "9" * 19, "9" * 40, "9" * 5000, "\u0663", "\uff11", "\u00b2", " 1"),
]
_WORDS = [
    *_words(". .. .Trash .Trash-1000 .hidden .xdg-volume-info autorun.inf"),
    *_words("desktop.ini"),
    *_words("section projection atlas dataset browse product gene NISSL sagittal"),
    *_words("info.json sections.csv nissl equalized annotated image.jpg atlas2.jpg"),
    *_words("expression.jpg expression ds0 ds4 ds11 ds q50 q101 roi1x1 roi roi+0+0"),
    *_words("roi1x1+0+0 range0,1,2,3,4,5 range0,1 rgb1,1,1 contrast0.5,1 colormap1"),
    *_words("%2e%2e %2E %00 %0a %2F %zz %e9 %c3%a9 %25 0001_69750516.jpg"),
    *("", " ", "~", "*", "?", "'", '"', "\\", "a'b", "$(id)", "a;b", "-rf", "--"),
    *("\0", "image.jpg\0", "\n", "image.jpg\n", "ds4\r", "\x1b[31m", "\x7f", "\x85"),
    *("\u2028", "\u202e", "\ufeff", "e\u0301", "\u00e9", "\U0001f9e0", "\u0130"),
    *("a" * 255, "a" * 256, "a" * 4096, "\u00e9" * 128, "%2F" * 86, "\U0001f9e0" * 64),
]
# no UTF-8: a cut sequence, an overlong slash, a surrogate, a lone continuation
_NO_UTF8 = [
    b"\xff",
    b"\xc3",
    b"\xc0\xaf",
    b"\xed\xa0\x80",
    b"\x80",
    b"\xf5\x80\x80\x80",
]
NAMES = [word.encode() for word in _WORDS + _NUMBERS] + _NO_UTF8


class HostilePaths:
    """Valid paths with a slip or two, and paths of nothing but hostile names.

    Parameters
    ----------
    valid : sequence of bytes
        Paths below the root, to start from.
    """

    def __init__(self, valid: Sequence[bytes], seed: int) -> None:
        self._dice = random.Random(seed)
        self._valid = [path.split(b"/") for path in valid]
        self._slips: list[Callable[[list[bytes]], None]] = [
            self._other_name,
            self._other_name,
            self._more_names,
            self._fewer_names,
            self._name_of_another,
            self._other_number,
            self._other_bytes,
            self._other_bytes,
        ]

    def path(self) -> bytes:
        """Return the next one; it begins with a slash, as all that libfuse brings."""
        dice = self._dice
        kind = dice.random()
        if kind < 0.1:
            names = dice.choices(NAMES, k=dice.randint(1, 6))
        else:
            names = dice.choice(self._valid).copy()
            if kind < 0.9:
                dice.choice(self._slips)(names)
            if kind < 0.2:
                dice.choice(self._slips)(names)
        return b"/" + b"/".join(names)

    def _at(self, names: list[bytes]) -> int:
        return self._dice.randrange(len(names)) if names else 0

    def _other_name(self, names: list[bytes]) -> None:
        at = self._at(names)
        names[at : at + 1] = [self._dice.choice(NAMES)]

    def _more_names(self, names: list[bytes]) -> None:
        names.insert(self._dice.randint(0, len(names)), self._dice.choice(NAMES))

    def _fewer_names(self, names: list[bytes]) -> None:
        at = self._at(names)
        del names[at : at + 1]

    def _name_of_another(self, names: list[bytes]) -> None:
        at = self._at(names)
        names[at : at + 1] = [self._dice.choice(self._dice.choice(self._valid))]

    def _other_number(self, names: list[bytes]) -> None:
        at = self._at(names)
        letters = b"".join(names[at : at + 1]).rstrip(b"0123456789")
        names[at : at + 1] = [letters + self._dice.choice(_NUMBERS).encode()]

    def _other_bytes(self, names: list[bytes]) -> None:
        at = self._at(names)
        name = b"".join(names[at : at + 1])
        place = self._dice.randint(0, len(name))
        cut = self._dice.randint(0, 2)
        new = self._dice.randbytes(self._dice.randint(0, 2)).replace(b"/", b"")
        names[at : at + 1] = [name[:place] + new + name[place + cut :]]


class HostileTexts:
    """Download addresses with a slip, and values of settings that are none."""

    _KEYS = (
        *_words("downsample quality left top width height range rgb contrast"),
        *_words("colormap"),
        *_words("annotation atlas view expression projection zoom"),
    )
    _VALUES = (
        *_words("0 4 11 true false expression image 0,1,2,3,4,5 1,1,1 1%2B2 ; = & #"),
        *("%00", "%0a", "%0d%0a", "%e2%80%a8", "%ff", "%1b[31m", "1\n2", ""),
        *_NUMBERS,
    )
    _BASES = (
        *_words("http://api.brain-map.org https://h:443 HTTP://H file:// //"),
        *_words("http://["),
        *_words("http://[::1]:x http://h:99999 http://a@b http://h:0 h http://h%0a"),
        *("http://\u2100\u2028\x85", "http://\uff0f\x0b", "http://h/\udcff", ""),
    )
    _SETTINGS = (
        *_words("1 4096 500MB 10GiB 1.5k 0 -1 1e3 1_0 nan inf 1e400 7d 90s 12h 1.5m"),
        *_words("allow_other uid=0 ro,noatime direct_io attr_timeout=9 gid=,ro , ="),
        *_NUMBERS,
    )
    _ENDPOINTS = (
        *_words("image_download projection_image_download atlas_image_download"),
        *_words("section_image_download x data/query.json"),
    )

    def __init__(self, seed: int) -> None:
        self._dice = random.Random(seed)

    def text(self) -> str:
        """Return the next one."""
        dice = self._dice
        kind = dice.random()
        if kind < 0.7:
            return self._slip(self._url())
        if kind < 0.9:
            return self._slip(dice.choice(self._SETTINGS))
        return "".join(self._character() for _ in range(dice.randint(0, 40)))

    def _url(self) -> str:
        dice = self._dice
        pairs = (
            f"{dice.choice(self._KEYS)}={dice.choice(self._VALUES)}"
            for _ in range(dice.randint(0, 4))
        )
        number = dice.choice([*_NUMBERS, "69750516", "100883869"])
        endpoint = dice.choice(self._ENDPOINTS)
        base = dice.choice(self._BASES)
        return f"{base}/api/v2/{endpoint}/{number}?{'&'.join(pairs)}"

    def _slip(self, text: str) -> str:
        if self._dice.random() < 0.4:
            return text
        place = self._dice.randint(0, len(text))
        cut = self._dice.randint(0, 2)
        return text[:place] + self._character() + text[place + cut :]

    def _character(self) -> str:
        # surrogates too: so an argument that is not UTF-8 arrives
        highest = self._dice.choice([0x7F, 0xFF, 0xFFFF, 0x10FFFF])
        return chr(self._dice.randint(0, highest))
