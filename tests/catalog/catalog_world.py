"""A catalog over a service and a directory, as one process has it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from allenfs.catalog.documents import Document
from allenfs.catalog.entries import Entry, Folder
from allenfs.catalog.record_cache import RecordCache
from allenfs.catalog.repository import Repository
from allenfs.catalog.resolver import Catalog
from allenfs.config import ServiceSettings, StoreSettings
from allenfs.model import nodes, tree
from allenfs.sample.content import sample_database
from allenfs.service.client import AllenService
from allenfs.service.single_flight import NOT_INTERRUPTED
from allenfs.service.slots import Slots
from allenfs.store.record_files import RecordFiles

PLAIN = sample_database()


class World:
    """A catalog; another one in its directory is another process."""

    def __init__(self, url: str, directory: Path) -> None:
        settings = ServiceSettings(url, first_backoff_s=0, failure_memory_s=1e-9)
        self.files = RecordFiles(StoreSettings(directory, 2**30, "test"))
        self.use(AllenService(settings), settings)

    def use(self, service: Any, settings: ServiceSettings) -> None:
        slots = Slots(4)
        self.cache = RecordCache(self.files, settings)
        self.repository = Repository(service, self.cache, settings, slots)
        self.catalog = Catalog(self.repository, self.cache)

    def entry(self, path: str) -> Entry:
        return self.catalog.resolve(tree.parse(path), NOT_INTERRUPTED)

    def names(self, path: str) -> list[str]:
        return self.catalog.names(tree.parse(path), NOT_INTERRUPTED)

    def json(self, path: str) -> Any:
        entry = self.entry(path)
        assert isinstance(entry, Document)
        data = entry.read(0, 2**30)
        assert len(data) == entry.facts.size_bytes

        def no_json(constant: str) -> None:
            pytest.fail(f"{constant} is no JSON")

        return json.loads(data, parse_constant=no_json)

    def walk(self, path: str) -> dict[str, Entry]:
        """Resolve every name that is listed below `path`, as `find` does."""
        found = {path: self.entry(path)}
        if isinstance(found[path], Folder):
            names = self.names(path)
            assert len(set(names)) == len(names), path
            for name in names:
                assert "/" not in name
                assert not name.startswith(".")
                below = f"{path}/{name}"
                # views list the same images: one level of them is enough
                node = tree.parse(below)
                is_view = isinstance(node, nodes.CollectionDirectory) and node.is_view
                found |= {below: self.entry(below)} if is_view else self.walk(below)
        return found
