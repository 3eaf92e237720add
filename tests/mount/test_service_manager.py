"""Notifications of the service manager: when a mount is ready, and when it ends."""

from __future__ import annotations

import os
import select
import signal
import socket
import subprocess
from pathlib import Path

import pytest
from command import allenfs, serving_pid
from mounted import STRICT_PYTHON, until

from allenfs.mount import notify

pytestmark = pytest.mark.one_libfuse

RECEIVE_S = 60


class Manager:
    """A socket as systemd's, and a mount in the foreground that knows of it."""

    def __init__(self, folder: Path, address: str) -> None:
        self.place = folder / "mnt"
        self.place.mkdir()
        self._folder = folder
        self._address = address
        self.is_abstract = address.startswith("@")
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(address.replace("@", "\0", 1))
        self._socket.settimeout(RECEIVE_S)

    def start(self) -> subprocess.Popen[bytes]:
        flags = ["--foreground", "--sample", "--cache-dir", self._folder / "store"]
        flags += ["--log-file", self._folder / "log"]
        return subprocess.Popen(
            [*STRICT_PYTHON, "-m", "allenfs", "mount", *flags, self.place],
            env={**os.environ, notify.SOCKET_VARIABLE: self._address},
        )

    def hears(self) -> list[str]:
        return self._socket.recv(4096).decode().splitlines()

    def is_idle(self) -> bool:
        return not select.select([self._socket], [], [], 0)[0]

    def close(self) -> None:
        self._socket.close()


@pytest.fixture(params=["path", "abstract"])
def manager(tmp_path, request):
    is_path = request.param == "path"
    address = str(tmp_path / "notify") if is_path else f"@allenfs-test-{os.getpid()}"
    manager = Manager(tmp_path, address)
    yield manager
    manager.close()


def test_a_mount_is_ready_when_it_answers_and_stopping_when_it_ends(manager):
    process = manager.start()
    status = f"STATUS=allenfs:sample on {manager.place}"
    assert manager.hears() == ["READY=1", status]
    assert serving_pid(manager.place) == process.pid
    assert "section" in os.listdir(manager.place)
    if manager.is_abstract:
        process.send_signal(signal.SIGTERM)
    else:  # as in the unit
        assert allenfs("umount", manager.place).returncode == 0
    assert manager.hears()[0] == "STOPPING=1"
    assert process.wait() == 0


def test_a_failed_mount_is_never_ready(tmp_path):
    manager = Manager(tmp_path, str(tmp_path / "notify"))
    (manager.place / "file").touch()
    assert manager.start().wait() == 3
    assert manager.is_idle()
    manager.close()


def test_a_manager_that_is_gone_is_logged_and_the_mount_works(tmp_path):
    manager = Manager(tmp_path, str(tmp_path / "notify"))
    manager.close()
    process = manager.start()
    log = tmp_path / "log"
    until(
        lambda: log.exists() and "cannot notify the service manager" in log.read_text()
    )
    assert "section" in os.listdir(manager.place)
    assert allenfs("umount", manager.place).returncode == 0
    assert process.wait() == 0


@pytest.mark.parametrize("address", ["", "relative", "vsock:2:1234"])
def test_other_addresses_are_ignored(address, monkeypatch, caplog):
    monkeypatch.setenv(notify.SOCKET_VARIABLE, address)
    notify.send("READY=1")
    assert caplog.text == ""
