"""Why a name does not exist: one reason for each directory, and not too many."""

from __future__ import annotations

import pytest

from allenfs.filesystem.absences import Absences


@pytest.fixture
def absences():
    found = Absences()
    found.note("dataset/5/structure/dg", "no structure 'dg'")
    return found


def test_the_last_name_of_a_directory_gives_the_reason(absences):
    assert absences.reason("dataset/5/structure") == "dg: no structure 'dg'"
    absences.note("dataset/5/structure/Nope", "no structure 'Nope'")
    assert absences.reason("dataset/5/structure") == "Nope: no structure 'Nope'"
    assert absences.reason("dataset/5") is None
    absences.note("dataset", "of the root")
    assert absences.reason("") == "dataset: of the root"


def test_the_reason_is_forgotten_if_the_name_is_found(absences):
    absences.found("dataset/5/structure/DG")
    absences.found("dataset/6/structure/dg")
    assert absences.reason("dataset/5/structure") == "dg: no structure 'dg'"
    absences.found("dataset/5/structure/dg")
    assert absences.reason("dataset/5/structure") is None


def test_the_reason_is_forgotten_if_another_name_could_not_be_queried(absences):
    absences.failed("dataset/5/structure/DG")
    assert absences.reason("dataset/5/structure") is None


def test_the_oldest_of_many_directories_are_forgotten(absences):
    directories = [f"dataset/{n}" for n in range(1000)]
    for directory in directories:
        absences.note(f"{directory}/structure", "no alignment")
    kept = [one for one in directories if absences.reason(one)]
    assert 100 < len(kept) < 1000
    assert kept == directories[-len(kept) :]
