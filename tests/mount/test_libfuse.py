"""Which libfuse mounts, with which options, and what it must not block."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from command import allenfs, cat, fails, mounting, run, serving_pid, until_gone
from mounted import STRICT_PYTHON, image_bytes, until

from allenfs.adapters import libfuse
from allenfs.mount.mount_table import is_mounted
from allenfs.sample.faults import Fault

WARM = "section/69750516/ds6/image.jpg"
STALLED = 40
BINDINGS = {
    "2": r"fusepy \d[\d.]*, libfuse 2\.\d+",
    "3": r"mfusepy \d[\d.]*, libfuse 3\.\d+",
}
# .so.3, and .so.4 since 3.17
LIBFUSE_3 = libfuse.chosen({"ALLENFS_FUSE": "3"}).path
LIBRARIES = {"2": "libfuse.so.2", "3": "libfuse3.so."}

# Each option of `allenfs mount -o`, in two mounts: some exclude others.
NUMBERS = {
    "max_background": 7,
    "congestion_threshold": 5,
    "max_read": 65_536,
    "max_readahead": 65_536,
}
SOME = [
    *("allow_other", "async_read", "default_permissions", "noexec", "noatime"),
    *("nodev", "nosuid", "ro", "nonempty", "fsname=given:name"),
    *("uid=12", "gid=34", "umask=0227"),
    *(f"{name}={number}" for name, number in NUMBERS.items()),
]
OTHERS = ["allow_root", "sync_read", "exec", "auto_unmount", "debug"]


@pytest.mark.one_libfuse
def test_every_option_is_tested_here():
    message = fails(2, "mount", "-o", "unknown", "mnt")
    names = re.search(r"choose from (.*)\)", message)[1].split(", ")
    assert names == sorted(option.partition("=")[0] for option in SOME + OTHERS)


def loaded_by(pid: int) -> set[str]:
    """Which of the libraries a process has."""
    maps = Path(f"/proc/{pid}/maps").read_text()
    return {version for version, name in LIBRARIES.items() if f"/{name}" in maps}


@pytest.mark.both_libfuses
def test_forty_stalled_opens_stop_nothing_else(mounted, service):
    expected = (mounted / WARM).read_bytes()
    service.fail(Fault.SILENT)
    paths = [f"section/69750516/ds5/q{number}/image.jpg" for number in range(STALLED)]
    cats = [cat(mounted / path) for path in paths]
    assert mounted.process is not None
    tasks = f"/proc/{mounted.process.pid}/task"
    # one thread of the daemon waits for each of them
    until(lambda: len(os.listdir(tasks)) > STALLED)
    assert b"image.jpg" in run("ls", "-l", mounted / "section/69750516", timeout=30)
    assert (mounted / "section/69750516/ds5/image.jpg").stat().st_size > 0
    assert (mounted / WARM).read_bytes() == expected
    assert service.query_requests == 0  # a listing does not wait to ask for names
    assert all(reader.poll() is None for reader in cats)
    for reader in cats:
        reader.send_signal(signal.SIGINT)
    for reader in cats:
        output, _ = reader.communicate(timeout=30)
        assert (reader.returncode, output) == (-signal.SIGINT, b"")
    # ... and they are followed by others
    service.heal()
    path = "section/69750516/ds4/image.jpg"
    assert (mounted / path).read_bytes() == image_bytes(service.url, path)


@pytest.mark.both_libfuses
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_unmounts_and_libfuse_prints_nothing(root, service, libfuse, number):
    command = [*STRICT_PYTHON, "-m", "allenfs", "mount", "--foreground"]
    with subprocess.Popen(
        [*command, "--api-url", service.url, root], stderr=subprocess.PIPE, text=True
    ) as process:
        until(lambda: is_mounted(root))
        assert (root / WARM).read_bytes()
        assert loaded_by(process.pid) == {libfuse}
        process.send_signal(number)
        mounted, unmounted = process.communicate(timeout=30)[1].splitlines()
    assert process.returncode == 0
    assert not is_mounted(root)
    line = rf" mounted {service.url} on {root} \({BINDINGS[libfuse]}\)$"
    assert re.search(line, mounted)
    assert unmounted.endswith(": unmounted")


@pytest.mark.both_libfuses
def test_options_reach_the_kernel(root, tmp_path, service):
    (root / "in the way").touch()  # what nonempty is for
    done = allenfs("mount", "--api-url", service.url, "-o", ",".join(SOME), root)
    assert (done.returncode, done.stderr) == (0, "")
    (line,) = (
        line.split()
        for line in Path("/proc/self/mountinfo").read_text().splitlines()
        if line.split()[4] == str(root)
    )
    flags, source, options = line[5].split(","), line[-2], line[-1].split(",")
    assert {"ro", "nosuid", "nodev", "noexec", "noatime"} <= set(flags)
    assert source == "given:name"
    assert {"allow_other", "default_permissions", "max_read=65536"} <= set(options)
    control = tmp_path / "control"  # what the kernel has of each mount
    control.mkdir()
    run("mount", "-t", "fusectl", "none", control)
    connection = control / line[2].partition(":")[2]
    names = ("max_background", "congestion_threshold")
    found = [int((connection / name).read_text()) for name in names]
    run("umount", control)
    assert found == [NUMBERS[name] for name in names]
    readahead = Path(f"/sys/class/bdi/{line[2]}/read_ahead_kb")
    assert int(readahead.read_text()) == NUMBERS["max_readahead"] // 1024
    shown = (root / WARM).stat()
    assert (shown.st_uid, shown.st_gid) == (12, 34)
    assert shown.st_mode & 0o777 == 0o777 & ~0o227
    assert (root / WARM).read_bytes() == image_bytes(service.url, WARM)
    assert allenfs("umount", root).returncode == 0


@pytest.mark.both_libfuses
def test_the_other_options_mount(root, service):
    with mounting(root, "--api-url", service.url, "-o", ",".join(OTHERS)):
        assert (root / WARM).read_bytes() == image_bytes(service.url, WARM)


def run_without(
    libraries: str, script: str, root: Path, **environ: str
) -> subprocess.CompletedProcess[str]:
    """Run a script where these libraries cannot be loaded; `$0` is the mountpoint.

    They are covered, in a mount namespace of the script's own; what it mounts is seen
    by others.
    """
    covers = [
        f"mount --bind --make-private /dev/null {os.path.realpath(line.split()[-1])}"
        for line in run("ldconfig", "-p").decode().splitlines()
        if line.split()[0].startswith(libraries)
    ]
    assert covers
    commands = {"PYTHON": sys.executable, "ALLENFS": f"{sys.executable} -m allenfs"}
    return subprocess.run(
        ["unshare", "--mount", "sh", "-euc", "\n".join([*covers, script]), root],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "ALLENFS_FUSE": "", **commands, **environ},
    )


MOUNT_AND_LOOK = """
ask='import os, sys; print(os.getxattr(sys.argv[1], "user.allenfs.pid").decode())'
$ALLENFS mount --sample "$0"
pid=$($PYTHON -c "$ask" "$0")
grep -o 'libfuse[3.]*so.[0-9]' /proc/$pid/maps | sort -u
wc -c <"$0"/section/69750516/ds6/image.jpg
$ALLENFS umount "$0"
"""


@pytest.mark.one_libfuse
@pytest.mark.parametrize(
    ("hidden", "mounts"),
    [("libfuse.so.2", "libfuse3.so."), ("libfuse3.so.", "libfuse.so.2")],
)
def test_with_one_libfuse_the_other_mounts(root, hidden, mounts):
    done = run_without(hidden, MOUNT_AND_LOOK, root)
    assert (done.returncode, done.stderr) == (0, "")
    loaded, size_bytes = done.stdout.split()
    assert loaded.startswith(mounts)
    assert int(size_bytes) > 1000


@pytest.mark.one_libfuse
@pytest.mark.parametrize(("path", "version"), [("", "2"), (LIBFUSE_3, "3")])
def test_with_both_libfuses_2_mounts_unless_a_path_is_given(
    root, service, path, version
):
    environ = {"ALLENFS_FUSE": "", "FUSE_LIBRARY_PATH": path}
    with mounting(root, "--api-url", service.url, **environ):
        pid = serving_pid(root)
        assert loaded_by(pid) == {version}
    until_gone(pid)


@pytest.mark.one_libfuse
@pytest.mark.parametrize(
    ("hidden", "asked", "named"),
    [
        ("libfuse.so.2", "2", ["no libfuse 2", "libfuse2", "fuse-libs", "fuse2"]),
        ("libfuse3.so.", "3", ["no libfuse 3", "fuse3"]),
        ("libfuse", "", ["neither libfuse 2 nor libfuse 3", "fuse3", "libfuse2"]),
    ],
)
def test_missing_libfuse_is_exit_3_and_names_packages(root, hidden, asked, named):
    done = run_without(hidden, '$ALLENFS mount --sample "$0"', root, ALLENFS_FUSE=asked)
    assert done.returncode == 3
    assert done.stderr.startswith("allenfs: this machine has n")
    assert len(done.stderr.splitlines()) == 1
    for words in named:
        assert words in done.stderr


@pytest.mark.one_libfuse
@pytest.mark.parametrize(
    ("asked", "path", "said"),
    [
        ("4", "", "ALLENFS_FUSE must be 2 or 3"),
        ("", "/no/libfuse.so.2", "install the package libfuse2"),
        ("", "no\nlibrary\x1b[1m", "FUSE_LIBRARY_PATH is not a libfuse"),
        ("3", "libfuse.so.2", "ALLENFS_FUSE is 3, but"),
    ],
)
def test_a_libfuse_that_cannot_be_is_exit_3(root, asked, path, said):
    environ = {"ALLENFS_FUSE": asked, "FUSE_LIBRARY_PATH": path}
    assert said in fails(3, "mount", "--sample", root, **environ)


@pytest.mark.both_libfuses
def test_a_binding_that_is_another_package_or_missing_is_exit_3(root, libfuse):
    module = root.parent / {"2": "fuse.py", "3": "mfusepy.py"}[libfuse]
    for text, why in (
        # as that of python-fuse, which has the same name
        ("class Fuse: pass\n", f"{module} belongs to neither fusepy nor mfusepy"),
        ("raise ImportError('not here')\n", "not here"),
    ):
        module.write_text(text)
        assert why in fails(3, "mount", "--sample", root, PYTHONPATH=str(root.parent))
