"""kdtrain calibrate: a record beside the network, applied by evaluate, and refused where it could only flatter."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from fixtures.locks import held_elsewhere
from fixtures.shard_sets import write_set
from fixtures.training_runs import kdtrain, trained, weights_sha256
from kdtrain.evaluation.calibrate import why_not_calibrate
from kdtrain.evaluation.temperature import logits_of, softmax
from kdtrain.shards.index import read_index

pytest.importorskip("deepspeed", reason="needs DeepSpeed")


@pytest.fixture
def run(teacher: Path, tmp_path: Path) -> Path:
    """A finished teacher that a test may calibrate."""
    return shutil.copytree(teacher, tmp_path / "run")


def _calibrated(run: Path, shards: Path, *options: object) -> dict:
    done = kdtrain("calibrate", run, "--shards", shards, "--workers", 0, *options)
    assert done.code == 0, done.said
    return json.loads((run / "calibration.json").read_text())


def _evaluated(run: Path, shards: Path, split: str = "test") -> tuple[dict, list[dict[str, str]]]:
    done = kdtrain("evaluate", run, "--shards", shards, "--split", split, "--workers", 0, "--iterations", 50)
    assert done.code == 0, done.said
    folder = run / f"evaluation-{split}"
    rows = list(csv.DictReader((folder / "predictions.csv").read_text().splitlines()))
    return json.loads((folder / "metrics.json").read_text()), rows


def test_it_is_bound_to_weights_and_set_and_the_same_again(run, shards) -> None:
    """Split, samples, patients and classes as they are; the same command writes the same bytes."""
    record = _calibrated(run, shards)
    before = (run / "calibration.json").read_bytes()
    assert (record["split"], record["samples"], record["patients"]) == ("val", 2, 2)
    assert record["class_counts"] == {"gland": 1, "stroma": 1}
    assert record["weights_sha256"] == weights_sha256(run)
    assert record["shard_set_sha256"] == read_index(shards).sha256
    done = kdtrain("calibrate", run, "--shards", shards, "--workers", 0)
    assert (run / "calibration.json").read_bytes() == before
    assert "calibrated on val (2 samples of 2 patients), T = " in done.said
    assert "too few to move it far from 1" in done.said


def test_evaluation_applies_it_and_keeps_what_was_before(run, shards) -> None:
    """p_ are the softmax of logits over T; by sample no metric of classes moves; measures stand before and after."""
    plain, _ = _evaluated(run, shards)
    temperature = _calibrated(run, shards, "--on", "dev")["temperature"]
    # A network of an epoch says nothing: a temperature that shows.
    record = json.loads((run / "calibration.json").read_text()) | {"temperature": 0.5}
    (run / "calibration.json").write_text(json.dumps(record))
    assert 0.3 < temperature < 3
    metrics, rows = _evaluated(run, shards)
    softmaxes, said = (
        np.array([[float(row[f"{prefix}_{name}"]) for name in ("gland", "stroma")] for row in rows])
        for prefix in ("softmax", "p")
    )
    np.testing.assert_allclose(said, softmax(logits_of(softmaxes) / 0.5), atol=1e-15)
    assert {row["temperature"] for row in rows} == {"0.5"}
    one, other = plain["levels"]["sample"], metrics["levels"]["sample"]
    for name in ("macro", "per_class", "plain_accuracy", "confusion"):
        assert other[name] == one[name]
    assert (one["before_calibration"], other["before_calibration"]) == (None, one["probabilities"])
    assert plain["calibration"] is None
    assert metrics["calibration"]["split"] == "dev"
    assert metrics["calibration"]["fitted_on_this_split"] is False


def test_a_split_that_it_was_fitted_on_is_said(run, shards) -> None:
    """Measured on val after calibrating on val: the record and the screen say so."""
    _calibrated(run, shards)
    metrics, _ = _evaluated(run, shards, "val")
    assert metrics["calibration"]["fitted_on_this_split"] is True
    done = kdtrain("evaluate", run, "--shards", shards, "--split", "val", "--workers", 0, "--iterations", 20)
    assert "the temperature was fitted on these very samples" in done.said


@pytest.mark.parametrize(
    ("split", "said"),
    [
        ("train", "--on train is what the network was trained on"),
        ("aux1", "--on aux1 of"),
        ("absent", "no split or set 'absent'"),
    ],
)
def test_a_split_that_says_nothing_is_refused(run, shards, split, said) -> None:
    """Trained on, without labels, or not there: exit code 2, and nothing is written."""
    done = kdtrain("calibrate", run, "--shards", shards, "--on", split, "--workers", 0)
    assert done.code == 2
    assert said in done.said
    assert not (run / "calibration.json").exists()


def test_a_set_that_holds_a_trained_split_or_one_class_is_refused(tmp_path) -> None:
    """Whoever learned from it, and by whichever name it is called."""
    index = read_index(
        write_set(tmp_path / "set", {"train": [4], "val": [1], "dev": [2]}, sets={"both": ["dev", "train"]})
    )
    learned = {"train": "its teacher"}
    assert "has train, which is what its teacher was trained on" in str(
        why_not_calibrate(index, "both", learned)
    )
    assert "holds samples of gland alone" in str(why_not_calibrate(index, "val", learned))
    assert why_not_calibrate(index, "dev", learned) is None


def test_a_student_is_not_calibrated_on_its_teachers_set(teacher, shards, tmp_path) -> None:
    """It was distilled on others, but from a teacher that knows these labels by heart."""
    options = ("--teacher", teacher, "--magnification", 2.5, "--train-on", "aux1")
    student = trained("distill", shards, tmp_path / "student", *options)
    done = kdtrain("calibrate", student, "--shards", shards, "--on", "train", "--workers", 0)
    assert done.code == 2
    assert "is what its teacher was trained on" in done.said


def test_a_record_of_other_weights_stops_the_evaluation(run, shards) -> None:
    """Before any sample is read."""
    _calibrated(run, shards)
    record = json.loads((run / "calibration.json").read_text()) | {"weights_sha256": "0" * 64}
    (run / "calibration.json").write_text(json.dumps(record))
    done = kdtrain("evaluate", run, "--shards", shards, "--workers", 0)
    assert done.code == 2
    assert "calibration.json is of other weights" in done.said


def test_a_run_that_is_written_to_is_left_alone(run, shards) -> None:
    """While a training holds the folder, its network may change."""
    with held_elsewhere(run / "kdtrain.lock", "kdtrain teacher", run):
        done = kdtrain("calibrate", run, "--shards", shards, "--workers", 0)
    assert done.code == 2
    assert "another 'kdtrain teacher' writes to" in done.said
