"""An automount as systemd's: python automount.py PLACE COMMAND...

Who first looks into PLACE waits until COMMAND has mounted there; it alone, and
what it starts in its process group, may look meanwhile. Ends with its input.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import struct
import subprocess
import sys

_READY, _FAILED = 0x9360, 0x9361  # AUTOFS_IOC_READY, AUTOFS_IOC_FAIL
_PACKET_BYTES = 304  # struct autofs_v5_packet


def main() -> None:
    place, *command = sys.argv[1:]
    os.setsid()
    asked, kernel = os.pipe()
    options = f"fd={kernel},pgrp={os.getpgrp()},minproto=5,maxproto=5,direct"
    libc = ctypes.CDLL(None, use_errno=True)
    done = libc.mount(b"systemd-1", os.fsencode(place), b"autofs", 0, options.encode())
    assert done == 0, os.strerror(ctypes.get_errno())
    root = os.open(place, os.O_RDONLY | os.O_DIRECTORY)
    os.close(kernel)
    print("ready", flush=True)
    _, _, token = struct.unpack_from("iiI", os.read(asked, _PACKET_BYTES))
    code = subprocess.run(command, stdin=subprocess.DEVNULL, check=False).returncode
    fcntl.ioctl(root, _FAILED if code else _READY, token)
    sys.stdin.read()


if __name__ == "__main__":
    main()
