"""Arguments that several commands share, and the parsers of their values."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from allenfs import config
from allenfs.adapters import settings
from allenfs.config import ServiceSettings, StoreSettings
from allenfs.errors import ConfigError
from allenfs.service import network

_Value = TypeVar("_Value")


def absolute_path(text: str) -> Path:
    """Make a path absolute without accessing it: it may be a dead mount.

    Raises ConfigError if the current directory no longer exists.
    """
    if not text:
        raise ConfigError("an empty path")  # of an unset shell variable
    return config.absolute(text)


def checked(parse: Callable[[str], _Value]) -> Callable[[str], _Value]:
    """Let argparse report a value that `parse` rejects."""

    def parse_argument(text: str) -> _Value:
        try:
            return parse(text)
        except ConfigError as error:
            raise argparse.ArgumentTypeError(str(error)) from error

    return parse_argument


def whole_number(minimum: int, maximum: int) -> Callable[[str], int]:
    """Return a parser of integers from `minimum` to `maximum`, at most 999999."""
    return checked(lambda text: config.parse_number(text, minimum, maximum))


def add_mountpoint(parser: argparse.ArgumentParser) -> None:
    """Add MOUNTPOINT."""
    parser.add_argument("mountpoint", type=checked(absolute_path), metavar="MOUNTPOINT")


def add_service(parser: argparse.ArgumentParser) -> None:
    """Add the arguments that select the service."""
    service = parser.add_mutually_exclusive_group()
    service.add_argument(
        "--sample", action="store_true", help="use the embedded sample service"
    )
    service.add_argument(
        "--api-url",
        metavar="URL",
        help=f"default: ${config.API_URL_VARIABLE}, or {config.DEFAULT_API_URL}",
    )
    parser.add_argument(
        "--service-name",
        metavar="NAME",
        help="share the stored images of the service that --api-url mirrors, such as "
        f"api.brain-map.org (default: ${config.SERVICE_NAME_VARIABLE}, or the host of "
        "the address)",
    )
    parser.add_argument(
        "--proxy",
        metavar="URL",
        help="connect through this proxy, such as http://HOST:PORT or "
        'socks5h://HOST:PORT; overrides HTTPS_PROXY and NO_PROXY; "" disables proxies. '
        f"Put a URL with a password in ${network.PROXY_VARIABLE} instead: other users "
        "can see command lines",
    )
    parser.add_argument(
        "--ca-bundle",
        metavar="FILE",
        help="also trust these certificates: a PEM file, or a directory prepared by "
        f"openssl-rehash(1) (default: ${network.CA_BUNDLE_VARIABLE})",
    )


def add_limits(parser: argparse.ArgumentParser) -> None:
    """Add the limits of requests."""
    defaults = ServiceSettings(config.DEFAULT_API_URL)
    parser.add_argument(
        "--connections",
        type=checked(config.parse_connections),
        default=defaults.connections,
        metavar="N",
        help="simultaneous requests (default %(default)s)",
    )
    parser.add_argument(
        "--max-image-size",
        type=checked(config.parse_size),
        default=config.DEFAULT_MAX_IMAGE_SIZE,
        metavar="N",
        help="size limit of one image (default %(default)s)",
    )
    for flag, default, text in (
        ("--connect-timeout", defaults.connect_timeout_s, "to connect"),
        ("--stall-timeout", defaults.stall_timeout_s, "without receiving data"),
        ("--deadline", defaults.deadline_s, "for one image, retries included"),
    ):
        parser.add_argument(
            flag,
            type=checked(config.parse_duration),
            default=default,
            metavar="S",
            help=f"seconds {text} (default %(default)s)",
        )
    parser.add_argument(
        "--catalog-ttl",
        type=checked(config.parse_duration),
        default=config.DEFAULT_CATALOG_TTL,
        metavar="TIME",
        help="how long records are used before they are requested again: seconds, or "
        "a number with m, h or d (default %(default)s)",
    )


def add_store(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the store."""
    parser.add_argument(
        "--cache-dir",
        metavar="DIR",
        help=f"default: ${config.CACHE_DIR_VARIABLE}, or allenfs in the user's cache "
        "directory",
    )
    parser.add_argument(
        "--cache-size",
        type=checked(config.parse_size),
        metavar="SIZE",
        help=f"default: ${config.CACHE_SIZE_VARIABLE}, or {config.DEFAULT_CACHE_SIZE}",
    )


def tree_path(text: str) -> str:
    """Return an argument as a path of the tree: UTF-8, regardless of the locale."""
    try:
        return os.fsencode(text).decode("utf-8", "surrogateescape")
    except UnicodeEncodeError:  # NUL cannot be in a command line or a path
        return text


def service_address(parsed: argparse.Namespace) -> ServiceSettings:
    """Read the arguments of `add_service`, and the environment.

    Raises UrlError, NetworkSettingError or ConfigError.
    """
    return settings.service_address(
        parsed.api_url,
        sample=parsed.sample,
        proxy=parsed.proxy,
        ca_bundle=parsed.ca_bundle,
    )


def service_settings(parsed: argparse.Namespace) -> ServiceSettings:
    """Read the arguments of `add_limits` also; raises as `service_address` does."""
    return replace(
        service_address(parsed),
        connections=parsed.connections,
        max_image_bytes=parsed.max_image_size,
        connect_timeout_s=parsed.connect_timeout,
        stall_timeout_s=parsed.stall_timeout,
        deadline_s=parsed.deadline,
        catalog_ttl_s=parsed.catalog_ttl,
    )


def service_name(parsed: argparse.Namespace, service: ServiceSettings) -> str:
    """Return the service's name in the store; raises ConfigError."""
    return settings.service_name(parsed.service_name, service, sample=parsed.sample)


def chosen_store(parsed: argparse.Namespace, service_name: str) -> StoreSettings:
    """Read the arguments of `add_store`, and the environment; do not touch the disk.

    Raises ConfigError.
    """
    return settings.chosen_store(parsed.cache_dir, parsed.cache_size, service_name)


def store_settings(parsed: argparse.Namespace, service_name: str) -> StoreSettings:
    """Return the `chosen_store` as a `settings.checked_store`; raises as both do."""
    return settings.checked_store(chosen_store(parsed, service_name))
