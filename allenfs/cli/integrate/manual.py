"""The manual pages, generated from the parsers."""

from __future__ import annotations

import argparse
import os
import time
from typing import TYPE_CHECKING

from allenfs import __version__, config
from allenfs.cli import fstab
from allenfs.service import network

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_WIDTH = 76
_ESCAPES = {
    ord(char): escape
    for char, escape in (
        *(("\\", "\\e"), ("-", "\\-"), ("'", "\\(aq"), ("`", "\\(ga")),
        *(("^", "\\(ha"), ("~", "\\(ti")),
    )
}

_ENVIRONMENT = (
    (config.API_URL_VARIABLE, "the service, unless a flag sets it"),
    (config.CACHE_DIR_VARIABLE, "the directory of the stored images"),
    (config.CACHE_SIZE_VARIABLE, "its size limit, such as 500MB or 10GiB"),
    (network.PROXY_VARIABLE, "the proxy; overrides the variables below"),
    ("HTTPS_PROXY, HTTP_PROXY, NO_PROXY", "the proxy, as in curl(1)"),
    (", ".join(network.CA_BUNDLE_VARIABLES), "additional trusted certificates"),
    (
        network.NETRC_VARIABLE,
        "passwords of services, in place of ~/.netrc",
    ),
    ("NOTIFY_SOCKET", "with --foreground: notified when the mount answers"),
)
_FILES = (
    ("~/.cache/allenfs", "the stored images and records"),
    ("~/.local/state/allenfs/allenfs.log", "the log: why something could not be read"),
)
_EXIT_STATUS = (
    ("0", "success"),
    ("1", "failure, with one line that says why"),
    ("2", "a wrong command line"),
    ("3", "the mount failed"),
)
_HELPER_EXIT_STATUS = (
    ("0", "mounted, or it was already"),
    ("1", "a wrong option or source"),
    ("2", "a system error"),
    ("32", "the mount failed"),
)
_HELPER_TEXT = (
    "Every flag of allenfs mount is an option here, without the dashes: "
    "cache-dir=/var/cache/allenfs. So are the libfuse options that allenfs mount takes "
    "after -o. Options that only mount(8), fstab(5) or systemd.mount(5) use are "
    "accepted and ignored. The mount is read-only, even with rw. Put a value that "
    "contains a comma in double quotes.",
    "At boot the mount runs as root, who keeps the images in /root/.cache unless "
    "cache-dir= is set.",
)
_SETUID_TEXT = "mount as this user, who owns the mount, the images and the log"
FSTAB = (
    "default  /mnt/allen  allenfs  "
    "noauto,x-systemd.automount,_netdev,nofail,allow_other  0 0"
)


def allenfs_page(top: argparse.ArgumentParser) -> str:
    """Return allenfs(1).

    Parameters
    ----------
    top
        The parser of the whole command line.
    """
    summary = (top.description or "").rstrip(".")
    return _page(
        _head("allenfs", 1, f"{summary[:1].lower()}{summary[1:]}"),
        _section("SYNOPSIS", _usage(top)),
        _section("DESCRIPTION", _text(top.description or "")),
        _section("OPTIONS", _terms(_described(top))),
        _section("COMMANDS", *map(_command, _commands(top))),
        _section("ENVIRONMENT", _terms(_ENVIRONMENT)),
        _section("FILES", _terms(_FILES)),
        _section("EXIT STATUS", _terms(_EXIT_STATUS)),
        _section("SEE ALSO", _text("mount.allenfs(8), fusermount(1)")),
    )


def helper_page() -> str:
    """Return mount.allenfs(8)."""
    helper = fstab.parser()
    flags = [
        (_without_dashes(term), text)
        for term, text in _described(fstab.mount_parser())
        if term.startswith(("--", "-v, --"))
        and not term.startswith(tuple(f"--{name}" for name in fstab.NO_OPTIONS))
    ]
    flags.append((f"{fstab.SETUID}=USER", _SETUID_TEXT))
    return _page(
        _head(fstab.PROGRAM, 8, "mount the Allen Brain Atlas image services"),
        _section("SYNOPSIS", _usage(helper)),
        _section(
            "DESCRIPTION",
            _text(helper.description or ""),
            ".PP",
            "\n.PP\n".join(map(_text, _HELPER_TEXT)),
        ),
        _section("OPTIONS", _terms(_described(helper))),
        _section("MOUNT OPTIONS", _terms(flags)),
        _section("EXAMPLES", _text("A line of fstab(5):"), ".PP", *_verbatim(FSTAB)),
        _section("EXIT STATUS", _terms(_HELPER_EXIT_STATUS)),
        _section("SEE ALSO", _text("allenfs(1), mount(8), fstab(5)")),
    )


def _commands(
    parser: argparse.ArgumentParser,
) -> Iterator[argparse.ArgumentParser]:
    """Yield the parsers of the commands and subcommands."""
    for action in parser._actions:  # noqa: SLF001 - argparse has no other way
        if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001
            for command in action.choices.values():
                yield command
                yield from _commands(command)


def _described(parser: argparse.ArgumentParser) -> Iterator[tuple[str, str]]:
    """Yield each argument of a parser, and its help."""
    for action in parser._actions:  # noqa: SLF001
        if action.help == argparse.SUPPRESS or isinstance(
            action,
            argparse._SubParsersAction,  # noqa: SLF001
        ):
            continue
        value = action.metavar or (
            f"{{{','.join(map(str, action.choices))}}}"
            if action.choices
            else action.dest.upper()
        )
        names = ", ".join(action.option_strings)
        takes_value = action.nargs != 0
        term = " ".join(filter(None, [names, str(value) if takes_value else ""]))
        text = (action.help or "") % {**vars(action), "prog": parser.prog}
        yield term, text


def _without_dashes(term: str) -> str:
    """Return ``cache-dir=DIR`` for ``--cache-dir DIR``."""
    return term.rpartition("--")[2].replace(" ", "=", 1)


def _head(name: str, section: int, summary: str) -> str:
    return "\n".join(
        [
            f'.TH {_escaped(name.upper())} {section} {_date()} "allenfs {__version__}"',
            ".SH NAME",
            f"{_escaped(name)} \\- {_escaped(summary)}",
        ]
    )


def _date() -> str:
    """Return today's date, or that of SOURCE_DATE_EPOCH in a package build."""
    seconds = os.environ.get("SOURCE_DATE_EPOCH", "")
    now_s = int(seconds) if seconds.isdecimal() else time.time()
    return time.strftime("%Y-%m-%d", time.gmtime(now_s))


def _page(*parts: str) -> str:
    return "\n".join(parts) + "\n"


def _section(title: str, *parts: str) -> str:
    return "\n".join([f".SH {title}", *parts])


def _command(parser: argparse.ArgumentParser) -> str:
    parts = [
        f".SS {_escaped(parser.prog.partition(' ')[2])}",
        _text(parser.description or ""),
        ".PP",
        _usage(parser),
    ]
    return "\n".join([*parts, _terms(_described(parser))])


def _usage(parser: argparse.ArgumentParser) -> str:
    formatter = argparse.HelpFormatter(parser.prog, width=_WIDTH)
    formatter.add_usage(
        parser.usage,
        parser._actions,  # noqa: SLF001
        parser._mutually_exclusive_groups,  # noqa: SLF001
        prefix="",
    )
    return "\n".join(_verbatim(formatter.format_help().strip()))


def _verbatim(text: str) -> list[str]:
    return [".nf", *map(_escaped, text.splitlines()), ".fi"]


def _terms(terms: Iterable[tuple[str, str]]) -> str:
    lines: list[str] = []
    for term, text in terms:
        # without a text, the next term would become the text
        lines += [".TP", f"\\fB{_escaped(term)}\\fR", _text(text) if text else "\\&"]
    return "\n".join(lines)


def _text(text: str) -> str:
    return _escaped(" ".join(text.split()))


def _escaped(line: str) -> str:
    """Escape what roff(7) treats as a request, a glyph or an escape."""
    escaped = line.translate(_ESCAPES)
    return f"\\&{escaped}" if escaped.startswith(".") else escaped
