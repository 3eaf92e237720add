"""Names of every kind at every operation: nothing but declared errors comes out."""

from __future__ import annotations

import contextlib
import errno as E  # noqa: N812 - the tables below are made of them
import hashlib
import io
import logging
import logging.handlers
import multiprocessing
import os
import random
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from types import SimpleNamespace

import pytest
from hostile_names import NAMES, HostilePaths, HostileTexts
from mounted import Mounted, errno_of

from allenfs import config
from allenfs.adapters import fuse_operations
from allenfs.catalog.record_cache import RecordCache
from allenfs.catalog.repository import Repository
from allenfs.catalog.resolver import Catalog
from allenfs.cli import main
from allenfs.config import ServiceSettings, StoreSettings
from allenfs.errors import AllenFSError, ImageNotFoundError
from allenfs.filesystem.filesystem import Filesystem
from allenfs.filesystem.xattrs import ExtendedAttributes
from allenfs.model import tree
from allenfs.model.images import request_of_url
from allenfs.sample.content import sample_database
from allenfs.sample.envelope import answer_body
from allenfs.sample.faults import Fault
from allenfs.sample.rma import Rules, evaluate
from allenfs.sample.rma_targets import query_target, read_target
from allenfs.sample.server import SampleService
from allenfs.service import rma
from allenfs.service.slots import Slots
from allenfs.store.open_files import OpenFile
from allenfs.store.record_files import RecordFiles
from allenfs.store.stored_file import Facts, Image, Known

MAX_PATHS, MAX_TEXTS, FEWEST_IN_A_MOUNT = 1_000_000, 100_000, 300
PROCESSES = 2
# of this file's share of time
PATHS_SHARE, TEXTS_SHARE, MOUNT_SHARE = 0.75, 0.2, 0.05

# what may leave each operation, while the service answers
DECLARED = {
    "getattr": {E.ENOENT},
    "readdir": {E.ENOENT, E.ENOTDIR},
    "open": {E.ENOENT, E.EISDIR, E.ESTALE},
    "readlink": {E.ENOENT, E.EINVAL},
    "getxattr": {E.ENOENT, E.ENODATA},
    "listxattr": {E.ENOENT},
    "statfs": set(),
    "read": {E.ESTALE},
    "release": {E.EBADF},
}
REFUSED = [
    *("chmod", "chown", "create", "link", "mkdir", "mknod", "removexattr", "rename"),
    *("rmdir", "setxattr", "symlink", "truncate", "unlink", "utimens", "write"),
]
ATTRIBUTES = [
    *("user.allenfs.url", "user.allenfs.error", "user.allenfs.pid", "user.x", ""),
    *(name.decode("latin-1") for name in NAMES),
]
WAYS_TO_OPEN = [os.O_RDONLY] * 6 + [os.O_DIRECT, os.O_WRONLY, os.O_RDWR | os.O_CREAT]
_KNOWN_IDS = {69750516, 71592261, 70679088, 100883869}


class RecordsAtOnce:
    """The sample's records, without a socket."""

    _database = sample_database()

    def page(self, query, *, start_row, num_rows, **_):
        target = query_target(query.url("", start_row=start_row, num_rows=num_rows))
        answer = evaluate(read_target(target), self._database, Rules())
        return rma.read_page(answer_body(answer, "json"))


class ImagesAtOnce:
    """One image, of every request for a few ids."""

    def __init__(self, folder):
        data = bytes(range(256)) * 4
        (folder / "image").write_bytes(data)
        sha256 = hashlib.sha256(data).hexdigest()
        fd = os.open(folder / "image", os.O_RDONLY)
        self._image = Image(OpenFile(fd), Facts(len(data), sha256, 0, 0))

    def get(self, request, _):
        if not self.is_known(request):
            raise ImageNotFoundError("HTTP 404")
        return self._image

    def peek(self, request):
        is_local = self.is_known(request) and not request.downsample
        return Known(1024, 0) if is_local else None

    def facts(self, request):
        return self._image.facts if self.peek(request) else None

    def is_known(self, request):
        return request.image_id in _KNOWN_IDS

    def used_ids(self, _):
        return sorted(_KNOWN_IDS)

    def last_failure(self, request):
        return None if self.is_known(request) else "HTTP 404"


def an_adapter(folder):
    """Return the operations over records and images that are here at once."""
    context = SimpleNamespace(fuse=0, uid=0, gid=0, pid=os.getpid())
    fuse_operations.fuse._libfuse = SimpleNamespace(
        fuse_get_context=lambda: SimpleNamespace(contents=context),
        fuse_exited=lambda _: 0,
        fuse_get_session=lambda _: 0,
        fuse_session_exited=lambda _: 0,
        fuse_interrupted=lambda: 0,
    )
    settings, slots = ServiceSettings("http://h", not_found_memory_s=3600), Slots(4)
    files = RecordFiles(StoreSettings(folder / "store", 2**30, "test"))
    cache = RecordCache(files, settings)
    repository = Repository(RecordsAtOnce(), cache, settings, slots)
    catalog = Catalog(repository, cache)
    images = ImagesAtOnce(folder)
    filesystem = Filesystem(images, catalog, max_image_bytes=2**30)
    return fuse_operations.Operations(
        filesystem,
        ExtendedAttributes(filesystem, images, repository, api_url="http://h"),
        usage=lambda: (0, 2**30),
        started=lambda: None,
    )


@pytest.fixture
def seed():
    number = random.SystemRandom().getrandbits(32)
    print(f"seed {number}")  # pytest shows it where a test fails
    return number


def below(names_in, path=b""):
    """Go through a few names of every directory."""
    try:
        names = names_in(path)
    except (OSError, AllenFSError) as error:
        assert error.errno == E.ENOTDIR
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

    def __init__(self, adapter):
        self._adapter = adapter
        self.made = Counter()
        self.refused = Counter()

    def __call__(self, name, path, *arguments):
        """Return what the operation returns, or None where it refuses."""
        self.made[name] += 1
        try:
            return getattr(self._adapter, name)(path, *arguments)
        except AllenFSError as error:
            self.refused[name] += 1
            declared = DECLARED.get(name, {E.EROFS})
            assert error.errno in declared, (error, name, path, arguments)
            return None

    def open_and_read(self, path, flags):
        info = SimpleNamespace(flags=flags, fh=0)
        if flags & (os.O_WRONLY | os.O_RDWR):
            with pytest.raises(AllenFSError) as caught:
                self._adapter.open(path, info)
            assert caught.value.errno == E.EROFS
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


def throw_paths(folder, seed, duration_s, most):
    """Try paths with every operation, in a separate process; return counts."""
    ends_s = time.monotonic() + duration_s
    folder.mkdir()
    warnings = logging.handlers.BufferingHandler(MAX_PATHS)
    warnings.setLevel(logging.WARNING)
    logging.getLogger("allenfs").addHandler(warnings)
    adapter = an_adapter(folder)

    def names_in(path):
        names = adapter.readdir("/" + path.decode("latin-1"), None)
        return [name.encode("latin-1") for name, *_ in names[2:]]

    valid = sorted(set(below(names_in)))
    hostile, dice = HostilePaths(valid, seed), random.Random(seed)
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
        calls(REFUSED[paths % len(REFUSED)], path)
        paths += 1
    assert [record.getMessage() for record in warnings.buffer] == []
    return paths, len(valid), calls.made, calls.refused


def test_a_million_paths_at_every_operation(tmp_path, seed, duration_s, figures):
    limits = PATHS_SHARE * duration_s, MAX_PATHS // PROCESSES
    with ProcessPoolExecutor(PROCESSES, multiprocessing.get_context("spawn")) as pool:
        parts = [
            pool.submit(throw_paths, tmp_path / str(number), seed + number, *limits)
            for number in range(PROCESSES)
        ]
        paths, valid, made, refused = zip(*(one.result() for one in parts), strict=True)
    made, refused = sum(made, Counter()), sum(refused, Counter())
    answered = made - refused
    assert valid[0] > 400
    assert all(answered[name] for name in DECLARED)  # not all was refused
    assert all(made[name] == refused[name] > 0 for name in REFUSED)
    figures(
        f"names: {sum(paths):_} paths, {made.total():_} calls, {answered.total():_} "
        "answered, 0 undeclared"
    )


PARSERS = [
    request_of_url,
    lambda text: tree.request_of(tree.parse(text)),
    config.parse_size,
    config.parse_duration,
    lambda text: config.parse_fuse_options([text]),
    lambda text: config.service_name(config.parse_api_url(text)),
]
# a parser of arguments is built for each command: it costs a millisecond
TEXTS_A_COMMAND = 50


def test_a_hundred_thousand_texts_to_every_parser(seed, duration_s, figures):
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


def assert_exits_in_one_line(command, text):
    # as the interpreter's own: what is no text is shown with backslashes
    raw, printed = io.BytesIO(), io.StringIO()
    stderr = io.TextIOWrapper(raw, "utf-8", errors="backslashreplace", newline="")
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(stderr):
        code = main.main([command, text])
    stderr.flush()
    lines = raw.getvalue().decode().splitlines()
    assert code in (0, 1, 2), text
    assert len(lines) == (code != 0), (text, lines)
    assert len(printed.getvalue().splitlines()) == (code == 0), text


# What the kernel itself says of names, and the filesystem of the rest. There are no
# images: the service denies all of them. Writing is refused by the kernel.
LOOKS = {
    "stat": os.stat,
    "listdir": os.listdir,
    "open": lambda path: os.close(os.open(path, os.O_RDONLY)),
    "readlink": os.readlink,
    "listxattr": os.listxattr,
    "getxattr": lambda path: os.getxattr(path, "user.allenfs.url"),
    "statvfs": os.statvfs,
}
REFUSALS = {E.ENOENT, E.ENOTDIR, E.ENAMETOOLONG, E.EINVAL, E.ENODATA}


@pytest.fixture
def mounted(tmp_path):
    """A mount of a service without images."""
    with SampleService() as service:
        service.fail(Fault.STATUS_404)
        settings = {"not_found_memory_s": 3600, "warnings": ["HTTP 404"]}
        with Mounted(tmp_path, service.url, **settings) as mounted:
            yield mounted


def test_names_in_a_real_mount(mounted, seed, duration_s, figures):
    answered = Counter()
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
        for name, look in LOOKS.items():
            number = errno_of(look, root + path)
            assert number in REFUSALS | {0}, (path, name, number)
            answered[name] += not number
    assert mounted.process.poll() is None
    assert "a bug" not in mounted.log
    assert +answered >= Counter(["stat", "listdir", "readlink", "getxattr", "open"])
    figures(
        f"names: {paths:_} paths in a mount, {paths * len(LOOKS):_} system calls, "
        f"{answered.total():_} answered, 0 undeclared"
    )
