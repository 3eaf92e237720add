"""Programs, a service in trouble and a daemon that ends, against a reference model.

One machine drives a `World` (``worlds.py``), a real mount or the filesystem alone.
Its model is what was got once from a service in good health, and: what is stored,
what is open, what the service will do with the next requests, which failures are
remembered. Mostly that determines the answer. Where it does not, the rule says why,
and what is permitted.
"""

from __future__ import annotations

import errno
import secrets
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import ClassVar, NamedTuple, TypeVar

from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)
from model_world import PAGE
from mount_truth import (
    ALWAYS_THERE,
    ATTEMPTS,
    DIRECTORIES,
    DOCUMENTS,
    FAULTS,
    FILES,
    GLANCED,
    IMAGES,
    LINKS,
    OUTSIDE,
    QUERY_FAULTS,
    SERVICES,
    UNKNOWN,
    catalog_key,
    request_behind,
    truth,
)
from worlds import DirectWorld, MountWorld, Seen, settings_of, started_service

from allenfs.fetch.fetcher import Fetcher
from allenfs.model import tree
from allenfs.model.images import ImageRequest
from allenfs.model.nodes import ImageDirectory, ParameterDirectory
from allenfs.sample.faults import Fault, needs_answer
from allenfs.service.client import AllenService
from allenfs.store.image_files import ImageFiles

_Answer = TypeVar("_Answer")

OFFSETS = st.sampled_from([0, 1, PAGE - 1, PAGE, PAGE + 1]) | st.integers(0, 70_000)
SIZES = st.sampled_from([0, 1, PAGE - 1, PAGE, PAGE + 1, 2**24])
SIZES |= st.integers(1, 40_000)
CHUNKS = st.sampled_from([777, PAGE, 2**17, 2**20])
READERS = st.sampled_from([*FILES, None])
handles = st.integers(0, 99)


class Open(NamedTuple):
    """An open file."""

    handle: int
    path: str
    past_cache: bool


class MountMachine(RuleBasedStateMachine):
    """The model; a subclass says of which world, and counts."""

    world_of: ClassVar[type[MountWorld | DirectWorld]]
    counts: ClassVar[Counter[str]]

    after: ExitStack | None = None

    @initialize(remembers=st.booleans())
    def begin(self, remembers: bool) -> None:
        """Failures are remembered for as long as the daemon runs, or not at all."""
        self.truth = truth()
        self.after = ExitStack()
        self.folder = Path(tempfile.mkdtemp(prefix="allenfs-model-"))
        self.after.callback(shutil.rmtree, self.folder)
        self.service = started_service()
        self.after.callback(self.service.close)
        self.service_settings, self.store_settings = settings_of(
            self.service.url, self.folder / "store", memory_s=3600 * remembers
        )
        self.remembers = remembers
        # of the service
        self.is_up = True
        self.faults: list[Fault] = []
        self.query_fault: Fault | None = None
        # of the store; removing a file by hand leaves its directory
        self.stored: set[ImageRequest] = set()
        self.emptied: set[ImageRequest] = set()
        self.records: set[str] = set()
        # of the log
        self.failed_downloads = 0
        self.met_catalog_trouble = False
        # of programs; the dead are files of a daemon that is gone
        self.files: list[Open] = []
        self.dead: list[Open] = []
        self.daemon_began()
        self.world = self.world_of(
            self.folder, self.service_settings, self.store_settings
        )
        self.after.callback(self.check_log)
        self.after.callback(self.world.end)
        self.counts["runs"] += 1

    def daemon_began(self) -> None:
        self.dead += self.files
        self.files = []
        self.told: set[str] = set()
        self.may_be_told: set[str] = set()
        self.used: set[ImageRequest] = set()
        self.failures: dict[ImageRequest, int] = {}
        self.catalog_failures: set[int] = set()
        self.has_asked_catalog = False
        # Closed, and not stored any more. The kernel tells of a close when it likes,
        # so that such an image may still be at hand, until it is downloaded again.
        self.lingering: set[ImageRequest] = set()

    def teardown(self) -> None:
        if self.after is None:
            return
        with self.after:
            for file in self.files:
                self.world.close(file.handle)
            for file in self.dead:
                self.close_dead(file)

    def check_log(self) -> None:
        """Each download that failed is one warning; nothing else is, but queries."""
        of_downloads = [
            line
            for line in self.world.warnings
            if line.startswith("WARNING") and "allenfs.fetch.fetcher" in line
        ]
        for line in set(self.world.warnings).difference(of_downloads):
            assert line.startswith("WARNING")
            assert "allenfs.catalog.repository" in line
            assert self.met_catalog_trouble, line
        assert len(of_downloads) == self.failed_downloads, of_downloads

    def check_invariants(self, *args: object, **kwargs: object) -> None:
        super().check_invariants(*args, **kwargs)
        self.counts["steps"] += 1

    # What happens to the service. In each run hypothesis leaves some rules out, at
    # random: so that one reads in every run, who meets an event first is part of it.

    @rule(then=READERS)
    def server_up_or_down(self, then: str | None) -> None:
        self.service.close() if self.is_up else self.service.start()
        self.is_up = not self.is_up
        self.comes(then)

    @precondition(lambda self: len(self.faults) < ATTEMPTS)
    @rule(
        fault=st.sampled_from(list(FAULTS)),
        times=st.sampled_from([1, 2, 4, 5]),
        then=READERS,
    )
    def fail_next(self, fault: Fault, times: int, then: str | None) -> None:
        self.service.fail(fault, times=times)
        self.faults += [fault] * times
        self.comes(then)

    @rule(fault=st.sampled_from(QUERY_FAULTS), then=READERS)
    def fail_queries(self, fault: Fault, then: str | None) -> None:
        self.service.fail_queries(fault)
        self.query_fault = fault
        self.comes(then)

    @rule(then=READERS)
    def heal(self, then: str | None) -> None:
        self.service.heal()
        self.faults.clear()
        self.query_fault = None
        self.comes(then)

    # What happens to the store and to the daemon.

    @rule(then=READERS)
    def evict_everything(self, then: str | None) -> None:
        ImageFiles(self.store_settings).clear()
        self.lingering |= self.stored & self.used
        self.stored.clear()
        self.comes(then)

    @precondition(lambda self: self.stored)
    @rule(which=handles, then=READERS)
    def evict_one(self, which: int, then: str | None) -> None:
        stored = sorted(self.stored, key=lambda request: request.path)
        request = stored[which % len(stored)]
        name = ImageFiles(self.store_settings).name(request)
        (self.store_settings.directory / "images" / name).unlink()
        self.stored.remove(request)
        self.emptied.add(request)
        if request in self.used:
            self.lingering.add(request)
        self.comes(then)

    @precondition(lambda self: self.is_up and not self.faults)
    @rule(path=st.sampled_from(list(IMAGES)), then=READERS)
    def another_mount_opens(self, path: str, then: str | None) -> None:
        service = AllenService(self.service_settings)
        fetcher = Fetcher(
            service, ImageFiles(self.store_settings), self.service_settings
        )
        image = fetcher.get(request_behind(path))
        assert image.read(0, 2**24) == self.truth.files[path]
        self.stored.add(request_behind(path))
        self.comes(then)

    @rule(kill=st.booleans(), then=READERS)
    def restart(self, kill: bool, then: str | None) -> None:
        self.world.restart(kill=kill)
        self.daemon_began()
        self.counts["restarts"] += 1
        self.comes(then)

    def comes(self, path: str | None) -> None:
        if path is not None:
            self.cat(path, PAGE)

    # What a program does.

    @rule(path=st.sampled_from([*FILES, *DIRECTORIES, *LINKS, *OUTSIDE]))
    def stat(self, path: str) -> None:
        requests = self.service.image_requests
        seen = self.asked(path, lambda: self.world.stat(path), is_stat=True)
        assert self.service.image_requests == requests
        if seen is None or path in DIRECTORIES:
            return
        if path in LINKS:
            assert seen.size_bytes == len(self.truth.targets[path])
        elif path in DOCUMENTS:
            assert seen == self.exact(path)
        else:
            assert self.is_right_of_an_image(path, seen), seen
            if path in IMAGES and seen.size_bytes == self.exact(path).size_bytes:
                self.told.add(path)

    # of images only one that is never here: the look-up before may tell of a size
    @rule(path=st.sampled_from([*DIRECTORIES, *OUTSIDE, *DOCUMENTS, UNKNOWN]))
    def names(self, path: str) -> None:
        requests = self.service.image_requests
        is_calm = not self.catalog_errnos
        try:
            listed = self.asked(path, lambda: self.world.names(path))
        except NotADirectoryError:
            assert path in FILES
            return
        assert self.service.image_requests == requests
        if listed is None:
            return
        names, wanted = set(listed), self.truth.names[path]
        assert len(names) == len(listed)
        if path in SERVICES:
            self.check_used(path, names)
        elif path == "dataset":  # those whose record is cached
            assert ("69782969" in names) >= ("dataset/69782969" in self.records)
            assert names <= self.truth.names["dataset"]
        elif path in GLANCED and not is_calm:
            node = tree.parse(path)
            assert isinstance(node, (ImageDirectory, ParameterDirectory))
            grammar = set(tree.listing(node))
            assert grammar & wanted <= names <= grammar | wanted
            self.note_catalog_trouble()
        else:
            assert names == wanted

    def check_used(self, service: str, names: set[str]) -> None:
        def ids(requests: set[ImageRequest]) -> set[str]:
            return {
                str(one.image_id) for one in requests if one.service.value == service
            }

        assert ids(self.stored | self.used) <= names
        assert names <= ids(self.stored | self.used | self.emptied)

    @rule(path=st.sampled_from(LINKS))
    def follow(self, path: str) -> None:
        target = self.asked(path, lambda: self.world.target(path))
        assert target in (None, self.truth.targets[path])

    @rule(path=st.sampled_from([*FILES, *OUTSIDE]), past_cache=st.booleans())
    def open(self, path: str, past_cache: bool) -> None:
        self.opened(path, past_cache)

    @rule(path=st.sampled_from(FILES))
    def stat_and_open(self, path: str) -> None:
        self.stat(path)
        self.opened(path, past_cache=False)

    @rule(path=st.sampled_from(FILES), chunk=CHUNKS)
    def cat(self, path: str, chunk: int) -> None:
        self.copied(path, chunk, past_cache=False)

    @rule(path=st.sampled_from(FILES), chunk=CHUNKS)
    def dd_past_cache(self, path: str, chunk: int) -> None:
        self.copied(path, chunk, past_cache=True)

    def copied(self, path: str, chunk: int, *, past_cache: bool) -> None:
        if self.opened(path, past_cache):
            self.read_all(-1, chunk)
            self.close(-1)

    def opened(self, path: str, past_cache: bool) -> bool:
        """Open a file, as the last of all; False where that rightly failed."""
        if catalog_key(path) not in {None, *self.records}:
            # apart from the image: what becomes of the catalog's part
            self.stat(path)
            if catalog_key(path) not in self.records:
                return False
        if path in OUTSIDE or path in DOCUMENTS:
            handle = self.asked(
                path, lambda: self.world.open(path, past_cache=past_cache)
            )
        else:
            handle = self.opened_image(path, past_cache)
        if handle is None:
            return False
        self.counts["opens"] += 1
        self.files.append(Open(handle, path, past_cache))
        assert self.world.fstat(handle) == self.exact(path)
        self.told.add(path)
        return True

    def opened_image(self, path: str, past_cache: bool) -> int | None:
        request = request_behind(path)
        before = self.service.image_requests
        number, handle = 0, None
        try:
            handle = self.world.open(path, past_cache=past_cache)
        except OSError as error:
            number = error.errno
        requests = self.service.image_requests - before
        if request in self.lingering and (number, requests) == (0, 0):
            return handle
        is_remembered = request in self.failures and not self.is_here(request)
        expected = self.expected(request, path == UNKNOWN)
        found = errno.errorcode.get(number), requests
        assert found == expected, (path, found, expected)
        if number and request in self.lingering:
            self.may_be_told.add(path)  # by the lookup, when it was still stored
        self.lingering.discard(request)
        if number:
            self.failed_downloads += not is_remembered
            if self.remembers:
                self.failures[request] = number
        else:
            self.failures.pop(request, None)
            self.used.add(request)
            if requests:
                self.stored.add(request)
        return handle

    def expected(
        self, request: ImageRequest, is_unknown: bool
    ) -> tuple[str | None, int]:
        """Errno of an open, and the image requests that it costs."""
        if self.is_here(request):
            return None, 0
        if request in self.failures:
            return errno.errorcode[self.failures[request]], 0
        if not self.is_up:
            self.counts["faults"] += 1
            return "EHOSTUNREACH", 0
        attempts, is_transient = 0, True
        while is_transient and attempts < ATTEMPTS:
            attempts += 1
            fault = self.faults.pop(0) if self.faults else None
            self.counts["faults"] += fault is not None
            number, is_transient = FAULTS[fault] if fault else (0, False)
            if is_unknown and (fault is None or needs_answer(fault)):
                number, is_transient = errno.ENOENT, False
        return errno.errorcode.get(number), attempts

    @precondition(lambda self: self.files)
    @rule(which=handles, offset=OFFSETS, size=SIZES, from_the_end=st.booleans())
    def read(self, which: int, offset: int, size: int, from_the_end: bool) -> None:
        file = self.files[which % len(self.files)]
        data = self.truth.files[file.path]
        if from_the_end:
            offset = max(0, len(data) - offset)
        got = self.world.read(file.handle, offset, size)
        assert got == data[offset : offset + size]
        self.counts["reads"] += 1

    @precondition(lambda self: self.files)
    @rule(which=handles, chunk=CHUNKS)
    def read_all(self, which: int, chunk: int) -> None:
        file = self.files[which % len(self.files)]
        assert self.world.whole(file.handle, chunk) == self.truth.files[file.path]
        self.counts["reads"] += 1

    @precondition(lambda self: self.files)
    @rule(which=handles)
    def map(self, which: int) -> None:
        file = self.files[which % len(self.files)]
        if not file.past_cache:  # there are no pages to map
            assert self.world.mapped(file.handle) == self.truth.files[file.path]

    @precondition(lambda self: self.files)
    @rule(which=handles)
    def fstat(self, which: int) -> None:
        file = self.files[which % len(self.files)]
        assert self.world.fstat(file.handle) == self.exact(file.path)

    @precondition(lambda self: self.files)
    @rule(which=handles)
    def close(self, which: int) -> None:
        file = self.files.pop(which % len(self.files))
        self.world.close(file.handle)
        if file.path in IMAGES and request_behind(file.path) not in self.stored:
            self.lingering.add(request_behind(file.path))

    @precondition(lambda self: self.dead)
    @rule()
    def close_the_dead(self) -> None:
        """Files outlive their daemon, if at all, with the right bytes."""
        while self.dead:
            file = self.dead.pop()
            with suppress(OSError):
                data = self.world.whole(file.handle, PAGE)
                assert data == self.truth.files[file.path]
            self.close_dead(file)

    def close_dead(self, file: Open) -> None:
        with suppress(OSError):  # it is closed although it reports no daemon
            self.world.close(file.handle)

    # What is known.

    def asked(
        self, path: str, look: Callable[[], _Answer], *, is_stat: bool = False
    ) -> _Answer | None:
        """Look at what needs no image; None where that is rightly an errno."""
        key, queries = catalog_key(path), self.service.query_requests
        if is_stat and path in ALWAYS_THERE:
            key = None
        self.has_asked_catalog |= key is not None or path in GLANCED
        try:
            answer = look()
        except NotADirectoryError:
            raise
        except OSError as error:
            if path in OUTSIDE:
                assert error.errno == errno.ENOENT
                assert self.service.query_requests == queries
                return None
            if key is None or key in self.records:
                raise
            assert error.errno in self.catalog_errnos
            self.note_catalog_trouble()
            return None
        assert path not in OUTSIDE
        if key is not None:
            self.records.add(key)
        return answer

    @property
    def catalog_errnos(self) -> set[int]:
        """What a query that is asked now may end with; none if it must succeed.

        Whether it is asked is not modelled: what one look needs, another may have
        brought.
        """
        errnos = set(self.catalog_failures)
        if not self.is_up:
            errnos.add(errno.EHOSTUNREACH)
        elif self.query_fault is not None:
            errnos.add(errno.EIO)
        return errnos

    def note_catalog_trouble(self) -> None:
        self.met_catalog_trouble = True
        self.counts["faults"] += 1
        if self.remembers:
            self.catalog_failures |= self.catalog_errnos

    def is_here(self, request: ImageRequest) -> bool:
        held = {request_behind(file.path) for file in self.files if file.path in IMAGES}
        return request in self.stored | held

    def exact(self, path: str) -> Seen:
        data = self.truth.files[path]
        return Seen(len(data), -(-len(data) // 512))

    def is_right_of_an_image(self, path: str, seen: Seen) -> bool:
        request = request_behind(path)
        if path in IMAGES:
            exact = self.exact(path)
            if self.is_here(request):
                return seen == exact
            if request in self.lingering and seen == exact:
                return True
            if path in self.may_be_told and seen == Seen(exact.size_bytes, 0):
                return True
            if path in self.told:
                return seen == Seen(exact.size_bytes, 0)
        bounds = {request.size_bound_bytes()}
        if self.has_asked_catalog:  # the record may be cached, with the pixels
            bounds.add(self.truth.bounds[path])
        return seen in {Seen(bound_bytes, 0) for bound_bytes in bounds}


def run_for(
    machine: type[MountMachine],
    duration_s: float,
    *,
    batch: int,
    steps: int,
) -> Counter[str]:
    """Run a machine again and again, by other dice each time; return its counts.

    A failure is shown step by step: made a test with a name, it stays found.
    """
    machine.counts = Counter()
    ends_s = time.monotonic() + duration_s
    while time.monotonic() < ends_s:
        number = secrets.randbits(32)
        print(f"seed {number}")
        run_state_machine_as_test(
            seed(number)(machine),
            settings=settings(
                max_examples=batch,
                stateful_step_count=steps,
                database=None,
                deadline=None,
                phases=[Phase.generate],  # shown as found: to shrink it takes minutes
                suppress_health_check=list(HealthCheck),
            ),
        )
    return machine.counts


def figure(counts: Counter[str]) -> str:
    """Say what was done; a wrong answer ends the run before."""
    return (
        f"{counts['runs']} runs, {counts['steps']} steps, {counts['opens']} opens, "
        f"{counts['reads']} reads, {counts['faults']} faults met, "
        f"{counts['restarts']} restarts, 0 wrong"
    )
