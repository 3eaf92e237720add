"""Names are UTF-8 in a mount, whatever the locale of who mounts."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from command import allenfs
from mounted import Mounted

from allenfs.mount import mount_table
from allenfs.sample.content import sample_database
from allenfs.sample.inventing import add_data_set, add_genes
from allenfs.sample.server import SampleService

GENES = "browse/product/Mouse/gene"
NAMES = ["Zürich", "βCamk", "日本"]
# Python then encodes in ASCII, as it would in Latin-1 in a locale of that.
ASCII = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}


@pytest.fixture
def service() -> Iterator[SampleService]:
    """A service with genes that an 8-bit locale cannot spell."""
    database = sample_database()
    for place, gene in enumerate(add_genes(database, NAMES)):
        images = range(5_000_000_000 + 10 * place, 5_000_000_003 + 10 * place)
        add_data_set(database, 9000 + place, images, genes=[gene])
    with SampleService(database=database) as running:
        yield running


@pytest.mark.both_libfuses
def test_names_outside_the_locale_are_listed_and_can_be_opened(
    tmp_path: Path, service: SampleService, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable, value in ASCII.items():
        monkeypatch.setenv(variable, value)
    with Mounted(tmp_path, service.url) as mounted:
        genes = os.fsencode(mounted / GENES)
        assert {name.encode() for name in NAMES} < set(os.listdir(genes))
        for place, name in enumerate(NAMES):
            (link,) = os.scandir(genes + b"/" + name.encode() + b"/sagittal")
            assert link.name == str(9000 + place).encode()
            assert len(os.listdir(link.path + b"/ds4")) == 3
        with pytest.raises(FileNotFoundError):
            os.stat(genes + "/Zürich".encode("latin-1"))


@pytest.mark.one_libfuse
@pytest.mark.parametrize("name", NAMES)
def test_commands_accept_names_outside_the_locale(
    tmp_path: Path, service: SampleService, name: str
) -> None:
    path = f"{GENES}/{name}/sagittal/{9000 + NAMES.index(name)}/ds4"
    options = ["--api-url", service.url, "--cache-dir", tmp_path / "store"]
    done = allenfs("prefetch", "-r", "--check", *options, path, **ASCII)
    assert done.returncode == 1
    assert done.stderr.endswith(": 3 not local\n")
    with Mounted(tmp_path, service.url) as mounted:
        done = allenfs("prefetch", "-r", "--check", mounted / path, **ASCII)
        assert done.stderr.endswith(": 3 not local\n")


def test_a_source_of_any_letters_is_in_the_mount_table(
    tmp_path: Path, service: SampleService
) -> None:
    root = tmp_path / "mnt"
    root.mkdir()
    options = ["--api-url", service.url, "--cache-dir", tmp_path / "store"]
    done = allenfs("mount", *options, "-o", "fsname=allenfs:мозг", root)
    assert (done.returncode, done.stderr) == (0, "")
    source = mount_table.source(root)
    assert allenfs("umount", root).returncode == 0
    assert source == "allenfs:мозг"
