"""What blocks the way to the service: it is reported, and not retried in vain.

A proxy, a certificate, a login page; and a deadline that holds despite them.
"""

from __future__ import annotations

import errno
import os

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
LOG_IN = "511 Network Authentication Required"
PAGE = whole(b"<html><title>Campus WiFi</title>", kind="text/html; charset=utf-8")


@pytest.fixture
def campus(tmp_path, monkeypatch):
    bundle = tmp_path / "trusted.pem"
    pems = [CERTIFICATES / f"{name}.pem" for name in ("campus", "other")]
    bundle.write_text("".join(pem.read_text() for pem in pems))
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(bundle))
    with Campus() as running:
        proxy = f"http://joe:{PASSWORD}@127.0.0.1:{running.port}"
        for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
            monkeypatch.setenv(name, proxy)
        yield running


@pytest.fixture
def mount(tmp_path, campus):
    """Makes mounts of the service of the campus, by the scheme that is named."""
    return lambda scheme, **settings: Mounted(
        tmp_path, f"{scheme}://{HOST}", **settings
    )


def service_page(mounted):
    assert PASSWORD not in str(mounted.status)
    return mounted.status["service"]


def says(*answer):
    return lambda *_: answer


BARS = {
    "407 to CONNECT": ({"tunnel": says(head(NO_LOGIN))}, 1, f"proxy: {NO_LOGIN}"),
    "407": ({"image": says(head(NO_LOGIN))}, 1, f"proxy: {NO_LOGIN}"),
    "511": ({"image": says(head(LOG_IN))}, 1, f"HTTP {LOG_IN}"),
    "authority": ({"certificate": "good"}, 1, "certificate verify failed: self"),
    "another host": ({"certificate": "other"}, 1, "verify failed: Hostname mismatch"),
    "503 to CONNECT": ({"tunnel": says(head("503 Away"))}, 4, "proxy: 503 Away"),
    "no TLS": ({"hello": says(b"no TLS")}, 4, "SSL"),
}


@pytest.mark.parametrize("bar", BARS)
def test_permanent_failures_are_not_retried_and_show_the_cause(mount, campus, bar):
    put, attempts, reason = BARS[bar]
    with mount("http" if "image" in put else "https", warnings=[PATH]) as mounted:
        vars(campus).update(put)
        number = errno.EIO if bar == "511" else errno.EHOSTUNREACH
        assert errno_of_open(mounted / PATH) == number
        assert campus.connections == attempts
        message = os.getxattr(mounted / PATH, "user.allenfs.error").decode()
        # before what may be cut off
        assert reason in message[:80]
        assert f"{attempts} attempt" in message
        assert f"{PATH}: {message}" in mounted.log
        assert PASSWORD not in mounted.log
        page = service_page(mounted)
        assert reason in page["last_failure_cause"]
        assert page["reachable"] is False
        campus.heal()
        assert (mounted / PATH).read_bytes() == JPEG
        assert service_page(mounted)["reachable"] is True


@pytest.mark.parametrize("drips", ["tunnel", "hello"])
def test_deadline_covers_connecting(mount, campus, drips):
    """An image's, and a listing's."""
    warnings = ["within the deadline", "waiting for data"]  # whichever is first
    starts = {
        "tunnel": TUNNEL.partition(b"\r\n")[0] + b"\r\nX: ",
        "hello": b"\x16\x03\x03\x40\x00\x02\x00\x3f\xfc",  # a record of 16 KiB
    }
    with mount("https", warnings=warnings, deadline_s=1, connections=1) as mounted:
        setattr(campus, drips, campus.dripping(starts[drips]))
        assert errno_of((mounted / PATH).read_bytes) == errno.ETIMEDOUT
        assert campus.connections == 1
        assert errno_of(os.listdir, mounted / DATA_SET) == errno.ETIMEDOUT
        assert campus.connections == 2
        campus.heal()
        # the only connection is free again
        until(lambda: not errno_of((mounted / OTHER).read_bytes))
        assert service_page(mounted)["connections_in_use"] == 0


def test_redirect_to_https_is_remembered(mount, campus):
    def redirects(target):
        if campus.is_tls:
            return [whole(JPEG)]
        path = target.removeprefix(f"http://{HOST}")
        return [head("302 Found", f"Location: https://{HOST}{path}")]

    campus.image = redirects
    with mount("http") as mounted:
        for number in range(1, 6):
            assert (mounted / f"section/{number}/image.jpg").read_bytes() == JPEG
        assert len(campus.requests) == 1 + 5
        # https goes away, the redirect too
        campus.tunnel = says(head("503 Service Unavailable"))
        campus.image = says(whole(JPEG))
        assert (mounted / "section/6/image.jpg").read_bytes() == JPEG
        assert len(campus.requests) == 1 + 5 + 1
        assert campus.tunnels == 5 + 1


def test_redirect_to_another_path_is_not_remembered(mount, campus):
    """As the service's own, to /cgi-bin/imageservice."""

    def redirects(target):
        if "/cgi-bin/" in target:
            return [whole(JPEG)]
        return [head("302 Found", f"Location: https://{HOST}/cgi-bin/image")]

    campus.image = redirects
    with mount("http") as mounted:
        for number in range(1, 4):
            assert (mounted / f"section/{number}/image.jpg").read_bytes() == JPEG
        assert len(campus.requests) == 2 * 3
        assert campus.handshakes == 3


PORTALS = [PAGE, head(LOG_IN), head("302 Found", "Location: http://portal.test/login")]


@pytest.mark.parametrize("portal", PORTALS, ids=["web page", "511", "another host"])
def test_login_page_does_not_count_as_reachable(mount, campus, portal):
    with mount("http", warnings=["section/", "dataset/"]) as mounted:
        campus.image = campus.query = says(portal)
        assert errno_of_open(mounted / PATH) == errno.EIO
        assert service_page(mounted)["reachable"] is False
        page = allenfs("status", mounted.root).stdout
        assert "NOT reachable" in page
        assert ("a web page instead of an image" in page) is (portal == PAGE)
        campus.heal()
        assert (mounted / PATH).read_bytes() == JPEG
        assert service_page(mounted)["reachable"] is True
        campus.query = says(portal)
        assert errno_of(os.listdir, mounted / DATA_SET) == errno.EIO
        assert service_page(mounted)["reachable"] is False


def test_web_page_for_one_image_does_not_make_the_service_unreachable(mount, campus):
    with mount("http", warnings=["a web page"]) as mounted:
        assert (mounted / OTHER).read_bytes() == JPEG
        campus.image = says(PAGE)
        for _ in range(3):
            assert errno_of_open(mounted / PATH) == errno.EIO
        assert service_page(mounted)["reachable"] is True
        # another one as well, and no image between them
        assert errno_of_open(mounted / "section/3/image.jpg") == errno.EIO
        assert service_page(mounted)["reachable"] is False
