"""Random unusual names and texts, by the hundred thousand."""

from __future__ import annotations

import random

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
    *_words("drawing.svg quint stack series.json 0001_69750516_s001.jpg"),
    *_words("image.zarr stack.zarr .zgroup .zattrs .zarray zarr.json"),
    *_words("expression.jpg expression ds0 ds4 ds11 ds q50 q101 roi1x1 roi roi+0+0"),
    *_words("roi1x1+0+0 range0,1,2,3,4,5 range0,1 rgb1,1,1 contrast0.5,1 colormap1"),
    *_words("%2e%2e %2E %00 %0a %2F %zz %e9 %c3%a9 %25 0001_69750516.jpg"),
    *("", " ", "~", "*", "?", "'", '"', "\\", "a'b", "$(id)", "a;b", "-rf", "--"),
    *("\0", "image.jpg\0", "\n", "image.jpg\n", "ds4\r", "\x1b[31m", "\x7f", "\x85"),
    *("\u2028", "\u202e", "\ufeff", "e\u0301", "\u00e9", "\U0001f9e0", "\u0130"),
    *("a" * 255, "a" * 256, "a" * 4096, "\u00e9" * 128, "%2F" * 86, "\U0001f9e0" * 64),
]
# no UTF-8: a cut sequence, an overlong slash, a surrogate, a lone continuation
_NO_UTF8 = [b"\xff", b"\xc3", b"\xc0\xaf", b"\xed\xa0\x80", b"\x80"]
_NO_UTF8 += [b"\xf5\x80\x80\x80"]
NAMES = [word.encode() for word in _WORDS + _NUMBERS] + _NO_UTF8


class HostilePaths:
    """Valid paths with a slip or two, and paths of nothing but hostile names.

    `valid` are the paths below the root to start from.
    """

    def __init__(self, valid: list[bytes], seed: int) -> None:
        self._dice = random.Random(seed)
        self._valid = [path.split(b"/") for path in valid]

    def path(self) -> bytes:
        """Return the next one; it begins with a slash, as all that libfuse brings."""
        kind = self._dice.random()
        if kind < 0.1:
            names = self._dice.choices(NAMES, k=self._dice.randint(1, 6))
        else:
            names = self._dice.choice(self._valid).copy()
            if kind < 0.9:
                self._slip(names)
            if kind < 0.2:
                self._slip(names)
        return b"/" + b"/".join(names)

    def _slip(self, names: list[bytes]) -> None:
        dice = self._dice
        at = dice.randrange(len(names)) if names else 0
        here = slice(at, at + 1)
        name = b"".join(names[here])
        match dice.randrange(8):
            case 0 | 1:
                names[here] = [dice.choice(NAMES)]
            case 2:
                names.insert(dice.randint(0, len(names)), dice.choice(NAMES))
            case 3:
                del names[here]
            case 4:
                names[here] = [dice.choice(dice.choice(self._valid))]
            case 5:
                number = dice.choice(_NUMBERS).encode()
                names[here] = [name.rstrip(b"0123456789") + number]
            case _:
                place, cut = dice.randint(0, len(name)), dice.randint(0, 2)
                new = dice.randbytes(dice.randint(0, 2)).replace(b"/", b"")
                names[here] = [name[:place] + new + name[place + cut :]]


_KEYS = _words("downsample quality left top width height range rgb contrast colormap")
_KEYS += _words("annotation atlas view expression projection zoom")
_VALUES = [
    *_words("0 4 11 true false expression image 0,1,2,3,4,5 1,1,1 1%2B2 ; = & #"),
    *("%00", "%0a", "%0d%0a", "%e2%80%a8", "%ff", "%1b[31m", "1\n2", ""),
    *_NUMBERS,
]
_BASES = [
    *_words("http://api.brain-map.org https://h:443 HTTP://H file:// // http://["),
    *_words("http://[::1]:x http://h:99999 http://a@b http://h:0 h http://h%0a"),
    *("http://\u2100\u2028\x85", "http://\uff0f\x0b", "http://h/\udcff", ""),
]
_SETTINGS = [
    *_words("1 4096 500MB 10GiB 1.5k 0 -1 1e3 1_0 nan inf 1e400 7d 90s 12h 1.5m"),
    *_words("allow_other uid=0 ro,noatime direct_io attr_timeout=9 gid=,ro , ="),
    *_NUMBERS,
]
_ENDPOINTS = _words("image_download projection_image_download atlas_image_download")
_ENDPOINTS += _words("section_image_download x data/query.json")


class HostileTexts:
    """Download addresses with a slip, and values of settings that are none."""

    def __init__(self, seed: int) -> None:
        self._dice = random.Random(seed)

    def text(self) -> str:
        """Return the next one."""
        dice = self._dice
        kind = dice.random()
        if kind >= 0.9:
            return "".join(self._character() for _ in range(dice.randint(0, 40)))
        text = self._url() if kind < 0.7 else dice.choice(_SETTINGS)
        if dice.random() < 0.4:
            return text
        place, cut = dice.randint(0, len(text)), dice.randint(0, 2)
        return text[:place] + self._character() + text[place + cut :]

    def _url(self) -> str:
        pick, count = self._dice.choice, self._dice.randint(0, 4)
        pairs = "&".join(f"{pick(_KEYS)}={pick(_VALUES)}" for _ in range(count))
        number = pick([*_NUMBERS, "69750516", "100883869"])
        return f"{pick(_BASES)}/api/v2/{pick(_ENDPOINTS)}/{number}?{pairs}"

    def _character(self) -> str:
        # surrogates too: so an argument that is not UTF-8 arrives
        highest = self._dice.choice([0x7F, 0xFF, 0xFFFF, 0x10FFFF])
        return chr(self._dice.randint(0, highest))
