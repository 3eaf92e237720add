"""A sample service, and ``allen://`` on it, for one test."""

from __future__ import annotations

import functools
from dataclasses import replace

import pytest

from allenfs.adapters import assemblies
from allenfs.adapters.fsspec import AllenFileSystem
from allenfs.assembly import assemble
from allenfs.sample.server import SampleService


@pytest.fixture
def service(request):
    """With the settings of ``@pytest.mark.service(...)``."""
    marked = request.node.get_closest_marker("service")
    with SampleService(**(marked.kwargs if marked else {})) as running:
        yield running


@pytest.fixture
def quick():
    """Settings without an option: a failed request is repeated at once."""
    return {"first_backoff_s": 0}


@pytest.fixture
def options(service, tmp_path, monkeypatch, quick):
    """Of a file system on the service, which has the settings of `quick`."""

    def assemble_quick(settings, *arguments, **keywords):
        return assemble(replace(settings, **quick), *arguments, **keywords)

    monkeypatch.setattr(assemblies, "assemble", assemble_quick)
    yield {"api_url": service.url, "cache_dir": str(tmp_path / "store")}
    assemblies.close()
    AllenFileSystem.clear_instance_cache()


@pytest.fixture
def opened(options):
    """Returns a file system on the service; more options, or others, on request."""
    return functools.partial(AllenFileSystem, **options)


@pytest.fixture
def allen(opened):
    return opened()
