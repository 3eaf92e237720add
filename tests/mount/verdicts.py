"""What a check of the doctor must have found; each returns its words."""

from __future__ import annotations

from allenfs.cli.doctor.findings import Finding, Verdict


def worked(finding: Finding) -> str:
    assert (finding.verdict, finding.advice) == (Verdict.OK, ""), finding
    return finding.message


def warned(finding: Finding) -> str:
    assert finding.verdict is Verdict.WARN, finding
    return f"{finding.message} -> {finding.advice}"


def failed(finding: Finding) -> str:
    assert finding.verdict is Verdict.FAIL, finding
    return f"{finding.message} -> {finding.advice}"
