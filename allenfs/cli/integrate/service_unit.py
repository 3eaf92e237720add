"""The unit of the user's service manager: a mount that is there after the login."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

NAME = "allenfs@.service"

# %f is the instance's name as an absolute path, %i that name as it is.
_UNIT = """\
# allenfs@PATH.service mounts on PATH, as systemd-escape --path writes it:
#   systemctl --user enable --now "allenfs@$(systemd-escape --path ~/allen)"
# Flags of allenfs mount: systemctl --user edit allenfs@PATH, and there
#   [Service]
#   Environment="ALLENFS_FLAGS=--cache-size 50GiB --connections 2"
[Unit]
Description=Allen Brain Atlas images on %f
Documentation=man:allenfs(1)

[Service]
Type=notify
ExecStartPre=-mkdir -p -- %f
ExecStart={program} mount --foreground $ALLENFS_FLAGS -- %f
ExecStop={program} umount -- %f
TimeoutStopSec=30
Restart=on-failure
RestartSec=2
# a wrong command line, or no place to mount on: the same again and again
RestartPreventExitStatus=2 3

# Not here: NoNewPrivileges=, and whatever implies it (SystemCallFilter=,
# RestrictAddressFamilies=, MemoryDenyWriteExecute= ...): fusermount is set-user-id.
# Nor ProtectSystem=, PrivateTmp= and the like: in a mount namespace of its own
# nobody else would see the mount.
UMask=0077
LimitCORE=0

[Install]
WantedBy=default.target
"""


def text(program: Path) -> str:
    """Return the unit.

    Parameters
    ----------
    program
        The absolute path of ``allenfs``.
    """
    return _UNIT.format(program=_quoted(str(program)))


def _quoted(program: str) -> str:
    """Write a program as systemd.service(5) reads it; a ``$`` means nothing there."""
    for char, escape in (("\\", "\\\\"), ('"', '\\"'), ("%", "%%")):
        program = program.replace(char, escape)
    return f'"{program}"' if any(char in program for char in " '\t;") else program
