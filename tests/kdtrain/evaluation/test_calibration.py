"""calibration.json: read back as written, and refused where it is of something else."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from kdtrain.errors import UsageError
from kdtrain.evaluation.calibration import (
    Calibration,
    Fitted,
    calibration_cautions,
    read_calibration,
    write_calibration,
)

WEIGHTS = "a" * 64


def _calibration(**more: Any) -> Calibration:
    measured = Fitted(log_loss=0.5, ece=0.1, brier=0.4)
    given: dict[str, Any] = {
        "temperature": 1.7,
        "split": "val",
        "samples": 45,
        "patients": 30,
        "class_counts": {"gland": 20, "stroma": 25},
        "before": measured,
        "after": measured,
        "weights_sha256": WEIGHTS,
        "shard_set_sha256": "b" * 64,
        "trained_on_sha256": "b" * 64,
    }
    return Calibration(**(given | more))


def test_it_is_read_back_as_written(tmp_path: Path) -> None:
    """The same record, the same bytes; a run without the file is not calibrated."""
    assert read_calibration(tmp_path, WEIGHTS, what="RUN") is None
    write_calibration(tmp_path, _calibration())
    found = read_calibration(tmp_path, WEIGHTS, what="RUN")
    assert found == _calibration()
    assert found.to_bytes() == (tmp_path / "calibration.json").read_bytes()
    assert found.words == "calibrated on val (45 samples of 30 patients), T = 1.7"


def test_a_record_of_other_weights_is_refused(tmp_path: Path) -> None:
    """A run that was trained further has other logits; the message says what to do."""
    write_calibration(tmp_path, _calibration())
    with pytest.raises(
        UsageError, match=r"calibration.json is of other weights .* run 'kdtrain calibrate .* delete"
    ):
        read_calibration(tmp_path, "c" * 64, what="RUN")


@pytest.mark.parametrize(
    ("edit", "said"),
    [
        ({"version": 2}, "has version 2, and this kdtrain knows 1"),
        ({"temperature": 0}, "is damaged"),
        ({"temperature": "1.7"}, "is damaged"),
        ({"mood": "good"}, "is damaged"),
        ({"weights_sha256": None}, "is damaged"),
    ],
)
def test_what_cannot_be_used_is_refused_in_a_sentence(
    tmp_path: Path, edit: dict[str, Any], said: str
) -> None:
    """A field more, a number that is none, another version."""
    content = json.loads(_calibration().to_bytes()) | edit
    (tmp_path / "calibration.json").write_text(json.dumps(content))
    with pytest.raises(UsageError, match=said):
        read_calibration(tmp_path, WEIGHTS, what="RUN")


@pytest.mark.parametrize("content", ["", "[1]", "[" * 5000])
def test_what_is_no_record_is_refused(tmp_path: Path, content: str) -> None:
    """No JSON, no object, and brackets without end."""
    (tmp_path / "calibration.json").write_text(content)
    with pytest.raises(UsageError, match=r"calibration.json (is damaged|has version)"):
        read_calibration(tmp_path, WEIGHTS, what="RUN")


def test_few_patients_missing_classes_and_another_set_are_warned_of() -> None:
    """Each in a sentence of its own; a sound record says nothing."""
    assert list(calibration_cautions(_calibration())) == []
    few, absent, other = calibration_cautions(
        _calibration(patients=6, class_counts={"gland": 45, "stroma": 0}, trained_on_sha256="d" * 64)
    )
    assert "the temperature is of 6 patients, too few" in few
    assert "val has no stroma" in absent
    assert "another shard set than training" in other
