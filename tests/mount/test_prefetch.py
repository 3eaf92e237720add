"""`allenfs prefetch` on real mounts and without one: requests, results, exit codes."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import signal
import subprocess
import tempfile
import termios
import time
from pathlib import Path

import pytest
from command import allenfs, fails, mounting
from mount_namespace import MountNamespace
from mounted import STRICT_PYTHON, Mounted, image_bytes, until

from allenfs.sample.database import Database
from allenfs.sample.faults import Fault
from allenfs.sample.inventing import add_data_set
from allenfs.sample.server import SampleService

pytestmark = pytest.mark.one_libfuse

NOBODY = 65534
DATA_SET = "dataset/100141599"
VIEW = f"{DATA_SET}/ds7"
IMAGE_IDS = (102146163, 102146167, 102146171)
# by a link in the middle
GENE = "browse/product/Mouse/gene/Adora2a/sagittal/*/ds8"
PROGRESS = re.compile(r"[0-9]+\+? files? in ")
UNLISTED = "section/69750516/ds7/q50/image.jpg"


def many(count):
    return [f"section/69750516/ds7/q{number}/image.jpg" for number in range(count)]


class Without:
    """The command without a mount: its service, and a separate store."""

    def __init__(self, service, folder):
        self.store = folder / "other-store"
        self.flags = ["--api-url", service.url, "--cache-dir", str(self.store)]

    def __call__(self, *arguments):
        return allenfs("prefetch", *self.flags, *arguments)


@pytest.fixture
def without(service, tmp_path):
    return Without(service, tmp_path)


def start(*arguments, stdin=None):
    return subprocess.Popen(
        [*STRICT_PYTHON, "-m", "allenfs", "prefetch", *map(str, arguments)],
        stdin=stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def lines_of(done, code):
    """Return the messages, except the progress that is printed every 10 s."""
    assert done.returncode == code, done.stderr
    lines = done.stderr.splitlines()
    assert all(line.startswith("allenfs: ") and line.isprintable() for line in lines)
    lines = [line.removeprefix("allenfs: ") for line in lines]
    return [line for line in lines[:-1] if not PROGRESS.match(line)] + lines[-1:]


def ended(process, code):
    out, err = process.communicate(timeout=60)
    assert out == ""
    return lines_of(subprocess.CompletedProcess((), process.returncode, out, err), code)


def blocks(paths):
    return [path.stat().st_blocks for path in paths]


def test_a_mount_and_a_tree_path_share_a_store_and_each_request_is_made_once(
    tmp_path, service, without
):
    with Mounted(tmp_path, service.url, cache_dir=without.store) as mounted:
        done = allenfs("prefetch", mounted / VIEW)
        (line,) = lines_of(done, 0)
        assert line.startswith("3 files in 0:0")
        assert ": 3 fetched (" in line
        assert done.stdout == ""
        images = sorted((mounted / VIEW).iterdir())
        assert all(blocks(images))
        lines_of(without(f"{DATA_SET}/ds8"), 0)
        assert service.image_requests == len(set(service.requested)) == 6
        expected = [
            image_bytes(service.url, f"section/{image_id}/ds7/image.jpg")
            for image_id in IMAGE_IDS
        ]
        service.reset_counters()
        service.fail(Fault.STATUS_503)
        for done in (without(VIEW), allenfs("prefetch", mounted / f"{DATA_SET}/ds8")):
            (line,) = lines_of(done, 0)
            assert ": 3 already local (" in line
        assert [image.read_bytes() for image in images] == expected
        assert service.image_requests == 0


def test_a_glob_goes_through_the_links_in_its_middle(tmp_path, service, without):
    with Mounted(tmp_path, service.url) as mounted:
        images = list(mounted.root.glob(f"{GENE}/*.jpg"))
        assert len(images) > 10
        for done in (allenfs("prefetch", mounted / GENE), without(GENE)):
            (line,) = lines_of(done, 0)
            assert f"{len(images)} files in " in line
            assert f"{len(images)} fetched" in line
        assert all(blocks(images))
    assert service.image_requests == 2 * len(images)  # of two stores
    assert len(set(service.requested)) == len(images)


def test_data_sets_of_a_product_are_queried_by_all_connections_and_once(tmp_path):
    database = Database()
    product = database.add("Product", abbreviation="P")
    for number in range(1, 13):
        image_ids = range(100 * number, 100 * number + 5)
        add_data_set(database, number, image_ids, products=[product])
    with SampleService(database=database, query_latency_s=0.1) as service:
        without = Without(service, tmp_path)
        done = without("--check", "browse/product/P/dataset/*/ds8")
        (line,) = lines_of(done, 1)
        assert "60 files in " in line
        # the products and their data sets, each list with its end; each data set
        assert service.query_requests == len({*service.queried}) == 2 * 2 + 12 * 2
        assert service.peak_all_requests == 4


def test_recursive_names_what_cp_r_copies(tmp_path, service):
    with Mounted(tmp_path, service.url) as mounted:
        find = ["find", str(mounted / DATA_SET), "-type", "f", "-name", "*.jpg"]
        expected = subprocess.check_output(find, text=True).splitlines()
        done = allenfs("prefetch", "-r", "--check", mounted / DATA_SET)
        assert sorted(done.stdout.splitlines()) == sorted(expected)
        assert len(expected) > 3
        done = allenfs("prefetch", "--check", mounted / DATA_SET)
        assert done.returncode == 1
        assert len(done.stdout.splitlines()) == 3 + 1  # and the contact sheet
        assert service.image_requests == 0


def test_check_lists_what_is_not_here_and_downloads_nothing(tmp_path, service, without):
    with Mounted(tmp_path, service.url, cache_dir=without.store) as mounted:
        names = os.listdir(mounted / VIEW)
        (mounted / VIEW / names[1]).read_bytes()
        service.reset_counters()
        missing = [f"{VIEW}/{names[0]}", f"{VIEW}/{names[2]}"]
        done = without("--check", VIEW)
        (line,) = lines_of(done, 1)
        assert "1 already local (" in line
        assert "2 not local" in line
        assert done.stdout.splitlines() == missing
        done = allenfs("prefetch", "--check", mounted / VIEW)
        lines_of(done, 1)
        assert done.stdout.splitlines() == [str(mounted / one) for one in missing]
        done = without("--check", "--quiet", VIEW)
        assert (lines_of(done, 1), done.stdout) == ([], "")
        assert service.image_requests == 0
        lines_of(without(*missing), 0)
        done = without("--check", VIEW)
        assert (len(lines_of(done, 0)), done.stdout) == (1, "")


def test_what_is_evicted_is_downloaded_again_and_an_open_image_stays_readable(
    tmp_path, service
):
    with Mounted(tmp_path, service.url) as mounted:
        images = sorted((mounted / VIEW).iterdir())
        expected = [image.read_bytes() for image in images]
        (mounted / UNLISTED).read_bytes()
        service.reset_counters()
        service.fail(Fault.STATUS_503)
        with images[0].open("rb") as opened:
            (line,) = lines_of(allenfs("prefetch", "--evict", mounted / VIEW), 0)
            assert ": 3 evicted (" in line
            assert len(mounted.stored) == 1
            assert opened.read() == expected[0]
        assert service.image_requests == 0
        # an image that was open is evicted a moment after it was closed
        until(lambda: blocks(images) == [0, 0, 0])
        assert [image.stat().st_size for image in images] == list(map(len, expected))
        service.heal()
        assert [image.read_bytes() for image in images] == expected
        assert service.image_requests == 3
        used_bytes = sum(one.stat().st_blocks * 512 for one in mounted.stored)
        figures = os.statvfs(mounted.root)
        used_blocks = figures.f_blocks - figures.f_bfree
        assert used_blocks * figures.f_frsize == used_bytes


def test_evicting_takes_nothing_but_what_is_named(service, without):
    lines_of(without(*many(8)), 0)
    service.reset_counters()
    done = without("--evict", "--cache-size", "1MiB", *many(3), UNLISTED)
    (line,) = lines_of(done, 0)
    assert "3 evicted" in line
    assert "1 not local" in line
    lines_of(without("--check", *many(8)[3:]), 0)
    assert service.image_requests == 0


def test_a_contact_sheet_is_fetched_found_and_evicted_as_an_image(tmp_path, service):
    with Mounted(tmp_path, service.url) as mounted:
        sheet = mounted / DATA_SET / "contact_sheet.jpg"

        def summary(code, *flags):
            return lines_of(allenfs("prefetch", *flags, sheet), code)[-1]

        assert "1 not local" in summary(1, "--check")
        assert service.image_requests == 0
        assert "1 fetched" in summary(0)
        assert "1 already local" in summary(0, "--check")
        data = sheet.read_bytes()
        assert service.image_requests == len(IMAGE_IDS)
        other = mounted / DATA_SET / "expression" / "contact_sheet.jpg"
        other.read_bytes()
        assert "1 evicted" in summary(0, "--evict")
        until(lambda: blocks([sheet]) == [0])
        assert blocks([other]) != [0]
        service.reset_counters()
        assert sheet.read_bytes() == data
        assert service.image_requests == 0


def test_what_fails_is_listed_at_the_end_and_the_others_are_fetched(without):
    bad = [
        "section/999999999/ds7/image.jpg",
        "section/69750516/ds7/q101/image.jpg",
        "dataset/*/ds99",
        "elsewhere/image.jpg",
        "\x1b[2J",
    ]
    lines = lines_of(without(*bad, VIEW), 1)
    assert lines[-1].endswith("5 failed")
    assert "3 fetched" in lines[-1]
    failures = dict(line.split(": ", 1) for line in lines[:-1])
    assert sorted(failures) == sorted([*bad[:4], r"\x1b[2J"])
    assert "404" in failures[bad[0]]
    assert failures[bad[1]] == "101 is above 100"
    assert failures[bad[2]] == "no file matches"
    assert "neither in an allenfs mount" in failures[bad[3]]


def test_a_listing_that_fails_says_why(tmp_path, service):
    with Mounted(tmp_path, service.url) as mounted:
        service.fail_queries(Fault.STATUS_503)
        lines = lines_of(allenfs("prefetch", mounted / VIEW), 1)
        assert lines[0].startswith(f"{mounted / VIEW}: ")
        assert "503" in lines[0]
        service.heal()
        (line,) = lines_of(allenfs("prefetch", mounted / VIEW), 0)
        assert "3 fetched" in line


def test_broken_images_are_listed_separately_and_can_be_skipped(tmp_path, service):
    with Mounted(tmp_path, service.url, connections=5) as mounted:
        # one in each tier: more in a row than make an outage
        views = [mounted / f"{DATA_SET}/ds{tier}" for tier in range(4, 9)]
        service.fail(Fault.NOT_A_JPEG, image_id=IMAGE_IDS[1])
        patient = ["--patience", "0.1", *views]
        lines = lines_of(allenfs("prefetch", *patient), 1)
        assert lines[0] == "broken at the service: 5"
        for view, line in zip(views, sorted(lines[1:-1]), strict=True):
            assert line.startswith(f"{view}/")
            assert f"_{IMAGE_IDS[1]}.jpg: the service answers with" in line
            assert "tried 4 times" in line
        assert "10 fetched" in lines[-1]
        assert lines[-1].endswith(", 5 broken at the service")
        assert service.image_requests == 10 + 5 * 4
        again = lines_of(allenfs("prefetch", "--skip-broken", *patient), 0)
        assert (again[0], len(again)) == (lines[0], len(lines))
        assert lines_of(allenfs("prefetch", "--skip-broken", "-q", *patient), 0) == []
        # other failures still count
        bad = mounted / "section/69750516/ds7/q101/image.jpg"
        lines = lines_of(allenfs("prefetch", "--skip-broken", *patient, bad), 1)
        assert lines[0] == f"{bad}: 101 is above 100"
        assert lines[1] == "broken at the service: 5"
        service.heal()
        (line,) = lines_of(allenfs("prefetch", *patient), 0)
        assert "5 fetched" in line


class Listed:
    """The command, reading paths from a pipe that a test writes to."""

    def __init__(self, *arguments):
        reader, self.writer = os.pipe()
        self.process = start(*arguments, stdin=reader)
        os.close(reader)

    def write(self, *lines, end="\n"):
        os.write(self.writer, "".join(f"{line}{end}" for line in lines).encode())

    @property
    def is_read(self):
        """Whether the command has read all that was written."""
        left = fcntl.ioctl(self.writer, termios.FIONREAD, bytes(4))
        return not any(left)

    def end(self, code):
        os.close(self.writer)
        return ended(self.process, code)


def test_paths_from_standard_input_are_fetched_before_it_ends(
    tmp_path, service, without
):
    with Mounted(tmp_path, service.url, cache_dir=without.store) as mounted:
        command = Listed(*without.flags, "-", UNLISTED)
        until(lambda: len(mounted.stored) == 1)  # what was named
        command.write(many(1)[0], "", "  ")
        until(lambda: len(mounted.stored) == 2)
        command.write(mounted / VIEW)  # in another place than the line before
        until(lambda: len(mounted.stored) == 5)
        command.write(*many(3)[1:2], end="\r\n")
        command.write(*many(3)[2:], end="\0")
        command.write(f"{DATA_SET}/*.csv", "elsewhere/image.jpg")
        command.write(f"{DATA_SET}/ds8", end="\r")
        failure, summary = command.end(1)
        assert failure.startswith("elsewhere/image.jpg: neither in an allenfs mount")
        assert summary.startswith("12 files in ")
        assert "10 fetched" in summary
        assert "1 already local" in summary  # the record, once it was looked up
    assert service.image_requests == 10


def test_a_signal_ends_the_wait_for_standard_input(service, without):
    command = Listed(*without.flags, "-")
    command.write("", *many(1))
    until(lambda: service.image_requests == 1 and command.is_read)
    command.process.send_signal(signal.SIGINT)
    assert command.process.wait(30) == 130  # although its input is still open
    (line,) = command.end(130)
    assert line.startswith("interrupted: ")


@pytest.mark.parametrize(
    ("redirected", "code", "words"),
    [
        ("</dev/null", 0, "0 files in "),
        ("<&-", 0, "0 files in "),
        ("0>/dev/null", 1, "standard input: Bad file descriptor"),
    ],
)
def test_an_empty_path_list_succeeds_and_an_unreadable_one_fails(
    without, redirected, code, words
):
    command = [*STRICT_PYTHON, "-m", "allenfs", "prefetch", *without.flags, "-"]
    shell = ["sh", "-c", f'"$@" {redirected}', "sh", *command]
    done = subprocess.run(shell, capture_output=True, text=True, check=False)
    assert lines_of(done, code)[0].startswith(words)


def test_the_path_list_is_read_although_another_place_is_given_up(
    tmp_path, service, without
):
    with Mounted(tmp_path, "http://127.0.0.1:9", warnings=["section/"]) as away:
        named = [away / path for path in many(6)]
        command = Listed(*without.flags, "--patience", "0.1", "-", *named)
        command.write(*many(2))
        lines = command.end(1)
    assert any(line.startswith("given up: the service does not") for line in lines)
    assert "2 fetched" in lines[-1]
    assert service.image_requests == 2


def test_reading_the_path_list_stops_when_prefetch_gives_up(service, without):
    service.fail(Fault.STATUS_503)
    command = Listed(*without.flags, "--patience", "0.1", "-")
    command.write(*many(30))
    command.process.wait(60)  # although its input is still open
    lines = command.end(1)
    assert any(line.startswith("given up: the service does not") for line in lines)
    assert "standard input: not read to its end" in lines


def test_of_many_failures_twenty_are_listed(without):
    bad = [f"section/69750516/ds7/q{number}/image.jpg" for number in range(200, 250)]
    lines = lines_of(without("--quiet", *bad, UNLISTED), 1)
    assert len(lines) == 21
    assert lines[-1] == "and 30 more failed"


def test_a_signal_keeps_what_is_done_and_the_next_run_goes_on(tmp_path, service):
    with Mounted(tmp_path, service.url) as mounted:
        paths = [mounted / path for path in many(20)]
        lines_of(allenfs("prefetch", *paths[:5]), 0)
        service.pause()
        process = start(*paths)
        until(lambda: service.image_requests == 9)
        process.send_signal(signal.SIGTERM)
        (line,) = ended(process, 143)
        assert line.startswith("interrupted: ")
        assert "5 already local" in line
        assert line.endswith(" remaining; run the command again to continue")
        service.resume()
        lines_of(allenfs("prefetch", *paths), 0)
        assert len(mounted.stored) == 20
    # requests in progress ended with the command
    assert service.image_requests == 20 + 4
    assert len(set(service.requested)) == 20


def test_a_signal_hides_no_failure(service, without):
    service.pause()
    process = start(*without.flags, "section/69750516/no", *many(1))
    until(lambda: service.image_requests == 1)
    process.send_signal(signal.SIGINT)
    failure, line = ended(process, 130)
    service.resume()
    assert failure.startswith("section/69750516/no: ")
    assert "1 failed, 1 remaining" in line


def test_a_reader_of_the_list_may_go_away(without):
    process = start(*without.flags, "--check", "-r", DATA_SET, *many(100) * 50)
    assert process.stdout.readline().startswith(DATA_SET)
    process.stdout.close()
    assert process.stderr.read() == ""
    process.stderr.close()
    assert process.wait(30) == 1


def test_an_unreachable_service_is_retried_slowly_and_reported(service, without):
    service.fail(Fault.STATUS_503)
    lines = lines_of(without("--patience", "0.5", *many(60)), 1)
    assert any(line.startswith("given up: the service does not") for line in lines)
    assert "503" in lines[0]
    assert lines[-1].endswith(" not tried")
    # 4 under way twice, and one that looks again, of 4 attempts each
    assert service.image_requests <= 4 * 9
    assert service.peak_requests <= 4
    service.heal()
    (line,) = lines_of(without(*many(60)), 0)
    assert "60 fetched" in line


def test_a_store_without_room_is_reported_before_much_is_downloaded(
    tmp_path, service, without
):
    with Mounted(tmp_path, service.url, capacity_bytes=64 * 1024) as mounted:
        for arguments in (
            [*without.flags, "--cache-size", "64KiB", *many(60)],
            [mounted / one for one in many(60)],
        ):
            lines = lines_of(allenfs("prefetch", *arguments), 1)
            assert "given up: the store has no room for all images" in lines
            assert "not tried" in lines[-1]
            assert service.image_requests < 30
            service.reset_counters()
    lines_of(without("--cache-size", "8MiB", *many(60)), 0)


def test_as_many_at_a_time_as_the_mount_or_the_flag_says(tmp_path):
    with (
        SampleService(latency_s=0.05) as service,
        Mounted(tmp_path, service.url, connections=3) as mounted,
    ):
        lines_of(allenfs("prefetch", *(mounted / one for one in many(12))), 0)
        assert service.peak_requests == 3
        service.reset_counters()
        without = Without(service, tmp_path)
        lines_of(without("--connections", "1", *many(3)), 0)
        assert service.peak_requests == 1


def test_inside_a_mount_a_relative_path_is_of_the_mount(tmp_path, service, monkeypatch):
    with Mounted(tmp_path, service.url) as mounted:
        monkeypatch.chdir(mounted.root)
        try:
            lines_of(allenfs("prefetch", VIEW), 0)
            os.chdir(mounted / DATA_SET)
            lines_of(allenfs("prefetch", "ds8", "../../section/69750516/ds7"), 0)
        finally:
            os.chdir("/")
        assert service.image_requests == len(mounted.stored) == 8
        # a link to the mount, and a link into it
        (tmp_path / "link").symlink_to("mnt")
        (tmp_path / "inside").symlink_to(mounted / DATA_SET)
        for path in (tmp_path / "link" / VIEW, tmp_path / "inside" / "ds8"):
            (line,) = lines_of(allenfs("prefetch", path), 0)
            assert ": 3 already local" in line


def test_a_mount_that_is_dead_or_stopped_is_one_line(tmp_path, service):
    with Mounted(tmp_path, service.url) as mounted:
        with mounted.stopped(0):
            line = fails(1, "prefetch", mounted / VIEW, DATA_SET)
            assert line.startswith(f"allenfs: {mounted.root} does not answer")
            command = Listed("-")
            started_s = time.monotonic()
            command.write(*[mounted / path for path in many(16)])
            lines = command.end(1)
            assert time.monotonic() - started_s < 16  # not 2 s for each
            assert lines[-1].endswith("16 failed")
        lines_of(allenfs("prefetch", mounted / VIEW), 0)
        mounted.process.kill()
        mounted.process.wait()
        line = fails(1, "prefetch", "--check", mounted / VIEW)
        assert line.startswith(f"allenfs: {mounted.root} is a dead mount")
        subprocess.run(["umount", "-l", str(mounted.root)], check=True)
        mounted.process.communicate()
        mounted.process = None
        mounted.start()
        lines_of(allenfs("prefetch", mounted / VIEW), 0)


def test_a_mount_that_is_stopped_or_ends_meanwhile_does_not_matter(tmp_path, service):
    with Mounted(tmp_path, service.url) as mounted:
        for is_stopped, paths in ((True, many(20)), (False, many(40))):
            service.reset_counters()
            service.pause()
            process = start(*(mounted / path for path in paths))
            until(lambda: service.image_requests == 4)
            with contextlib.ExitStack() as stack:
                if is_stopped:
                    stack.enter_context(mounted.stopped(0))
                else:
                    mounted.kill()
                service.resume()
                (line,) = ended(process, 0)
            assert "20 fetched" in line
        assert len(mounted.stored) == 40


def test_a_mount_of_the_sample_is_prefetched_from_its_own_service(tmp_path):
    root, other = tmp_path / "mnt", tmp_path / "other"
    root.mkdir()
    with mounting(root, "--sample", "--cache-dir", tmp_path / "store"):
        # neither the service nor the store of the command line
        flags = ["--api-url", "http://127.0.0.1:9", "--cache-dir", other]
        (line,) = lines_of(allenfs("prefetch", *flags, root / VIEW), 0)
        assert ": 3 fetched" in line
        assert all(blocks([*(root / VIEW).iterdir()]))
        assert not other.exists()


def as_nobody(*arguments):
    """Run a command as another user, who may have no access to this Python."""
    program = (
        "import os, sys; from allenfs.cli import main; "
        "from allenfs.cli.prefetch import places, report; "
        "main.parser().format_help(); "  # argparse imports late
        f"os.setgid({NOBODY}); os.setuid({NOBODY}); sys.exit(main.main(sys.argv[1:]))"
    )
    return subprocess.run(
        [*STRICT_PYTHON, "-c", program, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_mount_whose_store_is_another_users_is_one_line(service):
    with tempfile.TemporaryDirectory() as folder:  # pytest's are closed to others
        os.chmod(folder, 0o755)
        root, store = Path(folder, "mnt"), Path(folder, "store")
        root.mkdir()
        flags = ["--api-url", service.url, "--cache-dir", store, "--allow-other"]
        with mounting(root, *flags):
            line = (
                f"allenfs: the store of {root} belongs to another user: run this "
                "command as that user, or read the files instead, as with cp"
            )
            done = as_nobody("prefetch", root / VIEW)
            assert (done.returncode, done.stderr.splitlines()) == (1, [line])
            os.chown(store, NOBODY, NOBODY)  # not even root
            assert fails(1, "prefetch", root / VIEW) == line
            os.chown(store, 0, 0)
        assert service.image_requests == 0


def test_a_mount_whose_store_is_in_another_container_is_one_line(tmp_path, service):
    (tmp_path / "disk").mkdir()
    store = tmp_path / "disk" / "store"
    with (
        Mounted(tmp_path, service.url, cache_dir=store) as mounted,
        MountNamespace(tmp_path) as namespace,
    ):
        command = [*STRICT_PYTHON, "-m", "allenfs", "prefetch", mounted / VIEW]
        done = namespace.run("mount", "-t", "tmpfs", "none", store.parent)
        assert done.returncode == 0, done.stderr
        done = namespace.run(*command)
        assert (done.returncode, done.stderr) == (
            1,
            f"allenfs: the store of {mounted.root} is in another container: run this "
            "command there, or read the files instead, as with cp\n",
        )
        assert service.image_requests == 0
        namespace.run("umount", store.parent)
        lines_of(namespace.run(*command), 0)


def test_the_sample_needs_neither_a_mount_nor_a_service(tmp_path):
    store = ["--cache-dir", tmp_path / "store"]
    (line,) = lines_of(allenfs("prefetch", "--sample", *store, VIEW), 0)
    assert "3 fetched" in line


def test_a_wrong_command_line_ends_with_2():
    for arguments in (
        *([], ["", VIEW], ["--check", "--evict", VIEW], ["--patience", "never", VIEW]),
        ["--api-url", "ftp://localhost", VIEW],
    ):
        done = allenfs("prefetch", *arguments)
        assert (done.returncode, done.stdout) == (2, "")


def test_a_store_that_leads_elsewhere_gets_nothing_and_recovers(
    tmp_path, service, without
):
    lines_of(without(UNLISTED), 0)
    incoming, elsewhere = without.store / "incoming", tmp_path / "elsewhere"
    elsewhere.mkdir()
    incoming.rmdir()
    incoming.symlink_to(elsewhere)
    service.reset_counters()
    lines = lines_of(without(*many(20)), 1)
    why = f"Not a directory: {incoming}"
    assert f"given up: the store cannot be written: {why}" in lines
    assert service.image_requests == 0
    assert list(elsewhere.iterdir()) == []
    incoming.unlink()
    lines_of(without(*many(1)), 0)


def test_a_store_that_keeps_nothing_is_reported_once_and_ends_the_run(service, without):
    lines_of(without(UNLISTED), 0)
    service.reset_counters()
    with (without.store / "lock").open("r+b") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        lines = lines_of(without(*many(40)), 1)
        assert sum("trouble with the store" in line for line in lines) == 1
        why = f"another process holds the lock: {without.store / 'lock'}"
        assert f"given up: the store cannot be written: {why}" in lines
        assert lines[-1].endswith(" not tried")
        assert service.image_requests == 0
        lines = lines_of(without("--evict", UNLISTED), 1)
        assert any("cannot be removed" in line for line in lines)
    lines_of(without("--evict", UNLISTED), 0)
