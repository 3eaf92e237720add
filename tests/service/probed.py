"""scripts/probe-live in a process of its own, and the report that it wrote."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

from mounted import STRICT_PYTHON

PROBE = Path(__file__).parents[2] / "scripts/probe"
NUMBERS = [str(number) for number in range(1, 18)]


class Report:
    """What one run wrote."""

    def __init__(self, done, output):
        self.code, self.out, self.said = done.returncode, done.stdout, done.stderr
        assert "Traceback" not in self.said
        self.text = output.read_text() if output.exists() else ""
        summary = self.text.partition("## Summary")[2].partition("\n## ")[0]
        rows = [
            [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
            for line in summary.splitlines()
            if re.match(r"\| \d", line)
        ]
        self.seen = {row[1]: row[2] for row in rows}
        self.assumed = {row[1]: row[3] for row in rows}
        self.verdict = {row[1]: row[4] for row in rows}
        page = self.text.partition('"Downloading an Image"')[2].partition("\n## ")[0]
        self.page = [line for line in page.splitlines() if "`/api/v2/" in line]
        if rows:
            assert sorted({row[0] for row in rows}, key=int) == NUMBERS
            assert "the probe broke" not in self.text


def probe(folder, *arguments):
    output = folder / "report.md"
    command = [*STRICT_PYTHON, str(PROBE), "--pause", "0", "--small"]
    done = subprocess.run(
        [*command, "--output", str(output), *arguments],
        capture_output=True,
        text=True,
        check=False,
        cwd=folder,
    )
    return Report(done, output)
