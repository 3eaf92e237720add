"""The log of a mount: what happens to it never changes what an operation answers."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import subprocess

import pytest
import raising_log
from command import allenfs
from mounted import STRICT_PYTHON, Mounted, errno_of, errno_of_open, image_bytes, until

from allenfs.mount.mount_table import is_mounted
from allenfs.sample.server import Fault

NOWHERE = "http://127.0.0.1:9"
PATH = "section/69750516/ds6/image.jpg"
OTHER = "section/69750516/ds7/image.jpg"
DATA_SET = "dataset/71670687"


def test_unwritable_log_keeps_errnos_and_is_shown_in_status(tmp_path):
    cause, log = "No such file or directory", tmp_path / "state/allenfs/allenfs.log"
    log.parent.mkdir(parents=True)
    with Mounted(
        tmp_path, NOWHERE, log_file=log, warnings=["Connection refused"]
    ) as mounted:
        assert mounted.status["log"] == {"file": str(log), "failure": None}
        shutil.rmtree(tmp_path / "state")
        assert errno_of_open(mounted / PATH) == errno.EHOSTUNREACH
        assert errno_of(os.listdir, mounted / DATA_SET) == errno.EHOSTUNREACH
        assert mounted.status["log"] == {"file": str(log), "failure": cause}
        page = allenfs("status", mounted.root).stdout
        assert f"{log} CANNOT BE WRITTEN: {cause}" in page
        newest = (mounted / ".allenfs/log").read_text()
        assert f"WARNING allenfs.fetch.fetcher: {PATH}: " in newest

        (tmp_path / "state").mkdir()
        assert errno_of_open(mounted / OTHER) == errno.EHOSTUNREACH
        assert f"WARNING allenfs.fetch.fetcher: {OTHER}: " in mounted.log
        assert mounted.status["log"]["failure"] is None


@pytest.mark.both_libfuses
def test_a_closed_stderr_of_a_foreground_mount_leaves_each_errno(root):
    command = [*STRICT_PYTHON, "-m", "allenfs", "mount", "--foreground"]
    command += ["--api-url", NOWHERE, str(root)]
    with subprocess.Popen(command, stderr=subprocess.PIPE) as process:
        try:
            until(lambda: is_mounted(root))
            os.listdir(root)
            assert process.stderr is not None
            process.stderr.close()
            assert errno_of_open(root / PATH) == errno.EHOSTUNREACH
            status = json.loads((root / ".allenfs/status.json").read_bytes())
            assert status["log"] == {"file": None, "failure": "Broken pipe"}
        finally:
            process.send_signal(signal.SIGTERM)
    assert process.returncode == 0


@pytest.mark.parametrize("log_raises", raising_log.EXCEPTIONS)
def test_while_every_logging_call_raises_each_answer_is_right(
    tmp_path, service, log_raises
):
    with Mounted(tmp_path, service.url, log_raises=log_raises) as mounted:
        for fault, number in (
            (Fault.STATUS_404, errno.ENOENT),
            (Fault.STATUS_503, errno.EIO),
            (Fault.CUT_CHUNKED, errno.EIO),
        ):
            service.fail(fault)
            assert errno_of_open(mounted / PATH) == number, fault
            assert os.getxattr(mounted / PATH, "user.allenfs.error")
            service.heal()
        service.fail_queries(Fault.STATUS_500)
        for ask in (os.listdir, os.stat, os.listxattr):
            assert errno_of(ask, mounted / DATA_SET) == errno.EIO
        service.heal()
        assert errno_of(os.mkdir, mounted / "new") == errno.EROFS
        for _ in range(2):  # cold, then warm
            assert (mounted / PATH).read_bytes() == image_bytes(service.url, PATH)
        os.kill(mounted.pid, signal.SIGUSR2)  # which logs in another thread
        for file in sorted((mounted / DATA_SET / "ds6").glob("*_*")):  # read ahead
            image = f"section/{file.stem.partition('_')[2]}/ds6/image.jpg"
            assert file.read_bytes() == image_bytes(service.url, image)
        sheet = (mounted / DATA_SET / "contact_sheet.jpg").read_bytes()
        assert (sheet[:2], sheet[-2:]) == (b"\xff\xd8", b"\xff\xd9")
        mounted.stop()
        for stored in mounted.stored:
            stored.write_bytes(stored.read_bytes()[:-1])
        mounted.start()
        assert (mounted / PATH).read_bytes() == image_bytes(service.url, PATH)
        shutil.rmtree(mounted.cache_dir)
        mounted.cache_dir.touch()
        assert (mounted / OTHER).read_bytes() == image_bytes(service.url, OTHER)
        assert mounted.log == "", "a logging call did not raise"
