"""Proxies, and passwords of proxies and of mirrors: used, and shown to nobody."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from command import allenfs, fails, mounting, run, serving_pid
from hostile_service import HostileService, head
from mounted import STRICT_PYTHON, Mounted, errno_of_open, image_bytes, port_of
from networks import Authority, LogIn, Proxy, SocksProxy, TlsFront, basic

from allenfs.mount.mount_table import is_mounted
from allenfs.sample.server import SampleService

pytestmark = pytest.mark.one_libfuse

PATH = "section/69750516/ds6/image.jpg"
NISSL = "section/71592261/nissl"  # a query
LIVE = "api.brain-map.org"
USER, PASSWORD = "joe", "s3cret/ł"
SPELLED = "joe:s3cret%2F%C5%82"


@pytest.fixture
def root(root: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A mountpoint, where no proxy is set."""
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.delenv(name)
    return root


@pytest.fixture
def campus(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "campus")


@pytest.fixture
def port(service: SampleService) -> int:
    return port_of(service.url)


@pytest.fixture
def proxy(port: int) -> Iterator[Proxy]:
    """A proxy that wants a password, and leads to the service."""
    with Proxy(port, f"{USER}:{PASSWORD}") as running:
        yield running


def url_of(proxy: Proxy) -> str:
    return f"http://{SPELLED}@127.0.0.1:{proxy.port}"


def look(root: Path, api_url: str) -> None:
    """Look at an image and a list through a mount."""
    assert (root / PATH).read_bytes() == image_bytes(api_url, PATH)
    assert os.readlink(root / NISSL) == "../71592412"


def check_not_shown(secret: str, root: Path, home: Path) -> None:
    """Nothing that a mount shows or writes has `secret` in it, nor has its command."""
    files = [Path(f"/proc/{serving_pid(root)}/cmdline"), *home.rglob("*.log")]
    files += [root / ".allenfs/status.json", root / ".allenfs/log"]
    shown = [file.read_bytes() for file in files]
    assert len(shown) == 4
    shown.append(allenfs("status", root).stdout.encode())
    for text in shown:
        assert secret.encode() not in text


@pytest.mark.parametrize("way", ["--proxy", "ALLENFS_PROXY", "fstab"])
def test_proxy_handles_all_requests_and_its_password_is_not_exposed(
    tmp_path: Path, root: Path, service: SampleService, proxy: Proxy, way: str
) -> None:
    """Also for a service on this machine, and whatever NO_PROXY says."""
    url, environ = url_of(proxy), {"ALLENFS_PROXY": "http://127.0.0.1:9"}
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
    shown = f"http://127.0.0.1:{proxy.port}"
    status = json.loads((root / ".allenfs/status.json").read_bytes())
    assert status["service"]["proxy"] == shown
    assert f"  proxy        {shown}\n" in allenfs("status", root).stdout
    for secret in (PASSWORD, SPELLED, "s3cret"):
        check_not_shown(secret, root, tmp_path / "home")
    asked = [head.split(" ")[1] for head in proxy.heads]
    assert {target.startswith(service.url) for target in asked} == {True}
    assert any("image_download" in target for target in asked)
    assert any("query.json" in target for target in asked)
    assert allenfs("umount", root).returncode == 0


@pytest.mark.declared("407")
def test_a_wrong_password_of_a_proxy_is_an_errno_and_shown_nowhere(
    tmp_path: Path, root: Path, service: SampleService, proxy: Proxy
) -> None:
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
    root: Path, service: SampleService, proxy: Proxy
) -> None:
    flags = ["--api-url", service.url, "--proxy", url_of(proxy)]
    assert allenfs("mount", *flags, root).returncode == 0
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
    assert allenfs("umount", root).returncode == 0


@pytest.mark.parametrize("kind", ["http", "https"])
@pytest.mark.parametrize("variable", ["--proxy", "HTTPS_PROXY", "ALL_PROXY"])
def test_https_works_through_tls_inspecting_proxy(
    root: Path, campus: Authority, service: SampleService, kind: str, variable: str
) -> None:
    """The live service's name, with a certificate of the proxy's own authority."""
    own = campus.certify("127.0.0.1") if kind == "https" else None
    with (
        TlsFront(port_of(service.url), campus.certify(LIVE)) as front,
        Proxy(front.port, f"{USER}:{PASSWORD}", own) as proxy,
    ):
        url = url_of(proxy).replace("http:", f"{kind}:")
        is_flag = variable == "--proxy"
        flags = ["--ca-bundle", str(campus.bundle), *([variable, url] * is_flag)]
        with mounting(root, *flags, **({} if is_flag else {variable: url})):
            look(root, service.url)
            check_not_shown("s3cret", root, root.parent / "home")
            assert {head.split(" ")[1] for head in proxy.heads} == {f"{LIVE}:443"}


def test_conflicting_content_lengths_in_tls_in_tls_are_eio(
    root: Path, campus: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
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
@pytest.mark.parametrize("tls", [True, False])
def test_socks_proxy_works(
    root: Path, campus: Authority, service: SampleService, scheme: str, tls: bool
) -> None:
    """socks5h lets the proxy look the name up."""
    host = "no-such-host.invalid" if scheme == "socks5h" else "127.0.0.1"
    with TlsFront(port_of(service.url), campus.certify(host)) as front:
        port = front.port if tls else port_of(service.url)
        with SocksProxy(port) as proxy:
            api_url = f"{'https' if tls else 'http'}://{host}:{port}"
            flags = ["--api-url", api_url, "--ca-bundle", str(campus.bundle)]
            flags += ["--proxy", f"{scheme}://127.0.0.1:{proxy.port}"]
            with mounting(root, *flags):
                look(root, service.url)
    assert set(proxy.asked) == {(host, port)}


def test_empty_proxy_overrides_environment(root: Path, port: int) -> None:
    api_url = f"http://127.1:{port}"  # this machine, though it does not look like it
    environ = dict.fromkeys(("http_proxy", "ALLENFS_PROXY"), "http://127.0.0.1:9")
    with mounting(root, "--api-url", api_url, "--proxy", "", **environ):
        status = json.loads((root / ".allenfs/status.json").read_bytes())
        assert status["service"]["proxy"] is None
        assert os.readlink(root / NISSL) == "../71592412"


def test_sample_ignores_environment_proxies(root: Path) -> None:
    with mounting(root, "--sample", ALLENFS_PROXY="http://127.0.0.1:9"):
        assert (root / PATH).read_bytes()


@pytest.mark.parametrize("variable", ["--proxy", "ALLENFS_PROXY", "HTTPS_PROXY"])
def test_a_proxy_that_cannot_work_is_exit_3_and_one_line_without_its_password(
    root: Path, variable: str
) -> None:
    proxy = " http://joe:s3cret@proxy.example:3128"
    if variable == "--proxy":
        said = fails(3, "mount", variable, proxy, root)
    else:
        said = fails(3, "mount", root, **{variable: proxy})
    assert said.startswith(f"allenfs: {variable}=")
    assert "proxy.example:3128' is not a valid proxy: it contains a space" in said
    assert "s3cret" not in said
    assert not is_mounted(root)


def test_invalid_proxy_for_other_scheme_is_ignored(root: Path) -> None:
    with mounting(root, HTTP_PROXY="ftp://x"):
        pass


def test_deadline_covers_a_socks_proxy_that_drips(tmp_path: Path, port: int) -> None:
    with SocksProxy(port) as socks:
        settings = {"deadline_s": 1, "connections": 1}
        with Mounted(
            tmp_path,
            "http://no-such-host.invalid",
            warnings=["within the deadline", "waiting for data"],  # whichever is first
            proxy=f"socks5h://127.0.0.1:{socks.port}",
            **settings,
        ) as mounted:
            socks.is_dripping = True
            assert errno_of_open(mounted / PATH) == errno.ETIMEDOUT
            assert len(socks.asked) == 1
            socks.is_dripping = False
            assert mounted.status["service"]["connections_in_use"] == 0


def test_socks_without_its_package_is_exit_3_and_names_it(
    tmp_path: Path, root: Path
) -> None:
    (tmp_path / "sitecustomize.py").write_text(
        "import sys\nsys.modules['socks'] = None\n"
    )
    environ = {"PYTHONPATH": str(tmp_path)}
    socks = "socks5h://127.0.0.1:9"
    for said in (
        fails(3, "mount", "--proxy", socks, root, **environ),
        fails(3, "mount", root, **environ, HTTPS_PROXY=socks),
        fails(2, "prefetch", "--proxy", socks, PATH, **environ),
    ):
        assert f"{sys.executable} -m pip install 'allenfs[socks]'" in said


@pytest.mark.parametrize("place", [".netrc", "relative", "absolute"])
def test_the_password_of_a_mirror_is_read_from_netrc(
    tmp_path: Path, root: Path, service: SampleService, place: str
) -> None:
    """NETRC is relative to the current directory of the command."""
    home, line = tmp_path / "home", f"login {USER} password {PASSWORD}\n"
    netrc = home / ".netrc" if place == ".netrc" else tmp_path / "passwords"
    names = {"absolute": str(netrc), "relative": os.path.relpath(netrc)}
    environ = {"NETRC": names[place]} if place in names else {}
    with LogIn(port_of(service.url), f"{USER}:{PASSWORD}") as mirror:
        api_url = f"http://127.0.0.1:{mirror.port}"
        with Mounted(tmp_path / "without", api_url, warnings=["401"]) as mounted:
            assert errno_of_open(mounted / PATH) == errno.EACCES
        netrc.write_text(f"machine 127.0.0.1 {line}")
        with mounting(root, "--api-url", api_url, **environ):
            look(root, service.url)
            check_not_shown("s3cret", root, home)


def test_a_password_goes_to_the_host_that_netrc_names_and_to_no_other(
    tmp_path: Path, service: SampleService, port: int
) -> None:
    (tmp_path / "home" / ".netrc").write_text(
        f"machine localhost login {USER} password {PASSWORD}\n"
        "default login anyone password anything\n"
    )
    with Mounted(tmp_path / "1", f"http://127.0.0.1:{port}") as mounted:
        look(mounted.root, service.url)
    assert service.headers
    for headers in (*service.headers, *service.query_headers):
        assert "Authorization" not in headers
    service.reset_counters()
    with Mounted(tmp_path / "2", f"http://localhost:{port}") as mounted:
        os.readlink(mounted / NISSL)
    assert service.query_headers[0]["Authorization"] == basic(f"{USER}:{PASSWORD}")


def test_a_password_of_the_service_is_not_shown_to_the_proxy_of_an_https_service(
    root: Path, campus: Authority, service: SampleService, port: int
) -> None:
    netrc = root.parent / "home" / ".netrc"
    netrc.write_text(f"machine {LIVE} login {USER} password {PASSWORD}\n")
    with TlsFront(port, campus.certify(LIVE)) as front, Proxy(front.port) as proxy:
        flags = ["--ca-bundle", campus.bundle, "--proxy", f"127.0.0.1:{proxy.port}"]
        with mounting(root, *flags):
            look(root, service.url)
    assert service.headers[0]["Authorization"] == basic(f"{USER}:{PASSWORD}")
    assert "authorization" not in "".join(proxy.heads).lower()


def test_invalid_netrc_is_exit_3_and_content_is_not_shown(
    tmp_path: Path, root: Path, service: SampleService
) -> None:
    netrc = tmp_path / "home" / ".netrc"
    for text in (
        "machine 127.0.0.1 login joe password s3 cret\n",
        "machine 127.0.0.1 login joe s3cret\n",
        "s3cret machine 127.0.0.1\n",
    ):
        netrc.write_text(text)
        said = fails(3, "mount", "--api-url", service.url, root)
        assert f"{netrc}, line " in said
        assert "cret" not in said
    # and of no other service's business
    with mounting(root, "--api-url", "http://localhost:9"):
        pass
    said = fails(3, "mount", root, NETRC="/missing")
    assert "NETRC names '/missing', which cannot be read" in said


def test_an_address_with_a_password_is_refused_and_the_password_not_shown(
    root: Path,
) -> None:
    address = "https://joe:s3cret@mirror.example"
    image = f"{address}/api/v2/image_download/x"
    said = [
        fails(3, "mount", "--api-url", address, root),
        fails(3, "mount", root, ALLENFS_API_URL=address),
        fails(2, "prefetch", "--api-url", address, PATH),
        fails(1, "url", PATH, ALLENFS_API_URL=address),
        fails(1, "path", image),
        allenfs("doctor", "--api-url", address).stdout,
    ]
    for source in (address, f"allenfs:{address.rpartition('://')[2]}"):
        helper = [*STRICT_PYTHON, "-m", "allenfs.cli.fstab", source, root]
        done = subprocess.run(helper, capture_output=True, text=True, check=False)
        assert done.returncode in (1, 32)
        assert len(done.stderr.splitlines()) == 1
        said.append(done.stderr)
    for text in said:
        assert "s3cret" not in text
        assert "mirror.example" in text
    assert "~/.netrc instead (machine HOST login USER password PASSWORD)" in said[0]
