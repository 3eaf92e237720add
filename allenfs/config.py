"""Settings: frozen, units in names, read from flags and environment.

An invalid value raises ConfigError, an invalid address UrlError.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

from allenfs.errors import ConfigError, UrlError
from allenfs.text import file_name, without_user

DEFAULT_API_URL = "https://api.brain-map.org"
DEFAULT_CACHE_SIZE = "10GiB"
DEFAULT_MAX_IMAGE_SIZE = "1GiB"
# Twice the default of four connections, so that these are never idle.
DEFAULT_READAHEAD_IMAGES = 8

API_URL_VARIABLE = "ALLENFS_API_URL"
SERVICE_NAME_VARIABLE = "ALLENFS_SERVICE_NAME"
CACHE_DIR_VARIABLE = "ALLENFS_CACHE_DIR"
CACHE_SIZE_VARIABLE = "ALLENFS_CACHE_SIZE"

SOURCE_PREFIX = "allenfs:"

_DAY_S = 86_400
DEFAULT_CATALOG_TTL = "7d"
_DURATION_UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": _DAY_S}
# The share of the store for catalog records is 1/16: 640 MiB of 10 GiB. The records
# of a data set of 60 images take 4 kB.
_RECORDS_SHARE = 16

_SIZE = re.compile(
    r"([0-9]{1,18}(?:\.[0-9]{1,6})?)\s*(?:([kmgt])(i?b)?|b)?", re.IGNORECASE
)
_EXPONENTS = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4}
_DEFAULT_PORTS = {"http": 80, "https": 443}
_HOST = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*|[0-9A-Fa-f]*:[0-9A-Fa-f:.]+")
# Options of libfuse 2 and the kernel that break no promise. The others change what
# allenfs relies on: attr_timeout, direct_io, suid, nothreads ...
_FUSE_OPTIONS = frozenset(
    {
        *("allow_other", "allow_root", "async_read", "auto_unmount"),
        *("congestion_threshold", "debug", "default_permissions", "exec", "noexec"),
        *("fsname", "gid", "uid", "umask", "max_background", "max_read"),
        *("max_readahead", "noatime", "nodev", "nonempty", "nosuid", "ro", "sync_read"),
    }
)


@dataclass(frozen=True, slots=True)
class ServiceSettings:
    """How to send requests to the service.

    `proxy` is a URL, which may contain a password; empty for no proxy, None for the
    environment's. `ca_bundle` are certificates to trust in addition to the system's and
    the environment's.
    """

    api_url: str
    connections: int = 4
    max_image_bytes: int = 2**30
    connect_timeout_s: float = 10
    stall_timeout_s: float = 30
    deadline_s: float = 600
    # 0.5 s, 1 s, 2 s, each times 0.5 to 1.5, so that many mounts that failed at the
    # same moment do not retry at the same moment
    first_backoff_s: float = 0.5
    failure_memory_s: float = 10
    not_found_memory_s: float = 60
    catalog_ttl_s: float = 7 * _DAY_S
    proxy: str | None = field(default=None, repr=False)
    ca_bundle: Path | None = None


@dataclass(frozen=True, slots=True)
class StoreSettings:
    """Where images and records are stored, the limit in bytes, and of which service."""

    directory: Path
    capacity_bytes: int
    service_name: str

    @property
    def records_bytes(self) -> int:
        """Bytes reserved for records."""
        return self.capacity_bytes // _RECORDS_SHARE


@dataclass(frozen=True, slots=True)
class MountSettings:
    """All settings of a mount.

    With `sample`, the embedded sample service is started, and its address used.
    `fuse_options` are those of ``-o``; `readahead_images` is the largest window.
    """

    mountpoint: Path
    service: ServiceSettings
    store: StoreSettings
    sample: bool
    fuse_options: Mapping[str, str | bool]
    readahead_images: int

    @property
    def source(self) -> str:
        """The source that the mount table shows.

        The colon in it makes `df -l` and others treat the file system as remote.
        """
        # escape separators of libfuse options and of the mount table
        address = quote(_address(self.service.api_url), safe=":[]/")
        name = "sample" if self.sample else address
        return str(self.fuse_options.get("fsname", f"{SOURCE_PREFIX}{name}"))


def parse_size(text: str) -> int:
    """Read a size above zero: ``4096``, ``500MB`` (10^6), ``10G``, ``10GiB`` (2^30)."""
    found = _SIZE.fullmatch(text.strip())
    if found:
        base = 1000 if (found[3] or "").lower() == "b" else 1024
        size_bytes = int(float(found[1]) * base ** _EXPONENTS[(found[2] or "").lower()])
        if 0 < size_bytes < 2**63:
            return size_bytes
    raise ConfigError(f"not a size: {text!r} (examples: 500MB, 10GiB)")


def parse_number(text: str, minimum: int, maximum: int) -> int:
    """Read an integer from `minimum` to `maximum`, at most 999999."""
    # int() would raise another error for thousands of digits
    if text.isascii() and text.isdecimal() and minimum <= int(text[:6]) <= maximum:
        return int(text[:6])
    raise ConfigError(f"not a number from {minimum} to {maximum}: {text!r}")


def parse_connections(text: str) -> int:
    """Read a limit of simultaneous requests, 1 to 999."""
    return parse_number(text, 1, 999)


def parse_readahead(text: str) -> int:
    """Read a number of images to download ahead, 0 to 999."""
    return parse_number(text, 0, 999)


def parse_duration(text: str) -> float:
    """Read a time: ``90`` (seconds), ``30m``, ``12h``, ``7d``; at most a year."""
    number, unit_s = text, 1
    if text[-1:].lower() in _DURATION_UNITS_S:
        number, unit_s = text[:-1], _DURATION_UNITS_S[text[-1].lower()]
    with contextlib.suppress(ValueError):
        # a socket timeout is a 64-bit number of nanoseconds, which has room for a year
        if 0 < float(number) * unit_s < 366 * _DAY_S:
            return float(number) * unit_s
    raise ConfigError(f"not a time: {text!r} (examples: 90, 12h, 7d)")


def parse_fuse_options(texts: list[str]) -> dict[str, str | bool]:
    """Read ``-o a,b=c`` options, except those that are unknown or break a promise."""
    options: dict[str, str | bool] = {}
    for option in filter(None, ",".join(texts).split(",")):
        name, equals, value = option.partition("=")
        if name not in _FUSE_OPTIONS:
            raise ConfigError(
                f"-o {name!r}: not an option of a read-only mount (choose from "
                f"{', '.join(sorted(_FUSE_OPTIONS))})"
            )
        options[name] = value if equals else True
    return options


def parse_api_url(text: str) -> str:
    """Return an ``http`` or ``https`` address without its trailing slash.

    It must name a host, and contain neither user nor password.
    """
    try:
        parts = urlsplit(text)
        has_user = parts.username is not None
        usable = (
            parts.scheme in _DEFAULT_PORTS
            and _HOST.fullmatch(parts.hostname or "") is not None
            and parts.port != 0
            and not re.search(r"[?#@\s]", text)
            and text.isprintable()  # no lone surrogates or control characters
        )
    except ValueError:
        usable = has_user = False
    shown = without_user(text)
    if has_user:
        raise UrlError(
            f"{shown!r} contains a user or password, which would appear in logs and "
            "process lists: put them in ~/.netrc instead (machine HOST login USER "
            "password PASSWORD)"
        )
    if not usable:
        raise UrlError(
            f"not a service's address: {shown!r} (example: {DEFAULT_API_URL})"
        )
    return text.rstrip("/")


def service_name(api_url: str) -> str:
    """Return a service's directory in the store; ``http`` and ``https`` share it."""
    return file_name(_address(api_url))


def parse_service_name(text: str) -> str:
    """Return a service's directory in the store, from that name, a host or a URL.

    Raises ConfigError, also for ``sample@VERSION``, the name of the sample service.
    """
    address = text if "://" in text else f"https://{unquote(text)}"
    with contextlib.suppress(UrlError):
        return service_name(parse_api_url(address))
    shown = text if text.startswith("sample@") else without_user(text)
    raise ConfigError(
        f"not the name of a service: {shown!r} (example: api.brain-map.org)"
    )


def _address(api_url: str) -> str:
    """Return host, port (unless it is the scheme's default) and path, as in a URL."""
    parts = urlsplit(api_url)
    host = (parts.hostname or "").lower()
    if ":" in host:  # IPv6: the last group would look like a port
        host = f"[{host}]"
    if parts.port and parts.port != _DEFAULT_PORTS[parts.scheme]:
        host += f":{parts.port}"
    return host + parts.path


def cache_dir(flag: str | None, environ: Mapping[str, str]) -> Path:
    """Return the store's directory: from flag, environment, or XDG's cache folder."""
    chosen = flag or environ.get(CACHE_DIR_VARIABLE)
    if not chosen:
        instead = f"--cache-dir DIR or ${CACHE_DIR_VARIABLE}"
        return _xdg(environ, "XDG_CACHE_HOME", ".cache", instead) / "allenfs"
    expanded = os.path.expanduser(chosen)
    if expanded.startswith("~"):
        raise ConfigError(
            f"cannot expand {chosen!r}: unknown home folder; give the full path"
        )
    return absolute(expanded)


def absolute(text: str) -> Path:
    """Make a path absolute without accessing the file system."""
    try:
        return Path(os.path.abspath(text))
    except FileNotFoundError as error:
        raise ConfigError(
            f"{text!r} is relative, and the current directory is gone"
        ) from error


def default_log_file(environ: Mapping[str, str]) -> Path:
    """Return the log file of a background mount, in XDG's state folder."""
    folder = _xdg(environ, "XDG_STATE_HOME", ".local/state", "--log-file FILE")
    return folder / "allenfs" / "allenfs.log"


def data_home(environ: Mapping[str, str]) -> Path:
    """Return the folder of the user's completions, manual pages and units."""
    return _xdg(environ, "XDG_DATA_HOME", ".local/share", "--system, as root")


def _xdg(
    environ: Mapping[str, str], variable: str, fallback: str, instead: str
) -> Path:
    chosen = Path(environ.get(variable, ""))
    # XDG base directory specification: relative paths must be ignored
    if chosen.is_absolute():
        return chosen
    home = environ.get("HOME")
    if not home:
        try:
            home = pwd.getpwuid(os.getuid()).pw_dir
        except KeyError:  # common in containers
            raise ConfigError(
                f"cannot find a home folder: $HOME is not set and user {os.getuid()} "
                f"has no passwd entry; use {instead}, or set $HOME or ${variable}"
            ) from None
    return Path(home) / fallback
