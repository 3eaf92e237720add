"""The nodes: mounts that copy one folder at the same time, and what they got."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
import urllib.request
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from configurations import DemoError
from mounts import mounted_by

from allenfs.model import tree
from allenfs.model.nodes import CollectionFile

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

_LOOK_S = 0.02


@contextlib.contextmanager
def node(folder: Path, flags: Sequence[str]) -> Iterator[Path]:
    """Mount with an empty store, both below a new folder; yields the mountpoint."""
    folder.mkdir()
    root = folder / "mnt"
    allenfs = sys.executable, "-m", "allenfs", "mount", "--foreground"
    with mounted_by(root, *allenfs, *flags, "--cache-dir", folder / "store", root):
        yield root


def copy_all(
    roots: Sequence[Path], path: str, target: Path, meanwhile: Callable[[], None]
) -> float:
    """Copy `path` of all mounts at once, the one of node N to ``target/N``.

    `meanwhile` is called again and again until all have ended. Returns the seconds it
    took. Raises DemoError if a copy failed.
    """
    target.mkdir()
    started_s = time.monotonic()
    with contextlib.ExitStack() as stack:
        copies = [
            stack.enter_context(_copying(root / path, target / str(number)))
            for number, root in enumerate(roots)
        ]
        while any(copy.poll() is None for copy in copies):
            meanwhile()
            time.sleep(_LOOK_S)
        if failed := [copy for copy in copies if copy.returncode]:
            assert failed[0].stderr is not None
            said = failed[0].stderr.read().decode()[-500:]
            raise DemoError(f"{len(failed)} copies failed: {said.strip()}")
    return time.monotonic() - started_s


def check(target: Path, path: str, api_url: str) -> tuple[int, int]:
    """Compare all copies with what the service at `api_url` sends for each image.

    Returns the number of images and their bytes, of one copy. Raises DemoError at a
    difference.
    """
    copies = [{one.name: one for one in copy.iterdir()} for copy in target.iterdir()]
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    if any(copy.keys() != copies[0].keys() for copy in copies):
        raise DemoError("the mounts have different files")
    size_bytes = 0
    for name in sorted(copies[0]):
        file = tree.parse(f"{path}/{name}")
        assert isinstance(file, CollectionFile)
        request = replace(file.directory.view.request, image_id=file.image_id)
        with opener.open(request.url(api_url)) as answer:
            data = answer.read()
        size_bytes += len(data)
        if any(copy[name].read_bytes() != data for copy in copies):
            raise DemoError(f"{name}: a copy differs from what the service sends")
    return len(copies[0]), size_bytes


@contextlib.contextmanager
def _copying(source: Path, target: Path) -> Iterator[subprocess.Popen[bytes]]:
    copy = subprocess.Popen(  # noqa: S603 - no shell
        ["/bin/cp", "-r", source, target],
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    try:
        yield copy
    finally:
        copy.terminate()
        copy.wait()
        assert copy.stderr is not None
        copy.stderr.close()
