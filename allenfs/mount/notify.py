"""Notify the service manager, if there is one: sd_notify(3)."""

from __future__ import annotations

import os
import re
import socket
import threading
import time
from pathlib import Path

from allenfs.mount.probe import serving_pid
from allenfs.service.single_flight import start_thread
from allenfs.text import printable, safe_logger

log = safe_logger(__name__)

SOCKET_VARIABLE = "NOTIFY_SOCKET"

# A manager that does not read must not block the mount.
_SEND_S = 2.0
# The first answer takes a few milliseconds, and longer on a loaded machine.
_ANSWER_S, _POLL_S = 60.0, 0.01


def ready(mountpoint: Path, source: str) -> None:
    """Notify that the mount is ready, once it answers; returns immediately.

    Call it in the daemon when the kernel has accepted the mount. Raises
    ProcessLimitError if no thread can be started to wait for the answer.
    """

    def notify() -> None:
        ends_s = time.monotonic() + _ANSWER_S
        while serving_pid(mountpoint) != os.getpid():
            if time.monotonic() > ends_s:
                log.warning("%s does not answer: READY is not sent", mountpoint)
                return
            time.sleep(_POLL_S)
        send(f"READY=1\nSTATUS={source} on {printable(str(mountpoint))}")

    if os.environ.get(SOCKET_VARIABLE):
        start_thread(threading.Thread(target=notify, daemon=True))


def stopping() -> None:
    """Notify that the mount is gone and the process is about to end."""
    send("STOPPING=1\nSTATUS=Unmounted")


def send(state: str) -> None:
    """Send lines of ``NAME=value``; a failure is only logged.

    The address is in ``NOTIFY_SOCKET``: a path, or ``@`` and an abstract name. If it is
    unset, nothing is sent.
    """
    address = os.environ.get(SOCKET_VARIABLE, "")
    if not address.startswith(("/", "@")):
        return
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
            manager.settimeout(_SEND_S)
            manager.sendto(os.fsencode(state), os.fsencode(re.sub("^@", "\0", address)))
    except OSError as error:
        log.warning("cannot notify the service manager: %s", error)
