"""The status of a mount, and its JSON: what ``.allenfs/status.json`` contains."""

from __future__ import annotations

import datetime as dt
import json
import types
import typing
from dataclasses import asdict, dataclass, is_dataclass
from typing import Any

from allenfs.fetch.metrics import DownloadStatus, FailureStatus

__all__ = ["DownloadStatus", "FailureStatus", "MountStatus", "json_object"]

# No mount sends larger numbers, which would overflow a float.
_NUMBER_LIMIT = 2**63


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceStatus:
    """The image service, and the requests sent to it.

    `proxy` is a URL without its password. `connections` is the limit, and `waiting` the
    number of requests without a connection. `reachable` says whether the service
    answered the last request, and is None before the first.
    """

    url: str
    name: str
    is_sample: bool
    proxy: str | None = None
    connections: int
    connections_in_use: int
    waiting: int
    reachable: bool | None
    last_answer: dt.datetime | None
    last_failure: dt.datetime | None
    last_failure_cause: str | None
    requests: int
    failed_requests: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreStatus:
    """The store: images and records on disk, and why it cannot be written, if so."""

    directory: str
    capacity_bytes: int
    used_bytes: int
    images: int
    images_bytes: int
    records: int
    records_bytes: int
    failure: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageCounts:
    """Opens, reads and downloads of images since the mount: see `metrics.Counts`."""

    hits: int
    misses: int
    failed: int
    read_bytes: int
    downloads: int
    downloaded_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadaheadStatus:
    """Read-ahead since the mount; `images` is the largest window, 0 if it is off."""

    images: int
    downloaded: int
    used: int
    under_way: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LogStatus:
    """The log: its file (None is stderr), and why it cannot be written."""

    file: str | None
    failure: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class MountStatus:
    """The status of a mount; field names are the keys of the JSON.

    Fields with a default are missing in the JSON of older versions. Times are UTC, to
    the second; `time` is when the status was taken. The oldest download and the newest
    failure come first.
    """

    version: str
    pid: int
    mountpoint: str
    started: dt.datetime
    time: dt.datetime
    service: ServiceStatus
    store: StoreStatus
    images: ImageCounts
    downloads: tuple[DownloadStatus, ...]
    readahead: ReadaheadStatus
    failures: tuple[FailureStatus, ...]
    open_files: int
    log: LogStatus | None = None

    def to_json(self) -> bytes:
        """Return the JSON in ASCII: directory names may not be valid UTF-8."""
        text = json.dumps(asdict(self), indent=2, default=_iso)
        return f"{text}\n".encode("ascii")

    @classmethod
    def from_json(cls, data: bytes) -> MountStatus:
        """Parse and check the JSON of this version or another; ignores unknown keys.

        ValueError if a field is missing, or has a value of another type.
        """
        status: MountStatus = _decoded(cls, json_object(data))
        return status


def json_object(data: bytes) -> dict[str, Any]:
    """Parse a JSON object in ASCII; raises ValueError."""
    try:
        value = json.loads(data.decode("ascii"))
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    if not isinstance(value, dict):
        raise ValueError("not a JSON object")
    return value


def _iso(time: dt.datetime) -> str:
    return time.isoformat(timespec="seconds").replace("+00:00", "Z")


def _decoded(kind: Any, value: Any) -> Any:
    """Return a JSON value as the type `kind`; raises ValueError."""
    if isinstance(kind, types.UnionType):  # X | None
        return None if value is None else _decoded(typing.get_args(kind)[0], value)
    if typing.get_origin(kind) is tuple and isinstance(value, list):
        return tuple(_decoded(typing.get_args(kind)[0], item) for item in value)
    if is_dataclass(kind) and isinstance(value, dict):
        return _object(kind, value)
    if kind is dt.datetime and isinstance(value, str) and value.endswith("Z"):
        # Python 3.10 does not parse the Z
        return dt.datetime.fromisoformat(f"{value[:-1]}+00:00")
    is_number = type(value) in (int, float)
    if is_number and not abs(value) < _NUMBER_LIMIT:  # NaN is not below it
        raise ValueError(f"a number out of range: {value!r:.99}")
    if kind is float and is_number:
        return float(value)
    if type(value) is not kind:
        raise ValueError(f"{value!r:.99} is not of type {kind}")
    return value


def _object(kind: Any, values: dict[str, Any]) -> Any:
    hints = typing.get_type_hints(kind)
    found = {
        name: _decoded(hints[name], values[name]) for name in hints.keys() & values
    }
    try:
        return kind(**found)
    except TypeError as error:  # a field without a default is missing
        raise ValueError(str(error)) from error
