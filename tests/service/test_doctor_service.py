"""The doctor's requests to the service: what fails, why, and what to do about it."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import sys

import pytest
from campus import CERTIFICATES, HOST, Campus
from command import allenfs
from hostile_service import head, rows, whole
from mounted import STRICT_PYTHON
from verdicts import failed, worked

from allenfs.cli.doctor import service
from allenfs.cli.doctor.findings import Verdict
from allenfs.cli.doctor.service import ServiceChecks
from allenfs.config import ServiceSettings
from allenfs.sample.server import Fault, SampleService

PROXY_VARIABLES = ("HTTPS_PROXY", "https_proxy")


def checks_of(api_url, **settings):
    return ServiceChecks(ServiceSettings(api_url, **settings))


@pytest.fixture
def campus(tmp_path, monkeypatch):
    """The service behind a proxy; all certificates but `good` are trusted."""
    bundle = tmp_path / "trusted.pem"
    pems = [CERTIFICATES / f"{name}.pem" for name in ("campus", "expired", "other")]
    bundle.write_text("".join(pem.read_text() for pem in pems))
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(bundle))
    with Campus() as running:
        for name in PROXY_VARIABLES:
            monkeypatch.setenv(name, f"http://joe:s3cret@127.0.0.1:{running.port}")
        running.query = one_section
        yield running


def one_section(_):
    return [rows('[{"id": 69750516}]')]


def refused_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


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
def test_a_barred_connection_is_tried_once_names_the_cause_and_recovers(
    put, reason, advice, campus
):
    checks = checks_of(f"https://{HOST}")
    assert checks.proxy == f"http://127.0.0.1:{campus.port}"
    vars(campus).update(put)
    said, _, advised = failed(checks.query()).partition(" -> ")
    assert reason in said
    assert advice in advised
    assert checks.image().verdict is Verdict.SKIP
    assert campus.tunnels == 1  # an account may be locked after some failures
    campus.heal()
    campus.query = one_section
    checks = checks_of(f"https://{HOST}")
    worked(checks.query())
    worked(checks.image())


def test_an_expired_certificate_points_at_the_clock(campus):
    bundle = CERTIFICATES / "good.pem"
    checks = checks_of(f"https://127.0.0.1:{campus.port}", ca_bundle=bundle)
    campus.certificate = "expired"
    assert "has expired -> check this machine's clock" in failed(checks.query())
    campus.certificate = "good"
    worked(checks.query())


def test_an_unreachable_proxy_is_told_from_an_unreachable_service(monkeypatch):
    port = refused_port()
    checks = checks_of(f"http://127.0.0.1:{port}")
    said = failed(checks.query())
    assert said.startswith("Connection refused -> check the network connection")
    with SampleService(port=port):
        worked(checks.query())
    for name in PROXY_VARIABLES:
        monkeypatch.setenv(name, f"127.0.0.1:{port}")
    said = failed(checks_of("https://api.brain-map.org").query())
    assert said.startswith("proxy: Connection refused -> correct or unset --proxy")
    for name in PROXY_VARIABLES:
        monkeypatch.delenv(name)
    said = failed(checks_of("https://no-such-host.invalid").query())
    assert said.startswith("cannot resolve host name: ")
    assert "check the network connection" in said


def test_a_silent_service_fails_once_and_in_time(monkeypatch):
    monkeypatch.setattr(service, "TIMEOUT_S", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        checks = checks_of("http://127.0.0.1:{}".format(*listener.getsockname()[1:]))
        assert "does not respond" in failed(checks.query())
        assert checks.image().verdict is Verdict.SKIP


@pytest.mark.parametrize(
    ("kind", "fault", "advice"),
    [
        ("image", Fault.STATUS_403, "denies access"),
        ("image", Fault.STATUS_404, "--api-url"),
        ("image", Fault.STATUS_503, "try again later"),
        ("image", Fault.HTML_200, "log in with a web browser"),
        ("image", Fault.NOT_A_JPEG, "another server may have answered"),
        ("image", Fault.RESET_BEFORE, "closed the connection"),
        ("image", Fault.STATUS_400, "please report"),
        ("query", Fault.SUCCESS_FALSE, "please report"),
        ("query", Fault.NOT_JSON, "another server may have answered"),
    ],
)
def test_a_failure_tells_what_to_do_ends_no_other_check_and_recovers(
    kind, fault, advice, sample
):
    checks = checks_of(sample.url)
    (sample.fail if kind == "image" else sample.fail_queries)(fault)
    for name in ("query", "image"):
        if name == kind:
            assert advice in failed(getattr(checks, name)())
        else:
            worked(getattr(checks, name)())
    assert (sample.image_requests, sample.query_requests) == (1, 1)  # no retries
    sample.heal()
    assert "section 69750516" in worked(checks.query())
    assert "section/69750516/ds5/image.jpg, 439 x 228 px" in worked(checks.image())


@pytest.mark.parametrize(
    ("portal", "words"),
    [
        (whole(b"<html>log in", kind="text/html"), "a web page instead of"),
        (
            head("302 Found", "Location: http://portal.invalid/", "Content-Length: 0"),
            "a redirect to another place",
        ),
        (head("511 Network Authentication Required"), "HTTP 511"),
    ],
)
def test_a_captive_portal_is_told_from_the_service(hostile, portal, words):
    checks = checks_of(hostile.url)
    hostile.query = lambda _: [portal]
    said = failed(checks.query())
    assert words in said
    assert "log in with a web browser" in said
    assert checks.image().verdict is Verdict.SKIP


# The command


def doctor(*arguments, **environ):
    done = allenfs("doctor", "--json", *arguments, **environ)
    assert done.stderr == ""
    checks = json.loads(done.stdout)["checks"]
    return done.returncode, {check["check"]: check for check in checks}


def test_the_command_checks_the_sample_from_end_to_end():
    _, checks = doctor("--sample")
    assert len(checks) == 15
    # other mounts of this machine are not this test's
    bad = {name for name, check in checks.items() if check["verdict"] == "FAIL"}
    assert bad <= {"mounts"}
    assert checks["image"]["verdict"] == "ok"


def test_the_command_fails_where_one_check_fails():
    code, checks = doctor("--api-url", f"http://127.0.0.1:{refused_port()}")
    assert code == 1
    assert checks["query"]["message"] == "Connection refused"
    assert checks["query"]["verdict"] == "FAIL"
    assert checks["image"]["verdict"] == "skip"


def test_a_wrong_address_is_a_failed_check_and_its_password_is_not_shown():
    code, checks = doctor(ALLENFS_API_URL="https://joe:s3cret@host")
    assert code == 1
    assert checks["service"]["verdict"] == "FAIL"
    assert "s3cret" not in json.dumps(checks)
    assert "ALLENFS_API_URL" in checks["service"]["advice"]


def test_the_command_prints_aligned_lines_without_colour_to_a_pipe():
    done = allenfs("doctor", "--sample")
    head, _, checks = done.stdout.partition("\n\n")
    assert head.startswith("allenfs     ")
    assert "Python" in head
    assert "\x1b" not in done.stdout
    for line in checks.split("\n\n")[0].splitlines():
        assert line[:6] in ("ok    ", "warn  ", "FAIL  ", "skip  ", "      "), line
        assert line[6:18].strip() or line[18:].startswith("-> ")


@pytest.mark.parametrize("no_colour", ["", "1"])
def test_colours_are_for_terminals_unless_they_are_not_wanted(no_colour):
    pid, terminal = os.forkpty()
    if pid == 0:
        os.environ["NO_COLOR"] = no_colour
        command = [*STRICT_PYTHON, "-m", "allenfs", "doctor", "--api-url", "x"]
        os.execv(sys.executable, command)
    shown = b""
    with contextlib.suppress(OSError):  # EIO at the end of a terminal
        while piece := os.read(terminal, 65536):
            shown += piece
    os.close(terminal)
    os.waitpid(pid, 0)
    assert b"service" in shown
    assert (b"\x1b[" in shown) is (not no_colour)
