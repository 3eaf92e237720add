"""``info.json``: what the service says of something, whatever it says."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Any

import pytest
from catalog_world import PLAIN, World

from allenfs.config import ServiceSettings
from allenfs.errors import ServiceError
from allenfs.sample.server import SampleService
from allenfs.service.rma import read_page


@pytest.mark.parametrize(
    ("path", "record", "plane", "treatments", "genes", "red"),
    [
        ("section/70679080", 70679080, "sagittal", {"ISH"}, ["Adora2a"], None),
        ("section/102146167", 102146167, "coronal", set(), [], 923),
        ("dataset/70813257", 70813257, "sagittal", {"ISH"}, ["Adora2a"], None),
        ("dataset/100141599", 100141599, "coronal", set(), [], 923),
        ("atlas/100883869", 100883869, "sagittal", {"NISSL"}, [], None),
        ("browse/atlas/2", 2, "sagittal", {"NISSL", "Parvalbumin"}, [], None),
    ],
)
def test_info_is_the_record_with_what_is_known_of_its_experiment(
    tmp_path, path, record, plane, treatments, genes, red
):
    with SampleService(database=PLAIN) as sample:
        info = World(sample.url, tmp_path).json(f"{path}/info.json")
    assert info["id"] == record
    assert info["plane"] == plane
    said = [one["name"] if isinstance(one, dict) else one for one in info["treatments"]]
    assert set(said) == treatments
    assert [gene["acronym"] for gene in info["genes"]] == genes
    equalization = info["equalization"]
    assert (equalization and equalization["red_upper"]) == red


def test_a_sense_control_is_recognized_by_its_probe(tmp_path):
    with SampleService(database=PLAIN) as sample:
        world = World(sample.url, tmp_path)
        both = world.names("browse/product/Mouse/gene/Pdyn/sagittal")
        assert both == ["69782969", "71064081"]
        paths = [*(f"dataset/{one}" for one in both), "section/71058301"]
        probes = [world.json(f"{path}/info.json")["probes"] for path in paths]
        plate = world.json("atlas/100883869/info.json")
        projection = world.json("dataset/100141599/info.json")
    assert [one["orientation"] for (one,) in probes] == [
        {"id": 2, "name": "Antisense"},
        {"id": 1, "name": "Sense"},
        {"id": 1, "name": "Sense"},
    ]
    assert projection["probes"] == []
    assert "probes" not in plate


class _Body:
    """A service that answers every query with the same bytes."""

    def __init__(self, body: bytes) -> None:
        self.body = body

    def page(self, query: object, *, start_row: int, **_: Any) -> list[Any]:
        return read_page(b'{"msg": []}' if start_row else self.body)


def world_of(row: bytes, directory: Path) -> World:
    world = World("http://127.0.0.1:9", directory)
    service = _Body(b'{"success": true, "msg": [%b]}' % row)
    world.use(service, ServiceSettings("http://h"))
    return world


@pytest.mark.parametrize(
    "depth", [15, 50, 100, 600, 900, 980, 984, 988, 992, 996, 9999]
)
@pytest.mark.parametrize("path", ["section/5/info.json", "dataset/5/info.json"])
def test_a_deeply_nested_row_is_shown_or_an_error_of_the_service(tmp_path, path, depth):
    nested = b"[" * depth + b"1" + b"]" * depth
    row = b'{"id": 5, "section_number": 1, "deep": %b}' % nested
    world = world_of(row, tmp_path)
    try:
        entry = world.entry(path)
    except ServiceError as error:
        assert error.errno == errno.EIO
        assert depth > 15
    else:
        text = b"".join(entry.read(0, 2**30).split())
        assert nested in text


def test_info_is_json_whatever_numbers_a_service_gives(tmp_path):
    """1e999 is a number of JSON, and none of Python, which would write Infinity."""
    row = b'{"id": 5, "section_number": 1, "width": 1e999, "name": "\\ud800 \\u00b5"}'
    record = world_of(row, tmp_path).json("section/5/info.json")
    assert record["id"] == 5
    assert record["name"] == "\ud800 µ"
