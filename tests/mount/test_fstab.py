"""mount(8), umount(8) and lines of fstab(5): the options, the helpers, the codes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from command import serving_pid, until_gone
from mount_namespace import MountNamespace
from mounted import image_bytes

from allenfs.cli import fstab

pytestmark = pytest.mark.one_libfuse

IMAGE = "section/70679088/ds5/image.jpg"
USAGE, SYSTEM, FAILED = 1, 2, 32
# what fstab, systemd and desktops write, whatever the file system
GENERIC = (
    "defaults,rw,noauto,nofail,user,users,_netdev,relatime,noexec,nosuid,nodev,ro,"
    "x-systemd.automount,x-systemd.idle-timeout=60,x-gvfs-show,comment=images,noatime"
)


class Machine:
    """A mount namespace with mount.allenfs, and two places to mount on."""

    def __init__(self, folder: Path, namespace: MountNamespace) -> None:
        self.namespace = namespace
        self.folder = folder
        self.place, self.other = folder / "mnt", folder / "other"
        self.place.mkdir()
        self.other.mkdir()
        self.own = f"cache-dir={folder / 'store'},log-file={folder / 'log'}"

    def mount(
        self, *arguments: str | Path, **environ: str
    ) -> subprocess.CompletedProcess[str]:
        return self.namespace.run("mount", *arguments, environ=environ or None)

    def mounts(self, *arguments: str | Path, **environ: str) -> None:
        """Mount, and print nothing."""
        done = self.mount(*arguments, **environ)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")

    def arguments(self, source: str, options: str = "") -> tuple[str | Path, ...]:
        own = f"{self.own},{options}" if options else self.own
        return ("-t", "allenfs", source, self.place, "-o", own)

    def fails(self, code: int, *arguments: str | Path) -> str:
        """Fail to mount; return the one line."""
        done = self.mount(*arguments)
        assert done.returncode == code, done.stderr
        (line,) = done.stderr.splitlines()
        assert line.startswith("mount.allenfs: ")
        assert not self.source(self.place)
        return line

    def umount(self, place: Path) -> None:
        pid = self.pid(place)
        done = self.namespace.run("umount", place)
        assert (done.returncode, done.stderr) == (0, "")
        until_gone(pid)

    def pid(self, place: Path) -> int:
        return serving_pid(self.namespace / place)

    def source(self, place: Path) -> str:
        done = self.namespace.run("findmnt", "-n", "-o", "SOURCE", place)
        return done.stdout.strip()

    def fstab(self, *lines: str) -> Path:
        path = self.folder / "fstab"
        path.write_text("".join(f"{line} 0 0\n" for line in lines))
        return path


@pytest.fixture
def machine(tmp_path):
    with MountNamespace(tmp_path) as namespace:
        namespace.link("mount.allenfs", "mount.allenfs")
        machine = Machine(tmp_path, namespace)
        yield machine
        for place in (machine.place, machine.other):
            if machine.source(place):
                machine.umount(place)


def test_mount_mounts_and_umount_ends_the_process(machine, service):
    machine.mounts(*machine.arguments(service.url))
    image = machine.namespace / machine.place / IMAGE
    assert image.read_bytes() == image_bytes(service.url, IMAGE)
    assert machine.source(machine.place).startswith("allenfs:127.0.0.1:")
    done = machine.mount(*machine.arguments("sample"))  # not above the first
    assert done.returncode == FAILED
    assert done.stderr == f"mount.allenfs: {machine.place} is already mounted\n"
    machine.umount(machine.place)
    assert machine.source(machine.place) == ""
    assert os.listdir(machine.namespace / machine.place) == []


@pytest.mark.parametrize(
    ("kind", "link", "program", "source"),
    [
        ("allenfs", "mount.allenfs", "mount.allenfs", "sample"),
        ("fuse.allenfs", "mount.fuse.allenfs", "mount.allenfs", "allenfs:sample"),
        ("fuse.allenfs", "allenfs", "allenfs", "sample"),  # mount.fuse runs it
    ],
)
def test_mount_finds_each_helper(machine, kind, link, program, source):
    machine.namespace.link(link, program)
    machine.mounts("-t", kind, source, machine.place, "-o", machine.own)
    assert machine.source(machine.place) == "allenfs:sample"
    assert "section" in os.listdir(machine.namespace / machine.place)


def test_without_a_helper_mount_says_what_is_missing(machine):
    done = machine.mount("-t", "fuse.allenfs", "sample", machine.place)
    assert done.returncode != 0
    assert "allenfs: not found" in done.stderr


def test_fstab_takes_generic_options_and_every_flag(machine):
    spaced = machine.folder / "a store"
    escaped = str(spaced).replace(" ", "\\040")
    flags = (
        "cache-size=1GiB,connections=2,readahead=0,max-image-size=1MiB,deadline=30,"
        "connect_timeout=5,stall-timeout=5,catalog-ttl=1d,allow_other,verbose,uid=1"
    )
    log = f"log-file={machine.folder / 'log'}"
    table = machine.fstab(
        f"sample {machine.place} allenfs {GENERIC},{flags},{log},cache-dir={escaped}",
        f'sample {machine.other} allenfs nofail,{log},cache-dir="{machine.folder}/a,b"',
    )
    machine.mounts("-T", table, machine.place)
    for _ in range(3):
        machine.mounts("-T", table, "-a")
    assert spaced.is_dir()
    assert (machine.folder / "a,b").is_dir()
    line = machine.namespace / machine.place / "section"
    assert line.stat().st_uid == 1
    options = machine.namespace.run("findmnt", "-no", "OPTIONS", machine.place).stdout
    assert {"ro", "nosuid", "nodev", "noexec", "allow_other"} <= set(
        options.strip().split(",")
    )


@pytest.mark.parametrize("source", ["sample", "allenfs:[fd99::1]:8006/a,b/C"])
def test_mount_all_again_leaves_the_process_that_serves(machine, source):
    table = machine.fstab(f"{source} {machine.place} allenfs {machine.own}")
    machine.mounts("-T", table, "-a")
    pid = machine.pid(machine.place)
    machine.mounts("-T", table, "-a")
    assert machine.pid(machine.place) == pid
    # as it is written there, but for what would end a field
    shown = f"allenfs:{source.removeprefix('allenfs:')}".replace(",", "%2C")
    assert machine.source(machine.place) == shown
    assert shown in machine.namespace.run("df", machine.place).stdout


def test_a_killed_mount_is_mounted_again(machine):
    machine.mounts(
        *machine.arguments("sample"), LANG="C"
    )  # as at boot: no PATH or HOME
    pid = machine.pid(machine.place)
    os.kill(pid, 9)
    until_gone(pid)
    machine.mounts(*machine.arguments("sample"))
    assert machine.pid(machine.place) != pid


def test_an_automount_mounts_at_the_first_access(machine):
    mounting = machine.arguments("sample")
    program = Path(__file__).with_name("automount.py")
    with subprocess.Popen(
        [
            *("nsenter", f"--mount={machine.namespace.file}", sys.executable, program),
            *(machine.place, "mount", *mounting),
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as automount:
        assert automount.stdout is not None
        assert automount.stdout.readline() == b"ready\n"
        found = machine.namespace.run("ls", machine.place)
        assert "section" in found.stdout.split(), found.stderr
        # by hand, once more
        machine.mounts(*mounting)
        machine.umount(machine.place)
        machine.namespace.run("umount", "-l", machine.place)
        automount.communicate()
    assert machine.source(machine.place) == ""


def test_errors_have_the_exit_codes_of_mount(machine):
    for code, source, options, words in (
        (USAGE, "sample", "colour=red", "not an option"),
        (USAGE, "sample", "foreground", "not an option"),
        (USAGE, "sample", "cache-size=much", "not a size"),
        (USAGE, "sample", "remount", "while mounted"),
        (USAGE, "sample", "verbose=1", "ignored explicit argument"),
        (USAGE, "sample", "api-url=http://a", "not allowed with"),
        (USAGE, "sample", "setuid=nobody-of-all", "no such user"),
        (USAGE, "\x1b[31m", "", "not a source: '\\x1b[31m'"),
        (FAILED, "allenfs:a b", "", "address"),
    ):
        assert words in machine.fails(code, *machine.arguments(source, options))
    own = ("-t", "allenfs", "-o", machine.own, "sample")
    said = machine.fails(FAILED, *own, machine.folder / "a\x1b[31mb")
    assert "a\\x1b[31mb does not exist" in said
    said = machine.fails(USAGE, "-N", machine.namespace.file, *own, machine.place)
    assert "unrecognized arguments: -N" in said


def test_fake_sloppy_and_verbose(machine):
    arguments = machine.arguments("sample")
    done = machine.mount("-f", "-v", *arguments)
    said = f"mount.allenfs: allenfs:sample on {machine.place}\n"
    assert (done.returncode, done.stdout, done.stderr) == (0, said, "")
    assert machine.source(machine.place) == ""
    machine.mounts("-n", "-s", *arguments, "-o", "colour=red,noatime")
    done = machine.mount("-v", *arguments)
    assert done.stdout == f"{said.rstrip()} already\n"


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("allenfs:sample", ["--sample"]),
        ("none", []),
        ("allenfs:default", []),
        ("http://localhost:8000/a", ["--api-url", "http://localhost:8000/a"]),
        ("allenfs:https://example.org", ["--api-url", "https://example.org"]),
        ("allenfs:example.org:8443", ["--api-url", "https://example.org:8443"]),
    ],
)
def test_a_source_is_a_service(tmp_path, source, expected):
    said = fstab.command_line(source, tmp_path, [])
    assert said == [*expected, "--", str(tmp_path)]


def test_every_flag_of_the_mount_command_is_an_option(tmp_path):
    for name, action in fstab.mount_flags().items():
        option = name if action.nargs == 0 else f"{name}=1"
        for spelling in (option, option.replace("-", "_")):
            said = fstab.command_line("none", tmp_path, [spelling])
            assert said == [f"--{option}", "--", str(tmp_path)]
    for option in ("foreground", "help", "mountpoint=/"):
        line = fstab.command_line("none", tmp_path, [option])
        assert line[0] == f"-o{option}"  # no flag, and libfuse has none
