"""scripts/probe-live: one report, whatever the service does."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from mounted import STRICT_PYTHON

from allenfs import __version__
from allenfs.sample.server import Fault, SampleService

SCRIPTS = Path(__file__).parents[2] / "scripts"
NUMBERS = [str(number) for number in range(1, 11)]
WHOLE = 3  # images of the page that --small leaves out


class Result:
    """What one run wrote."""

    def __init__(self, done: subprocess.CompletedProcess[str], output: Path) -> None:
        self.code, self.out, self.said = done.returncode, done.stdout, done.stderr
        self.text = output.read_text() if output.exists() else ""
        summary = self.text.partition("## Summary")[2].partition("\n## ")[0]
        self.rows = [
            [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
            for line in summary.splitlines()
            if re.match(r"\| \d", line)
        ]
        page = self.text.partition('"Downloading an Image"')[2].partition("\n## ")[0]
        self.page = [line for line in page.splitlines() if "`/api/v2/" in line]

    def seen(self, question: str) -> str:
        return self._row(question)[2]

    def verdict(self, question: str) -> str:
        return self._row(question)[4]

    def _row(self, question: str) -> list[str]:
        (found,) = [row for row in self.rows if row[1] == question]
        return found


def probe(folder: Path, *arguments: str) -> Result:
    output = folder / "report.md"
    done = subprocess.run(
        [
            *(*STRICT_PYTHON, str(SCRIPTS / "probe"), "--pause", "0", "--small"),
            *("--output", str(output), *arguments),
        ],
        capture_output=True,
        text=True,
        check=False,
        cwd=folder,
    )
    assert "Traceback" not in done.stderr
    return Result(done, output)


@pytest.fixture(scope="module")
def of_sample(tmp_path_factory: pytest.TempPathFactory) -> tuple[Result, SampleService]:
    """Return the report on the sample, and the service, with what it was asked."""
    with SampleService() as service:
        result = probe(tmp_path_factory.mktemp("probe"), "--api-url", service.url)
    return result, service


def test_the_report_on_the_sample_answers_every_unknown(
    of_sample: tuple[Result, SampleService],
) -> None:
    result, _ = of_sample
    assert result.code == 0, result.said
    assert sorted({row[0] for row in result.rows}, key=int) == NUMBERS
    assert "the probe broke" not in result.text
    assert "not asked: " not in result.text
    for section in ("## Summary", "## Records", "## Everything that was asked"):
        assert f"\n{section}\n" in result.text
    assert f"allenfs {__version__}" in result.text
    assert re.search(r"report\.md: \d+ requests, [\d,]+ bytes; \d+ diff", result.out)


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
    ],
)
def test_the_report_says_what_is_known_of_the_sample(
    question: str, seen: str, of_sample: tuple[Result, SampleService]
) -> None:
    result, _ = of_sample
    assert result.seen(question).startswith(seen)
    assert result.verdict(question) in ("agree", "-")


def test_every_url_of_the_page_has_its_row_with_what_came(
    of_sample: tuple[Result, SampleService],
) -> None:
    result, _ = of_sample
    assert len(result.page) == 19 - WHOLE
    first = result.page[0]
    assert "image_download/69750516?downsample=4`" in first
    for cell in ("| 200 |", "/cgi-bin/imageservice |", "| 879 x 456 |", "| 85 |"):
        assert cell in first
    for line in result.page:
        assert "| 200 |" in line
    assert "image_download/71592412" in result.text  # named, where it is left out


def test_the_report_has_the_records_with_their_types(
    of_sample: tuple[Result, SampleService],
) -> None:
    result, _ = of_sample
    records = result.text.partition("\n## Records\n")[2].partition("\n## ")[0]
    for model in ("AtlasImage", "AtlasDataSet", "Equalization", "Gene", "Treatment"):
        assert f"### {model}\n" in records
    assert '"red_upper": "int"' in records
    assert '"red_upper": 923' in records
    assert "| 17 | " in records


def test_the_service_is_asked_politely(of_sample: tuple[Result, SampleService]) -> None:
    _, service = of_sample
    assert service.peak_all_requests == 1
    assert service.image_requests + service.query_requests < 100
    for headers in (*service.headers, *service.query_headers):
        assert headers["User-Agent"].startswith(f"allenfs/{__version__} ")
    packed = [one for one in service.headers if "gzip" in one["Accept-Encoding"]]
    assert len(packed) == 1
    for whole in ("71592412", "70679088", "100883771"):
        assert not any(target.endswith(whole) for target in service.requested)


def test_a_service_that_fails_everything_is_reported_and_asked_everything(
    tmp_path: Path, sample: SampleService, of_sample: tuple[Result, SampleService]
) -> None:
    sample.fail(Fault.STATUS_500)
    sample.fail_queries(Fault.STATUS_500)
    result = probe(tmp_path, "--api-url", sample.url)
    assert result.code == 0
    assert sorted({row[0] for row in result.rows}, key=int) == NUMBERS
    assert "the probe broke" not in result.text
    assert len(result.page) == 19 - WHOLE
    assert all("| 500 |" in line for line in result.page)
    assert "500" in result.seen("SectionImage")
    assert result.verdict("SectionImage") == "**DIFFERS**"
    whole = of_sample[1]
    assert sample.image_requests == pytest.approx(whole.image_requests, abs=3)


@pytest.mark.parametrize(
    "fault", [Fault.NOT_JSON, Fault.HTML_200, Fault.CUT_CHUNKED, Fault.GZIP_ANYWAY]
)
def test_nonsense_breaks_no_probe(
    fault: Fault, tmp_path: Path, sample: SampleService
) -> None:
    sample.fail(fault if fault is not Fault.NOT_JSON else Fault.NOT_A_JPEG)
    sample.fail_queries(fault)
    result = probe(tmp_path, "--api-url", sample.url)
    assert result.code == 0
    assert sorted({row[0] for row in result.rows}, key=int) == NUMBERS
    assert "the probe broke" not in result.text


def test_a_redirect_to_another_host_is_reported_and_not_followed(
    tmp_path: Path, sample: SampleService
) -> None:
    sample.fail(Fault.REDIRECT_OTHER_HOST)
    result = probe(tmp_path, "--api-url", sample.url)
    assert result.code == 0
    assert result.seen("Its host").startswith("http://other.invalid, asked at")
    assert result.verdict("Its host") == "**DIFFERS**"
    assert "302 not followed: a redirect to another host" in result.page[0]
    assert "< Location: http://other.invalid/cgi-bin/imageservice?mime=1" in result.text


def test_the_first_429_ends_the_asking_and_the_report_says_so(
    tmp_path: Path, sample: SampleService
) -> None:
    sample.fail(Fault.STATUS_429_RETRY_AFTER, times=1)
    result = probe(tmp_path, "--api-url", sample.url)
    assert (sample.image_requests, sample.query_requests) == (1, 0)
    assert "the service said 429, Retry-After: 1" in result.text
    assert sorted({row[0] for row in result.rows}, key=int) == NUMBERS
    assert result.seen("Pages").startswith("not asked: the service said 429")
    assert result.seen("Signs of a rate limit").startswith("1 of 1 answers were 429")


def test_where_nobody_answers_the_asking_ends_soon(tmp_path: Path) -> None:
    result = probe(tmp_path, "--api-url", "http://127.0.0.1:1")
    assert result.code == 1
    assert "4 requests in a row had no answer at all" in result.text
    assert sorted({row[0] for row in result.rows}, key=int) == NUMBERS


def test_ctrl_c_keeps_what_was_seen(tmp_path: Path, sample: SampleService) -> None:
    output = tmp_path / "report.md"
    process = subprocess.Popen(
        [
            *(sys.executable, str(SCRIPTS / "probe"), "--pause", "60"),
            *("--output", str(output), "--api-url", sample.url),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
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
    "arguments",
    [
        ["--api-url", "nonsense"],
        ["--pause", "-1"],
        ["--pause", "nan"],
        ["--bogus"],
    ],
)
def test_a_wrong_command_line_is_exit_2(arguments: list[str], tmp_path: Path) -> None:
    done = subprocess.run(
        [*STRICT_PYTHON, str(SCRIPTS / "probe"), *arguments],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
    )
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert os.listdir(tmp_path) == ["home"]


def test_a_report_that_cannot_be_written_is_known_before_anything_is_asked(
    tmp_path: Path, sample: SampleService
) -> None:
    result = probe(
        tmp_path, "--api-url", sample.url, "--output", str(tmp_path / "no" / "report")
    )
    assert result.code == 1
    assert "cannot be written" in result.said
    assert sample.image_requests == 0


def test_the_script_installs_and_passes_its_arguments_on() -> None:
    script = (SCRIPTS / "probe-live").read_text()
    assert 'exec "$scripts/../.venv/bin/python" "$scripts/probe" "$@"' in script
    assert os.access(SCRIPTS / "probe-live", os.X_OK)
