"""The doctor's checks of the machine, in worlds that are broken in one place."""

from __future__ import annotations

import json
import os
import pwd
import resource
import stat
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from verdicts import failed, warned, worked

from allenfs.cli.doctor import fuse, host
from allenfs.cli.doctor.findings import (
    Check,
    Finding,
    Verdict,
    fail,
    ok,
    run,
    skip,
)

if TYPE_CHECKING:
    from collections.abc import Callable


def only(find: Check, **environ: str) -> Finding:
    ((name, finding),) = run([find], environ)
    assert name == find.name
    return finding


def script(path: Path, text: str, mode: int = 0o755) -> Path:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(mode)
    return path


@pytest.fixture
def user(monkeypatch: pytest.MonkeyPatch) -> None:
    """Checks ask who runs them: not root."""
    monkeypatch.setattr(os, "geteuid", lambda: 1000)


# The run


def test_a_check_that_crashes_or_hangs_fails_and_the_next_one_runs() -> None:
    never = threading.Event()
    checks = [
        Check("crash", lambda: 1 // 0),
        Check("hang", lambda: never.wait() and ok("late"), deadline_s=0.05),
        Check("next", lambda: ok("fine")),
    ]
    found = dict(run(checks))
    never.set()
    assert "ZeroDivisionError: integer" in failed(found["crash"])
    assert "not finished after" in failed(found["hang"])
    assert worked(found["next"]) == "fine"


def test_what_needs_a_failed_check_is_skipped() -> None:
    tried: list[str] = []

    def find() -> Finding:
        tried.append("tried")
        return ok("well")

    checks = [
        Check("door", lambda: fail("shut", "open it")),
        Check("room", find, ("door",)),
        Check("bed", find, ("room",)),
        Check("window", lambda: skip("there is none")),
        Check("view", find, ("window",)),
    ]
    found = dict(run(checks))
    assert found["room"].verdict is found["bed"].verdict is Verdict.SKIP
    assert "door" in found["room"].message
    assert worked(found["view"]) == "well"
    assert tried == ["tried"]


def test_nothing_is_tried_after_the_total_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("allenfs.cli.doctor.findings.BUDGET_S", 0)
    finding = only(Check("one", lambda: ok("well")))
    assert finding.verdict is Verdict.SKIP
    assert "took too long" in finding.message


@pytest.mark.parametrize(
    "proxy",
    [
        "http://joe:s3cret@host:1",
        "joe:s3cret@host:1",
        "http://joe:s3cret%40@host:1",
        "http://joe:s3cret/@x@host:1",
        "socks5h://joe:s3cret@host",
    ],
)
def test_no_password_of_a_proxy_is_printed(proxy: str) -> None:
    check = Check("one", lambda: fail(f"{proxy} is broken", f"correct {proxy}"))
    finding = only(check, HTTPS_PROXY=proxy)
    assert "s3cret" not in failed(finding)
    assert "host" in finding.message


def test_output_is_one_line_and_words_survive_a_short_password() -> None:
    check = Check("one", lambda: ok("a pipe to http://u:p@host\x1b[2J\nFAIL"))
    assert worked(only(check, http_proxy="http://u:p@host")) == (
        r"a pipe to http://***@host\x1b[2J\nFAIL"
    )


# FUSE


def test_a_device_that_cannot_be_opened_fails_and_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> int:
        raise PermissionError(1, "Operation not permitted")

    kinds = tmp_path / "filesystems"
    kinds.write_text("nodev\tfuse\n")
    null, missing = Path("/dev/null"), tmp_path / "fuse"
    assert "/dev/null can be opened" in worked(fuse.device(null, kinds))
    said = failed(fuse.device(missing, kinds))
    for words in ("does not exist", "modprobe fuse", "--device /dev/fuse"):
        assert words in said
    missing.write_text("no device")
    assert "is not a device" in failed(fuse.device(missing, kinds))
    monkeypatch.setattr("allenfs.cli.doctor.fuse.os.open", refuse)
    said = failed(fuse.device(null, kinds))
    assert "(crw" in said
    assert "chmod 666" in said


def test_libfuse_is_loaded_by_a_child_and_its_failure_names_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "libfuse" in worked(fuse.libfuse())
    text = tmp_path / "libfuse.so.2"
    text.write_text("no library")
    for path, reasons in (
        ("/nowhere/libfuse.so", ("cannot open shared object file",)),
        (str(text), ("invalid ELF header", "too short")),
    ):
        monkeypatch.setenv("FUSE_LIBRARY_PATH", path)
        said = failed(fuse.libfuse())
        assert path in said
        assert any(reason in said for reason in reasons)
        for package in ("libfuse2", "libfuse2t64", "fuse3", "libfuse3-3"):
            assert package in said
    monkeypatch.delenv("FUSE_LIBRARY_PATH")
    dies = script(tmp_path / "dies", "kill -SEGV $$")
    with monkeypatch.context() as patch:
        patch.setattr(sys, "executable", str(dies))
        assert "signal 11" in failed(fuse.libfuse())
        patch.setattr(sys, "executable", str(tmp_path / "missing"))
        assert "No such file" in failed(only(Check("libfuse", fuse.libfuse)))
    worked(fuse.libfuse())


@pytest.mark.parametrize(
    ("module", "reason"),
    [
        ("raise ImportError('not here')", "not here"),
        ("class Fuse: pass", "has no attribute"),  # as that of python-fuse
    ],
)
def test_a_missing_or_foreign_binding_fails_with_advice(
    module: str, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("fuse.py", "mfusepy.py"):
        (tmp_path / name).write_text(f"{module}\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
    said = failed(fuse.libfuse())
    assert reason in said
    assert "pip install --force-reinstall fusepy mfusepy" in said


def status(folder: Path, capabilities: str = "3fffffffff", privs: int = 0) -> Path:
    path = folder / "status"
    path.write_text(f"Name:\tx\nCapEff:\t{capabilities}\nNoNewPrivs:\t{privs}\n")
    return path


def setuid_script(path: Path) -> Path:
    place = script(path, "echo fusermount3 version: 3.14.0")
    os.chown(place, 0, 0)
    place.chmod(0o4755)
    return place


def test_root_mounts_by_himself_unless_a_container_keeps_him_from_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    empty = str(tmp_path)
    assert "not needed by root" in worked(fuse.helper(empty, status(tmp_path)))
    said = failed(fuse.helper(empty, status(tmp_path, "a80425fb")))
    assert "--cap-add SYS_ADMIN" in said


@pytest.mark.usefixtures("user")
def test_a_user_needs_a_setuid_fusermount_in_path(tmp_path: Path) -> None:
    def helper(privs: int = 0) -> Finding:
        return fuse.helper(str(tmp_path), status(tmp_path, privs=privs))

    said = failed(helper())
    assert "neither fusermount3 nor fusermount in PATH" in said
    assert "apt install fuse3" in said
    place = script(tmp_path / "fusermount3", "")
    said = failed(helper())
    assert "setuid root" in said or "owned by root" in said
    setuid_script(place)
    said = warned(helper())
    assert "3.14.0" in said
    assert "no fusermount" in said
    (tmp_path / "fusermount").symlink_to(place)
    assert "setuid root" in worked(helper())
    assert "no_new_privs" in failed(helper(privs=1))


@pytest.mark.usefixtures("user")
@pytest.mark.parametrize(
    ("conf", "mode", "verdict", "words"),
    [
        (None, 0, Verdict.OK, "for root only"),
        ("# user_allow_other\nmount_max = 9\n", 0o644, Verdict.OK, "for root only"),
        ("user_allow_other\n", 0o644, Verdict.OK, "allowed for all users"),
        ("user_allow_other\n", 0o666, Verdict.WARN, "writable by other users"),
    ],
)
def test_users_may_let_others_see_a_mount_where_fuse_conf_says_so(
    conf: str | None, mode: int, verdict: Verdict, words: str, tmp_path: Path
) -> None:
    path = tmp_path / "fuse.conf"
    if conf is not None:
        path.write_text(conf)
        path.chmod(mode)
    finding = fuse.allow_other(path)
    assert finding.verdict is verdict
    assert words in finding.message
    assert ("chmod 644" in finding.advice) is (verdict is Verdict.WARN)


# The store's place


@pytest.mark.parametrize(
    ("environ", "words"),
    [
        ({"ALLENFS_CACHE_SIZE": "foo"}, "not a size: 'foo'"),
        ({"ALLENFS_CACHE_DIR": "LOOP"}, ""),
        ({"ALLENFS_CACHE_DIR": "FILE"}, "is not a directory"),
    ],
)
def test_a_store_that_cannot_be_is_a_failed_check_with_advice(
    environ: dict[str, str], words: str, tmp_path: Path
) -> None:
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
    assert done.returncode == 1
    assert done.stderr == ""
    checks = {one["check"]: one for one in json.loads(done.stdout)["checks"]}
    bad = [checks[name] for name in ("store", "store files")]
    bad = [one for one in bad if one["verdict"] == "FAIL"]
    assert words in bad[0]["message"]
    assert "crashed" not in bad[0]["message"]
    assert "--cache-dir" in bad[0]["advice"]


# The rest of the machine


def test_a_crawler_that_would_enter_is_named_and_the_advice_works(
    tmp_path: Path,
) -> None:
    conf = tmp_path / "updatedb.conf"
    assert host.crawlers(conf).verdict is Verdict.SKIP
    conf.write_text('PRUNE_BIND_MOUNTS="yes"\nPRUNEFS="NFS nfs fuse.sshfs"\n')
    finding = host.crawlers(conf)
    assert "fuse.allenfs" in warned(finding)
    assert os.system(finding.advice.removeprefix("sudo ")) == 0
    worked(host.crawlers(conf))
    assert '"fuse.allenfs NFS nfs fuse.sshfs"' in conf.read_text()


@pytest.mark.usefixtures("user")
@pytest.mark.parametrize(
    ("check", "advice"),
    [(host.open_files, "ulimit -Hn"), (host.processes, "ulimit -u")],
)
def test_a_low_limit_is_warned_of(
    check: Callable[[], Finding], advice: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    limits = {"most": 50}

    def getrlimit(kind: int) -> tuple[int, int]:
        # a mount raises its soft limit of files, but not that of processes
        is_files = kind == resource.RLIMIT_NOFILE
        return (256, limits["most"]) if is_files else (limits["most"], 96_000)

    monkeypatch.setattr(resource, "getrlimit", getrlimit)
    assert advice in warned(check())
    limits["most"] = 4096
    assert "4,096" in worked(check())
    limits["most"] = resource.RLIM_INFINITY
    assert worked(check()) == "no limit"


def test_a_log_that_cannot_be_written_is_warned_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert "not created yet" in worked(host.log_file())
    log = tmp_path / "allenfs" / "allenfs.log"
    log.mkdir(parents=True)  # in its way
    assert "--log-file" in warned(host.log_file())
    log.rmdir()
    log.write_text("12345")
    assert "5 bytes" in worked(host.log_file())
    assert stat.S_ISREG(log.stat().st_mode)


@pytest.mark.usefixtures("user")
def test_a_user_without_an_entry_in_passwd_has_no_mount_by_fusermount_and_no_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unknown(_: int) -> None:
        raise KeyError("uid not found")

    for name in ("fusermount3", "fusermount"):
        setuid_script(tmp_path / name)
    assert "setuid root" in worked(fuse.helper(str(tmp_path), status(tmp_path)))
    monkeypatch.setattr(pwd, "getpwuid", unknown)
    said = failed(fuse.helper(str(tmp_path), status(tmp_path)))
    assert "no entry in passwd" in said
    assert "useradd" in said
    for name in ("HOME", "XDG_STATE_HOME"):
        monkeypatch.delenv(name)
    said = warned(host.log_file())
    assert "cannot find a home folder" in said
    assert "--log-file" in said
