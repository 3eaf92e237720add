"""The manual pages, generated from the parsers."""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Iterable

from allenfs import __version__, config
from allenfs.cli import fstab
from allenfs.service import network

_WIDTH = 76
_ESCAPES = str.maketrans(
    {"\\": "\\e", "-": "\\-", "'": "\\(aq", "`": "\\(ga", "^": "\\(ha", "~": "\\(ti"}
)
_EMPTY = "\\&"  # without a text, the next term would be taken as the text

_ENVIRONMENT = (
    (config.API_URL_VARIABLE, "the service, unless a flag sets it"),
    (config.CACHE_DIR_VARIABLE, "the directory of the stored images"),
    (config.CACHE_SIZE_VARIABLE, "its size limit, such as 500MB or 10GiB"),
    (network.PROXY_VARIABLE, "the proxy; overrides the variables below"),
    ("HTTPS_PROXY, HTTP_PROXY, NO_PROXY", "the proxy, as in curl(1)"),
    (", ".join(network.CA_BUNDLE_VARIABLES), "additional trusted certificates"),
    (network.NETRC_VARIABLE, "passwords of services, in place of ~/.netrc"),
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
    ("0", "mounted, or already mounted"),
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
    "At boot the mount runs as root, and stores the images in /root/.cache unless "
    "cache-dir= is set.",
)
FSTAB = (
    "default  /mnt/allen  allenfs  "
    "noauto,x-systemd.automount,_netdev,nofail,allow_other  0 0"
)


def allenfs_page(top: argparse.ArgumentParser) -> str:
    """Return allenfs(1), from the parser of the whole command line."""
    description = top.description or ""
    return _page(
        _head("allenfs", 1, f"{description[:1].lower()}{description[1:].rstrip('.')}"),
        ".SH SYNOPSIS",
        _usage(top),
        ".SH DESCRIPTION",
        _escaped(description),
        ".SH OPTIONS",
        _described(top),
        ".SH COMMANDS",
        *map(_section, commands(top)),
        ".SH ENVIRONMENT",
        _terms(_ENVIRONMENT),
        ".SH FILES",
        _terms(_FILES),
        ".SH EXIT STATUS",
        _terms(_EXIT_STATUS),
        ".SH SEE ALSO",
        _escaped("mount.allenfs(8), fusermount(1)"),
    )


def helper_page() -> str:
    """Return mount.allenfs(8)."""
    helper = fstab.parser()
    options = [
        (name if action.nargs == 0 else f"{name}={action.metavar}", _help(action))
        for name, action in fstab.mount_flags().items()
    ]
    return _page(
        _head(fstab.PROGRAM, 8, "mount the Allen Brain Atlas image services"),
        ".SH SYNOPSIS",
        _usage(helper),
        ".SH DESCRIPTION",
        "\n.PP\n".join(map(_escaped, (helper.description or "", *_HELPER_TEXT))),
        ".SH OPTIONS",
        _described(helper),
        ".SH MOUNT OPTIONS",
        _terms(options),
        ".SH EXAMPLES",
        "A line of fstab(5):",
        ".PP",
        _verbatim(FSTAB),
        ".SH EXIT STATUS",
        _terms(_HELPER_EXIT_STATUS),
        ".SH SEE ALSO",
        "allenfs(1), mount(8), fstab(5)",
    )


def commands(top: argparse.ArgumentParser) -> list[argparse.ArgumentParser]:
    """Return the parsers of the commands."""
    return next(
        list(action.choices.values())
        for action in actions(top)
        if isinstance(action.choices, dict)
    )


def actions(parser: argparse.ArgumentParser) -> list[argparse.Action]:
    """Return the arguments of a parser."""
    return parser._actions  # noqa: SLF001 - argparse has no other way


def _section(parser: argparse.ArgumentParser) -> str:
    name, description = parser.prog.partition(" ")[2], parser.description or ""
    head = f".SS {_escaped(name)}\n{_escaped(description)}\n.PP"
    return "\n".join([head, _usage(parser), _described(parser)])


def _described(parser: argparse.ArgumentParser) -> str:
    """Return each argument of a parser, and its help."""
    terms = []
    for action in actions(parser):
        if isinstance(action.choices, dict):
            continue  # the commands
        choices = action.choices and f"{{{','.join(action.choices)}}}"
        value = action.metavar or choices or action.dest.upper()
        words = [", ".join(action.option_strings)]
        if action.nargs != 0:
            words.append(str(value))
        terms.append((" ".join(filter(None, words)), _help(action)))
    return _terms(terms)


def _help(action: argparse.Action) -> str:
    return (action.help or "") % vars(action)


def _head(name: str, section: int, summary: str) -> str:
    # the date of a package build, or today
    now_s = float(os.environ.get("SOURCE_DATE_EPOCH") or time.time())
    date = time.strftime("%Y-%m-%d", time.gmtime(now_s))
    return (
        f'.TH {_escaped(name.upper())} {section} {date} "allenfs {__version__}"\n'
        f".SH NAME\n{_escaped(name)} \\- {_escaped(summary)}"
    )


def _page(*parts: str) -> str:
    return "\n".join(parts) + "\n"


def _usage(parser: argparse.ArgumentParser) -> str:
    formatter = argparse.HelpFormatter(parser.prog, width=_WIDTH)
    formatter.add_usage(
        parser.usage,
        actions(parser),
        parser._mutually_exclusive_groups,  # noqa: SLF001
        prefix="",
    )
    return _verbatim(formatter.format_help().strip())


def _verbatim(text: str) -> str:
    return "\n".join([".nf", *map(_escaped, text.splitlines()), ".fi"])


def _terms(terms: Iterable[tuple[str, str]]) -> str:
    return "\n".join(
        f".TP\n\\fB{_escaped(term)}\\fR\n{_escaped(text) or _EMPTY}"
        for term, text in terms
    )


def _escaped(line: str) -> str:
    """Escape what roff(7) treats as a request, a glyph or an escape."""
    escaped = line.translate(_ESCAPES)
    return f"\\&{escaped}" if escaped.startswith(".") else escaped
