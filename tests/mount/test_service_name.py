"""A mirror or caching proxy at an address of its own: one store, one name."""

from __future__ import annotations

import pytest
from command import allenfs, fails, mounting
from mounted import Mounted, image_bytes, port_of
from networks import LogIn

from allenfs import config

pytestmark = pytest.mark.one_libfuse

FIRST, SECOND, THIRD = (
    f"section/69750516/ds{number}/image.jpg" for number in (5, 6, 7)
)


@pytest.fixture
def direct(tmp_path, service):
    """A mount of the service itself."""
    with Mounted(tmp_path / "direct", service.url) as direct:
        yield direct


@pytest.fixture
def mirror(service):
    """The service at another address."""
    with LogIn(port_of(service.url)) as mirror:
        yield mirror


@pytest.fixture
def flags(direct, mirror):
    return ["--api-url", mirror.url, "--cache-dir", direct.cache_dir]


def test_a_mirror_under_the_name_of_its_service_shares_its_stored_images(
    direct, mirror, service, root, flags
):
    images = [image_bytes(service.url, path) for path in (FIRST, SECOND, THIRD)]
    service.reset_counters()
    with mounting(root, *flags, "--service-name", service.url):
        for mount, path in ((direct, FIRST), (root, SECOND)):
            (mount / path).read_bytes()
        assert allenfs("prefetch", root / THIRD).returncode == 0
        for mount in (direct, root):
            found = [(mount / path).read_bytes() for path in (FIRST, SECOND, THIRD)]
            assert found == images
    assert service.image_requests == 3
    assert "image_download" in "".join(mirror.heads)


def test_the_name_may_come_from_the_environment(direct, service, flags):
    (direct / FIRST).read_bytes()
    name = config.service_name(service.url)
    for environ, requests in (({"ALLENFS_SERVICE_NAME": name}, 1), ({}, 2)):
        assert allenfs("prefetch", *flags, FIRST, **environ).returncode == 0
        assert service.image_requests == requests
    page = allenfs("doctor", *flags, ALLENFS_SERVICE_NAME=name).stdout
    assert f", stored as {name}\n" in page


@pytest.mark.parametrize("name", ["sample@7", "a b", "..", "ftp://h"])
def test_a_name_that_no_service_has_is_refused(root, name):
    message = fails(2, "mount", "--service-name", name, root)
    assert message.startswith(f"allenfs: not the name of a service: {name!r}")


def test_the_sample_has_a_name_of_its_own(root):
    message = fails(2, "mount", "--sample", "--service-name", "api.brain-map.org", root)
    assert "a service name is for a mirror" in message
