"""Names of every kind at every operation: nothing but declared errors comes out."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import io
import logging
import multiprocessing
import os
import random
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from hostile_names import NAMES, HostilePaths, HostileTexts
from mounted import Mounted

from allenfs import config
from allenfs.adapters import fuse_operations
from allenfs.catalog.repository import Repository
from allenfs.catalog.resolver import Catalog
from allenfs.cli import main
from allenfs.config import ServiceSettings, StoreSettings
from allenfs.errors import AllenFSError, ImageNotFoundError
from allenfs.filesystem.filesystem import Filesystem
from allenfs.filesystem.xattrs import ExtendedAttributes
from allenfs.model import tree
from allenfs.model.images import ImageRequest, ImageService, request_of_url
from allenfs.sample.content import sample_database
from allenfs.sample.envelope import answer_body
from allenfs.sample.faults import Fault
from allenfs.sample.rma import Rules, evaluate
from allenfs.sample.rma_targets import query_target, read_target
from allenfs.sample.server import SampleService
from allenfs.service import rma
from allenfs.service.slots import Slots
from allenfs.store.record_files import RecordFiles
from allenfs.store.stored_file import Facts, Image, Known, OpenFile

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from allenfs.adapters.fuse_operations import Operations

MAX_PATHS, MAX_TEXTS, FEWEST_IN_A_MOUNT = 1_000_000, 100_000, 300
PROCESSES = 2
# of this file's share of time
PATHS_SHARE, TEXTS_SHARE, MOUNT_SHARE = 0.75, 0.2, 0.05

E = errno
MISSING = {E.ENOENT}
# what may leave each operation, while the service answers
DECLARED = {
    "getattr": MISSING,
    "readdir": {E.ENOENT, E.ENOTDIR},
    "open": {E.ENOENT, E.EISDIR, E.ESTALE},
    "readlink": {E.ENOENT, E.EINVAL},
    "getxattr": {E.ENOENT, E.ENODATA},
    "listxattr": MISSING,
    "statfs": set(),
    "read": {E.ESTALE},
    "release": {E.EBADF},
}
REFUSED: dict[str, tuple[Any, ...]] = {
    "chmod": (0o777,),
    "chown": (0, 0),
    "create": (0o666, None),
    "link": ("/target",),
    "mkdir": (0o777,),
    "mknod": (0o666, 0),
    "removexattr": ("user.x",),
    "rename": ("/target",),
    "rmdir": (),
    "setxattr": ("user.x", b"", 0),
    "symlink": ("/target",),
    "truncate": (0,),
    "unlink": (),
    "utimens": (None,),
    "write": (b"", 0, None),
}
ATTRIBUTES = [
    *("user.allenfs.url", "user.allenfs.error", "user.allenfs.pid", "user.x", ""),
    *(name.decode("latin-1") for name in NAMES),
]
WAYS_TO_OPEN = [os.O_RDONLY] * 6 + [os.O_DIRECT, os.O_WRONLY, os.O_RDWR | os.O_CREAT]

_KNOWN_IDS = {69750516, 71592261, 70679088, 100883869}


class RecordsAtOnce:
    """The sample's records, without a socket."""

    _database = sample_database()

    def page(
        self, query: rma.Query, *, start_row: int, num_rows: int, **_: object
    ) -> Any:
        target = query_target(query.url("", start_row=start_row, num_rows=num_rows))
        assert target is not None
        answer = evaluate(read_target(target), self._database, Rules())
        return rma.read_page(answer_body(answer, "json"))


class ImagesAtOnce:
    """One image, of every request for a few ids."""

    def __init__(self, folder: Path) -> None:
        data = bytes(range(256)) * 4
        (folder / "image").write_bytes(data)
        sha256 = hashlib.sha256(data).hexdigest()
        fd = os.open(folder / "image", os.O_RDONLY)
        self._image = Image(OpenFile(fd), Facts(len(data), sha256, 0, 0))

    def get(self, request: ImageRequest, caller: object) -> Image:
        if request.image_id not in _KNOWN_IDS:
            msg = "HTTP 404"
            raise ImageNotFoundError(msg)
        return self._image

    def peek(self, request: ImageRequest) -> Known | None:
        is_local = request.image_id in _KNOWN_IDS and not request.downsample
        return Known(1024, 0) if is_local else None

    def facts(self, request: ImageRequest) -> Facts | None:
        return self._image.facts if self.peek(request) else None

    def used_ids(self, service: ImageService) -> list[int]:
        return sorted(_KNOWN_IDS)

    def last_failure(self, request: ImageRequest) -> str | None:
        return None if request.image_id in _KNOWN_IDS else "HTTP 404"


class NoKernel:
    """What the adapter asks of libfuse: who calls, and whether to go on."""

    def fuse_get_context(self) -> SimpleNamespace:
        context = SimpleNamespace(fuse=0, uid=0, gid=0, pid=os.getpid())
        return SimpleNamespace(contents=context)

    def fuse_exited(self, _: object) -> int:
        return 0

    def fuse_get_session(self, _: object) -> int:
        return 0

    def fuse_session_exited(self, _: object) -> int:
        return 0

    def fuse_interrupted(self) -> int:
        return 0


def an_adapter(folder: Path) -> Operations:
    fuse_operations.fuse._libfuse = NoKernel()
    settings, slots = ServiceSettings("http://h", not_found_memory_s=3600), Slots(4)
    shelf = RecordFiles(StoreSettings(folder / "store", 2**30, "test"))
    repository = Repository(RecordsAtOnce(), shelf, settings, slots)
    catalog = Catalog(repository)
    images = ImagesAtOnce(folder)
    filesystem = Filesystem(images, catalog, max_image_bytes=2**30)
    return fuse_operations.Operations(
        filesystem,
        ExtendedAttributes(filesystem, images, repository, api_url="http://h"),
        usage=lambda: (0, 2**30),
        started=lambda: None,
    )


class Logged(logging.Handler):
    """What is logged as WARNING or above."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.lines: list[str] = []
        logging.getLogger("allenfs").addHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


@pytest.fixture
def seed() -> int:
    number = random.SystemRandom().getrandbits(32)
    print(f"seed {number}")  # pytest shows it where a test fails
    return number


def below(
    names_in: Callable[[bytes], list[bytes]], path: bytes = b""
) -> Iterator[bytes]:
    """Go through a few names of every directory."""
    try:
        names = names_in(path)
    except OSError as error:
        assert error.errno == errno.ENOTDIR
        return
    # every kind of name, and the first ones of those that are many
    for name in names[:4] + names[-8:]:
        one = path + b"/" + name if path else name
        yield one
        # views of views say nothing new
        if one.count(b"/") < 6 and one not in (b"browse/atlas", b"dataset"):
            yield from below(names_in, one)


class Calls:
    """Calls of operations; only declared errors may leave them."""

    def __init__(self, adapter: Operations) -> None:
        self._adapter = adapter
        self.made: Counter[str] = Counter()
        self.refused: Counter[str] = Counter()

    def __call__(self, name: str, path: str, *arguments: Any) -> Any:
        """Return what the operation returns, or None where it refuses."""
        self.made[name] += 1
        try:
            return getattr(self._adapter, name)(path, *arguments)
        except fuse_operations.fuse.FuseOSError as error:
            self.refused[name] += 1
            name_of = errno.errorcode[error.errno]
            declared = DECLARED.get(name, {E.EROFS})
            assert error.errno in declared, (name_of, name, path, arguments)
            return None

    def open_and_read(self, path: str, flags: int) -> None:
        info = SimpleNamespace(flags=flags, fh=0)
        if flags & (os.O_WRONLY | os.O_RDWR):
            with pytest.raises(fuse_operations.fuse.FuseOSError) as caught:
                self._adapter.open(path, info)
            assert caught.value.errno == errno.EROFS
            return
        if self("open", path, info) is None:
            # the kernel looks up again, and opens again
            self("getattr", path)
            if self("open", path, info) is None:
                return
        assert self("getattr", path, info).size_bytes is not None
        assert self("read", path, 100, 0, info) is not None
        self("read", path, 4096, 2**40, info)
        assert self("release", path, info) == 0
        assert self("release", path, info) is None


class Done(NamedTuple):
    """What one process has done."""

    paths: int
    valid: int
    made: Counter[str]
    refused: Counter[str]


def throw_paths(folder: Path, seed: int, duration_s: float, most: int) -> Done:
    """Throw paths at every operation; to be called in a process of its own."""
    ends_s = time.monotonic() + duration_s
    folder.mkdir()
    adapter, logged = an_adapter(folder), Logged()

    def names_in(path: bytes) -> list[bytes]:
        names = adapter.readdir("/" + path.decode("latin-1"), None)
        return [name.encode("latin-1") for name, *_ in names[2:]]

    valid = sorted(set(below(names_in)))
    hostile, dice = HostilePaths(valid, seed), random.Random(seed)
    refusals = list(REFUSED.items())
    calls = Calls(adapter)
    paths = 0
    while paths < most and (paths % 100 or time.monotonic() < ends_s):
        # libfuse's paths are bytes, which the adapter gets as latin-1
        path = hostile.path().decode("latin-1")
        calls("getattr", path)
        calls("readdir", path, None)
        calls.open_and_read(path, dice.choice(WAYS_TO_OPEN))
        calls("readlink", path)
        calls("getxattr", path, dice.choice(ATTRIBUTES))
        calls("listxattr", path)
        calls("statfs", path)
        refusal, arguments = refusals[paths % len(refusals)]
        calls(refusal, path, *arguments)
        paths += 1
    assert logged.lines == [], logged.lines
    return Done(paths, len(valid), calls.made, calls.refused)


def test_a_million_paths_at_every_operation(
    tmp_path: Path, seed: int, duration_s: float, figures: Callable[[str], None]
) -> None:
    with ProcessPoolExecutor(PROCESSES, multiprocessing.get_context("spawn")) as pool:
        parts = [
            pool.submit(
                throw_paths,
                tmp_path / str(number),
                seed + number,
                PATHS_SHARE * duration_s,
                MAX_PATHS // PROCESSES,
            )
            for number in range(PROCESSES)
        ]
        done = [part.result() for part in parts]
    paths = sum(one.paths for one in done)
    made = sum((one.made for one in done), Counter())
    refused = sum((one.refused for one in done), Counter())
    answered = made - refused
    assert done[0].valid > 400
    assert all(answered[name] for name in DECLARED)  # not all was refused
    assert all(made[name] == refused[name] > 0 for name in REFUSED)
    figures(
        f"names: {paths:_} paths, {made.total():_} calls, {answered.total():_} "
        "answered, 0 undeclared"
    )


PARSERS: list[Callable[[str], object]] = [
    request_of_url,
    lambda text: tree.request_of(tree.parse(text)),
    config.parse_size,
    config.parse_duration,
    lambda text: config.parse_fuse_options([text]),
    lambda text: config.service_name(config.parse_api_url(text)),
]
# a parser of arguments is built for each command: it costs a millisecond
TEXTS_A_COMMAND = 50


def test_a_hundred_thousand_texts_to_every_parser(
    seed: int, duration_s: float, figures: Callable[[str], None]
) -> None:
    ends_s = time.monotonic() + TEXTS_SHARE * duration_s
    hostile = HostileTexts(seed)
    texts = commands = good = 0
    while texts < MAX_TEXTS and (texts % 100 or time.monotonic() < ends_s):
        text = hostile.text()
        for parse in PARSERS:
            with contextlib.suppress(AllenFSError):
                parse(text)
                good += 1
        # no argument of a program holds the one, nor is the other a text for one
        if texts % TEXTS_A_COMMAND == 0 and not text.startswith("-"):
            commands += 2
            assert_exits_in_one_line("url", text.replace("\0", ""))
            assert_exits_in_one_line("path", text.replace("\0", ""))
        texts += 1
    assert good
    figures(
        f"names: {texts:_} texts to {len(PARSERS)} parsers, {good:_} good, "
        f"{commands:_} commands, 0 undeclared"
    )


def assert_exits_in_one_line(command: str, text: str) -> None:
    # as the interpreter's own: what is no text is shown with backslashes
    said = io.TextIOWrapper(
        io.BytesIO(), "utf-8", errors="backslashreplace", newline=""
    )
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(said):
        code = main.main([command, text])
    said.flush()
    lines = said.buffer.getvalue().decode().splitlines()  # type: ignore[attr-defined]
    assert code in (0, 1, 2), text
    assert len(lines) == (code != 0), (text, lines)
    assert len(printed.getvalue().splitlines()) == (code == 0), text


# What the kernel itself says of names, and the filesystem of the rest. There are no
# images: the service denies all of them.
LOOKING = {E.ENOENT, E.ENOTDIR, E.ENAMETOOLONG}
WRITING = LOOKING | {E.EROFS, E.EEXIST, E.EISDIR, E.EPERM}
FLAGS = os.O_WRONLY | os.O_CREAT
SYSCALLS: dict[str, tuple[Callable[[bytes], object], set[int]]] = {
    "stat": (os.stat, LOOKING),
    "lstat": (os.lstat, LOOKING),
    "listdir": (os.listdir, LOOKING),
    "open": (lambda path: os.close(os.open(path, os.O_RDONLY)), LOOKING),
    "readlink": (os.readlink, LOOKING | {E.EINVAL}),
    "listxattr": (os.listxattr, LOOKING),
    "getxattr": (lambda p: os.getxattr(p, "user.allenfs.url"), LOOKING | {E.ENODATA}),
    "statvfs": (os.statvfs, LOOKING),
    "create": (lambda path: os.close(os.open(path, FLAGS, 0o600)), WRITING),
    "mkdir": (os.mkdir, WRITING),
    "mknod": (os.mknod, WRITING),
    "unlink": (os.unlink, WRITING),
    "rmdir": (os.rmdir, WRITING | {E.EINVAL, E.EBUSY, E.ENOTEMPTY}),
    "rename": (lambda p: os.rename(p, p + b"2"), WRITING | {E.EBUSY, E.EXDEV}),
    "link": (lambda path: os.link(path, path + b"2"), WRITING),
    "symlink": (lambda path: os.symlink(b"target", path), WRITING),
    "truncate": (lambda path: os.truncate(path, 0), WRITING | {E.EINVAL}),
    "chmod": (lambda path: os.chmod(path, 0o777), WRITING),
    "utime": (os.utime, WRITING),
    "setxattr": (lambda path: os.setxattr(path, "user.x", b""), WRITING),
}


def test_names_in_a_real_mount(
    tmp_path: Path, seed: int, duration_s: float, figures: Callable[[str], None]
) -> None:
    made: Counter[str] = Counter()
    refused: Counter[str] = Counter()
    with SampleService() as service:
        service.fail(Fault.STATUS_404)
        with Mounted(
            tmp_path,
            service.url,
            not_found_memory_s=3600,
            warnings=["HTTP 404"],
        ) as mounted:
            root = os.fsencode(mounted.root)
            valid = sorted(set(below(lambda path: os.listdir(root + b"/" + path))))
            hostile = HostilePaths(valid, seed)
            ends_s = time.monotonic() + MOUNT_SHARE * duration_s
            # 300 paths from the dice need not hold a link, or an image as it is
            links = [path for path in valid if os.path.islink(root + b"/" + path)]
            first = [b"/" + path for path in links[:5] + valid[::10]]
            paths = 0
            while paths < FEWEST_IN_A_MOUNT or time.monotonic() < ends_s:
                path = first.pop() if first else hostile.path()
                # two dots would lead out of the mount, and a NUL out of the kernel
                if b".." in path.split(b"/") or b"\0" in path:
                    continue
                paths += 1
                for name, (call, declared) in SYSCALLS.items():
                    made[name] += 1
                    try:
                        call(root + path)
                    except OSError as error:
                        refused[name] += 1
                        assert error.errno in declared, (error, name)
            assert mounted.process is not None
            assert mounted.process.poll() is None
            assert "a bug" not in mounted.log
    answered = made - refused
    assert set(answered) >= {"stat", "listdir", "readlink", "getxattr", "open"}
    assert not answered.keys() & {"create", "mkdir", "unlink", "rename", "utime"}
    figures(
        f"names: {paths:_} paths in a mount, {made.total():_} system calls, "
        f"{answered.total():_} answered, 0 undeclared"
    )
