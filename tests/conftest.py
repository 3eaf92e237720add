"""Every test runs apart from the user's folders and from the network outside."""

from __future__ import annotations

import ctypes
import os
import signal

import pytest

from allenfs.service.network import CA_BUNDLE_VARIABLES, NETRC_VARIABLE, PROXY_VARIABLE

_NOWHERE = "http://127.0.0.1:9"
# A shell starts what it runs in the background with these ignored, and every program
# that a test starts would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGQUIT, signal.SIG_DFL)
_CLONE_NEWNS = 0x20000  # unshare(2)
_MS_REC, _MS_PRIVATE = 0x4000, 0x40000  # mount(2)
_OF_THE_MACHINE = (PROXY_VARIABLE, *CA_BUNDLE_VARIABLES, NETRC_VARIABLE)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--soak-minutes",
        type=float,
        default=1.0,
        help="how long tests/soak takes, all in all (default: 1)",
    )
    parser.addoption(
        "--fuse",
        choices=("2", "3", "both"),
        help="the libfuse to mount with (default: libfuse 2 if this machine has it, "
        "else 3, and the tests marked both_libfuses over both)",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Give each pytest-xdist worker its own mount namespace.

    A test that makes a mount namespace copies every mount that it sees into it. A mount
    of another worker would then outlive its umount.
    """
    if hasattr(config, "workerinput") and os.geteuid() == 0:
        libc = ctypes.CDLL(None, use_errno=True)
        done = libc.unshare(_CLONE_NEWNS)
        done = done or libc.mount(b"none", b"/", None, _MS_REC | _MS_PRIVATE, None)
        if done != 0:
            raise OSError(ctypes.get_errno(), "no mount namespace for this worker")


@pytest.fixture(autouse=True)
def isolation(tmp_path, monkeypatch):
    """Home, caches and settings in the test's folder; proxies lead nowhere."""
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("XDG_CACHE_HOME", str(home / "cache"))
    monkeypatch.setenv("XDG_STATE_HOME", str(home / "state"))
    for name in ("API_URL", "SERVICE_NAME", "CACHE_DIR", "CACHE_SIZE"):
        monkeypatch.delenv(f"ALLENFS_{name}", raising=False)
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, _NOWHERE)
    # of every Python below: also of a daemon that the command starts
    monkeypatch.setenv("PYTHONDEVMODE", "1")
    monkeypatch.setenv("PYTHONWARNINGS", "error")
    for name in ("no_proxy", "NO_PROXY", "all_proxy", "ALL_PROXY", *_OF_THE_MACHINE):
        monkeypatch.delenv(name, raising=False)
