"""fanotify listeners, such as on-access virus scanners.

The kernel opens each file for the listener before the program may open it. It does so
without a lookup and does not retry after ESTALE (see ``kernel_view.py``), so the
program would get EPERM.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_FANOTIFY = "anon_inode:[fanotify]"
_CAP_SYS_ADMIN = 1 << 21


def is_listener(thread_id: int) -> bool:
    """Whether a thread holds a fanotify descriptor.

    If its descriptors cannot be read, CAP_SYS_ADMIN decides, which fanotify requires. A
    thread in another PID namespace has the ID 0: never a listener.
    """
    try:
        return _FANOTIFY in _open_files(thread_id)
    except PermissionError:
        return _may_listen(thread_id)
    except OSError:
        return False


def _open_files(thread_id: int) -> Iterator[str]:
    directory = f"/proc/{thread_id}/fd"
    for number in os.listdir(directory):
        with contextlib.suppress(FileNotFoundError):  # just closed
            yield os.readlink(f"{directory}/{number}")


def _may_listen(thread_id: int) -> bool:
    try:
        status = Path(f"/proc/{thread_id}/status").read_text()
        fields = dict(line.split(":", 1) for line in status.splitlines())
        return bool(int(fields["CapEff"], 16) & _CAP_SYS_ADMIN)
    except (OSError, ValueError, KeyError):
        return False
