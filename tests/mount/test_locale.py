"""Names are UTF-8 in a mount, whatever the locale of who mounts."""

from __future__ import annotations

import os

import pytest
from command import allenfs, mounting
from mounted import Mounted

from allenfs.mount import mount_table
from allenfs.sample.inventing import add_data_set, add_genes

GENES = "browse/product/Mouse/gene"
NAMES = ["Zürich", "βCamk", "日本"]
# Python then encodes in ASCII, as it would in Latin-1 in a locale of that.
ASCII = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}


@pytest.fixture
def database(database):
    """Has genes that an 8-bit locale cannot spell."""
    for place, gene in enumerate(add_genes(database, NAMES)):
        images = range(5_000_000_000 + 10 * place, 5_000_000_003 + 10 * place)
        add_data_set(database, 9000 + place, images, genes=[gene])
    return database


@pytest.mark.both_libfuses
@pytest.mark.usefixtures("database")
def test_names_outside_the_locale_are_listed_and_can_be_opened(
    tmp_path, service, monkeypatch
):
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
@pytest.mark.usefixtures("database")
def test_commands_accept_names_outside_the_locale(service, mounted):
    path = f"{GENES}/{NAMES[2]}/sagittal/9002/ds4"
    options = ["--api-url", service.url, "--cache-dir", mounted.root.parent / "other"]
    for where in ([*options, path], [mounted / path]):
        done = allenfs("prefetch", "-r", "--check", *where, **ASCII)
        assert done.returncode == 1
        assert done.stderr.endswith(": 3 not local\n")


def test_a_source_of_any_letters_is_in_the_mount_table(root, service):
    with mounting(root, "--api-url", service.url, "-o", "fsname=allenfs:мозг"):
        assert mount_table.source(root) == "allenfs:мозг"
