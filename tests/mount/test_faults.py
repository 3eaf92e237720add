"""Promise 1: all or nothing. Each fault is an errno from open, then a whole file."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
from mounted import Mounted, errno_of_open, image_bytes

from allenfs.sample.faults import Fault
from allenfs.sample.server import SampleService

PATH = "section/69750516/ds5/image.jpg"
FOUR = 4  # one attempt and three retries

# fault: errno, image requests that it costs
FAULTS = {
    Fault.STATUS_400: (errno.EINVAL, 1),
    Fault.STATUS_401: (errno.EACCES, 1),
    Fault.STATUS_403: (errno.EACCES, 1),
    Fault.STATUS_404: (errno.ENOENT, 1),
    Fault.STATUS_429: (errno.EIO, FOUR),
    Fault.STATUS_500: (errno.EIO, FOUR),
    Fault.STATUS_503: (errno.EIO, FOUR),
    Fault.STATUS_204: (errno.EIO, 1),
    Fault.STATUS_206: (errno.EIO, 1),
    Fault.HTML_200: (errno.EIO, 1),
    Fault.NOT_A_JPEG: (errno.EIO, FOUR),
    Fault.HALF_JPEG_HONEST_LENGTH: (errno.EIO, FOUR),
    Fault.CUT_CONTENT_LENGTH: (errno.EIO, FOUR),
    Fault.CUT_CHUNKED: (errno.EIO, FOUR),
    Fault.CUT_CLOSE: (errno.EIO, FOUR),
    Fault.EMPTY_BODY: (errno.EIO, FOUR),
    Fault.RESET_BEFORE: (errno.EIO, FOUR),
    Fault.RESET_MID_BODY: (errno.EIO, FOUR),
    Fault.REDIRECT_LOOP: (errno.EIO, 1),
    Fault.REDIRECT_OTHER_HOST: (errno.EIO, 1),
    Fault.REDIRECT_OTHER_PORT: (errno.EIO, 1),
    Fault.REDIRECT_FILE: (errno.EIO, 1),
    Fault.REDIRECT_NO_LOCATION: (errno.EIO, 1),
}


def _check_fails_then_recovers(
    mounted: Mounted, service: SampleService, fault: Fault, expected: int
) -> int:
    """Return the image requests that the failure cost."""
    # drawn once, which may take longer than the stall time
    right = image_bytes(service.url, PATH)
    service.reset_counters()
    service.fail(fault)
    assert errno.errorcode[errno_of_open(mounted / PATH)] == errno.errorcode[expected]
    failed_requests = service.image_requests
    assert mounted.stored == []
    assert list((mounted.cache_dir / "incoming").iterdir()) == []
    service.heal()
    assert (mounted / PATH).read_bytes() == right
    return failed_requests


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
@pytest.mark.mounted(warnings=[PATH])
def test_failed_download_is_an_errno_never_an_empty_file(mounted, service, fault):
    expected, requests = FAULTS[fault]
    cost = _check_fails_then_recovers(mounted, service, fault, expected)
    assert cost == requests


@pytest.mark.parametrize("fault", [Fault.SILENT, Fault.RESET_BEFORE])
@pytest.mark.mounted(warnings=[PATH], stall_timeout_s=0.1)
def test_failure_is_one_log_line_and_readable_from_the_mount(mounted, service, fault):
    right = image_bytes(service.url, PATH)  # as above
    service.fail(fault)
    errno_of_open(mounted / PATH)
    reason = os.getxattr(mounted / PATH, "user.allenfs.error").decode()
    url = os.getxattr(mounted / PATH, "user.allenfs.url").decode()
    lines = [line for line in mounted.log.splitlines() if "WARNING" in line]
    assert len(lines) == 1
    assert lines[0].endswith(f"{PATH}: {reason}")
    assert url in reason
    assert "4 attempts" in reason
    service.heal()
    assert (mounted / PATH).read_bytes() == right
    with pytest.raises(OSError, match="No data available"):
        os.getxattr(mounted / PATH, "user.allenfs.error")


def test_a_broken_image_says_how_often_it_was_tried(tmp_path, service):
    with Mounted(
        tmp_path, service.url, warnings=[PATH], failure_memory_s=60
    ) as mounted:
        service.fail(Fault.NOT_A_JPEG, image_id=69750516)
        for _ in range(3):
            assert errno_of_open(mounted / PATH) == errno.EIO
        assert service.image_requests == FOUR
        reason = os.getxattr(mounted / PATH, "user.allenfs.error").decode()
        words = "the service answers with something that is not a JPEG, tried 4 times ("
        assert reason.startswith(words)
        other = PATH.replace("69750516", "100883869").replace("section", "atlas")
        assert (mounted / other).read_bytes()  # other images still work
        assert mounted.status["service"]["reachable"] is True
    with Mounted(tmp_path / "again", service.url, warnings=[PATH]) as mounted:
        service.heal()
        service.fail(Fault.NOT_A_JPEG, image_id=69750516, times=3)  # a proxy's page
        assert (mounted / PATH).read_bytes() == image_bytes(service.url, PATH)


@pytest.mark.mounted(warnings=[PATH], stall_timeout_s=0.2)
def test_silent_service_is_etimedout_after_the_stall_time(mounted, service):
    cost = _check_fails_then_recovers(mounted, service, Fault.SILENT, errno.ETIMEDOUT)
    assert cost == FOUR


@pytest.mark.parametrize("fault", [Fault.DRIP_BODY, Fault.DRIP_HEADERS])
@pytest.mark.mounted(warnings=[PATH], deadline_s=1)
def test_a_byte_now_and_then_is_etimedout_at_the_deadline(mounted, service, fault):
    cost = _check_fails_then_recovers(mounted, service, fault, errno.ETIMEDOUT)
    assert cost == 1


@pytest.mark.mounted(warnings=[PATH], max_image_bytes=4_000_000)
def test_endless_body_is_efbig_at_the_size_limit(mounted, service):
    _check_fails_then_recovers(mounted, service, Fault.ENDLESS_BODY, errno.EFBIG)


def test_retry_after_is_waited_for(mounted, service):
    service.fail(Fault.STATUS_429_RETRY_AFTER, times=1)
    assert (mounted / PATH).read_bytes() == image_bytes(service.url, PATH)
    assert "trying again in 1.0 s" in mounted.log


@pytest.mark.mounted(warnings=[PATH], deadline_s=0.9)
def test_retry_after_beyond_the_deadline_is_eio_at_once(mounted, service):
    cost = _check_fails_then_recovers(
        mounted, service, Fault.STATUS_429_RETRY_AFTER, errno.EIO
    )
    assert cost == 1


@pytest.mark.mounted(
    warnings=["HTTP 404", "a web page"], failure_memory_s=600, not_found_memory_s=600
)
def test_failed_downloads_leave_no_descriptor_and_no_thread(mounted, service):
    def in_use(mounted: Mounted) -> tuple[int, int]:
        assert mounted.process is not None
        of_daemon = Path(f"/proc/{mounted.process.pid}")
        threads = len(os.listdir(of_daemon / "task"))
        return len(os.listdir(of_daemon / "fd")), threads

    # remembered for long, with all objects that a failure keeps alive
    for fault in (Fault.STATUS_404, Fault.HTML_200):
        service.fail(fault)
        errno_of_open(mounted / PATH.replace("ds5", f"ds5/q{fault.value}"))
    before_fds, before_threads = in_use(mounted)
    for number in range(100):
        service.fail((Fault.STATUS_404, Fault.HTML_200)[number % 2])
        errno_of_open(mounted / PATH.replace("69750516", str(71592261 + number)))
        errno_of_open(mounted / PATH.replace("ds5", f"ds6/q{number}"))
    after_fds, after_threads = in_use(mounted)
    assert after_fds <= before_fds + 2
    assert after_threads <= before_threads + 10  # libfuse keeps up to 10 idle


def test_refused_connection_is_ehostunreach(tmp_path):
    with Mounted(tmp_path, "http://127.0.0.1:1", warnings=[PATH]) as mounted:
        assert errno_of_open(mounted / PATH) == errno.EHOSTUNREACH
        assert mounted.stored == []


def test_name_that_does_not_resolve_is_ehostunreach(tmp_path):
    with Mounted(tmp_path, "http://no-such.invalid", warnings=[PATH]) as mounted:
        assert errno_of_open(mounted / PATH) == errno.EHOSTUNREACH


@pytest.mark.parametrize(
    "answer", [Fault.GZIP_ANYWAY, Fault.WITH_CONTENT_LENGTH, Fault.CLOSE_DELIMITED]
)
def test_unusual_good_answers_are_whole_files(mounted, service, answer):
    expected = image_bytes(service.url, PATH)
    service.fail(answer)
    assert (mounted / PATH).read_bytes() == expected


@pytest.mark.parametrize(
    "fault", [Fault.STATUS_503, Fault.RESET_MID_BODY, Fault.CUT_CHUNKED]
)
def test_reader_notices_nothing_of_two_transient_failures(tmp_path, service, fault):
    expected = image_bytes(service.url, PATH)
    service.reset_counters()
    service.fail(fault, times=2)
    with Mounted(tmp_path, service.url) as mounted:
        assert (mounted / PATH).read_bytes() == expected
    assert service.image_requests == 3


def test_unknown_id_is_enoent(tmp_path, service):
    path = "section/999999999/image.jpg"
    with Mounted(tmp_path, service.url, warnings=[path]) as mounted:
        assert errno_of_open(mounted / path) == errno.ENOENT
        assert os.listdir(mounted / "section") == []
