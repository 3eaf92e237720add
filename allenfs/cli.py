"""The command line: arguments in, exit codes out."""

from __future__ import annotations

import argparse
import logging
import logging.handlers
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from allenfs import __version__, config
from allenfs.config import MountSettings, ServiceSettings, StoreSettings
from allenfs.errors import AllenFSError, ConfigError, MountError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from allenfs.store import Store

_EXIT_WRONG, _EXIT_FAILED, _EXIT_INTERRUPTED = 2, 1, 130
_MOUNT_FAILED = MountError.exit_code


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; return its exit code.

    0, or 2 for a wrong command line, 3 for a mount that failed, 1 for the
    rest, with one line on stderr.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    parsed = _parser().parse_args(given)
    try:
        return int(parsed.run(parsed, given) or 0)
    except AllenFSError as error:
        print(f"allenfs: {error}", file=sys.stderr)
        return error.exit_code
    except OSError as error:
        print(f"allenfs: {error}", file=sys.stderr)
        return _EXIT_FAILED
    except KeyboardInterrupt:
        return _EXIT_INTERRUPTED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="allenfs",
        description="The images of the Allen Brain Atlas as files.",
    )
    parser.add_argument("--version", action="version", version=f"allenfs {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    _add_mount(commands.add_parser("mount", help="mount the image services"))

    umount = commands.add_parser("umount", help="unmount")
    umount.add_argument("mountpoint", type=_path, metavar="MOUNTPOINT")
    umount.set_defaults(run=_umount)

    url = commands.add_parser("url", help="print the URL that a path stands for")
    url.add_argument("path", metavar="PATH", help="in a mount, or below its root")
    url.add_argument("--api-url", metavar="URL", help=argparse.SUPPRESS)
    url.set_defaults(run=_url)

    path = commands.add_parser("path", help="print the path of a download URL")
    path.add_argument("url", metavar="URL")
    path.set_defaults(run=_print_path)

    cache = commands.add_parser("cache", help="look after the stored images")
    cache.add_argument("action", choices=["info", "verify", "clear"])
    _add_store_arguments(cache)
    cache.set_defaults(run=_cache)

    sample = commands.add_parser("sample-service", help="serve sample images")
    sample.add_argument("--port", type=_port, default=0, metavar="N")
    sample.set_defaults(run=_sample_service)
    return parser


def _add_mount(mount: argparse.ArgumentParser) -> None:
    defaults = ServiceSettings(config.DEFAULT_API_URL)
    service = mount.add_mutually_exclusive_group()
    service.add_argument(
        "--sample", action="store_true", help="mount the embedded sample service"
    )
    service.add_argument(
        "--api-url",
        metavar="URL",
        help=f"${config.API_URL_VARIABLE}, else {config.DEFAULT_API_URL}",
    )
    _add_store_arguments(mount)
    for flag, parse, default, text in (
        ("--connections", _count, defaults.connections, "requests at a time"),
        (
            "--max-image-size",
            _argument(config.parse_size),
            config.DEFAULT_MAX_IMAGE_SIZE,
            "bytes of one image",
        ),
        (
            "--connect-timeout",
            _argument(config.parse_seconds),
            defaults.connect_timeout_s,
            "seconds until connected",
        ),
        (
            "--stall-timeout",
            _argument(config.parse_seconds),
            defaults.stall_timeout_s,
            "seconds without a byte",
        ),
        (
            "--deadline",
            _argument(config.parse_seconds),
            defaults.deadline_s,
            "seconds for one image",
        ),
    ):
        metavar = "S" if parse not in (_count,) and "size" not in flag else "N"
        mount.add_argument(
            flag,
            type=parse,
            default=default,
            metavar=metavar,
            help=f"{text} (default %(default)s)",
        )
    mount.add_argument(
        "--allow-other", action="store_true", help="let other users see the mount"
    )
    mount.add_argument(
        "-o", dest="options", action="append", default=[], metavar="FUSE-OPTIONS"
    )
    mount.add_argument(
        "--foreground", action="store_true", help="serve until unmounted"
    )
    mount.add_argument("--log-file", type=_path, metavar="FILE")
    mount.add_argument("-v", "--verbose", action="store_true", help="log every step")
    mount.add_argument("mountpoint", type=_path, metavar="MOUNTPOINT")
    mount.set_defaults(run=_mount)


def _add_store_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--cache-dir",
        metavar="DIR",
        help=f"${config.CACHE_DIR_VARIABLE}, else allenfs in the user's cache folder",
    )
    parser.add_argument(
        "--cache-size",
        type=_argument(config.parse_size),
        metavar="SIZE",
        help=f"${config.CACHE_SIZE_VARIABLE}, else {config.DEFAULT_CACHE_SIZE}",
    )


def _argument(parse: Callable[[str], object]) -> Callable[[str], object]:
    """Let argparse report a value that `parse` refuses."""

    def parse_argument(text: str) -> object:
        try:
            return parse(text)
        except ConfigError as error:
            raise argparse.ArgumentTypeError(str(error)) from error

    return parse_argument


def _count(text: str) -> int:
    if text.isascii() and text.isdecimal() and 0 < int(text[:4]) < 1000:
        return int(text)
    msg = f"not a number from 1 to 999: {text!r}"
    raise argparse.ArgumentTypeError(msg)


def _port(text: str) -> int:
    if text.isascii() and text.isdecimal() and int(text[:6]) < 2**16:
        return int(text)
    msg = f"not a port: {text!r}"
    raise argparse.ArgumentTypeError(msg)


def _path(text: str) -> Path:
    return Path(os.path.abspath(text))


def _mount(parsed: argparse.Namespace, given: list[str]) -> None:
    from allenfs import mount  # noqa: PLC0415 - `url` and `path` do without it

    settings = _mount_settings(parsed)
    if parsed.foreground:
        _set_up_log(parsed.log_file, verbose=parsed.verbose)
        os.chdir("/")  # a mount must not keep the current directory busy
        mount.run(settings)
        return
    arguments = [*given, "--foreground"]
    if parsed.log_file is None:
        arguments += ["--log-file", str(config.default_log_file(os.environ))]
    mount.start(settings.mountpoint, arguments)


def _mount_settings(parsed: argparse.Namespace) -> MountSettings:
    chosen = parsed.api_url or os.environ.get(config.API_URL_VARIABLE)
    try:
        api_url = config.parse_api_url(
            config.DEFAULT_API_URL if parsed.sample or not chosen else chosen
        )
    except AllenFSError as error:
        raise MountError(str(error)) from error
    options = config.parse_fuse_options(parsed.options)
    if parsed.allow_other:
        options["allow_other"] = True
    return MountSettings(
        mountpoint=parsed.mountpoint,
        service=ServiceSettings(
            api_url,
            connections=parsed.connections,
            max_image_bytes=parsed.max_image_size,
            connect_timeout_s=parsed.connect_timeout,
            stall_timeout_s=parsed.stall_timeout,
            deadline_s=parsed.deadline,
        ),
        store=_store_settings(parsed, config.service_name(api_url)),
        sample=parsed.sample,
        fuse_options=options,
    )


def _store_settings(parsed: argparse.Namespace, service_name: str) -> StoreSettings:
    capacity_bytes = parsed.cache_size or config.parse_size(
        os.environ.get(config.CACHE_SIZE_VARIABLE) or config.DEFAULT_CACHE_SIZE
    )
    directory = config.cache_dir(parsed.cache_dir, os.environ)
    return StoreSettings(directory, capacity_bytes, service_name)


def _set_up_log(log_file: Path | None, *, verbose: bool) -> None:
    handler: logging.Handler = logging.StreamHandler()
    if log_file is not None:
        try:
            log_file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            handler = logging.handlers.WatchedFileHandler(log_file)
        except OSError as error:
            msg = f"cannot write the log file: {error}"
            raise ConfigError(msg) from error
    handler.setFormatter(
        logging.Formatter("%(asctime)s %(process)d %(levelname)s %(name)s: %(message)s")
    )
    root = logging.getLogger("allenfs")
    root.addHandler(handler)
    root.setLevel(logging.DEBUG if verbose else logging.INFO)


def _umount(parsed: argparse.Namespace, _given: list[str]) -> None:
    from allenfs import mount  # noqa: PLC0415

    mount.unmount(parsed.mountpoint)


def _url(parsed: argparse.Namespace, _given: list[str]) -> None:
    from allenfs import tree  # noqa: PLC0415

    chosen = parsed.api_url or os.environ.get(config.API_URL_VARIABLE)
    api_url = config.parse_api_url(chosen or config.DEFAULT_API_URL)
    node = tree.parse(_below_mountpoint(parsed.path))
    if not isinstance(node, tree.ImageFile):
        msg = f"{parsed.path!r} is a directory: a URL is of an image"
        raise AllenFSError(msg)
    print(node.request.url(api_url))


def _below_mountpoint(text: str) -> str:
    """Cut the mountpoint off, where the path is one in a mount."""
    from allenfs import mount  # noqa: PLC0415

    path = _path(text)
    for parent in path.parents:
        if mount.is_mounted(parent):
            return str(path.relative_to(parent))
    return text


def _print_path(parsed: argparse.Namespace, _given: list[str]) -> None:
    from allenfs.images import request_of_url  # noqa: PLC0415

    print(request_of_url(parsed.url).path)


def _cache(parsed: argparse.Namespace, _given: list[str]) -> int:
    from allenfs.store import Store  # noqa: PLC0415

    settings = _store_settings(parsed, config.service_name(config.DEFAULT_API_URL))
    store = Store(settings)
    actions = {"info": _cache_info, "verify": _cache_verify, "clear": _cache_clear}
    return actions[parsed.action](store, settings)


def _cache_info(store: Store, settings: StoreSettings) -> int:
    sizes = store.sizes()
    used_bytes = sum(service_bytes for _, service_bytes in sizes.values())
    print(f"directory  {settings.directory}")
    print(f"used       {used_bytes} of {settings.capacity_bytes} bytes")
    for name, (count, service_bytes) in sorted(sizes.items()):
        print(f"{name}  {count} images, {service_bytes} bytes")
    return 0


def _cache_verify(store: Store, _settings: StoreSettings) -> int:
    checked, damaged = store.verify()
    print(f"{checked} images checked, {damaged} damaged and removed")
    return _EXIT_FAILED if damaged else 0


def _cache_clear(store: Store, _settings: StoreSettings) -> int:
    print(f"{store.clear()} images removed")
    return 0


def _sample_service(parsed: argparse.Namespace, _given: list[str]) -> None:
    try:
        from allenfs.sample.server import SampleService  # noqa: PLC0415
    except ImportError as error:
        msg = f"the sample service needs allenfs[sample]: {error}"
        raise AllenFSError(msg) from error
    with SampleService(port=parsed.port) as service:
        print(f"sample service on {service.url}, Ctrl-C ends it", flush=True)
        signal.sigwait({signal.SIGINT, signal.SIGTERM})
