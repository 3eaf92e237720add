"""Each libfuse gets options as `-o`, in its connection, or not at all."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from allenfs.adapters.libfuse import for_libfuse
from allenfs.errors import MountError

# FUSE_CAP_ASYNC_READ, and FUSE_CAP_* that libfuse 3 sets by default
ASYNC_READ = 1
UNWANTED = 1 << 12 | 1 << 13 | 1 << 14
OTHERS = 1 << 5 | 1 << 11 | 1 << 31


def test_libfuse_2_takes_all_of_them_as_words():
    options = {"ro": True, "nonempty": True, "max_readahead": "1048576"}
    assert for_libfuse((2, 9), options).words == options


@pytest.mark.parametrize("version", [(3, 0), (3, 11), (3, 12), (3, 14), (3, 17)])
def test_libfuse_3_has_numbers_in_its_connection(version):
    numbers = {"max_readahead": "1048576", "max_background": "7"}
    numbers |= {"congestion_threshold": "5", "max_read": "65536"}
    options = for_libfuse(version, {"ro": True, "attr_timeout": "0", **numbers})
    words = dict(options.words)
    assert words.pop("max_read") == "65536"
    limits = {words.pop(name, None) for name in ("max_threads", "max_idle_threads")}
    # libfuse 3.17 needs it to report interrupts
    assert words.pop("intr", False) == (version >= (3, 15))
    assert words == {"ro": True, "attr_timeout": "0"}
    # newer ones have ten threads by default, which stalled downloads would block
    assert (limits == {None}) == (version < (3, 12))
    info = SimpleNamespace(want=0)
    options.connect(info)
    assert vars(info) == {"want": 0, **{name: int(numbers[name]) for name in numbers}}


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        ({"async_read": True, "nonempty": True}, OTHERS | ASYNC_READ),
        ({"sync_read": True}, OTHERS),
    ],
)
def test_libfuse_3_wants_what_libfuse_2_does(words, wanted):
    options = for_libfuse((3, 9), words)
    assert options.words == {}
    info = SimpleNamespace(want=OTHERS | ASYNC_READ | UNWANTED)
    options.connect(info)
    assert info.want == wanted


@pytest.mark.parametrize("version", [(2, 9), (3, 14)])
def test_an_invalid_number_is_a_mount_error(version):
    for name in ("max_read", "max_readahead", "max_background"):
        for value in (True, "", "-1", "x", "1.5", "²", str(2**32), "9" * 5000):
            with pytest.raises(MountError, match=name):
                for_libfuse(version, {name: value})
