"""The command line's grammar: commands, flags, and what their values may be."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, TypeVar

from allenfs import __version__, config
from allenfs.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_MAX_CONNECTIONS = 999
_MAX_READAHEAD = 999
_MAX_PORT = 65_535

_Value = TypeVar("_Value")


def parser() -> argparse.ArgumentParser:
    """Return the parser; `command` in its result names the command."""
    top = argparse.ArgumentParser(
        prog="allenfs",
        description="The images of the Allen Brain Atlas as files.",
        allow_abbrev=False,
    )
    top.add_argument("--version", action="version", version=f"allenfs {__version__}")
    commands = top.add_subparsers(dest="command", metavar="COMMAND", required=True)

    def command(name: str, text: str) -> argparse.ArgumentParser:
        return commands.add_parser(
            name, help=text, description=text.capitalize() + ".", allow_abbrev=False
        )

    _add_mount(command("mount", "mount the image services on a directory"))
    umount = command("umount", "unmount; downloads under way are given up")
    umount.add_argument(
        "mountpoint", type=_checked(absolute_path), metavar="MOUNTPOINT"
    )
    url = command("url", "print the download URL that a path stands for")
    url.add_argument("path", metavar="PATH", help="in a mount, or below its root")
    path = command("path", "print the path of a download URL")
    path.add_argument("url", metavar="URL")
    cache = command("cache", "look after the stored images")
    cache.add_argument("action", choices=["info", "verify", "clear"])
    _add_store(cache)
    sample = command("sample-service", "serve sample images on a loopback port")
    sample.add_argument(
        "--port", type=_port, default=0, metavar="N", help="default: any free one"
    )
    return top


def absolute_path(text: str) -> Path:
    """Make a path absolute without looking at it: it may be a dead mount.

    Raises
    ------
    ConfigError
        It is empty (of a variable that is not set), or relative to a current
        directory that is gone.
    """
    if not text:
        msg = "an empty path"
        raise ConfigError(msg)
    return config.absolute(text)


def _add_mount(mount: argparse.ArgumentParser) -> None:
    service = mount.add_mutually_exclusive_group()
    service.add_argument(
        "--sample", action="store_true", help="mount the embedded sample service"
    )
    service.add_argument(
        "--api-url",
        metavar="URL",
        help=f"default: ${config.API_URL_VARIABLE}, or {config.DEFAULT_API_URL}",
    )
    _add_store(mount)
    _add_limits(mount)
    mount.add_argument(
        "--allow-other", action="store_true", help="let other users see the mount"
    )
    mount.add_argument(
        "-o",
        dest="fuse_options",
        action="append",
        default=[],
        metavar="FUSE-OPTIONS",
        help="options for libfuse, separated by commas",
    )
    mount.add_argument(
        "--foreground", action="store_true", help="serve until unmounted"
    )
    mount.add_argument(
        "--log-file",
        type=_checked(absolute_path),
        metavar="FILE",
        help="default: stderr in the foreground, else allenfs/allenfs.log in the "
        "user's state folder",
    )
    mount.add_argument("-v", "--verbose", action="store_true", help="log every step")
    mount.add_argument("mountpoint", type=_checked(absolute_path), metavar="MOUNTPOINT")


def _add_limits(mount: argparse.ArgumentParser) -> None:
    defaults = config.ServiceSettings(config.DEFAULT_API_URL)
    mount.add_argument(
        "--connections",
        type=_connections,
        default=defaults.connections,
        metavar="N",
        help="requests at a time (default %(default)s)",
    )
    mount.add_argument(
        "--readahead",
        type=_readahead,
        default=config.DEFAULT_READAHEAD_IMAGES,
        metavar="N",
        help="images downloaded ahead of who opens one after the other, 0 for none "
        "(default %(default)s)",
    )
    mount.add_argument(
        "--max-image-size",
        type=_checked(config.parse_size),
        default=config.DEFAULT_MAX_IMAGE_SIZE,
        metavar="N",
        help="bytes of one image (default %(default)s)",
    )
    for flag, default, text in (
        ("--connect-timeout", defaults.connect_timeout_s, "until connected"),
        ("--stall-timeout", defaults.stall_timeout_s, "without a byte"),
        ("--deadline", defaults.deadline_s, "for one image, retries included"),
    ):
        mount.add_argument(
            flag,
            type=_checked(config.parse_seconds),
            default=default,
            metavar="S",
            help=f"seconds {text} (default %(default)s)",
        )

    mount.add_argument(
        "--catalog-ttl",
        type=_checked(config.parse_duration),
        default=config.DEFAULT_CATALOG_TTL,
        metavar="TIME",
        help="how long records are used without asking again: seconds, or a number "
        "with m, h or d (default %(default)s)",
    )


def _add_store(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--cache-dir",
        metavar="DIR",
        help=f"default: ${config.CACHE_DIR_VARIABLE}, or allenfs in the user's cache "
        "folder",
    )
    command.add_argument(
        "--cache-size",
        type=_checked(config.parse_size),
        metavar="SIZE",
        help=f"default: ${config.CACHE_SIZE_VARIABLE}, or {config.DEFAULT_CACHE_SIZE}",
    )


def _checked(parse: Callable[[str], _Value]) -> Callable[[str], _Value]:
    """Let argparse report a value that `parse` refuses."""

    def parse_argument(text: str) -> _Value:
        try:
            return parse(text)
        except ConfigError as error:
            raise argparse.ArgumentTypeError(str(error)) from error

    return parse_argument


def _connections(text: str) -> int:
    return _whole_number(text, 1, _MAX_CONNECTIONS)


def _readahead(text: str) -> int:
    return _whole_number(text, 0, _MAX_READAHEAD)


def _port(text: str) -> int:
    return _whole_number(text, 0, _MAX_PORT)


def _whole_number(text: str, minimum: int, maximum: int) -> int:
    # five digits before int(): it refuses thousands of them in its own words
    if text.isascii() and text.isdecimal() and minimum <= int(text[:6]) <= maximum:
        return int(text[:6])
    msg = f"not a number from {minimum} to {maximum}: {text!r}"
    raise argparse.ArgumentTypeError(msg)
