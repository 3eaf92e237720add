"""What bars the way to the service: it is said, and not tried in vain.

A proxy, a certificate, a log-in page; and a deadline that holds whatever they do.
"""

from __future__ import annotations

import errno
import json
import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from campus import CERTIFICATES, HOST, TUNNEL, Campus
from command import allenfs
from hostile_service import JPEG, head, whole
from mounted import Mounted, errno_of, errno_of_open, until

pytestmark = pytest.mark.one_libfuse

PATH = "section/1/image.jpg"
OTHER = "section/2/image.jpg"
DATA_SET = "dataset/3"
PASSWORD = "s3cret"
NO_LOGIN = "407 Proxy Authentication Required"
PAGE = whole(b"<html><title>Campus WiFi</title>", kind="text/html; charset=utf-8")


@pytest.fixture
def campus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Campus]:
    bundle = tmp_path / "trusted.pem"
    trusted = ("campus", "other")
    bundle.write_text(
        "".join((CERTIFICATES / f"{name}.pem").read_text() for name in trusted)
    )
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(bundle))
    with Campus() as running:
        proxy = f"http://joe:{PASSWORD}@127.0.0.1:{running.port}"
        for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
            monkeypatch.setenv(name, proxy)
        yield running


Mount = Callable[..., Mounted]


@pytest.fixture
def mount(tmp_path: Path, campus: Campus) -> Mount:
    """Makes mounts of the service of the campus, by the scheme that is named."""
    return lambda scheme, **settings: Mounted(
        tmp_path, f"{scheme}://{HOST}", **settings
    )


def service_page(mounted: Mounted) -> dict[str, Any]:
    assert PASSWORD not in json.dumps(mounted.status)
    service: dict[str, Any] = mounted.status["service"]
    return service


class Bar(NamedTuple):
    scheme: str
    put: Callable[[Campus], object]
    attempts: int
    reason: str
    errno: int = errno.EHOSTUNREACH


def refuses_tunnels(status: str) -> Callable[[Campus], object]:
    return lambda campus: setattr(campus, "tunnel", lambda: [head(status)])


def has_certificate(name: str) -> Callable[[Campus], object]:
    return lambda campus: setattr(campus, "certificate", name)


def answers(status: str) -> Callable[[Campus], object]:
    return lambda campus: setattr(campus, "image", lambda _: [head(status)])


def speaks_no_tls(campus: Campus) -> None:
    campus.hello = lambda: [b"no TLS"]


_FORBIDDEN, _AWAY = "403 Forbidden by policy", "503 Service Unavailable"
_LOG_IN = "511 Network Authentication Required"
_VERIFY = "certificate verify failed"
BARS = {
    "407 to CONNECT": Bar("https", refuses_tunnels(NO_LOGIN), 1, f"proxy: {NO_LOGIN}"),
    "403 to CONNECT": Bar(
        "https", refuses_tunnels(_FORBIDDEN), 1, f"proxy: {_FORBIDDEN}"
    ),
    "407": Bar("http", answers(NO_LOGIN), 1, f"proxy: {NO_LOGIN}"),
    "511": Bar("http", answers(_LOG_IN), 1, f"HTTP {_LOG_IN}", errno.EIO),
    "unknown authority": Bar("https", has_certificate("good"), 1, f"{_VERIFY}: self"),
    "another name": Bar("https", has_certificate("other"), 1, f"{_VERIFY}: Hostname m"),
    "503 to CONNECT": Bar("https", refuses_tunnels(_AWAY), 4, f"proxy: {_AWAY}"),
    "no TLS": Bar("https", speaks_no_tls, 4, "SSL"),
}


@pytest.mark.parametrize("bar", BARS.values(), ids=BARS)
def test_permanent_failures_are_not_retried_and_show_the_cause(
    mount: Mount, campus: Campus, bar: Bar
) -> None:
    with mount(bar.scheme, warnings=[PATH]) as mounted:
        bar.put(campus)
        assert errno_of_open(mounted / PATH) == bar.errno
        assert campus.connections == bar.attempts
        said = os.getxattr(mounted / PATH, "user.allenfs.error").decode()
        # before what may be cut off
        assert bar.reason in said[:80]
        assert f"{bar.attempts} attempt" in said
        assert f"{PATH}: {said}" in mounted.log
        assert PASSWORD not in mounted.log
        page = service_page(mounted)
        assert bar.reason in page["last_failure_cause"]
        assert page["reachable"] is False
        campus.heal()
        assert (mounted / PATH).read_bytes() == JPEG
        assert service_page(mounted)["reachable"] is True


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_rejected_proxy_login_is_not_retried_per_image(
    mount: Mount, campus: Campus, scheme: str
) -> None:
    memory_s, connections = 3.0, 4
    settings = {"failure_memory_s": memory_s, "connections": connections}
    with mount(scheme, warnings=[NO_LOGIN], **settings) as mounted:
        campus.tunnel = lambda: [head(NO_LOGIN)]
        campus.image = campus.query = lambda _: [head(NO_LOGIN)]
        began_s = time.monotonic()
        paths = [mounted / f"section/{number}/image.jpg" for number in range(1, 61)]
        with ThreadPoolExecutor(8) as pool:
            numbers = set(pool.map(errno_of_open, paths))
        numbers.add(errno_of(os.listdir, mounted / DATA_SET))
        assert numbers == {errno.EHOSTUNREACH}
        took_s = time.monotonic() - began_s
        # those that were under way when the first was refused
        assert 1 <= campus.connections <= connections * (1 + took_s // memory_s)
        for path in (paths[0], paths[-1]):
            said = os.getxattr(path, "user.allenfs.error").decode()
            assert said.startswith(f"proxy: {NO_LOGIN}")
        campus.heal()
        # an image of its own: nothing of it is remembered
        until(lambda: not errno_of((mounted / "section/99/image.jpg").read_bytes))


def test_prefetch_says_why(tmp_path: Path, campus: Campus) -> None:
    campus.tunnel = lambda: [head(NO_LOGIN)]
    flags = ["--api-url", f"https://{HOST}", "--cache-dir", str(tmp_path / "store")]
    done = allenfs("prefetch", *flags, PATH)
    assert done.returncode == 1
    assert f"{PATH}: proxy: {NO_LOGIN} (1 attempt" in done.stderr
    assert campus.tunnels == 1


@pytest.mark.parametrize("look", ["image", "listing"])
@pytest.mark.parametrize("drips", ["answer to CONNECT", "handshake"])
def test_deadline_covers_connecting(
    mount: Mount, campus: Campus, drips: str, look: str
) -> None:
    settings = {"deadline_s": 1, "connections": 1}
    warnings = ["within the deadline", "waiting for data"]  # whichever is first
    with mount("https", warnings=warnings, **settings) as mounted:
        if drips == "handshake":  # the head of a record of 16 KiB
            campus.hello = campus.dripping(b"\x16\x03\x03\x40\x00\x02\x00\x3f\xfc")
        else:
            campus.tunnel = campus.dripping(TUNNEL.partition(b"\r\n")[0] + b"\r\nX: ")
        image, folder = mounted / PATH, mounted / DATA_SET
        is_image = look == "image"
        found = errno_of(image.read_bytes) if is_image else errno_of(os.listdir, folder)
        assert found == errno.ETIMEDOUT
        assert campus.connections == 1
        campus.heal()
        # the only connection is free again
        until(lambda: not errno_of((mounted / OTHER).read_bytes))
        assert service_page(mounted)["connections_in_use"] == 0


def test_redirect_to_https_is_remembered(mount: Mount, campus: Campus) -> None:
    def says(target: str) -> list[bytes]:
        if campus.is_tls:
            return [whole(JPEG)]
        path = target.removeprefix(f"http://{HOST}")
        return [head("302 Found", f"Location: https://{HOST}{path}")]

    campus.image = says
    with mount("http") as mounted:
        for number in range(1, 6):
            assert (mounted / f"section/{number}/image.jpg").read_bytes() == JPEG
        assert len(campus.requests) == 1 + 5
        # https goes away, the redirect too
        campus.tunnel = lambda: [head("503 Service Unavailable")]
        campus.image = lambda _: [whole(JPEG)]
        assert (mounted / "section/6/image.jpg").read_bytes() == JPEG
        assert len(campus.requests) == 1 + 5 + 1
        assert campus.tunnels == 5 + 1


def test_redirect_to_another_path_is_not_remembered(
    mount: Mount, campus: Campus
) -> None:
    """As the service's own, to /cgi-bin/imageservice."""

    def says(target: str) -> list[bytes]:
        if "/cgi-bin/" in target:
            return [whole(JPEG)]
        return [head("302 Found", f"Location: https://{HOST}/cgi-bin/image")]

    campus.image = says
    with mount("http") as mounted:
        for number in range(1, 4):
            assert (mounted / f"section/{number}/image.jpg").read_bytes() == JPEG
        assert len(campus.requests) == 2 * 3
        assert campus.handshakes == 3


PORTALS = {
    "web page": PAGE,
    "511": head("511 Network Authentication Required"),
    "another host": head("302 Found", "Location: http://portal.test/login"),
}


@pytest.mark.parametrize("portal", PORTALS)
def test_login_page_does_not_count_as_reachable(
    mount: Mount, campus: Campus, portal: str
) -> None:
    with mount("http", warnings=["section/", "dataset/"]) as mounted:
        campus.image = campus.query = lambda _: [PORTALS[portal]]
        assert errno_of_open(mounted / PATH) == errno.EIO
        assert service_page(mounted)["reachable"] is False
        said = allenfs("status", mounted.root).stdout
        assert "NOT reachable" in said
        if portal == "web page":
            assert "a web page instead of an image" in said
        campus.heal()
        assert (mounted / PATH).read_bytes() == JPEG
        assert service_page(mounted)["reachable"] is True
        campus.query = lambda _: [PORTALS[portal]]
        assert errno_of(os.listdir, mounted / DATA_SET) == errno.EIO
        assert service_page(mounted)["reachable"] is False


def test_web_page_for_one_image_does_not_make_the_service_unreachable(
    mount: Mount, campus: Campus
) -> None:
    with mount("http", warnings=["a web page"]) as mounted:
        assert (mounted / OTHER).read_bytes() == JPEG
        campus.image = lambda _: [PAGE]
        for _ in range(3):
            assert errno_of_open(mounted / PATH) == errno.EIO
        assert service_page(mounted)["reachable"] is True
        # another one as well, and no image between them
        assert errno_of_open(mounted / "section/3/image.jpg") == errno.EIO
        assert service_page(mounted)["reachable"] is False
