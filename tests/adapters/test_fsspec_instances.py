"""``allen://``: the options of an instance, and what instances share."""

from __future__ import annotations

import pickle
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from mounted import image_bytes

from allenfs.adapters import assemblies
from allenfs.adapters.fsspec import AllenFileSystem
from allenfs.cli.main import parser
from allenfs.cli.mount import settings_of

IMAGE = "section/69750516/ds6/image.jpg"
TABLE = "dataset/69782969/sections.csv"


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"api_url": "ftp://host"}, "ftp://host"),
        ({"cache_size": "much"}, "^cache_size: .*much"),
        ({"cache_size": 0}, "^cache_size: .*0"),
        ({"connections": 0}, "^connections: .*0"),
        ({"deadline": -1}, "^deadline: .*-1"),
        ({"readahead": "some"}, "^readahead: .*some"),
        ({"service_name": "sample@7"}, "sample@7"),
        ({"sample": True}, "sample and api_url"),
    ],
)
def test_an_invalid_option_says_what_is_wrong(opened, wrong, words):
    with pytest.raises(ValueError, match=words):
        opened(**wrong)


def test_an_unknown_option_is_refused(opened):
    with pytest.raises(TypeError, match="cachedir"):
        opened(cachedir="/tmp")


def test_an_option_means_what_the_flag_of_the_same_name_means(tmp_path):
    given = {
        "api_url": "http://mirror:8006",
        "cache_dir": str(tmp_path / "store"),
        "cache_size": "5GiB",
        "connections": 7,
        "service_name": "api.brain-map.org",
        "readahead": 3,
        "proxy": "http://proxy:1",
        "ca_bundle": str(tmp_path / "ca.pem"),
        "max_image_size": "2MB",
        "connect_timeout": 1,
        "stall_timeout": 2,
        "deadline": "3m",
        "catalog_ttl": "4d",
    }
    flags = [f"--{name.replace('_', '-')}={value}" for name, value in given.items()]
    parsed = parser().parse_args(["mount", *flags, str(tmp_path)])
    expected = settings_of(parsed)
    found = AllenFileSystem(skip_instance_cache=True, **given).settings
    assert (found.service, found.store) == (expected.service, expected.store)
    assert found.readahead_images == expected.readahead_images


def test_the_environment_chooses_as_for_the_commands(service, tmp_path, monkeypatch):
    monkeypatch.setenv("ALLENFS_API_URL", service.url)
    monkeypatch.setenv("ALLENFS_CACHE_DIR", str(tmp_path / "chosen"))
    allen = AllenFileSystem(skip_instance_cache=True)
    assert allen.cat(IMAGE) == image_bytes(service.url, IMAGE)
    assert (tmp_path / "chosen/images").is_dir()


def test_a_relative_store_is_the_same_in_another_directory(
    opened, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    pickled = pickle.dumps(opened(cache_dir="relative"))
    (tmp_path / "other").mkdir()
    monkeypatch.chdir("other")
    assert pickle.loads(pickled).cat(IMAGE)
    assert (tmp_path / "relative/images").is_dir()
    assert not Path("relative").exists()


def test_instances_are_pickled_cached_and_share_their_connections(opened, service):
    allen = opened()
    assert opened() is allen
    assert pickle.loads(pickle.dumps(allen)) is allen
    paths = [f"section/69750516/ds6/q{n}/image.jpg" for n in range(8)]
    with ThreadPoolExecutor(8) as pool:  # fsspec makes an instance for each thread
        images = list(pool.map(lambda path: opened().cat(path), paths * 2))
    assert service.connections <= 4
    assert images == [image_bytes(service.url, path) for path in paths] * 2
    assert service.image_requests == 2 * len(paths)  # half of them are the test's
    assert service.peak_requests <= 4


def test_closing_ends_idle_connections_and_the_next_use_connects_again(allen, service):
    allen.cat(IMAGE)
    assert (allen.cat(TABLE)[:7], service.connections) == (b"section", 1)
    assemblies.close()
    assert allen.cat("section/69750516/ds7/image.jpg")
    assert service.connections == 2
