"""Tell the service manager how the mount is, where it asks: sd_notify(3)."""

from __future__ import annotations

import os
import socket
import threading
import time
from typing import TYPE_CHECKING

from allenfs.mount.probe import serving_pid
from allenfs.service import threads
from allenfs.text import printable, safe_logger

if TYPE_CHECKING:
    from pathlib import Path

log = safe_logger(__name__)

SOCKET_VARIABLE = "NOTIFY_SOCKET"

_STOPPING = "STOPPING=1\nSTATUS=Unmounted"
# A manager that does not read must not keep a mount from its work.
_SEND_S = 2.0
# The first answer takes a few milliseconds; a machine under load may need longer.
_ANSWER_S, _LOOK_S = 60.0, 0.01


def ready(mountpoint: Path, source: str) -> None:
    """Say that the mount can be used, once it answers.

    To be called in the process that serves, when the kernel has accepted the
    mount; it returns at once.

    Parameters
    ----------
    source : str
        What is mounted, as the mount table says it.

    Raises
    ------
    ProcessLimitError
    """

    def say_so() -> None:
        ends_s = time.monotonic() + _ANSWER_S
        while serving_pid(mountpoint) != os.getpid():
            if time.monotonic() > ends_s:
                log.warning("%s does not answer: not ready", mountpoint)
                return
            time.sleep(_LOOK_S)
        send(f"READY=1\nSTATUS={source} on {printable(str(mountpoint))}")

    if os.environ.get(SOCKET_VARIABLE):
        threads.start(threading.Thread(target=say_so, daemon=True))


def stopping() -> None:
    """Say that the mount is gone and the process about to end."""
    send(_STOPPING)


def send(state: str) -> None:
    """Send lines of ``NAME=value``; a manager that cannot be told is no failure.

    Without ``NOTIFY_SOCKET`` nobody is told. Its value is the path of a socket,
    or with ``@`` in front the name of one that has no file.
    """
    address = os.environ.get(SOCKET_VARIABLE, "")
    if not address.startswith(("/", "@")):
        return
    if address.startswith("@"):
        address = "\0" + address[1:]
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
            manager.settimeout(_SEND_S)
            manager.sendto(os.fsencode(state), os.fsencode(address))
    except OSError as error:
        log.warning("the service manager could not be told: %s", error)
