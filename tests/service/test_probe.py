"""scripts/probe-live: one report, whatever the service does."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys

import pytest
from probed import PROBE, probe

from allenfs import __version__
from allenfs.sample.server import Fault, SampleService

WHOLE = ("71592412", "70679088", "100883771")  # images that --small leaves out
PAGE_URLS = 19 - len(WHOLE)


@pytest.fixture(scope="module")
def of_sample(tmp_path_factory):
    """Return the report on the sample, and the service with its requests."""
    with SampleService() as service:
        report = probe(tmp_path_factory.mktemp("probe"), "--api-url", service.url)
    return report, service


@pytest.fixture(scope="module")
def report(of_sample):
    return of_sample[0]


def test_the_report_on_the_sample_is_complete(report):
    assert report.code == 0, report.said
    assert "not asked: " not in report.text
    for section in ("## Summary", "## Records", "## Everything that was asked"):
        assert f"\n{section}\n" in report.text
    assert f"allenfs {__version__}" in report.text
    assert re.search(r"report\.md: \d+ requests, [\d,]+ bytes; \d+ diff", report.out)


@pytest.mark.parametrize(
    ("question", "seen"),
    [
        ("Length of an image", "Content-Length none, chunked"),
        ("ETag", "none"),
        ("Bytes of an image asked for twice", "the same"),
        ("JPEGs gzipped where it is not", "no"),
        ("HEAD", "200"),
        ("Redirect to the image service", "302 to /cgi-bin/imageservice"),
        ("an id that nobody has", "404, text/html"),
        ("a view that there is not", "400, text/html"),
        ("a region half outside", "200, JPEG 100 x 100, quality 85"),
        ("downsample=10 where tier_count is 7", "200, JPEG 13 x 7"),
        ("downsample=11 where tier_count is 7", "400"),
        ("width=400, downsample=2", "pixels of the tier: 200, JPEG 400 x 300"),
        ("Quality where none is asked", "85; "),
        ("quality=100", "200, JPEG 439 x 228, quality 100"),
        ("Rounding of 14065 x 7297", "floor (3: 1758 x 912; 4: 879 x 456;"),
        ("Rows where no number is asked", "8 rows (num_rows 8, total_rows 8), 200"),
        ("Answer to a query that is none", "200, success False, msg str: 'line 1,"),
        ("Answer to no row", "200, success True, msg list: '[]'"),
        ("SectionImage", "26 fields; read as: 14065 x 7297"),
        ("Glioblastoma", "17 (Glioblastoma)"),
        ("Signs of a rate limit", "0 of "),
        ("StructureUnionize of a data set", "87 rows (num_rows 87, total_rows 87)"),
        ("data set 100141599: alignment2d nested in it", "3 of 3 images; the same"),
        ("Drawing of 100960224, groups 28", "660 x 472, 70 paths, groups 28,"),
        (
            "allenfs' own query of the structures",
            "95 rows (num_rows 95, total_rows 183), 200; requests: 2; 95 read",
        ),
        (
            "allenfs' own query of the data sets of Prox1",
            "1 rows (num_rows 1, total_rows 36), 200; requests: 3; 1 read",
        ),
        (
            "allenfs' own query of data set 69289763",
            "1 rows (num_rows 1, total_rows 36), 200; requests: 2; 18 read",
        ),
        (
            "allenfs' own query of expression in 69289763",
            "87 rows (num_rows 87, total_rows 87), 200; requests: 1; 87 read",
        ),
    ],
)
def test_the_report_says_what_is_known_of_the_sample(question, seen, report):
    assert report.seen[question].startswith(seen)
    assert report.verdict[question] in ("agree", "-")


@pytest.mark.parametrize(
    ("question", "seen"),
    [
        ("All structures of graph 1", "95 rows"),  # a part of the ontology
        ("data set 69289763: alignment3d", "translation ["),  # of the drawings
        ("structure_to_image of DG-sg in 69289763", "404, text/html"),
        ("reference_to_image of 100141599 and the records", "404, text/html"),
    ],
)
def test_what_the_sample_does_otherwise_is_reported_as_a_difference(
    question, seen, report
):
    assert report.seen[question].startswith(seen)
    assert report.verdict[question] == "**DIFFERS**"


def test_every_url_of_the_page_has_its_row_with_what_came(report):
    assert len(report.page) == PAGE_URLS
    first = report.page[0]
    assert "image_download/69750516?downsample=4`" in first
    for cell in ("/cgi-bin/imageservice |", "| 879 x 456 |", "| 85 |"):
        assert cell in first
    assert all("| 200 |" in line for line in report.page)
    assert "image_download/71592412" in report.text  # named, where it is left out


def test_the_report_has_the_records_with_their_types(report):
    records = report.text.partition("\n## Records\n")[2].partition("\n## ")[0]
    for model in ("AtlasImage", "AtlasDataSet", "Equalization", "Gene", "Treatment"):
        assert f"### {model}\n" in records
    assert '"red_upper": "int"' in records
    assert '"red_upper": 923' in records
    assert "| 17 | " in records


def test_the_service_is_asked_politely(of_sample):
    _, service = of_sample
    assert service.peak_all_requests == 1
    assert service.image_requests + service.query_requests < 100
    for headers in (*service.headers, *service.query_headers):
        assert headers["User-Agent"].startswith(f"allenfs/{__version__} ")
    packed = [one for one in service.headers if "gzip" in one["Accept-Encoding"]]
    assert len(packed) == 1
    assert not any(target.endswith(WHOLE) for target in service.requested)


def test_a_service_that_fails_everything_is_reported_and_asked_everything(
    tmp_path, sample, of_sample
):
    sample.fail(Fault.STATUS_500)
    sample.fail_queries(Fault.STATUS_500)
    report = probe(tmp_path, "--api-url", sample.url)
    assert report.code == 0
    assert len(report.page) == PAGE_URLS
    assert all("| 500 |" in line for line in report.page)
    assert "500" in report.seen["SectionImage"]
    assert "500" in report.seen["All structures of graph 1"]
    assert report.verdict["SectionImage"] == "**DIFFERS**"
    expected = of_sample[1].image_requests
    assert sample.image_requests == pytest.approx(expected, abs=3)


@pytest.mark.parametrize("fault", [Fault.NOT_JSON, Fault.CUT_CHUNKED])
def test_nonsense_breaks_no_probe(fault, tmp_path, sample):
    sample.fail(fault if fault is not Fault.NOT_JSON else Fault.NOT_A_JPEG)
    sample.fail_queries(fault)
    report = probe(tmp_path, "--api-url", sample.url)
    assert report.code == 0
    assert report.seen


def test_a_redirect_to_another_host_is_reported_and_not_followed(tmp_path, sample):
    sample.fail(Fault.REDIRECT_OTHER_HOST)
    report = probe(tmp_path, "--api-url", sample.url)
    assert report.code == 0
    assert report.seen["Its host"].startswith("http://other.invalid, asked at")
    assert report.verdict["Its host"] == "**DIFFERS**"
    assert "302 not followed: a redirect to another host" in report.page[0]
    assert "< Location: http://other.invalid/cgi-bin/imageservice?mime=1" in report.text


def test_the_first_429_ends_the_probe_and_is_reported(tmp_path, sample):
    sample.fail(Fault.STATUS_429_RETRY_AFTER, times=1)
    report = probe(tmp_path, "--api-url", sample.url)
    assert (sample.image_requests, sample.query_requests) == (1, 0)
    assert "the service said 429, Retry-After: 1" in report.text
    assert report.seen["Pages"].startswith("not asked: the service said 429")
    assert report.seen["Signs of a rate limit"].startswith("1 of 1 answers were 429")


def test_the_probe_of_a_silent_service_ends_soon(tmp_path):
    report = probe(tmp_path, "--api-url", "http://127.0.0.1:1")
    assert report.code == 1
    assert "4 requests in a row had no answer at all" in report.text
    assert report.seen


def test_ctrl_c_keeps_what_was_seen(tmp_path, sample):
    output = tmp_path / "report.md"
    command = [sys.executable, str(PROBE), "--pause", "60", "--api-url", sample.url]
    process = subprocess.Popen(
        [*command, "--output", str(output)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    asked, answered = process.stderr.readline(), process.stderr.readline()
    assert asked.startswith("GET /api/v2/image_download/69750516")
    assert answered == "    200\n"
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in said
    text = output.read_text()
    assert "stopped: interrupted by the user" in text
    assert "image_download/69750516?downsample=4` | 200 |" in text
    assert "| 9 | Products | not asked: interrupted by the user |" in text


@pytest.mark.parametrize(
    "arguments", [["--api-url", "nonsense"], ["--pause", "nan"], ["--bogus"]]
)
def test_a_wrong_command_line_is_exit_2(arguments, tmp_path):
    assert probe(tmp_path, *arguments).code == 2
    assert os.listdir(tmp_path) == ["home"]


def test_a_report_that_cannot_be_written_is_known_before_anything_is_asked(
    tmp_path, sample
):
    missing = str(tmp_path / "no" / "report")
    report = probe(tmp_path, "--api-url", sample.url, "--output", missing)
    assert report.code == 1
    assert "cannot be written" in report.said
    assert sample.image_requests == 0
