"""``allenfs mount``: mount the image services, in the background or foreground."""

from __future__ import annotations

import argparse
import logging
import os
import sys
from dataclasses import replace
from pathlib import Path

from allenfs import config
from allenfs.adapters.settings import checked_store
from allenfs.cli import arguments
from allenfs.config import MountSettings
from allenfs.errors import (
    ConfigError,
    MountError,
    NetworkSettingError,
    ProcessLimitError,
    UnsafeStoreError,
    UrlError,
)
from allenfs.mount.log_output import LogOutput, block_switch
from allenfs.service import network
from allenfs.text import printable

SUMMARY = "mount the image services on a directory"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    arguments.add_service(parser)
    arguments.add_store(parser)
    arguments.add_limits(parser)
    parser.add_argument(
        "--readahead",
        type=arguments.checked(config.parse_readahead),
        default=config.DEFAULT_READAHEAD_IMAGES,
        metavar="N",
        help="images to download ahead of sequential reads, 0 for none "
        "(default %(default)s)",
    )
    parser.add_argument(
        "--allow-other", action="store_true", help="let other users see the mount"
    )
    parser.add_argument(
        "-o",
        dest="fuse_options",
        action="append",
        default=[],
        metavar="FUSE-OPTIONS",
        help="comma-separated options for libfuse",
    )
    parser.add_argument(
        "--foreground", action="store_true", help="do not run in the background"
    )
    parser.add_argument(
        "--log-file",
        type=arguments.checked(arguments.absolute_path),
        metavar="FILE",
        help="default: stderr in the foreground, else allenfs/allenfs.log in the "
        "user's state directory",
    )
    parser.add_argument("-v", "--verbose", action="store_true", help="log every step")
    arguments.add_mountpoint(parser)


def run(parsed: argparse.Namespace) -> None:
    """Mount; return when the mountpoint answers, or in the foreground when it ends."""
    if parsed.foreground:
        block_switch()
    # the serving process changes its directory
    os.environ.update(network.absolute_variables(os.environ))
    settings = settings_of(parsed)
    if settings.service.proxy:
        # not an argument: other users could read its password
        os.environ[network.PROXY_VARIABLE] = settings.service.proxy
    try:
        if parsed.foreground:
            _serve(parsed, settings)
        else:
            _start(parsed, settings)
    except (OSError, ProcessLimitError, UnsafeStoreError) as error:
        raise MountError(str(error)) from error


def _serve(parsed: argparse.Namespace, settings: MountSettings) -> None:
    from allenfs.mount import daemon

    def warn(text: str) -> None:
        print(f"{daemon.WARNING}{printable(text)}", file=sys.stderr)

    settings = replace(settings, store=checked_store(settings.store))
    output = LogOutput(parsed.log_file)
    try:
        output.prepare()
    except OSError as error:
        raise ConfigError(f"cannot write the log file: {error}") from error
    root = logging.getLogger("allenfs")
    root.addHandler(output)
    root.setLevel(logging.DEBUG if parsed.verbose else logging.INFO)
    os.chdir("/")  # a mount must not keep the current directory busy
    # without a log file, the log goes to stderr and already has the warning
    daemon.run(settings, output, warn=warn if parsed.log_file else None)
    daemon.end_process()


def _start(parsed: argparse.Namespace, settings: MountSettings) -> None:
    from allenfs.mount import daemon

    log_file = parsed.log_file or _default_log_file()
    daemon_arguments = _daemon_arguments(parsed, settings, log_file)
    for warning in daemon.start(settings.mountpoint, daemon_arguments):
        print(warning, file=sys.stderr)


def settings_of(parsed: argparse.Namespace) -> MountSettings:
    """Read the arguments of `add_arguments`, and the environment.

    The store's directory is not accessed: its file system may hang, and the command
    must not hang with it. Raises ConfigError, or MountError for the address of the
    service or proxy.
    """
    try:
        service = arguments.service_settings(parsed)
    except (NetworkSettingError, UrlError) as error:
        raise MountError(str(error)) from error
    store = arguments.chosen_store(parsed, arguments.service_name(parsed, service))
    options = config.parse_fuse_options(parsed.fuse_options)
    if parsed.allow_other:
        options["allow_other"] = True
    return MountSettings(
        mountpoint=parsed.mountpoint,
        service=service,
        store=store,
        sample=parsed.sample,
        fuse_options=options,
        readahead_images=parsed.readahead,
    )


def _daemon_arguments(
    parsed: argparse.Namespace, settings: MountSettings, log_file: Path
) -> list[str]:
    """Return the command line of the background process, with every setting."""
    service, store = settings.service, settings.store
    return [
        *("mount", "--foreground", "--log-file", str(log_file)),
        *(["--verbose"] if parsed.verbose else []),
        *(["--sample"] if parsed.sample else ["--api-url", service.api_url]),
        *(["--service-name", parsed.service_name] if parsed.service_name else []),
        *(["--proxy="] if service.proxy == "" else []),
        *(["--ca-bundle", str(service.ca_bundle)] if service.ca_bundle else []),
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


def _default_log_file() -> Path:
    """Return the log file of a background mount, /dev/null if it is not writable."""
    try:
        log_file = config.default_log_file(os.environ)
        log_file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        log_file.open("a").close()
    except (OSError, ConfigError) as error:
        print(f"allenfs: mounting without a log: {error}", file=sys.stderr)
        return Path(os.devnull)
    return log_file
