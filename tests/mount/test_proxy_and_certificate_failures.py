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
from mounted import Mounted, errno_of_open, until

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


def service_page(mounted: Mounted) -> dict[str, Any]:
    page: dict[str, Any] = json.loads((mounted / ".allenfs/status.json").read_bytes())
    assert PASSWORD not in json.dumps(page)
    service: dict[str, Any] = page["service"]
    return service


def is_readable(path: Path) -> bool:
    try:
        return path.read_bytes() == JPEG
    except OSError:
        return False


class Bar(NamedTuple):
    scheme: str
    put: Callable[[Campus], object]
    errno: int
    reason: str


def refuses_tunnels(status: str) -> Callable[[Campus], object]:
    return lambda campus: setattr(campus, "tunnel", lambda: [head(status)])


def has_certificate(name: str) -> Callable[[Campus], object]:
    return lambda campus: setattr(campus, "certificate", name)


def answers(status: str) -> Callable[[Campus], object]:
    return lambda campus: setattr(campus, "image", lambda _: [head(status)])


FOR_GOOD = {
    "407 to CONNECT": Bar(
        *("https", refuses_tunnels(NO_LOGIN)),
        *(errno.EHOSTUNREACH, f"proxy: {NO_LOGIN}"),
    ),
    "403 to CONNECT": Bar(
        *("https", refuses_tunnels("403 Forbidden by policy")),
        *(errno.EHOSTUNREACH, "proxy: 403 Forbidden by policy"),
    ),
    "407": Bar("http", answers(NO_LOGIN), errno.EHOSTUNREACH, f"proxy: {NO_LOGIN}"),
    "511": Bar(
        *("http", answers("511 Network Authentication Required")),
        *(errno.EIO, "HTTP 511 Network Authentication Required"),
    ),
    "unknown authority": Bar(
        *("https", has_certificate("good")),
        *(errno.EHOSTUNREACH, "certificate verify failed: self"),
    ),
    "another name": Bar(
        *("https", has_certificate("other")),
        *(errno.EHOSTUNREACH, "certificate verify failed: Hostname mismatch"),
    ),
}
FOR_NOW = {
    "503 to CONNECT": Bar(
        *("https", refuses_tunnels("503 Service Unavailable")),
        *(errno.EHOSTUNREACH, "proxy: 503 Service Unavailable"),
    ),
    "no TLS": Bar(
        *("https", lambda campus: setattr(campus, "hello", lambda: [b"no TLS"])),
        *(errno.EHOSTUNREACH, "SSL"),
    ),
}


@pytest.mark.parametrize(
    ("bar", "attempts"),
    [(bar, 1) for bar in FOR_GOOD.values()] + [(bar, 4) for bar in FOR_NOW.values()],
    ids=[*FOR_GOOD, *FOR_NOW],
)
def test_permanent_failures_are_not_retried_and_show_the_cause(
    tmp_path: Path, campus: Campus, bar: Bar, attempts: int
) -> None:
    api_url = f"{bar.scheme}://{HOST}"
    with Mounted(tmp_path, api_url, warnings=[PATH]) as mounted:
        bar.put(campus)
        assert errno_of_open(mounted / PATH) == bar.errno
        assert campus.connections == attempts
        said = os.getxattr(mounted / PATH, "user.allenfs.error").decode()
        # before what may be cut off
        assert bar.reason in said[:80]
        assert f"{attempts} attempt" in said
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
    tmp_path: Path, campus: Campus, scheme: str
) -> None:
    memory_s, connections = 3.0, 4
    with Mounted(
        tmp_path,
        f"{scheme}://{HOST}",
        warnings=[NO_LOGIN],
        failure_memory_s=memory_s,
        connections=connections,
    ) as mounted:
        campus.tunnel = lambda: [head(NO_LOGIN)]
        campus.image = campus.query = lambda _: [head(NO_LOGIN)]
        began_s = time.monotonic()
        paths = [mounted / f"section/{number}/image.jpg" for number in range(1, 61)]
        with ThreadPoolExecutor(8) as pool:
            numbers = set(pool.map(errno_of_open, paths))
        with pytest.raises(OSError) as raised:
            os.listdir(mounted / DATA_SET)
        assert numbers | {raised.value.errno} == {errno.EHOSTUNREACH}
        took_s = time.monotonic() - began_s
        # those that were under way when the first was refused
        assert 1 <= campus.connections <= connections * (1 + took_s // memory_s)
        for path in (paths[0], paths[-1]):
            said = os.getxattr(path, "user.allenfs.error").decode()
            assert said.startswith(f"proxy: {NO_LOGIN}")
        campus.heal()
        # an image of its own: nothing of it is remembered
        until(lambda: is_readable(mounted / "section/99/image.jpg"))


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
    tmp_path: Path, campus: Campus, drips: str, look: str
) -> None:
    with Mounted(
        tmp_path,
        f"https://{HOST}",
        warnings=["within the deadline"],
        deadline_s=1,
        connections=1,
    ) as mounted:
        if drips == "handshake":  # the head of a record of 16 KiB
            campus.hello = campus.dripping(b"\x16\x03\x03\x40\x00\x02\x00\x3f\xfc")
        else:
            campus.tunnel = campus.dripping(TUNNEL.partition(b"\r\n")[0] + b"\r\nX: ")
        with pytest.raises(OSError) as raised:
            if look == "image":
                (mounted / PATH).read_bytes()
            else:
                os.listdir(mounted / DATA_SET)
        assert raised.value.errno == errno.ETIMEDOUT
        assert campus.connections == 1
        campus.heal()
        # the only connection is free again
        until(lambda: is_readable(mounted / OTHER))
        assert service_page(mounted)["connections_in_use"] == 0


def test_redirect_to_https_is_remembered(tmp_path: Path, campus: Campus) -> None:
    def says(target: str) -> list[bytes]:
        if campus.is_tls:
            return [whole(JPEG)]
        return [head("302 Found", f"Location: https://{HOST}{_path_of(target)}")]

    campus.image = says
    with Mounted(tmp_path, f"http://{HOST}") as mounted:
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
    tmp_path: Path, campus: Campus
) -> None:
    """As the service's own, to /cgi-bin/imageservice."""

    def says(target: str) -> list[bytes]:
        if "/cgi-bin/" in target:
            return [whole(JPEG)]
        return [head("302 Found", f"Location: https://{HOST}/cgi-bin/image")]

    campus.image = says
    with Mounted(tmp_path, f"http://{HOST}") as mounted:
        for number in range(1, 4):
            assert (mounted / f"section/{number}/image.jpg").read_bytes() == JPEG
        assert len(campus.requests) == 2 * 3
        assert campus.handshakes == 3


def _path_of(target: str) -> str:
    return target.removeprefix(f"http://{HOST}")


PORTALS = {
    "web page": PAGE,
    "511": head("511 Network Authentication Required"),
    "another host": head("302 Found", "Location: http://portal.test/login"),
}


@pytest.mark.parametrize("portal", PORTALS)
def test_login_page_does_not_count_as_reachable(
    tmp_path: Path, campus: Campus, portal: str
) -> None:
    with Mounted(
        tmp_path, f"http://{HOST}", warnings=["section/", "dataset/"]
    ) as mounted:
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
        with pytest.raises(OSError):
            os.listdir(mounted / DATA_SET)
        assert service_page(mounted)["reachable"] is False


def test_web_page_for_one_image_does_not_make_the_service_unreachable(
    tmp_path: Path, campus: Campus
) -> None:
    with Mounted(tmp_path, f"http://{HOST}", warnings=["a web page"]) as mounted:
        assert (mounted / OTHER).read_bytes() == JPEG
        campus.image = lambda _: [PAGE]
        for _ in range(3):
            assert errno_of_open(mounted / PATH) == errno.EIO
        assert service_page(mounted)["reachable"] is True
        # another one as well, and no image between them
        assert errno_of_open(mounted / "section/3/image.jpg") == errno.EIO
        assert service_page(mounted)["reachable"] is False
