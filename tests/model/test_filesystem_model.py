"""Stat, list, open, read, release and failures against a reference model."""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from model_world import (
    PAGE,
    Clock,
    DictionaryService,
    Kernel,
    bytes_of,
    mount,
    request_of,
)

from allenfs.config import StoreSettings
from allenfs.errors import (
    AllenFSError,
    BadHandleError,
    CutAnswerError,
    ForbiddenError,
    ImageNotFoundError,
    ServiceError,
    StaleSizeError,
    UnreachableError,
)
from allenfs.model.images import ImageRequest, ImageService
from allenfs.store.image_files import ImageFiles

CAPACITY = 64 * 1024
PATHS = (
    "section/1/image.jpg",
    "section/1/ds0/image.jpg",  # the same request by another path
    "section/1/ds4/expression.jpg",
    "section/2/ds4/image.jpg",
    "projection/3/roi50x50+0+0/image.jpg",
    "atlas/100883869/annotated/atlas2.jpg",
)
SIZES = st.sampled_from([1, PAGE - 1, PAGE, PAGE + 1, 3 * PAGE, 70_001])
SIZES |= st.integers(1, 30_000)
# roi50x50 is bounded at 73 036 bytes
ERRORS = (CutAnswerError, UnreachableError, ForbiddenError, ImageNotFoundError)
paths, callers = st.sampled_from(PATHS), st.integers(1, 3)


@dataclass
class Held:
    path: str
    data: bytes
    direct_io: bool


class FilesystemModel(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.directory = Path(tempfile.mkdtemp(prefix="allenfs-model-"))
        self.clock = Clock()
        self.service = DictionaryService()
        self.versions = 0
        self.used: set[tuple[ImageService, int]] = set()
        self.handles: dict[int, Held] = {}
        self.ever: set[int] = set()
        self.failures: dict[ImageRequest, tuple[ServiceError, float]] = {}
        self.touched: set[ImageRequest] = set()
        for path in PATHS:
            self.change(path, 5000)
        self.restart()

    def teardown(self) -> None:
        shutil.rmtree(self.directory)

    # What happens around the filesystem.

    @rule(path=paths, size=SIZES)
    def change(self, path: str, size: int) -> None:
        """The service has another image from now on."""
        self.versions += 1
        self.service.images[request_of(path)] = bytes_of(path, self.versions, size)

    @rule(path=paths, size=st.none() | SIZES)
    def replace_while_nobody_holds_it(self, path: str, size: int | None) -> None:
        """Evicted here, and then another image at the service."""
        for number, held in list(self.handles.items()):
            if request_of(held.path) == request_of(path):
                self.fs.release(number)
                del self.handles[number]
        self.change(path, size or len(self.service.images[request_of(path)]))
        self.everything_is_evicted()

    @rule(error=st.sampled_from(ERRORS))
    def fail_next(self, error: type[ServiceError]) -> None:
        self.service.fail_next = [error("as told")]

    @rule(seconds=st.sampled_from([0.5, 9.5, 10.5, 61]))
    def time_passes(self, seconds: float) -> None:
        self.clock.now_s += seconds

    @rule()
    def everything_is_evicted(self) -> None:
        ImageFiles(StoreSettings(self.directory, CAPACITY, "model")).clear()

    @rule()
    def restart(self) -> None:
        self.handles.clear()
        self.kernel = Kernel(mount(self.service, self.directory, CAPACITY, self.clock))
        self.fs = self.kernel.filesystem
        self.used.clear()
        self.ever.clear()
        self.failures.clear()

    @rule(path=paths)
    def another_mount_opens(self, path: str) -> None:
        waiting, self.service.fail_next = self.service.fail_next, []
        other = Kernel(mount(self.service, self.directory, CAPACITY, self.clock))
        self.touched.add(request_of(path))
        opened, _ = other.open(path, 9, looks_up=True)
        data = other.read_all(path, opened, 10_000)
        assert data in self.service.served[request_of(path)]
        self.service.fail_next = waiting

    # What a program does.

    @rule(path=paths)
    def stat(self, path: str) -> None:
        request, held = request_of(path), self.held_of(path)
        attributes = self.fs.stat(path)
        self.kernel.sizes[path] = attributes.size_bytes
        assert not attributes.is_dir
        sizes = {len(data) for data in self.service.served.get(request, [])}
        if held is not None:
            assert attributes.size_bytes == len(held.data)
            assert attributes.blocks == -(-len(held.data) // 512)
        elif request not in self.touched:
            assert attributes.size_bytes == request.size_bound_bytes()
            assert attributes.size_bytes >= len(self.service.images[request])
            assert attributes.blocks == 0
        else:
            assert attributes.size_bytes in sizes | {request.size_bound_bytes()}
            assert attributes.blocks in (0, -(-attributes.size_bytes // 512))

    @rule(path=paths, caller=callers, looks_up=st.booleans(), chunk=SIZES)
    def open_and_read(
        self, path: str, caller: int, *, looks_up: bool, chunk: int
    ) -> None:
        request, held = request_of(path), self.held_of(path)
        fetches, told = self.service.fetches, list(self.service.fail_next)
        self.touched.add(request)
        try:
            opened, _ = self.kernel.open(path, caller, looks_up=looks_up)
        except ServiceError as error:
            self.assert_rightly_failed(request, error, fetches, told)
            return
        assert self.service.fetches - fetches == (self.service.fetches > fetches)
        assert opened.handle not in self.ever
        self.ever.add(opened.handle)
        exact_bytes = self.fs.stat(path, opened.handle).size_bytes
        if not opened.direct_io:
            # the kernel has the size of what it now reads
            assert self.kernel.sizes[path] == exact_bytes
        assert not (looks_up and opened.direct_io)
        data = self.kernel.read_all(path, opened, chunk)
        assert len(data) == exact_bytes
        self.kernel.sizes[path] = exact_bytes
        if held is not None:
            assert self.service.fetches == fetches
            assert data == held.data
        elif self.service.fetches > fetches:
            assert data == self.service.images[request]
        assert data in self.service.served[request]
        self.failures.pop(request, None)
        self.used.add((request.service, request.image_id))
        self.handles[opened.handle] = Held(path, data, opened.direct_io)

    @precondition(lambda self: self.handles)
    @rule(
        data=st.data(),
        offset=SIZES | st.just(0),
        size=SIZES,
    )
    def read(self, data: st.DataObject, offset: int, size: int) -> None:
        number = data.draw(st.sampled_from(sorted(self.handles)))
        held = self.handles[number]
        end_of_pages = -(-len(held.data) // PAGE) * PAGE
        if offset + size > end_of_pages and not held.direct_io:
            # a kernel that knows the size requests no page beyond it
            with pytest.raises(StaleSizeError):
                self.fs.read(number, offset, size)
        else:
            expected = held.data[offset : offset + size]
            assert self.fs.read(number, offset, size) == expected

    @precondition(lambda self: self.handles)
    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        number = data.draw(st.sampled_from(sorted(self.handles)))
        self.fs.release(number)
        del self.handles[number]
        for use in (
            lambda: self.fs.release(number),
            lambda: self.fs.read(number, 0, 1),
            lambda: self.fs.stat("", number),
        ):
            with pytest.raises(BadHandleError):
                use()

    @invariant()
    def what_is_open_has_its_size_and_is_listed(self) -> None:
        if not hasattr(self, "fs"):
            return
        for number, held in self.handles.items():
            attributes = self.fs.stat(held.path, number)
            self.kernel.sizes[held.path] = attributes.size_bytes
            assert attributes.size_bytes == len(held.data)
        for service in ImageService:
            names = self.fs.names(service.value)
            assert len(names) == len(set(names))
            listed = {int(name) for name in names}
            used = {number for kind, number in self.used if kind is service}
            possible = {
                request.image_id
                for request in self.service.served
                if request.service is service
            }
            assert used <= listed <= possible

    def held_of(self, path: str) -> Held | None:
        """An open handle of the same request, by whatever path."""
        for held in self.handles.values():
            if request_of(held.path) == request_of(path):
                return held
        return None

    def assert_rightly_failed(
        self,
        request: ImageRequest,
        error: ServiceError,
        fetches: int,
        told: list[AllenFSError],
    ) -> None:
        assert self.held_of(request.path) is None
        if self.service.fetches > fetches:
            assert self.service.fetches == fetches + 1
            assert [error] == told
            memory_s = 60 if isinstance(error, ImageNotFoundError) else 10
            self.failures[request] = error, self.clock.now_s + memory_s
        else:
            remembered, ends_s = self.failures[request]
            assert (type(error), str(error)) == (type(remembered), str(remembered))
            assert self.clock.now_s < ends_s


TestFilesystemModel = FilesystemModel.TestCase
# A failure is shown as found: to shrink it, with real files, takes minutes.
TestFilesystemModel.settings = settings(
    max_examples=100,
    stateful_step_count=40,
    deadline=None,
    phases=[Phase.reuse, Phase.generate],
)
