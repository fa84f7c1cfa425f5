"""Runs of folds as one run over all patients: numbers worked out by hand, and what is missing or there twice."""

from __future__ import annotations

import hashlib
import json
import math
from pathlib import Path
from typing import Any

import pytest

from fixtures.report_runs import CLASSES, SHARD_SET, write_run, write_sweep
from kdtrain.errors import UsageError
from kdtrain.evaluation.predictions import Prediction
from kdtrain.evaluation.record import evaluate_predictions
from kdtrain.report.build import build_report
from kdtrain.report.model import Cell, Chart, Report, Table

DRAWS = 200
TUMOUR = {
    1: {"p0": (1, 0.40), "p1": (1, 0.35), "p2": (0, 0.30), "p3": (0, 0.20)},
    2: {"p4": (1, 0.90), "p5": (1, 0.80), "p6": (0, 0.70), "p7": (0, 0.60)},
}
"""By fold and patient: the class, and the probability of tumour. In each fold every tumour is above every benign one,
but the second network's scores are higher throughout; at 0.5, tumours of fold 1 and benign ones of fold 2 are wrong."""
BETTER = {
    1: TUMOUR[1] | {"p0": (1, 0.60), "p1": (1, 0.55)},
    2: TUMOUR[2],
}
"""The same, with the tumours of fold 1 right."""


def said_of(fold: dict[str, tuple[int, float]]) -> list[Prediction]:
    """A sample for each patient."""
    return [
        Prediction(key=f"k-{name}", slide=f"s-{name}", patient=name, label=label, probabilities=(1 - p, p))
        for name, (label, p) in fold.items()
    ]


def fold(number: int) -> dict[str, Any]:
    """What a run keeps of its fold."""
    return {
        "fold": {
            "number": number,
            "of": 2,
            "sha256": "f" * 64,
            "tested": list(TUMOUR[number]),
            "validated": [],
        }
    }


def write_folds(
    folder: Path,
    phase: str,
    table: dict[int, dict[str, tuple[int, float]]],
    *,
    magnification: float = 1,
    temperatures: tuple[float | None, ...] = (None, None),
    **more: Any,
) -> list[dict]:
    """A run for each fold; entries of sweep.json."""
    entries = []
    for number, patients in table.items():
        name = f"{phase}-1x-seed{more.get('seed', 0)}-fold{number}"
        write_run(
            folder / "runs" / name,
            phase,
            magnification,
            said_of(patients),
            settings={"fold": number},
            shard_set=fold(number),
            sessions=[SESSION],
            temperature=temperatures[number - 1],
            **more,
        )
        entries.append(
            {
                "name": name,
                "folder": f"runs/{name}",
                "method": phase,
                "magnification": magnification,
                "seed": more.get("seed", 0),
            }
        )
    return entries


SESSION = {"seconds": 3600.0, "device": "cpu", "processes": 1, "threads": 1, "from_step": 0, "to_step": 3}


@pytest.fixture
def sweep(tmp_path) -> Path:
    """A baseline and a better student, in two folds."""
    runs = [*write_folds(tmp_path, "baseline", TUMOUR), *write_folds(tmp_path, "distill", BETTER)]
    return write_sweep(tmp_path, runs)


def report_of(*runs: object) -> Report:
    """The report."""
    return build_report([str(run) for run in runs], iterations=DRAWS)


def table_of(report: Report, name: str) -> Table:
    """One of its tables."""
    return next(table for table in report.tables() if table.name == name)


def cell_of(report: Report, name: str, heading: str, column: str) -> Cell:
    """One cell."""
    table = table_of(report, name)
    row = next(row for row in table.rows if row.heading == heading and row.cells)
    return row.cells[table.columns.index(column)]


def test_pooled_numbers_are_those_worked_out_by_hand(sweep):
    """Of four tumours the baseline has 2 right, of four benign ones 2: 50 %; the student 4 and 2: 75 %."""
    report = report_of(sweep)
    recall = "Recall (balanced accuracy)"
    assert cell_of(report, "all-methods", recall, "baseline").value == pytest.approx(50)
    assert cell_of(report, "all-methods", recall, "distill").value == pytest.approx(75)
    assert cell_of(report, "all-methods", "Plain accuracy", "distill").value == pytest.approx(100 * 6 / 8)
    # F1 of tumour 2 * 4 / (4 + 6), of benign 2 * 2 / (4 + 2).
    assert cell_of(report, "all-methods", "F1-score", "distill").value == pytest.approx(
        100 * (0.8 + 2 / 3) / 2
    )


def test_intervals_draw_among_all_patients(sweep):
    """They are those of one network that said the same of all eight."""
    together = evaluate_predictions(
        [one for patients in BETTER.values() for one in said_of(patients)], CLASSES, iterations=DRAWS
    )["levels"]["sample"]["balanced_accuracy"]
    found = cell_of(report_of(sweep), "all-methods", "Recall (balanced accuracy)", "distill")
    assert (found.low, found.high) == pytest.approx((100 * together["low"], 100 * together["high"]))


def test_differences_are_paired_over_all_patients(sweep):
    """The student has two of eight more right: +25 points, with the interval of the same draws."""
    found = cell_of(report_of(sweep), "differences-baseline", "distill", "Balanced accuracy")
    assert found.value == pytest.approx(25)
    assert found.low is not None
    assert found.low >= 0


def test_the_area_compares_scores_of_one_network_only(sweep):
    """Each fold's order is perfect, so the area is 1; over both networks' scores 12 of 16 pairs are in order, 75 %."""
    report = report_of(sweep)
    assert cell_of(report, "all-methods", "ROC AUC", "baseline").value == pytest.approx(100)
    by_fold = table_of(report, "folds-auc").rows[1].cells
    assert [cell.value for cell in by_fold] == pytest.approx([100, 100, 100, 100])


def test_curves_rank_the_samples_of_one_network_only(sweep) -> None:
    """In each fold every tumour is above every benign sample: the curves are perfect, whatever the folds' scales."""
    blocks = [block for section in report_of(sweep).sections for block in section.blocks]
    (roc,) = [one for one in blocks if isinstance(one, Chart) and one.name == "roc-baseline-at-1x"]
    tumour = next(one for one in roc.series if one.label.startswith("tumour"))
    assert [(point.x, point.y) for point in tumour.points] == [(0, 0), (0, 100), (100, 100)]
    assert "Mean of the curves of 2 networks, each of its own fold's samples." in roc.caption


def test_folds_stand_by_themselves(sweep):
    """Four patients each; the baseline has half of the recall in both, the student all and half."""
    table = table_of(report_of(sweep), "folds-balanced-accuracy")
    assert table.columns == ("fold 1", "fold 2", "mean of folds", "all patients")
    assert [cell.text for cell in table.rows[0].cells] == ["4", "4", "–", "8"]
    assert [cell.value for cell in table.rows[2].cells] == pytest.approx([100, 50, 75, 75])


def test_the_report_says_folds_and_patients(sweep):
    """In its heading and over its tables; no run is missing, and training is of all folds."""
    report = report_of(sweep)
    assert report.subtitle == "baseline, distill at 1x on 8 tissue samples of 8 patients (2 folds), 1 seed"
    assert (
        "on 8 tissue samples of 8 patients of 2 folds together, each tested by networks that learnt from the others"
        in (table_of(report, "all-methods").caption)
    )
    assert any("2 folds have 8 (benign 4, tumour 4)" in text for text in report.warnings)
    assert cell_of(report, "cost", "baseline-1x-seed0 (2 folds)", "Device-hours").value == pytest.approx(2)


def test_students_are_held_against_the_teachers_of_their_own_folds(tmp_path):
    """Each fold has a teacher; where one student learnt from another network than the one reported, it is said."""
    teachers = tmp_path / "teachers"
    runs = write_folds(teachers, "teacher", TUMOUR, magnification=10)
    write_sweep(teachers, runs)
    digests = [
        hashlib.sha256((teachers / run["folder"] / "model.safetensors").read_bytes()).hexdigest()
        for run in runs
    ]
    assert len(set(digests)) == 2
    for case, taught in {"own": digests, "other": [digests[0], "0" * 64]}.items():
        folder = tmp_path / case
        students = write_folds(folder, "distill", BETTER)
        for student, digest in zip(students, taught, strict=True):
            path = folder / student["folder"] / "run.json"
            content = json.loads(path.read_text())
            content["shard_set"]["teacher"]["weights_sha256"] = digest
            path.write_text(json.dumps(content))
        write_sweep(folder, students)
        warned = [
            text for text in report_of(teachers, folder).warnings if "learned from another teacher" in text
        ]
        assert bool(warned) == (case == "other")


def test_seeds_are_averaged_after_their_folds_are_pooled(tmp_path):
    """One seed has 50 %, the other 75 %: the mean is 62.5 %, over two seeds and not four runs."""
    runs = [*write_folds(tmp_path, "distill", TUMOUR), *write_folds(tmp_path, "distill", BETTER, seed=1)]
    found = cell_of(
        report_of(write_sweep(tmp_path, runs)), "all-methods", "Recall (balanced accuracy)", "distill"
    )
    assert (found.value, found.seeds) == (pytest.approx(62.5), 2)


def test_an_incomplete_cross_validation_is_no_number(tmp_path):
    """Of the student only one fold is there: it is left out and named; alone, there is no report."""
    runs = write_folds(tmp_path, "baseline", TUMOUR)
    runs += write_folds(tmp_path, "distill", {1: BETTER[1]})
    sweep = write_sweep(tmp_path, runs)
    report = report_of(sweep)
    assert table_of(report, "all-methods").columns == ("baseline",)
    assert any("of its 2 folds, 2 is not there" in text for text in report.warnings)
    with pytest.raises(
        UsageError, match="of its 2 folds, 2 is not there, so that not every patient is tested"
    ):
        report_of(tmp_path / "runs" / "distill-1x-seed0-fold1")


def test_runs_of_folds_can_be_named_one_by_one(sweep):
    """Without sweep.json they pool all the same."""
    runs = sorted((sweep / "runs").glob("baseline*"))
    assert cell_of(report_of(*runs), "all-methods", "Plain accuracy", "Baseline").value == pytest.approx(50)


def test_each_folds_network_has_a_temperature_of_its_own(tmp_path):
    """Odds of 4 at T = 2 are 2, two of three; odds of 9 at T = 0.5 are 81; the softmax is before, over both folds.

    Every patient is given to the true class, so the log-loss is the mean of what is said: 4 patients of fold 1 with
    ln(3/2), 4 of fold 2 with ln(82/81); before, ln(5/4) and ln(10/9).
    """
    sure = {"p0": (1, 0.8), "p1": (1, 0.8), "p2": (0, 0.2), "p3": (0, 0.2)}
    surer = {"p4": (1, 0.9), "p5": (1, 0.9), "p6": (0, 0.1), "p7": (0, 0.1)}
    runs = write_folds(tmp_path, "baseline", {1: sure, 2: surer}, temperatures=(2.0, 0.5))
    report = report_of(write_sweep(tmp_path, runs))
    before, after = table_of(report, "probability-scores").rows[0].cells[-2:]
    assert before.value == pytest.approx((math.log(5 / 4) + math.log(10 / 9)) / 2)
    assert after.value == pytest.approx((math.log(3 / 2) + math.log(82 / 81)) / 2)
    assert table_of(report, "calibration-error").rows[0].cells[0].text == "1.25"
    assert not any("are calibrated" in text for text in report.warnings)


def test_folds_of_which_some_are_calibrated_are_said_to_be(tmp_path):
    """Those that are not answer as their softmax does: log-loss ln(5/4) in fold 1, whose patients are all right."""
    sure = {"p0": (1, 0.8), "p1": (1, 0.8), "p2": (0, 0.2), "p3": (0, 0.2)}
    surer = {"p4": (1, 0.9), "p5": (1, 0.9), "p6": (0, 0.1), "p7": (0, 0.1)}
    runs = write_folds(tmp_path, "baseline", {1: sure, 2: surer}, temperatures=(None, 0.5))
    report = report_of(write_sweep(tmp_path, runs))
    after = table_of(report, "probability-scores").rows[0].cells[-1]
    assert after.value == pytest.approx((math.log(5 / 4) + math.log(82 / 81)) / 2)
    assert any("Of the 2 networks of baseline at 1x, 1 is calibrated" in text for text in report.warnings)


@pytest.mark.parametrize(
    ("unlike", "said"),
    [
        ({"settings": {"fold": 2, "epochs": 9}}, "epochs 3 against 9"),
        ({"network": {"output_stride": 8}}, "output_stride 32 against 8"),
    ],
)
def test_folds_that_are_not_trained_alike_are_no_method(tmp_path, unlike, said):
    """Of other settings, or of another shape that the settings left to a rule."""
    for number, more in ((1, {"settings": {"fold": 1}}), (2, {"settings": {"fold": 2}} | unlike)):
        write_run(
            tmp_path / f"run{number}", "baseline", 1, said_of(TUMOUR[number]), shard_set=fold(number), **more
        )
    with pytest.raises(UsageError, match=f"trained alike.*{said}"):
        report_of(tmp_path / "run1", tmp_path / "run2")


def test_a_fold_that_is_there_twice_is_refused(tmp_path):
    """Two runs of fold 1 with one seed."""
    for name in ("a", "b"):
        write_run(tmp_path / name, "baseline", 1, said_of(TUMOUR[1]), shard_set=fold(1))
    with pytest.raises(UsageError, match="are both fold 1 of 2 of Baseline with seed 0"):
        report_of(tmp_path / "a", tmp_path / "b")


def test_folds_and_a_test_split_do_not_stand_in_one_table(sweep, tmp_path):
    """Other samples are other numbers."""
    other = write_run(tmp_path / "other", "baseline", 2, said_of(TUMOUR[1]), evaluated_on=SHARD_SET)
    with pytest.raises(UsageError, match="not of the same samples"):
        report_of(sweep, other)


def test_a_fold_that_was_measured_on_others_is_no_part_of_the_number(tmp_path):
    """On another shard set, or on patients of another fold: both folds are left out, with what to do."""
    for case, (said, evaluated_on) in {
        "set": (said_of(TUMOUR[2]), "b" * 64),
        "patients": (said_of(TUMOUR[1]), SHARD_SET),
    }.items():
        folder = tmp_path / case
        runs = write_folds(folder, "baseline", TUMOUR)
        runs += write_folds(folder, "distill", {1: BETTER[1]})
        write_run(
            folder / "runs" / "distill-1x-seed0-fold2",
            "distill",
            1,
            said,
            settings={"fold": 2},
            shard_set=fold(2),
            evaluated_on=evaluated_on,
        )
        runs.append({**runs[-1], "name": "distill-1x-seed0-fold2", "folder": "runs/distill-1x-seed0-fold2"})
        report = report_of(write_sweep(folder, runs))
        assert table_of(report, "all-methods").columns == ("baseline",)
        assert any("distill-1x-seed0-fold2 is not of its fold's patients" in text for text in report.warnings)
