"""Proxies, and passwords of proxies and of mirrors: used, and never shown."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest
from command import allenfs, fails, mounting, run, serving_pid
from hostile_service import HostileService, head
from mounted import STRICT_PYTHON, Mounted, errno_of_open, image_bytes, port_of
from networks import Authority, LogIn, Proxy, SocksProxy, TlsFront, basic

from allenfs.mount.mount_table import is_mounted

pytestmark = pytest.mark.one_libfuse

PATH = "section/69750516/ds6/image.jpg"
NISSL = "section/71592261/nissl"  # a query
LIVE = "api.brain-map.org"
NOWHERE = "http://127.0.0.1:9"
USER, PASSWORD = "joe", "s3cret/ł"
SPELLED = "joe:s3cret%2F%C5%82"


@pytest.fixture
def root(root, monkeypatch):
    """A mountpoint, where no proxy is set."""
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.delenv(name)
    return root


@pytest.fixture
def campus(tmp_path):
    return Authority(tmp_path / "campus")


@pytest.fixture
def netrc(tmp_path):
    return tmp_path / "home" / ".netrc"


@pytest.fixture
def port(service):
    return port_of(service.url)


@pytest.fixture
def proxy(port):
    """A proxy that wants a password, and leads to the service."""
    with Proxy(port, f"{USER}:{PASSWORD}") as running:
        yield running


def url_of(proxy):
    return f"http://{SPELLED}@127.0.0.1:{proxy.port}"


def look(root, api_url):
    """Look at an image and a list through a mount."""
    assert (root / PATH).read_bytes() == image_bytes(api_url, PATH)
    assert os.readlink(root / NISSL) == "../71592412"


def check_not_shown(secret, root, home):
    """Nothing that a mount shows or writes has `secret` in it, nor has its command."""
    files = [Path(f"/proc/{serving_pid(root)}/cmdline"), *home.rglob("*.log")]
    files += [root / ".allenfs/status.json", root / ".allenfs/log"]
    assert len(files) == 4
    shown = [*map(Path.read_bytes, files), allenfs("status", root).stdout.encode()]
    assert secret.encode() not in b"".join(shown)


@pytest.mark.parametrize("way", ["--proxy", "ALLENFS_PROXY", "fstab"])
def test_proxy_handles_all_requests_and_its_password_is_not_exposed(
    tmp_path, root, service, proxy, way
):
    """Also for a service on this machine, and whatever NO_PROXY says."""
    url, environ = url_of(proxy), {"ALLENFS_PROXY": NOWHERE}
    mount = ["allenfs", "mount", "--api-url", service.url, root]
    if way == "--proxy":
        mount += [way, url]
    elif way == "ALLENFS_PROXY":
        environ = {way: url}
    else:
        mount = ["allenfs.cli.fstab", service.url, root, "-o", f"proxy={url}"]
    environ |= {**os.environ, **environ, "NO_PROXY": "*"}
    run(*STRICT_PYTHON, "-m", *mount, env=environ)
    look(root, service.url)
    shown = f"  proxy        http://127.0.0.1:{proxy.port}\n"
    assert shown in allenfs("status", root).stdout
    check_not_shown("s3cret", root, tmp_path / "home")
    asked = [head.split(" ")[1] for head in proxy.heads]
    assert all(target.startswith(service.url) for target in asked)
    assert any("image_download" in target for target in asked)
    assert any("query.json" in target for target in asked)
    assert allenfs("umount", root).returncode == 0


@pytest.mark.declared("407")
def test_a_wrong_password_of_a_proxy_is_an_errno_and_shown_nowhere(
    tmp_path, root, service, proxy
):
    wrong = url_of(proxy).replace("s3cret", "wr0ng")
    flags = ["--api-url", service.url, "--proxy", wrong]
    with mounting(root, *flags):
        assert errno_of_open(root / PATH) == errno.EHOSTUNREACH
        assert service.image_requests == 0
        check_not_shown("wr0ng", root, tmp_path / "home")
    prefetch = allenfs("prefetch", *flags, "section/69750516/ds7/image.jpg")
    assert prefetch.returncode == 1
    doctor = allenfs("doctor", *flags)
    assert f"through the proxy http://127.0.0.1:{proxy.port}\n" in doctor.stdout
    for done in (prefetch, doctor):
        assert "wr0ng" not in done.stdout + done.stderr


def test_prefetch_in_a_mount_uses_its_proxy_but_not_a_hidden_password(
    root, service, proxy
):
    with mounting(root, "--api-url", service.url, "--proxy", url_of(proxy)):
        done = allenfs("prefetch", root / PATH)
        assert (done.returncode, service.image_requests) == (1, 0)
        assert "407" in done.stderr
        for url in (url_of(proxy), url_of(proxy).removeprefix("http://")):
            done = allenfs("prefetch", root / PATH, http_proxy=url)
            assert done.returncode == 0, done.stderr
        assert service.image_requests == 1
        assert any("image_download" in head for head in proxy.heads)
        done = allenfs("prefetch", "--proxy", "", root / PATH.replace("ds6", "ds7"))
        assert (done.returncode, service.image_requests) == (0, 2)


@pytest.mark.parametrize(
    ("kind", "variable"),
    [("http", "--proxy"), ("https", "HTTPS_PROXY"), ("https", "ALL_PROXY")],
)
def test_https_works_through_tls_inspecting_proxy(
    root, campus, service, port, kind, variable
):
    """The live service's name, with a certificate of the proxy's own authority."""
    own = campus.certify("127.0.0.1") if kind == "https" else None
    with (
        TlsFront(port, campus.certify(LIVE)) as front,
        Proxy(front.port, f"{USER}:{PASSWORD}", own) as proxy,
    ):
        url = url_of(proxy).replace("http:", f"{kind}:")
        flags = ["--ca-bundle", campus.bundle]
        environ = {} if variable == "--proxy" else {variable: url}
        flags += [] if environ else [variable, url]
        with mounting(root, *flags, **environ):
            look(root, service.url)
            check_not_shown("s3cret", root, root.parent / "home")
            assert {head.split(" ")[1] for head in proxy.heads} == {f"{LIVE}:443"}


def test_conflicting_content_lengths_in_tls_in_tls_are_eio(root, campus, monkeypatch):
    monkeypatch.setenv("SSL_CERT_FILE", str(campus.bundle))
    with (
        HostileService() as hostile,
        TlsFront(hostile.port, campus.certify(LIVE)) as front,
        Proxy(front.port, "", campus.certify("127.0.0.1")) as proxy,
    ):
        hostile.image = lambda _: [head("200 OK", "Content-Length: 1, 2")]
        monkeypatch.setenv("HTTPS_PROXY", f"https://127.0.0.1:{proxy.port}")
        warnings = ["Content-Length"]
        with Mounted(root.parent, f"https://{LIVE}", warnings=warnings) as mounted:
            assert errno_of_open(mounted / PATH) == errno.EIO


@pytest.mark.parametrize("scheme", ["socks5h", "socks5"])
def test_socks_proxy_works(root, campus, service, port, scheme):
    """socks5h lets the proxy look the name up; here for https."""
    is_tls = scheme == "socks5h"
    host = "no-such-host.invalid" if is_tls else "127.0.0.1"
    with TlsFront(port, campus.certify(host)) as front:
        port = front.port if is_tls else port
        with SocksProxy(port) as proxy:
            api_url = f"{'https' if is_tls else 'http'}://{host}:{port}"
            flags = ["--api-url", api_url, "--ca-bundle", campus.bundle]
            flags += ["--proxy", f"{scheme}://127.0.0.1:{proxy.port}"]
            with mounting(root, *flags):
                look(root, service.url)
    assert set(proxy.asked) == {(host, port)}


def test_empty_proxy_overrides_environment(root, port):
    """The sample needs no proxy, and no request uses one of another scheme."""
    api_url = f"http://127.1:{port}"  # this machine, though it does not look like it
    environ = dict.fromkeys(("http_proxy", "ALLENFS_PROXY"), NOWHERE)
    with mounting(root, "--api-url", api_url, "--proxy", "", **environ):
        assert "proxy  " not in allenfs("status", root).stdout
        assert os.readlink(root / NISSL) == "../71592412"
    with mounting(root, "--sample", ALLENFS_PROXY=NOWHERE, HTTPS_PROXY="ftp://x"):
        assert (root / PATH).read_bytes()


@pytest.mark.parametrize("variable", ["--proxy", "ALLENFS_PROXY", "HTTPS_PROXY"])
def test_a_proxy_that_cannot_work_is_exit_3_and_one_line_without_its_password(
    root, variable
):
    proxy = " http://joe:s3cret@proxy.example:3128"
    if variable == "--proxy":
        message = fails(3, "mount", variable, proxy, root)
    else:
        message = fails(3, "mount", root, **{variable: proxy})
    assert message.startswith(f"allenfs: {variable}=")
    assert "proxy.example:3128' is not a valid proxy: it contains a space" in message
    assert "s3cret" not in message
    assert not is_mounted(root)


def test_deadline_covers_a_socks_proxy_that_drips(tmp_path, port):
    with SocksProxy(port) as socks:
        socks.is_dripping = True
        with Mounted(
            tmp_path,
            "http://no-such-host.invalid",
            warnings=["within the deadline", "waiting for data"],  # whichever is first
            proxy=f"socks5h://127.0.0.1:{socks.port}",
            deadline_s=1,
            connections=1,
        ) as mounted:
            assert errno_of_open(mounted / PATH) == errno.ETIMEDOUT
            assert len(socks.asked) == 1
            socks.is_dripping = False
            assert mounted.status["service"]["connections_in_use"] == 0


def test_socks_without_its_package_is_exit_3_and_names_it(tmp_path, root):
    (tmp_path / "sitecustomize.py").write_text(
        "import sys; sys.modules['socks'] = None"
    )
    environ = {"PYTHONPATH": str(tmp_path)}
    socks = "socks5h://127.0.0.1:9"
    for message in (
        fails(3, "mount", "--proxy", socks, root, **environ),
        fails(3, "mount", root, **environ, HTTPS_PROXY=socks),
        fails(2, "prefetch", "--proxy", socks, PATH, **environ),
    ):
        assert f"{sys.executable} -m pip install 'allenfs[socks]'" in message


@pytest.mark.parametrize("place", ["~/.netrc", "NETRC"])
def test_the_password_of_a_mirror_is_read_from_netrc(
    tmp_path, root, service, netrc, port, place
):
    """NETRC is relative to the current directory of the command."""
    other = tmp_path / "passwords"
    environ = {"NETRC": os.path.relpath(other)} if place == "NETRC" else {}
    with LogIn(port, f"{USER}:{PASSWORD}") as mirror:
        api_url = f"http://127.0.0.1:{mirror.port}"
        with Mounted(tmp_path / "without", api_url, warnings=["401"]) as mounted:
            assert errno_of_open(mounted / PATH) == errno.EACCES
        line = f"machine 127.0.0.1 login {USER} password {PASSWORD}\n"
        (other if environ else netrc).write_text(line)
        with mounting(root, "--api-url", api_url, **environ):
            look(root, service.url)
            check_not_shown("s3cret", root, tmp_path / "home")


def test_a_password_of_the_service_is_not_shown_to_the_proxy_of_an_https_service(
    root, campus, service, port, netrc
):
    netrc.write_text(f"machine {LIVE} login {USER} password {PASSWORD}\n")
    with TlsFront(port, campus.certify(LIVE)) as front, Proxy(front.port) as proxy:
        flags = ["--ca-bundle", campus.bundle, "--proxy", f"127.0.0.1:{proxy.port}"]
        with mounting(root, *flags):
            look(root, service.url)
    assert service.headers[0]["Authorization"] == basic(f"{USER}:{PASSWORD}")
    assert "authorization" not in "".join(proxy.heads).lower()


def test_invalid_netrc_is_exit_3_and_content_is_not_shown(root, service, netrc):
    for text in (
        "machine 127.0.0.1 login joe password s3 cret\n",
        "s3cret machine 127.0.0.1\n",
    ):
        netrc.write_text(text)
        message = fails(3, "mount", "--api-url", service.url, root)
        assert f"{netrc}, line " in message
        assert "cret" not in message
    # and of no other service's business
    with mounting(root, "--api-url", "http://localhost:9"):
        pass
    message = fails(3, "mount", root, NETRC="/missing")
    assert "NETRC names '/missing', which cannot be read" in message


def test_an_address_with_a_password_is_refused_and_the_password_not_shown(root):
    address = "https://joe:s3cret@mirror.example"
    shown = [
        fails(3, "mount", "--api-url", address, root),
        fails(3, "mount", root, ALLENFS_API_URL=address),
        fails(2, "prefetch", "--api-url", address, PATH),
        fails(1, "url", PATH, ALLENFS_API_URL=address),
        fails(1, "path", f"{address}/api/v2/image_download/x"),
    ]
    for source in (address, f"allenfs:{address.rpartition('://')[2]}"):
        helper = [*STRICT_PYTHON, "-m", "allenfs.cli.fstab", source, root]
        done = subprocess.run(helper, capture_output=True, text=True, check=False)
        assert done.returncode in (1, 32)
        assert len(done.stderr.splitlines()) == 1
        shown.append(done.stderr)
    for text in shown:
        assert "s3cret" not in text
        assert "mirror.example" in text
    assert "~/.netrc instead (machine HOST login USER password PASSWORD)" in shown[0]
