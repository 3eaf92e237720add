"""The doctor's requests to the service: what fails, why, and what to do about it."""

from __future__ import annotations

import contextlib
import json
import os
import re
import socket
import sys

import pytest
from campus import CERTIFICATES, HOST, Campus
from command import allenfs
from hostile_service import HostileService, head, whole
from mounted import STRICT_PYTHON
from verdicts import failed, worked

from allenfs.cli.doctor import service
from allenfs.cli.doctor.service import ServiceChecks
from allenfs.config import ServiceSettings
from allenfs.sample.server import Fault


def checks_of(api_url: str) -> ServiceChecks:
    return ServiceChecks(ServiceSettings(api_url))


@pytest.fixture
def campus(tmp_path, monkeypatch):
    """The service behind a proxy; all certificates but `good` are trusted."""
    bundle = tmp_path / "trusted.pem"
    pems = [CERTIFICATES / f"{name}.pem" for name in ("campus", "expired", "other")]
    bundle.write_text("".join(pem.read_text() for pem in pems))
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(bundle))
    with Campus() as running:
        for name in ("HTTPS_PROXY", "https_proxy"):
            monkeypatch.setenv(name, f"http://joe:s3cret@127.0.0.1:{running.port}")
        yield running


def refused_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    return port


def test_the_sample_answers_one_query_and_one_image(sample):
    checks = checks_of(sample.url)
    assert checks.proxy is None
    assert "section/69750516/ds5/image.jpg, 439 x 228 px" in worked(checks.image())
    assert "section 69750516" in worked(checks.query())
    assert (sample.image_requests, sample.query_requests) == (1, 1)


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
        ({"certificate": "good"}, "verify failed: self", "REQUESTS_CA_BUNDLE"),
        ({"certificate": "other"}, "not valid for 'allen.test'", "another host"),
        ({"hello": lambda: [b"no TLS"]}, "SSL", "check the network connection"),
    ],
)
def test_a_failed_connection_is_tried_once_and_names_the_cause(
    put, reason, advice, campus
):
    checks = checks_of(f"https://{HOST}")
    assert checks.proxy == f"http://127.0.0.1:{campus.port}"
    vars(campus).update(put)
    said, _, advised = failed(checks.image()).partition(" -> ")
    assert reason in said
    assert advice in advised
    assert campus.tunnels == 1  # an account may be locked after some failures
    campus.heal()
    worked(checks_of(f"https://{HOST}").image())


def test_an_expired_certificate_points_at_the_clock(campus):
    url = f"https://127.0.0.1:{campus.port}"
    checks = ServiceChecks(ServiceSettings(url, ca_bundle=CERTIFICATES / "good.pem"))
    campus.certificate = "expired"
    assert "has expired -> check this machine's clock" in failed(checks.image())


def test_an_unreachable_proxy_is_distinguished_from_an_unreachable_service(monkeypatch):
    port = refused_port()
    said = failed(checks_of(f"http://127.0.0.1:{port}").image())
    assert said.startswith("Connection refused -> check the network connection")
    for name in ("HTTPS_PROXY", "https_proxy"):
        monkeypatch.setenv(name, f"127.0.0.1:{port}")
    said = failed(checks_of("https://api.brain-map.org").image())
    assert said.startswith("proxy: Connection refused -> correct or unset --proxy")
    for name in ("HTTPS_PROXY", "https_proxy"):
        monkeypatch.delenv(name)
    said = failed(checks_of("https://no-such-host.invalid").image())
    assert said.startswith("cannot resolve host name: ")
    assert "check the network connection" in said


def test_a_silent_service_fails_in_time(monkeypatch):
    monkeypatch.setattr(service, "TIMEOUT_S", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        checks = checks_of(f"http://127.0.0.1:{listener.getsockname()[1]}")
        assert "does not respond" in failed(checks.image())


@pytest.mark.parametrize(
    ("kind", "fault", "advice"),
    [
        ("image", Fault.STATUS_403, "denies access"),
        ("image", Fault.STATUS_404, "--api-url"),
        ("image", Fault.STATUS_429_RETRY_AFTER, "try again later"),
        ("image", Fault.HTML_200, "log in with a web browser"),
        ("image", Fault.NOT_A_JPEG, "another server may have answered"),
        ("image", Fault.REDIRECT_OTHER_HOST, "log in with a web browser"),
        ("image", Fault.CUT_CHUNKED, "closed the connection"),
        ("image", Fault.STATUS_400, "please report"),
        ("query", Fault.STATUS_503, "try again later"),
        ("query", Fault.SUCCESS_FALSE, "please report"),
        ("query", Fault.REDIRECT_LOOP, "another server may have answered"),
    ],
)
def test_a_failure_is_tried_once_and_says_what_to_do(kind, fault, advice, sample):
    check = getattr(checks_of(sample.url), kind)
    (sample.fail if kind == "image" else sample.fail_queries)(fault)
    assert advice in failed(check())
    assert sample.image_requests + sample.query_requests == 1
    sample.heal()
    worked(check())


def test_a_captive_portal_is_distinguished_from_the_service():
    redirect = head(
        "302 Found", "Location: http://portal.invalid/", "Content-Length: 0"
    )
    with HostileService() as hostile:
        checks = checks_of(hostile.url)
        for portal, words in (
            (whole(b"<html>log in", kind="text/html"), "a web page instead of"),
            (redirect, "a redirect away from the service"),
            (head("511 Network Authentication Required"), "HTTP 511"),
        ):
            hostile.query = lambda _, portal=portal: [portal]
            said = failed(checks.query())
            assert words in said
            assert "log in with a web browser" in said


def doctor(*arguments: str, **environ: str) -> tuple[int, dict[str, dict[str, str]]]:
    done = allenfs("doctor", "--json", *arguments, **environ)
    assert done.stderr == ""
    checks = json.loads(done.stdout)["checks"]
    return done.returncode, {check["check"]: check for check in checks}


def test_the_command_checks_the_sample_from_end_to_end():
    _, checks = doctor("--sample")
    assert len(checks) == 12
    # other mounts of this machine are not this test's
    bad = {name for name, check in checks.items() if check["verdict"] == "FAIL"}
    assert bad <= {"mounts"}


def test_the_command_asks_nothing_more_after_a_failure():
    code, checks = doctor("--api-url", f"http://127.0.0.1:{refused_port()}")
    assert code == 1
    assert checks["image"]["message"] == "Connection refused"
    assert list(checks)[-2:] == ["service", "image"]


def test_a_wrong_address_fails_and_its_password_is_not_shown():
    code, checks = doctor(ALLENFS_API_URL="https://joe:s3cret@host")
    assert code == 1
    assert checks["service"]["verdict"] == "FAIL"
    assert "s3cret" not in json.dumps(checks)
    assert "ALLENFS_API_URL" in checks["service"]["advice"]


def test_a_terminal_gets_colours_unless_it_wants_none():
    for no_colour, is_coloured in (("", True), ("1", False)):
        pid, terminal = os.forkpty()
        if pid == 0:
            os.environ["NO_COLOR"] = no_colour
            arguments = ["-m", "allenfs", "doctor", "--api-url", "x"]
            os.execv(sys.executable, [*STRICT_PYTHON, *arguments])
        shown = b""
        with contextlib.suppress(OSError):  # EIO at the end of a terminal
            while piece := os.read(terminal, 65536):
                shown += piece
        os.close(terminal)
        os.waitpid(pid, 0)
        assert b"service" in shown
        assert (b"\x1b[" in shown) is is_coloured


def test_a_pipe_gets_aligned_lines_without_colours():
    about, checks, _ = allenfs("doctor", "--api-url", "x").stdout.split("\n\n", 2)
    assert about.startswith("allenfs     ")
    for line in checks.splitlines():  # verdict, name, and what was found; or advice
        assert re.match(r"(ok  |warn|FAIL)  \S.{10} \S| {18}-> ", line), line
    assert (about + checks).replace("\n", "").isprintable()
