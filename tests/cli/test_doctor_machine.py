"""The doctor's checks of the machine, where one thing is broken."""

from __future__ import annotations

import json
import os
import pwd
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from verdicts import failed, warned, worked

from allenfs.cli.doctor import findings, machine
from allenfs.cli.doctor.findings import Finding, fail, finding_of, ok


def script(path: Path, text: str) -> Path:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


@pytest.fixture
def user(monkeypatch):
    """The checks run as a user other than root."""
    monkeypatch.setattr(os, "geteuid", lambda: 1000)


def test_a_check_that_crashes_or_hangs_is_a_finding(monkeypatch):
    assert "ZeroDivisionError: integer" in failed(finding_of(lambda: 1 // 0))
    never = threading.Event()
    monkeypatch.setattr(findings, "DEADLINE_S", 0.05)
    assert "not finished after" in failed(
        finding_of(lambda: never.wait() and ok("late"))
    )
    never.set()


@pytest.mark.parametrize("user", ["joe:s3cret", "joe:s3cret%40", "joe:s3cret/@x"])
def test_no_password_or_control_character_is_printed(user):
    said = failed(
        fail(f"http://{user}@host:1 is\x1b[2J\nbroken", f"socks5h://{user}@h")
    )
    assert said == r"http://***@host:1 is\x1b[2J\nbroken -> socks5h://***@h"


def test_a_device_that_cannot_be_opened_says_why(tmp_path, monkeypatch):
    def refuse(*_: object) -> int:
        raise PermissionError(1, "Operation not permitted")

    null = Path("/dev/null")
    assert worked(machine.device(null)) == "/dev/null can be opened"
    said = failed(machine.device(tmp_path / "fuse"))
    for words in ("No such file", "modprobe fuse", "--device /dev/fuse"):
        assert words in said
    monkeypatch.setattr("allenfs.cli.doctor.machine.os.open", refuse)
    said = failed(machine.device(null))
    assert "(crw" in said
    assert "chmod 666" in said


def test_libfuse_that_cannot_be_loaded_names_what_to_install(tmp_path, monkeypatch):
    assert "libfuse" in worked(machine.libfuse())
    text = tmp_path / "libfuse.so.2"
    text.write_text("no library")
    for path, reasons in (
        ("/nowhere/libfuse.so", ("cannot open shared object file",)),
        (str(text), ("invalid ELF header", "too short")),
    ):
        monkeypatch.setenv("FUSE_LIBRARY_PATH", path)
        said = failed(machine.libfuse())
        assert path in said
        assert any(reason in said for reason in reasons)
        for package in ("libfuse2", "libfuse2t64", "fuse3", "libfuse3-3"):
            assert package in said
    dies = script(tmp_path / "dies", "kill -SEGV $$")
    monkeypatch.setattr(sys, "executable", str(dies))
    assert "signal 11" in failed(machine.libfuse())
    monkeypatch.setattr(sys, "executable", str(tmp_path / "missing"))
    assert "No such file" in failed(finding_of(machine.libfuse))


@pytest.mark.parametrize(
    ("module", "reason"),
    [
        ("raise ImportError('not here')", "not here"),
        ("class Fuse: pass", "has no attribute"),  # as that of python-fuse
    ],
)
def test_a_missing_or_foreign_binding_fails_with_advice(
    module, reason, tmp_path, monkeypatch
):
    for name in ("fuse.py", "mfusepy.py"):
        (tmp_path / name).write_text(f"{module}\n")
    monkeypatch.chdir(tmp_path)
    assert "libfuse" in worked(machine.libfuse())  # imports nothing from there
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
    said = failed(machine.libfuse())
    assert reason in said
    assert "pip install --force-reinstall fusepy mfusepy" in said


def helper(
    folder: Path, capabilities: str = "3fffffffff", no_new_privs: int = 0
) -> Finding:
    path = folder / "status"
    path.write_text(f"CapEff:\t{capabilities}\nNoNewPrivs:\t{no_new_privs}\n")
    return machine.fusermount(str(folder), path)


def setuid(path: Path) -> Path:
    os.chown(script(path, ""), 0, 0)
    path.chmod(0o4755)
    return path


def test_root_needs_a_capability(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert worked(helper(tmp_path)) == "not needed by root"
    assert "--cap-add SYS_ADMIN" in failed(helper(tmp_path, "a80425fb"))


@pytest.mark.usefixtures("user")
def test_a_user_needs_a_setuid_fusermount_and_an_entry_in_passwd(tmp_path, monkeypatch):
    def unknown(_: int) -> None:
        raise KeyError("uid not found")

    said = failed(helper(tmp_path))
    assert "neither fusermount3 nor fusermount in PATH" in said
    assert "apt install fuse3" in said
    program = script(tmp_path / "fusermount3", "")
    assert "is not setuid root" in failed(helper(tmp_path))
    setuid(program)
    assert "no fusermount" in warned(helper(tmp_path))
    (tmp_path / "fusermount").symlink_to(program)
    assert "setuid root" in worked(helper(tmp_path))
    assert "no_new_privs" in failed(helper(tmp_path, no_new_privs=1))
    monkeypatch.setattr(pwd, "getpwuid", unknown)
    said = failed(helper(tmp_path))
    assert "no entry in passwd" in said
    assert "useradd" in said


@pytest.mark.usefixtures("user")
def test_fuse_conf_says_who_can_use_allow_other(tmp_path):
    path = tmp_path / "fuse.conf"
    assert "for root only" in worked(machine.allow_other(path))
    path.write_text("# user_allow_other\nmount_max = 9\n")
    assert "for root only" in worked(machine.allow_other(path))
    path.write_text("mount_max = 9\nuser_allow_other\n")
    assert "allowed for all users" in worked(machine.allow_other(path))


@pytest.mark.parametrize(
    ("environ", "words"),
    [
        ({"ALLENFS_CACHE_SIZE": "foo"}, "not a size: 'foo'"),
        ({"ALLENFS_CACHE_DIR": "LOOP"}, ""),
        ({"ALLENFS_CACHE_DIR": "FILE"}, "Not a directory"),
    ],
)
def test_a_store_that_cannot_be_used_fails_with_advice(environ, words, tmp_path):
    (tmp_path / "LOOP").symlink_to(tmp_path / "LOOP")
    (tmp_path / "FILE").write_text("")
    done = subprocess.run(
        [sys.executable, "-m", "allenfs", "doctor", "--json", "--api-url", "x"],
        env=os.environ | environ,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (1, "")
    checks = [
        one for one in json.loads(done.stdout)["checks"] if "store" in one["check"]
    ]
    bad = next(one for one in checks if one["verdict"] == "FAIL")
    assert words in bad["message"]
    assert "crashed" not in bad["message"]
    assert "--cache-dir" in bad["advice"]


def test_a_crawler_is_named_and_the_advice_works(tmp_path):
    conf = tmp_path / "updatedb.conf"
    assert worked(machine.crawlers(conf)) == "updatedb is not installed"
    conf.write_text('PRUNE_BIND_MOUNTS="yes"\nPRUNEFS="NFS nfs fuse.sshfs"\n')
    finding = machine.crawlers(conf)
    assert "fuse.allenfs" in warned(finding)
    assert os.system(finding.advice.removeprefix("sudo ")) == 0
    worked(machine.crawlers(conf))
    assert '"fuse.allenfs NFS nfs fuse.sshfs"' in conf.read_text()


def test_a_log_that_cannot_be_written_is_a_warning(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert "not created yet" in worked(machine.log_file())
    log = tmp_path / "allenfs" / "allenfs.log"
    log.mkdir(parents=True)
    assert "--log-file" in warned(machine.log_file())
    log.rmdir()
    log.write_text("12345")
    assert "5 bytes" in worked(machine.log_file())
