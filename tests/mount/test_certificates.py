"""Which certificates are trusted, and what becomes of a mount when they vanish."""

from __future__ import annotations

import errno
import os
import shutil
from importlib import util
from pathlib import Path

import pytest
from command import allenfs, fails, mounting
from mount_namespace import MountNamespace
from mounted import STRICT_PYTHON, Mounted, errno_of_open, image_bytes, port_of
from networks import Authority, TlsFront

pytestmark = pytest.mark.one_libfuse

PATH = "section/69750516/ds6/image.jpg"
VARIABLES = [
    "SSL_CERT_FILE",
    "REQUESTS_CA_BUNDLE",
    "CURL_CA_BUNDLE",
    "ALLENFS_CA_BUNDLE",
]
_MISSING = "cannot be read (No such file or directory)"


@pytest.fixture
def campus(tmp_path):
    return Authority(tmp_path / "campus")


@pytest.fixture
def url(service, campus):
    """The service, by https, with a certificate of the campus."""
    with TlsFront(port_of(service.url), campus.certify("127.0.0.1")) as front:
        yield f"https://127.0.0.1:{front.port}"


@pytest.fixture
def root(root, monkeypatch):
    """A mountpoint in the current directory."""
    monkeypatch.chdir(root.parent)
    return root


@pytest.mark.parametrize("variable", [*VARIABLES, "--ca-bundle"])
def test_bundle_is_trusted_from_every_variable(
    root, tmp_path, campus, service, url, variable
):
    """The flag adds to what the environment names."""
    bundle = os.path.relpath(campus.bundle)  # the shell's directory is not the mount's
    flags, environ = ["--api-url", url], dict.fromkeys(VARIABLES, "")
    if variable == "--ca-bundle":
        flags += [variable, bundle]
        environ["SSL_CERT_FILE"] = str(Authority(tmp_path / "other").bundle)
    else:
        environ[variable] = bundle  # empty variables are ignored
    with mounting(root, *flags, **environ):
        assert (root / PATH).read_bytes() == image_bytes(service.url, PATH)


def test_a_directory_of_certificates_is_trusted(root, tmp_path, campus, service, url):
    directory = campus.hashed(tmp_path / "hashed").name
    second = Authority(tmp_path / "second").hashed(tmp_path / "more").name
    for environ in (
        {"SSL_CERT_DIR": f"{second}:{directory}"},  # a list
        {"REQUESTS_CA_BUNDLE": directory},
    ):
        with mounting(root, "--api-url", url, **environ):
            assert (root / PATH).read_bytes() == image_bytes(service.url, PATH)
        allenfs("cache", "clear")


@pytest.mark.parametrize("kind", ["a file", "a directory"])
def test_system_store_is_trusted_in_addition_to_ssl_cert_file(
    tmp_path, campus, service, url, kind
):
    store = tmp_path / "certs"
    if kind == "a file":
        store.mkdir()
        (store / "ca-certificates.crt").write_bytes(campus.bundle.read_bytes())
    else:
        campus.hashed(store)
    other = Authority(tmp_path / "other")
    environ = {**os.environ, "SSL_CERT_FILE": str(other.bundle)}
    command = [*STRICT_PYTHON, "-m", "allenfs", "prefetch", "--api-url", url, PATH]
    with MountNamespace(tmp_path) as namespace:
        assert namespace.run(*command, environ=environ).returncode == 1
        bound = namespace.run("mount", "--bind", store, "/etc/ssl/certs")
        assert bound.returncode == 0, bound.stderr
        done = namespace.run(*command, environ=environ)
    assert done.returncode == 0, done.stderr
    assert service.image_requests == 1


@pytest.mark.parametrize(
    ("variable", "name", "why"),
    [
        *((variable, "missing", _MISSING) for variable in (*VARIABLES, "--ca-bundle")),
        ("SSL_CERT_DIR", "missing", _MISSING),
        ("SSL_CERT_DIR", "folder", "contains no hashed certificate"),
        ("--ca-bundle", "folder", "contains no hashed certificate"),
        ("SSL_CERT_FILE", "text.pem", "contains no valid PEM certificate"),
    ],
)
def test_a_bundle_that_cannot_be_used_is_exit_3_and_named(
    root, tmp_path, variable, name, why
):
    (tmp_path / "folder").mkdir()
    (tmp_path / "text.pem").write_text("no certificate\n")
    is_flag = variable.startswith("-")
    flags, environ = ([variable, name], {}) if is_flag else ([], {variable: name})
    line = fails(3, "mount", *flags, root, **environ)
    assert f"{variable} names '{tmp_path / name}', which {why}" in line


def test_the_sample_ignores_a_broken_bundle_in_the_environment(root):
    with mounting(root, "--sample", REQUESTS_CA_BUNDLE="/missing"):
        assert (root / PATH).read_bytes()


def test_every_command_that_asks_the_service_names_a_broken_bundle(tmp_path):
    missing = str(tmp_path / "missing")
    said = fails(2, "prefetch", "--ca-bundle", missing, PATH)
    assert f"--ca-bundle names '{missing}'" in said
    done = allenfs("doctor", SSL_CERT_FILE=missing)
    assert done.returncode == 1
    assert f"SSL_CERT_FILE names '{missing}'" in done.stdout


def test_mount_survives_removed_bundles_and_packages(
    tmp_path, campus, service, url, monkeypatch
):
    packages, directory = tmp_path / "packages", campus.hashed(tmp_path / "hashed")
    packages.mkdir()
    for name in ("requests", "urllib3", "certifi", "idna", "charset_normalizer"):
        found = util.find_spec(name)
        assert found is not None
        assert found.origin is not None
        shutil.copytree(Path(found.origin).parent, packages / name)
    monkeypatch.setenv("PYTHONPATH", str(packages))
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(directory))
    monkeypatch.setenv("SSL_CERT_FILE", str(campus.bundle))
    with Mounted(tmp_path, url, warnings=["HTTP 404"]) as mounted:
        shutil.rmtree(packages)
        shutil.rmtree(directory)
        campus.bundle.unlink()
        assert (mounted / PATH).read_bytes() == image_bytes(service.url, PATH)
        assert errno_of_open(mounted / "section/1/image.jpg") == errno.ENOENT
        assert os.readlink(mounted / "section/71592261/nissl") == "../71592412"
