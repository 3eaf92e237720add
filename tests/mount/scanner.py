"""Reads and allows each file of a mount before it is opened, as scanners do.

Arguments: the mountpoint, and --own-files for a listener in a table of open files that
only one thread has. It says "ready" and goes on until its input ends. Then it says as
JSON what it has read, the SHA-256 by path, and how many files it was not given.
"""

from __future__ import annotations

import ctypes
import hashlib
import json
import os
import signal
import struct
import sys
import threading

# sys/fanotify.h, linux/sched.h
_FAN_CLASS_CONTENT = 0x4
_FAN_MARK_ADD, _FAN_MARK_MOUNT = 0x1, 0x10
_FAN_OPEN_PERM = 0x10000
_FAN_ALLOW = 1
_EVENT = struct.Struct("=IBBHQii")
_RESPONSE = struct.Struct("=iI")
_AT_FDCWD = -100
_CLONE_FILES = 0x400
# Whatever becomes of the test: it must not hold up others for ever.
_LIFE_S = 120

_libc = ctypes.CDLL(None, use_errno=True)
_digests: dict[str, str] = {}
_lost: list[OSError] = []


def _check(result: int) -> int:
    if result < 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))
    return result


def _listen(mountpoint: str) -> int:
    listener = _check(_libc.fanotify_init(_FAN_CLASS_CONTENT, os.O_RDONLY))
    flags, path = _FAN_MARK_ADD | _FAN_MARK_MOUNT, os.fsencode(mountpoint)
    mask = ctypes.c_uint64(_FAN_OPEN_PERM)
    _check(_libc.fanotify_mark(listener, flags, mask, _AT_FDCWD, path))
    return listener


def _scan(listener: int) -> None:
    while True:
        try:
            events = os.read(listener, 64 * _EVENT.size)
        except OSError as error:  # the kernel could not open it for us, and denies it
            _lost.append(error)
            continue
        for _, _, _, _, _, fd, _ in _EVENT.iter_unpack(events):
            digest = hashlib.sha256()
            while data := os.read(fd, 65_536):
                digest.update(data)
            path = os.readlink(f"/proc/thread-self/fd/{fd}")
            _digests[path] = digest.hexdigest()
            os.write(listener, _RESPONSE.pack(fd, _FAN_ALLOW))
            os.close(fd)


def _serve(mountpoint: str, options: list[str]) -> None:
    if options:
        _check(_libc.unshare(_CLONE_FILES))
    listener = _listen(mountpoint)
    os.write(sys.stdout.fileno(), b"ready\n")
    _scan(listener)


def main() -> None:
    mountpoint, *options = sys.argv[1:]
    signal.alarm(_LIFE_S)
    threading.Thread(target=_serve, args=(mountpoint, options), daemon=True).start()
    sys.stdin.read()
    print(json.dumps({"read": _digests, "lost": len(_lost)}), flush=True)
    os._exit(0)


if __name__ == "__main__":
    main()
