"""The command line: arguments in, exit codes out."""

from __future__ import annotations

import logging
import logging.handlers
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from allenfs import arguments, config, mountpoint, trust
from allenfs.config import MountSettings, ServiceSettings, StoreSettings
from allenfs.errors import (
    AllenFSError,
    ConfigError,
    MountError,
    PathNotFoundError,
    UnsafeStoreError,
    UrlError,
)
from allenfs.layout import own_directory

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Sequence

_EXIT_FAILED, _EXIT_INTERRUPTED = 1, 130


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; return its exit code.

    0, or 2 for a wrong command line, 3 for a mount that failed, 1 for the
    rest, with one line on stderr.
    """
    parsed = arguments.parser().parse_args(argv)
    try:
        return _COMMANDS[parsed.command](parsed) or 0
    except AllenFSError as error:
        print(f"allenfs: {error}", file=sys.stderr)
        return error.exit_code
    except OSError as error:
        print(f"allenfs: {error}", file=sys.stderr)
        return _EXIT_FAILED
    except KeyboardInterrupt:
        return _EXIT_INTERRUPTED


def _mount(parsed: argparse.Namespace) -> None:
    from allenfs import mount  # noqa: PLC0415 - `url` and `path` do without it

    settings = _mount_settings(parsed)
    if parsed.foreground:
        _set_up_log(parsed.log_file, verbose=parsed.verbose)
        os.chdir("/")  # a mount must not keep the current directory busy
        mount.run(settings)
        return
    log_file = parsed.log_file or _default_log_file()
    try:
        mount.start(settings.mountpoint, _daemon_arguments(parsed, settings, log_file))
    except OSError as error:
        raise MountError(str(error)) from error


def _daemon_arguments(
    parsed: argparse.Namespace, settings: MountSettings, log_file: Path
) -> list[str]:
    """Spell every setting out, for a process that starts in another directory."""
    service, store = settings.service, settings.store
    return [
        *("mount", "--foreground", "--log-file", str(log_file)),
        *(["--verbose"] if parsed.verbose else []),
        *(["--sample"] if parsed.sample else ["--api-url", service.api_url]),
        *("--cache-dir", str(store.directory)),
        *("--cache-size", str(store.capacity_bytes)),
        *("--connections", str(service.connections)),
        *("--readahead", str(settings.readahead_images)),
        *("--max-image-size", str(service.max_image_bytes)),
        *("--connect-timeout", str(service.connect_timeout_s)),
        *("--stall-timeout", str(service.stall_timeout_s)),
        *("--deadline", str(service.deadline_s)),
        *("--catalog-ttl", str(service.catalog_ttl_s)),
        *(["--allow-other"] if parsed.allow_other else []),
        *(f"-o{options}" for options in parsed.fuse_options),
        *("--", str(settings.mountpoint)),
    ]


def _mount_settings(parsed: argparse.Namespace) -> MountSettings:
    chosen = parsed.api_url
    if chosen is None:
        chosen = os.environ.get(config.API_URL_VARIABLE) or config.DEFAULT_API_URL
    try:
        api_url = config.parse_api_url(
            config.DEFAULT_API_URL if parsed.sample else chosen
        )
        store = _store_settings(parsed, config.service_name(api_url))
    except (UrlError, UnsafeStoreError) as error:
        raise MountError(str(error)) from error
    options = config.parse_fuse_options(parsed.fuse_options)
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
            catalog_ttl_s=parsed.catalog_ttl,
        ),
        store=store,
        sample=parsed.sample,
        fuse_options=options,
        readahead_images=parsed.readahead,
    )


def _store_settings(parsed: argparse.Namespace, service_name: str) -> StoreSettings:
    capacity_bytes = parsed.cache_size or config.parse_size(
        os.environ.get(config.CACHE_SIZE_VARIABLE) or config.DEFAULT_CACHE_SIZE
    )
    chosen = config.cache_dir(parsed.cache_dir, os.environ)
    # a link of the user's own: nobody's that takes its place later
    directory = own_directory(chosen.resolve())
    trust.require_own(directory)
    return StoreSettings(directory, capacity_bytes, service_name)


def _default_log_file() -> Path:
    """Return the log of a mount in the background; no log is no reason not to mount."""
    log_file = config.default_log_file(os.environ)
    try:
        log_file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        log_file.open("a").close()
    except OSError as error:
        print(f"allenfs: mounting without a log: {error}", file=sys.stderr)
        return Path(os.devnull)
    return log_file


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


def _umount(parsed: argparse.Namespace) -> None:
    from allenfs.unmount import unmount  # noqa: PLC0415

    unmount(parsed.mountpoint)


def _url(parsed: argparse.Namespace) -> None:
    from allenfs import tree  # noqa: PLC0415

    chosen = os.environ.get(config.API_URL_VARIABLE)
    api_url = config.parse_api_url(chosen or config.DEFAULT_API_URL)
    try:
        node = tree.parse(parsed.path.removeprefix("./"))
    except PathNotFoundError:
        node = tree.parse(_below_mountpoint(parsed.path))
    print(tree.request_of(node).url(api_url))


def _below_mountpoint(text: str) -> str:
    """Cut the mountpoint off, where the path is one in a mount."""
    path = arguments.absolute_path(text)
    for place in mountpoint.mounted():
        if path.is_relative_to(place):
            return str(path.relative_to(place))
    return text


def _print_path(parsed: argparse.Namespace) -> None:
    from allenfs.images import request_of_url  # noqa: PLC0415

    print(request_of_url(parsed.url).path)


def _cache(parsed: argparse.Namespace) -> int:
    from allenfs import upkeep  # noqa: PLC0415
    from allenfs.layout import Layout  # noqa: PLC0415
    from allenfs.shelf import Shelf  # noqa: PLC0415
    from allenfs.store import Store  # noqa: PLC0415

    settings = _store_settings(parsed, config.service_name(config.DEFAULT_API_URL))
    layout, store = Layout(settings.directory, settings.service_name), Store(settings)
    shelf = Shelf(settings)
    if parsed.action == "clear":
        print(f"{store.clear()} images removed")
        print(f"{shelf.clear()} records removed")
    elif parsed.action == "verify":
        checked, damaged = upkeep.verify(layout, store)
        read, broken = shelf.verify()
        print(f"{checked} images checked, {damaged} damaged and removed")
        print(f"{read} records checked, {broken} damaged and removed")
        return _EXIT_FAILED if damaged or broken else 0
    else:
        records_bytes = [used_bytes for _, used_bytes, _ in shelf.usage()]
        _print_sizes(upkeep.sizes(layout), records_bytes, settings)
    return 0


def _print_sizes(
    images: dict[str, tuple[int, int]],
    records_bytes: list[int],
    settings: StoreSettings,
) -> None:
    used_bytes = sum(records_bytes)
    used_bytes += sum(service_bytes for _, service_bytes in images.values())
    print(f"directory  {_printable(str(settings.directory))}")
    print(f"used       {used_bytes} of {settings.capacity_bytes} bytes")
    for name, (count, service_bytes) in sorted(images.items()):
        print(f"{_printable(name)}  {count} images, {service_bytes} bytes")
    print(f"catalog    {len(records_bytes)} records, {sum(records_bytes)} bytes")


def _printable(name: str) -> str:
    return name.encode(errors="backslashreplace").decode()


def _sample_service(parsed: argparse.Namespace) -> None:
    try:
        from allenfs.sample.server import SampleService  # noqa: PLC0415
    except ImportError as error:
        msg = f"the sample service needs allenfs[sample]: {error}"
        raise AllenFSError(msg) from error
    ends = {signal.SIGINT, signal.SIGTERM}
    # before the service's threads start: they would take the signal, and die of it
    signal.pthread_sigmask(signal.SIG_BLOCK, ends)
    with SampleService(port=parsed.port) as service:
        print(f"sample service on {service.url}, Ctrl-C ends it", flush=True)
        signal.sigwait(ends)


_COMMANDS: dict[str, Callable[[argparse.Namespace], int | None]] = {
    "mount": _mount,
    "umount": _umount,
    "url": _url,
    "path": _print_path,
    "cache": _cache,
    "sample-service": _sample_service,
}
