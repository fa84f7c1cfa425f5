"""Verifying from a script; every rule is tests/contract's."""

from __future__ import annotations

from pathlib import Path

import pytest

import slideprep
from fixtures.build_inputs import config, write_slides


def test_a_damaged_tar_is_a_fault_of_the_report(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Sound sets have none; nothing is printed."""
    out = tmp_path / "out"
    slideprep.build(config(out, write_slides(tmp_path / "slides", ["a.png"])))
    assert slideprep.verify(str(out)).counts["tars"] == 2
    tar = next(out.glob("5x/*.tar"))
    tar.write_bytes(tar.read_bytes()[:-1])
    report = slideprep.verify(out, quick=True)
    assert ([fault.rule for fault in report.faults], report.ok) == (["F08 file-size"], False)
    assert capfd.readouterr() == ("", "")


def test_there_has_to_be_a_folder(tmp_path: Path) -> None:
    """Refused by name."""
    with pytest.raises(slideprep.UsageError, match="is not a folder; give the folder"):
        slideprep.verify(tmp_path / "none")
