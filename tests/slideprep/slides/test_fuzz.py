"""A small run of ``benchmarks/fuzz_slides.py``: no damage makes a reader hang, crash or raise a stray error."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections import Counter
from typing import Any

import pytest

from fixtures.repository import ROOT

SCRIPT = ROOT / "benchmarks" / "fuzz_slides.py"
sys.path.append(str(SCRIPT.parent))

from _fuzz_damage import DAMAGES, MISPLACED  # noqa: E402

STRICT = ("tiff-jpeg", "tiff-jp2k", "dicom-jpeg", "jpeg")
CASES = 64


@pytest.fixture(scope="module")
def cases() -> list[dict[str, Any]]:
    """What came of each damaged slide; a hang, a crash or a stray exception ends the script with an error."""
    command = [sys.executable, str(SCRIPT), "--cases", str(CASES), "--generated", "--seed", "5", "--json"]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    found: list[dict[str, Any]] = json.loads(run.stdout)
    return found


def test_every_case_ends_well(cases: list[dict[str, Any]]) -> None:
    """Every damage, through every reader, ends in right pixels, in a listed failure, or in one that nothing can see."""
    assert len(cases) == CASES
    assert {case["outcome"] for case in cases} <= {"right", "listed", "wrong"}
    assert {case["reader"] for case in cases} >= {*STRICT, "openslide", "libvips"}
    assert {case["damage"] for case in cases} == set(DAMAGES)


def test_failures_have_reasons(cases: list[dict[str, Any]]) -> None:
    """What is listed is listed with a sentence that names the file, or the folder of a DICOM series."""
    listed = [case["reason"] for case in cases if case["outcome"] == "listed"]
    assert listed
    assert not [reason for reason in listed if not re.search(r"\ba\.\w+|'slide\d+'", reason)]


def test_strict_readers_see_what_is_missing(cases: list[dict[str, Any]]) -> None:
    """A slide that lost its end, or a tile that lost its second half, is never passed on by a strict reader."""
    missing = ("half a tile zeroed", "truncated", "end missing")
    seen = Counter(
        case["outcome"] for case in cases if case["reader"] in STRICT and case["damage"] in missing
    )
    assert seen["listed"] > 0
    assert seen["wrong"] == 0


def test_tiles_in_the_wrong_place_cannot_be_seen(cases: list[dict[str, Any]]) -> None:
    """Whole tiles that were exchanged decode without a word: counted apart, since no slide format has checksums."""
    swapped = [case for case in cases if case["damage"] == "tiles swapped"]
    assert "tiles swapped" in MISPLACED
    assert "wrong" in {case["outcome"] for case in swapped}
