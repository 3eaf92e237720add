"""The doctor's way to the service, and every way in which it can be barred."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import ssl
import subprocess
import sys
import threading
import time
from email.utils import formatdate
from typing import TYPE_CHECKING

import pytest
from campus import CERTIFICATES, HOST, Campus
from command import allenfs
from hostile_service import HostileService, head, rows, whole
from mounted import STRICT_PYTHON

from allenfs.cli.doctor import replies, wire
from allenfs.cli.doctor.findings import Check, Finding, Verdict, run
from allenfs.cli.doctor.replies import ServiceChecks
from allenfs.cli.doctor.wire import Way
from allenfs.config import ServiceSettings
from allenfs.sample.server import Fault, SampleService
from allenfs.service.transport import Transport

if TYPE_CHECKING:
    from collections.abc import Iterator


def worked(finding: Finding) -> str:
    assert finding.verdict is Verdict.OK, finding
    return finding.said


def warned(finding: Finding) -> str:
    assert finding.verdict is Verdict.WARN, finding
    return f"{finding.said} -> {finding.advice}"


def failed(finding: Finding) -> str:
    assert finding.verdict is Verdict.FAIL, finding
    assert finding.advice
    return f"{finding.said} -> {finding.advice}"


def skipped(finding: Finding) -> str:
    assert finding.verdict is Verdict.SKIP, finding
    return finding.said


def way_to(api_url: str, bundle: str = "") -> Way:
    """Return the way, on which the certificate `bundle` is trusted, too."""
    path = CERTIFICATES / f"{bundle}.pem" if bundle else None
    transport = Transport(ServiceSettings(api_url, ca_bundle=path))
    return Way(api_url, transport.proxy_of(api_url), transport.context)


@pytest.fixture
def sample() -> Iterator[SampleService]:
    with SampleService() as service:
        yield service


@pytest.fixture
def checks(sample: SampleService) -> ServiceChecks:
    return ServiceChecks(ServiceSettings(sample.url))


@pytest.fixture
def hostile() -> Iterator[HostileService]:
    with HostileService() as service:
        yield service


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits 7 s for silence."""
    monkeypatch.setattr(replies, "QUICKLY_S", 0.3)
    monkeypatch.setattr(wire, "_CONNECT_S", 0.3)


@contextlib.contextmanager
def silent_port() -> Iterator[int]:
    """Take connections, and never say a word."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


@contextlib.contextmanager
def tls_service(name: str, port: int = 0) -> Iterator[int]:
    """Shake hands with the certificate `name`."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(CERTIFICATES / f"{name}.pem")
    with socket.create_server(("127.0.0.1", port)) as listener:

        def serve() -> None:
            with contextlib.suppress(OSError):
                while True:
                    connection, _ = listener.accept()
                    with connection, contextlib.suppress(OSError):
                        context.wrap_socket(connection, server_side=True).close()

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join(30)


def refused_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    return port


# All is well


def test_the_sample_is_well_in_every_step(
    sample: SampleService, checks: ServiceChecks
) -> None:
    way = way_to(sample.url)
    assert worked(way.find_proxy()).startswith("none")
    assert "127.0.0.1" in worked(way.find_name())
    assert "127.0.0.1" in worked(way.find_connection())
    assert "http" in skipped(way.find_certificate())
    assert "HTTP 200" in worked(checks.answer())
    assert worked(checks.clock()) == "as the service's"
    assert "section 69750516" in worked(checks.query())
    said = worked(checks.image())
    assert "section/69750516/ds5/image.jpg, 439 x 228 px" in said
    assert "/s" in said
    assert (sample.image_requests, sample.query_requests) == (1, 2)


# The way


def test_a_name_without_an_address_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTPS_PROXY", "https_proxy"):
        monkeypatch.delenv(name)
    way = way_to("https://no-such-host.invalid")
    said = failed(way.find_name())
    assert "no-such-host.invalid has no address" in said
    assert "check the network connection" in said


def test_a_name_server_that_hangs_fails_in_its_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    never = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: never.wait())
    way = Way("https://host", None, ssl.create_default_context())
    ((_, finding),) = run([Check("name", way.find_name, deadline_s=0.05)])
    never.set()
    assert "no end within" in failed(finding)


def test_a_refused_port_fails_and_recovers() -> None:
    port = refused_port()
    way = way_to(f"http://127.0.0.1:{port}")
    said = failed(way.find_connection())
    assert f"port {port} of 127.0.0.1: Connection refused" in said
    assert "a firewall" in said
    with SampleService(port=port):
        worked(way.find_connection())


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("good", "self-signed certificate"),
        ("expired", "expired"),
        ("other", "self-signed certificate"),
    ],
)
def test_a_bad_certificate_fails_and_tells_what_to_do(name: str, words: str) -> None:
    # trusted, were it not for its date
    bundle = name if name == "expired" else ""
    with tls_service(name) as port:
        way = way_to(f"https://127.0.0.1:{port}", bundle)
        said = failed(way.find_certificate())
    assert words in said.replace("self signed", "self-signed")
    assert "clock" in said or "--ca-bundle" in said


def test_a_certificate_of_another_name_fails() -> None:
    with tls_service("other") as port:
        way = way_to(f"https://127.0.0.1:{port}", "other")
        assert "not valid for '127.0.0.1'" in failed(way.find_certificate())


def test_a_certificate_is_well_once_it_is_trusted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(CERTIFICATES / "good.pem"))
    with tls_service("good") as port:
        said = worked(way_to(f"https://127.0.0.1:{port}").find_certificate())
    assert "issued by A test of allenfs" in said
    assert "good for" in said


@pytest.mark.usefixtures("hasty")
def test_a_port_that_is_not_tls_or_silent_fails(sample: SampleService) -> None:
    port = int(sample.url.rpartition(":")[2])
    way = way_to(f"https://127.0.0.1:{port}")
    assert "no TLS with 127.0.0.1" in failed(way.find_certificate())
    with silent_port() as port:
        way = way_to(f"https://127.0.0.1:{port}")
        worked(way.find_connection())
        assert "no TLS with 127.0.0.1: no answer" in failed(way.find_certificate())


# Proxies


def with_proxy(monkeypatch: pytest.MonkeyPatch, proxy: str) -> Way:
    for name in ("HTTPS_PROXY", "https_proxy"):
        monkeypatch.setenv(name, proxy)
    return way_to("https://api.brain-map.org")


def test_a_proxy_is_looked_at_in_the_place_of_the_service(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with silent_port() as port:
        way = with_proxy(monkeypatch, f"http://127.0.0.1:{port}")
        assert f"http://127.0.0.1:{port}, connected" in worked(way.find_proxy())
    assert "the proxy" in skipped(way.find_name())
    assert "the proxy" in skipped(way.find_connection())
    assert "the proxy" in skipped(way.find_certificate())
    assert "Connection refused" in failed(way.find_proxy())


def test_a_proxy_that_refuses_fails_and_the_variable_is_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    said = failed(with_proxy(monkeypatch, "127.0.0.1:1").find_proxy())
    assert "http://127.0.0.1:1 cannot be reached: Connection refused" in said
    assert "HTTPS_PROXY" in said


def test_a_host_that_needs_no_proxy_is_asked_itself(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("NO_PROXY", "brain-map.org")
    way = with_proxy(monkeypatch, "http://joe:s3cret@127.0.0.1:1")
    assert (
        worked(way.find_proxy())
        == "none for this address (HTTPS_PROXY, HTTP_PROXY set)"
    )


@pytest.mark.usefixtures("hasty")
def test_a_proxy_that_swallows_everything_fails_at_the_answer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with silent_port() as port:
        way = with_proxy(monkeypatch, f"http://127.0.0.1:{port}")
        worked(way.find_proxy())
        checks = ServiceChecks(ServiceSettings(way.api_url))
        failed(checks.answer())


# Answers


@pytest.mark.usefixtures("hasty")
def test_a_silent_service_fails_in_every_check_in_time() -> None:
    with silent_port() as port:
        checks = ServiceChecks(ServiceSettings(f"http://127.0.0.1:{port}"))
        for find in (checks.answer, checks.query, checks.image):
            assert "says nothing" in failed(find())
        assert "does not say what time it is" in skipped(checks.clock())


@pytest.mark.parametrize(
    ("fault", "advice"),
    [
        (Fault.STATUS_403, "something forbids it"),
        (Fault.STATUS_404, "--api-url"),
        (Fault.STATUS_503, "try again later"),
        (Fault.STATUS_429_RETRY_AFTER, "try again later"),
        (Fault.HTML_200, "log in with a web browser"),
        (Fault.NOT_A_JPEG, "something else answers"),
        (Fault.REDIRECT_OTHER_HOST, "log in with a web browser"),
        (Fault.RESET_BEFORE, "broke off"),
        (Fault.CUT_CHUNKED, "broke off"),
        (Fault.STATUS_400, "please report"),
    ],
)
def test_an_image_that_fails_tells_what_to_do_and_recovers(
    fault: Fault, advice: str, sample: SampleService, checks: ServiceChecks
) -> None:
    sample.fail(fault)
    assert advice in failed(checks.image())
    assert sample.image_requests == 1  # not tried again and again
    sample.heal()
    worked(checks.image())


@pytest.mark.parametrize(
    ("fault", "advice"),
    [
        (Fault.STATUS_503, "try again later"),
        (Fault.SUCCESS_FALSE, "please report"),
        (Fault.NOT_JSON, "something else answers"),
        (Fault.REDIRECT_LOOP, "something else answers"),
    ],
)
def test_a_query_that_fails_tells_what_to_do_and_recovers(
    fault: Fault, advice: str, sample: SampleService, checks: ServiceChecks
) -> None:
    sample.fail_queries(fault)
    assert advice in failed(checks.query())
    assert sample.query_requests == 1
    sample.heal()
    worked(checks.query())


def test_a_refused_log_in_fails_at_the_first_check(hostile: HostileService) -> None:
    hostile.query = lambda _: [head("407 Proxy Authentication Required")]
    said = failed(ServiceChecks(ServiceSettings(hostile.url)).answer())
    assert said.startswith("proxy: 407 Proxy Authentication Required -> ")
    assert "USER:PASSWORD" in said
    assert len(hostile.requests) == 1


@pytest.mark.parametrize(
    ("put", "reason", "advice"),
    [
        (
            {"tunnel": lambda: [head("407 Proxy Authentication Required")]},
            "proxy: 407 Proxy Authentication Required",
            "put USER:PASSWORD@ in front of its host",
        ),
        (
            {"tunnel": lambda: [head("403 Forbidden")]},
            "proxy: 403 Forbidden",
            "ask its administrator",
        ),
        (
            {"certificate": "good"},
            "certificate verify failed: self",
            "REQUESTS_CA_BUNDLE",
        ),
    ],
)
def test_behind_a_proxy_the_answer_tells_what_to_do_and_recovers(
    put: dict[str, object], reason: str, advice: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(CERTIFICATES / "campus.pem"))
    with Campus() as campus:
        with_proxy(monkeypatch, f"http://joe:s3cret@127.0.0.1:{campus.port}")
        checks = ServiceChecks(ServiceSettings(f"https://{HOST}"))
        vars(campus).update(put)
        ((_, shown),) = run([Check("answer", checks.answer)])
        said = failed(shown)
        assert said.startswith(reason)
        assert advice in said
        assert campus.tunnels == 1
        campus.heal()
        assert "HTTP 200" in worked(checks.answer())


def test_a_redirect_to_https_is_no_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(CERTIFICATES / "campus.pem"))
    there = replies._QUERY.url(f"https://{HOST}", start_row=0, num_rows=1)
    moved = head("301 Moved Permanently", f"Location: {there}")
    with Campus() as campus:
        campus.query = lambda _: [rows("[]") if campus.is_tls else moved]
        for name in ("HTTP_PROXY", "http_proxy"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{campus.port}")
        with_proxy(monkeypatch, f"http://127.0.0.1:{campus.port}")
        said = worked(ServiceChecks(ServiceSettings(f"http://{HOST}")).answer())
        assert said.startswith("HTTP 200 in")
        assert said.endswith(", by https as the service redirects")


def test_a_captive_portal_is_told_from_the_service(hostile: HostileService) -> None:
    page = whole(
        b"<html>log in", "Date: Sun, 22 Nov 2026 12:00:00 GMT", kind="text/html"
    )
    hostile.query = hostile.image = lambda _: [page]
    checks = ServiceChecks(ServiceSettings(hostile.url))
    redirect = head(
        "302 Found", "Location: http://portal.invalid/", "Content-Length: 0"
    )
    for portal, words in (
        (page, "a web page instead of"),
        (redirect, "a redirect to another place"),
        (head("511 Network Authentication Required"), "HTTP 511"),
    ):
        hostile.query = hostile.image = lambda _, portal=portal: [portal]
        for find in (checks.answer, checks.query, checks.image):
            said = failed(find())
            assert words in said
            assert "log in with a web browser" in said


@pytest.mark.parametrize(
    ("apart_s", "words"),
    [(-600, "10 minutes ahead"), (7300, "2 hours behind"), (10**6, "12 days behind")],
)
def test_a_wrong_clock_is_warned_of(
    apart_s: float, words: str, hostile: HostileService
) -> None:
    date = formatdate(time.time() + apart_s, usegmt=True)
    hostile.query = lambda _: [whole(b"{}", f"Date: {date}")]
    checks = ServiceChecks(ServiceSettings(hostile.url))
    checks.answer()
    said = warned(checks.clock())
    assert words in said
    assert "timedatectl" in said


def test_an_answer_that_a_proxy_kept_is_as_old_as_it_says(
    hostile: HostileService,
) -> None:
    date = formatdate(time.time() - 4000, usegmt=True)
    hostile.query = lambda _: [whole(b"{}", f"Date: {date}", "Age: 4000")]
    checks = ServiceChecks(ServiceSettings(hostile.url))
    checks.answer()
    assert worked(checks.clock()) == "as the service's"


@pytest.mark.parametrize("date", ["", "Date: tomorrow", "Date: Mon, 99 Foo 9999"])
def test_a_service_without_a_date_says_nothing_of_the_clock(
    date: str, hostile: HostileService
) -> None:
    hostile.query = lambda _: [whole(b"{}", *([date] if date else []))]
    checks = ServiceChecks(ServiceSettings(hostile.url))
    checks.answer()
    skipped(checks.clock())


def test_a_clock_of_1970_fails_without_any_service() -> None:
    checks = ServiceChecks(ServiceSettings("http://127.0.0.1:1"), lambda: 86_400.0)
    assert "it is 1970-01-02 here" in failed(checks.clock())


# The command


def doctor(*arguments: str, **environ: str) -> tuple[int, dict[str, dict[str, str]]]:
    done = allenfs("doctor", "--json", *arguments, **environ)
    assert done.stderr == ""
    checks = json.loads(done.stdout)["checks"]
    return done.returncode, {check["check"]: check for check in checks}


def test_the_command_checks_the_sample_from_end_to_end() -> None:
    _, checks = doctor("--sample")
    assert len(checks) == 22
    # other mounts of this machine are not this test's
    bad = {name for name, check in checks.items() if check["verdict"] == "FAIL"}
    assert bad <= {"mounts"}
    assert checks["image"]["verdict"] == "ok"


def test_the_command_fails_where_one_check_fails() -> None:
    code, checks = doctor("--api-url", f"http://127.0.0.1:{refused_port()}")
    assert code == 1
    assert checks["connection"]["verdict"] == "FAIL"
    assert checks["image"]["verdict"] == "skip"


def test_a_wrong_address_is_a_failed_check_and_its_password_is_not_shown() -> None:
    code, checks = doctor(ALLENFS_API_URL="https://joe:s3cret@host")
    assert code == 1
    assert checks["service"]["verdict"] == "FAIL"
    assert "s3cret" not in json.dumps(checks)
    assert "ALLENFS_API_URL" in checks["service"]["advice"]


def test_the_command_prints_aligned_lines_without_colour_to_a_pipe() -> None:
    done = allenfs("doctor", "--sample")
    head, _, checks = done.stdout.partition("\n\n")
    assert head.startswith("allenfs     ")
    assert "Python" in head
    assert "\x1b" not in done.stdout
    for line in checks.split("\n\n")[0].splitlines():
        assert line[:6] in ("ok    ", "warn  ", "FAIL  ", "skip  ", "      "), line
        assert line[6:18].strip() or line[18:].startswith("-> ")


def test_colours_are_for_terminals_unless_they_are_not_wanted() -> None:
    for no_colour, is_coloured in (("", True), ("1", False)):
        pid, terminal = os.forkpty()
        if pid == 0:
            os.environ["NO_COLOR"] = no_colour
            os.execv(
                sys.executable,
                [*STRICT_PYTHON, "-m", "allenfs", "doctor", "--api-url", "x"],
            )
        shown = b""
        with contextlib.suppress(OSError):  # EIO at the end of a terminal
            while piece := os.read(terminal, 65536):
                shown += piece
        os.close(terminal)
        os.waitpid(pid, 0)
        assert b"service" in shown
        assert (b"\x1b[" in shown) is is_coloured


def test_a_reader_that_goes_away_is_no_error() -> None:
    done = subprocess.run(
        ["sh", "-c", f"{sys.executable} -m allenfs doctor --api-url x | head -1"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == ""
    assert done.stdout.startswith("allenfs ")
