"""The files that make the rest of the system know of allenfs, and where they belong."""

from __future__ import annotations

import os
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from allenfs import config
from allenfs.cli import fstab
from allenfs.cli.integrate import completion, manual, service_unit
from allenfs.errors import IntegrationError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator, Mapping

_PROGRAM = "allenfs"
# mount(8) looks for the first with `-t allenfs`, for the second with `-t fuse.allenfs`.
_HELPERS = (fstab.PROGRAM, "mount.fuse.allenfs")
_COMPLETIONS = {
    "bash": "bash-completion/completions/allenfs",
    "zsh": "zsh/site-functions/_allenfs",
    "fish": "fish/vendor_completions.d/allenfs.fish",
}
# Comments of all of them; what has it is ours, and may be replaced and removed.
_MARK = "made by allenfs integrate"
_ROFF_COMMENT = '.\\"'


@dataclass(frozen=True, slots=True)
class Places:
    """Where the files belong.

    Attributes
    ----------
    share : Path
        Completions and manual pages: a ``share`` of the XDG and man hierarchies.
    units : Path
        Units of the users' service managers.
    helpers : Path or None
        Where mount(8) looks for its helpers; None for no links there.
    destination : Path
        What all of them are put below, the root of a package, or ``/``.
    programs : Path
        Where the programs are, once it is installed.
    """

    share: Path
    units: Path
    helpers: Path | None
    destination: Path
    programs: Path


def of_system(prefix: Path, destination: Path | None) -> Places:
    """Return the places for all users of the machine.

    Parameters
    ----------
    destination
        The root of a package that is being built, whose programs will be in
        `prefix`; None for this machine, and the programs that run here.
    """
    helpers = Path("/usr/sbin" if os.path.islink("/sbin") else "/sbin")
    return Places(
        prefix / "share",
        prefix / "lib/systemd/user",
        helpers,
        destination or Path("/"),
        prefix / "bin" if destination else own_programs(),
    )


def of_user(environ: Mapping[str, str]) -> Places:
    """Return the places below the user's home folder."""
    share = config.data_home(environ)
    units = share / "systemd/user"
    return Places(share, units, None, Path("/"), own_programs())


def own_programs() -> Path:
    """Return where the programs of this very allenfs are.

    Raises
    ------
    IntegrationError
        It runs without having been installed.
    """
    for folder in (
        Path(sys.argv[0]).resolve().parent,
        Path(sysconfig.get_path("scripts")),
        Path(sysconfig.get_path("scripts", "posix_user")),
    ):
        if all((folder / name).is_file() for name in (_PROGRAM, fstab.PROGRAM)):
            return folder
    msg = f"{_PROGRAM} and {fstab.PROGRAM} are not installed: see pip install"
    raise IntegrationError(msg)


def install(places: Places, top: argparse.ArgumentParser) -> list[Path]:
    """Put the files in their places; return them all, also those that were there.

    Raises
    ------
    IntegrationError
        A place cannot be written to, or something else is there.
    """
    contents = dict(_contents(places, top))
    for path in contents:
        _require_ours(path)
    try:
        for path, content in contents.items():
            _put(path, content)
    except OSError as error:
        raise IntegrationError(str(error)) from error
    return list(contents)


def remove(places: Places, top: argparse.ArgumentParser) -> list[Path]:
    """Remove what `install` has put there; return what was.

    Raises
    ------
    IntegrationError
        Something else is there, or cannot be removed.
    """
    found = [path for path, _ in _contents(places, top) if os.path.lexists(path)]
    for path in found:
        _require_ours(path)
    try:
        for path in found:
            path.unlink()
    except OSError as error:
        raise IntegrationError(str(error)) from error
    return found


def _contents(
    places: Places, top: argparse.ArgumentParser
) -> Iterator[tuple[Path, str | Path]]:
    """Yield each file with its text, and each link with where it leads."""
    share = _below(places.destination, places.share)
    for shell, name in _COMPLETIONS.items():
        yield share / name, _marked(completion.script(top, shell), "#")
    yield share / "man/man1/allenfs.1", _marked(manual.allenfs_page(top), _ROFF_COMMENT)
    yield (
        share / "man/man8/mount.allenfs.8",
        _marked(manual.helper_page(), _ROFF_COMMENT),
    )
    unit = service_unit.text(places.programs / _PROGRAM)
    units = _below(places.destination, places.units)
    yield units / service_unit.NAME, _marked(unit, "#")
    if places.helpers is not None:
        for name in _HELPERS:
            link = _below(places.destination, places.helpers) / name
            yield link, places.programs / fstab.PROGRAM


def _put(path: Path, content: str | Path) -> None:
    """Put a text, or a link to a path, in its place in one step."""
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(f".{path.name}.new")
    new.unlink(missing_ok=True)
    if isinstance(content, Path):
        new.symlink_to(content)
    else:
        new.write_text(content)
    new.replace(path)


def _below(destination: Path, place: Path) -> Path:
    return destination / place.relative_to("/")


def _marked(text: str, comment: str) -> str:
    # at the end: zsh reads what a file completes from its first line
    return f"{text.rstrip()}\n{comment} {_MARK}\n"


def _require_ours(path: Path) -> None:
    """Neither a package's file is replaced, nor somebody's own."""
    if path.is_symlink():
        is_ours = Path(os.readlink(path)).name == fstab.PROGRAM
    elif path.exists():
        try:  # what is no file may never end
            is_ours = path.is_file() and _MARK in path.read_text(errors="replace")
        except OSError as error:
            raise IntegrationError(str(error)) from error
    else:
        is_ours = True
    if not is_ours:
        msg = f"{path} is there, and not {_MARK}: remove it first"
        raise IntegrationError(msg)
