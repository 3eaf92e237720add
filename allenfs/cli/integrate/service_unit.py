"""The systemd user unit: a mount that starts at login."""

from __future__ import annotations

from pathlib import Path

NAME = "allenfs@.service"

# %f is the instance name as an absolute path, %i the name as it is.
_UNIT = """\
# allenfs@PATH.service mounts on PATH, escaped by systemd-escape --path:
#   systemctl --user enable --now "allenfs@$(systemd-escape --path ~/allen)"
# To set flags of allenfs mount, run systemctl --user edit allenfs@PATH and add
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
# a wrong command line, or a mountpoint that cannot be used: a restart does not help
RestartPreventExitStatus=2 3

# Do not add NoNewPrivileges= or settings that imply it (SystemCallFilter=,
# RestrictAddressFamilies=, MemoryDenyWriteExecute= ...): fusermount is setuid root.
# Do not add ProtectSystem=, PrivateTmp= and the like: in a separate mount namespace,
# other processes could not see the mount.
UMask=0077
LimitCORE=0

[Install]
WantedBy=default.target
"""


def text(program: Path) -> str:
    """Return the unit for the ``allenfs`` with this absolute path."""
    return _UNIT.format(program=_quoted(str(program)))


def _quoted(program: str) -> str:
    """Quote a program for systemd.service(5), where ``$`` needs no escape here."""
    for char, escape in (("\\", "\\\\"), ('"', '\\"'), ("%", "%%")):
        program = program.replace(char, escape)
    return f'"{program}"' if any(char in program for char in " '\t;") else program
