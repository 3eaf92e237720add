"""The files to install, and their directories."""

from __future__ import annotations

import argparse
import os
import sys
import sysconfig
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import shtab

from allenfs import config
from allenfs.cli import fstab
from allenfs.cli.integrate import manual, service_unit
from allenfs.errors import IntegrationError

_PROGRAM = "allenfs"
# mount(8) runs the first for `-t allenfs` and the second for `-t fuse.allenfs`.
_HELPERS = (fstab.PROGRAM, "mount.fuse.allenfs")
_COMPLETIONS = {
    "bash": "bash-completion/completions/allenfs",
    "zsh": "zsh/site-functions/_allenfs",
    "fish": "fish/vendor_completions.d/allenfs.fish",
}
# How shells complete an argument, by its metavar.
_COMPLETED = {
    "DIR": shtab.DIRECTORY,
    "MOUNTPOINT": shtab.DIRECTORY,
    "FILE": shtab.FILE,
    "PATH": shtab.FILE,
}
# In a comment of each file: only files with it are replaced or removed.
_MARK = "made by allenfs integrate"
_ROFF_COMMENT = '.\\"'


@dataclass(frozen=True, slots=True)
class Places:
    """The directories of the files.

    Attributes
    ----------
    share : Path
        Completions and manual pages: a ``share`` directory as in XDG and man(1).
    units : Path
        Units of the user service manager.
    programs : Path
        The programs, once they are installed.
    helpers : Path or None
        Helpers of mount(8); None to install none.
    """

    share: Path
    units: Path
    programs: Path
    helpers: Path | None = None


def of_system(prefix: Path, destination: Path | None) -> Places:
    """Return the directories for all users.

    `destination` is the root of a package build, whose programs will be in `prefix`;
    None for this machine and the installed programs.
    """
    root = destination or Path("/")
    below = root / prefix.relative_to("/")
    return Places(
        below / "share",
        below / "lib/systemd/user",
        prefix / "bin" if destination else own_programs(),
        root / ("usr/sbin" if os.path.islink("/sbin") else "sbin"),
    )


def of_user(environ: Mapping[str, str]) -> Places:
    """Return the directories in the user's home."""
    share = config.data_home(environ)
    return Places(share, share / "systemd/user", own_programs())


def own_programs() -> Path:
    """Return the directory of the programs of this installation."""
    for folder in (
        Path(sys.argv[0]).resolve().parent,
        Path(sysconfig.get_path("scripts")),
        Path(sysconfig.get_path("scripts", "posix_user")),
    ):
        if all((folder / name).is_file() for name in (_PROGRAM, fstab.PROGRAM)):
            return folder
    raise IntegrationError(
        f"{_PROGRAM} and {fstab.PROGRAM} are not installed: see pip install"
    )


def install(places: Places, top: argparse.ArgumentParser) -> list[Path]:
    """Install the files; return their paths, including those that existed.

    Raises IntegrationError if a path belongs to something else, and OSError.
    """
    contents = dict(_contents(places, top))
    for path in contents:
        _require_ours(path)
    for path, content in contents.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        # replaced atomically
        new = path.with_name(f".{path.name}.new")
        new.unlink(missing_ok=True)
        if isinstance(content, Path):
            new.symlink_to(content)
        else:
            new.write_text(content)
        new.replace(path)
    return list(contents)


def remove(places: Places, top: argparse.ArgumentParser) -> list[Path]:
    """Remove the installed files; return their paths. Raises as `install` does."""
    found = [path for path, _ in _contents(places, top) if os.path.lexists(path)]
    for path in found:
        _require_ours(path)
    for path in found:
        path.unlink()
    return found


def _contents(
    places: Places, top: argparse.ArgumentParser
) -> Iterator[tuple[Path, str | Path]]:
    """Yield each file with its text, and each link with its target."""
    for parser in manual.commands(top):
        for action in manual.actions(parser):
            if action.metavar in _COMPLETED:
                # the attribute that shtab reads
                setattr(action, "complete", _COMPLETED[action.metavar])  # noqa: B010
    for shell, name in _COMPLETIONS.items():
        yield places.share / name, _marked(shtab.complete(top, shell), "#")
    man = places.share / "man"
    yield man / "man1/allenfs.1", _marked(manual.allenfs_page(top), _ROFF_COMMENT)
    yield man / "man8/mount.allenfs.8", _marked(manual.helper_page(), _ROFF_COMMENT)
    unit = service_unit.text(places.programs / _PROGRAM)
    yield places.units / service_unit.NAME, _marked(unit, "#")
    if places.helpers is not None:
        for name in _HELPERS:
            yield places.helpers / name, places.programs / fstab.PROGRAM


def _marked(text: str, comment: str) -> str:
    # at the end: the first line tells zsh which command the file completes
    return f"{text.rstrip()}\n{comment} {_MARK}\n"


def _require_ours(path: Path) -> None:
    """Raise if the path is a file of a package or user."""
    if path.is_symlink():
        is_ours = Path(os.readlink(path)).name == fstab.PROGRAM
    elif path.exists():
        # reading a special file may block
        is_ours = path.is_file() and _MARK in path.read_text(errors="replace")
    else:
        is_ours = True
    if not is_ours:
        raise IntegrationError(f"{path} exists and was not {_MARK}: remove it first")
