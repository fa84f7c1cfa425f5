"""What a report says in sentences: what to beware of, and the answer, honest about intervals that hold 0."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from fixtures.report_runs import SHARD_SET, predictions, rights, write_run, write_sweep
from kdtrain.errors import UsageError
from kdtrain.evaluation.calibration import Calibration, Fitted, write_calibration
from kdtrain.evaluation.predictions import Prediction
from kdtrain.files import sha256_of
from kdtrain.report.answer import against, seeds_above
from kdtrain.report.build import build_report
from kdtrain.report.model import Chart, Report
from kdtrain.report.runs.scoring import Estimate

MANY = predictions(rights(60, 12))
"""Sixty patients, half of each class: enough."""


def _report(*runs: object, unit: str = "patient") -> Report:
    return build_report(
        [str(run) for run in runs], iterations=200, unit="sample" if unit == "sample" else "patient"
    )


def _warned(report: Report, words: str) -> bool:
    return any(words in warning for warning in report.warnings)


def _seeds(
    folder: Path, phase: str, said: Sequence[Prediction], count: int = 2, **options: object
) -> list[Path]:
    return [
        write_run(folder / f"{phase}{seed}", phase, 1, said, seed=seed, **options)  # type: ignore[arg-type]
        for seed in range(count)
    ]


def test_enough_of_everything_is_no_warning(tmp_path: Path) -> None:
    """Sixty patients and two seeds of one method with the same settings need no caution."""
    assert _report(*_seeds(tmp_path, "baseline", MANY)).warnings == ()


@pytest.mark.parametrize(
    ("said", "counts"),
    [
        (predictions(rights(28, 2)), "28 (benign 14, tumour 14)"),
        (predictions(rights(60, 12))[::2] + predictions(rights(12, 2))[1::2], "36 (benign 30, tumour 6)"),
        (predictions(rights(60, 2), per_patient=3), "20 (benign 10, tumour 10)"),
    ],
    ids=["few in all", "few of a class", "few patients of many samples"],
)
def test_too_few_patients(tmp_path: Path, said: list[Prediction], counts: str) -> None:
    """Fewer than 30 patients in all, or 10 of a class, are counted and called too few."""
    report = _report(*_seeds(tmp_path, "baseline", said))
    assert _warned(report, f"Too few patients: the split test has {counts}; below 30 in all or 10 of a class")


def test_a_class_of_one_patient_has_no_interval(tmp_path: Path) -> None:
    """Thirty patients of one class and one of the other: no mean has an interval, and no caption speaks of one."""
    said = predictions(rights(60, 2))[::2] + predictions(rights(60, 2))[-1:]
    report = _report(*_seeds(tmp_path, "baseline", said), write_run(tmp_path / "t", "teacher", 10, said))
    words = (
        "one patient of tumour, which says nothing of others, so the averages over classes have no interval."
    )
    assert _warned(report, f"By tissue sample: {words}")
    assert _warned(report, f"By patient: {words}")
    differences = next(table for table in report.tables() if table.name == "differences-teacher")
    assert differences.caption.startswith("Percentage points, without intervals: there are too few patients.")
    table = next(table for table in report.tables() if table.name == "all-methods")
    texts = {row.heading: row.cells[0].text for row in table.rows if row.cells}
    assert "(" not in texts["F1-score"]
    assert "(" in texts["Plain accuracy"]


def test_patients_of_several_classes_are_not_measured_by_patient(tmp_path: Path) -> None:
    """A lone patient with samples of both classes is mixed: the report says so, not that the split lacks classes."""
    said = [replace(one, patient="p") for one in predictions(rights(60, 2))]
    report = _report(*_seeds(tmp_path, "baseline", said))
    assert _warned(
        report, "By patient: nothing is measured, since the one patient has samples of several classes."
    )
    assert _warned(
        report, "so there are no intervals; --unit sample draws samples, as if those of a patient were"
    )
    assert not _warned(report, "has no sample of")
    assert not _warned(report, "the intervals are too narrow")
    table = next(table for table in report.tables() if table.name == "all-methods")
    assert "interval" not in table.caption


def test_draws_that_lack_a_class_are_counted(tmp_path: Path) -> None:
    """Two patients of a class among thirty: about one draw in eight lacks them, and the report says how many."""
    said = predictions(rights(56, 2))[::2] + predictions(rights(60, 2))[-3::2]
    counted = [w for w in _report(*_seeds(tmp_path, "baseline", said)).warnings if "of 200 draws (" in w]
    assert len(counted) == 2
    assert counted[0].endswith("lack a class; the intervals of the averages are over the others.")


def test_one_seed(tmp_path: Path) -> None:
    """With one run of each method, what training's chance adds is said to be unknown."""
    assert _warned(
        _report(*_seeds(tmp_path, "baseline", MANY, count=1)), "what training's chance adds is unknown"
    )


def test_unequal_seeds(tmp_path: Path) -> None:
    """Methods that are compared as means over other seeds are named with their seeds, once for all magnifications."""
    runs = [
        write_run(tmp_path / f"{phase}{magnification}{seed}", phase, magnification, MANY, seed=seed)
        for phase, count in (("baseline", 2), ("distill", 3))
        for magnification in (1, 2)
        for seed in range(count)
    ]
    assert _warned(_report(*runs), "different seeds at 1x, 2x: Baseline 0, 1; KD 0, 1, 2.")


def test_missing_runs_are_named(tmp_path: Path) -> None:
    """Runs that a sweep lacks are counted and named with their reason, and are in the table of costs."""
    write_run(tmp_path / "a", "baseline", 1, MANY)
    known = {"method": "Baseline", "magnification": 1, "seed": 0}
    lost = {"method": "KD", "magnification": 1, "seed": 0, "state": "failed", "reason": "out of memory"}
    sweep = write_sweep(
        tmp_path, [{"name": "a", "folder": "a", **known}, {"name": "kd", "folder": "kd", **lost}]
    )
    report = _report(sweep)
    assert _warned(report, "1 run of the sweep left out: kd (failed: out of memory)")
    cost = next(table for table in report.tables() if table.name == "cost")
    assert [row.cells[-1].text for row in cost.rows] == ["evaluated", "failed"]


def test_a_split_that_chose_the_checkpoint(tmp_path: Path) -> None:
    """Numbers on the split that chose the checkpoint are called too good."""
    runs = _seeds(tmp_path, "baseline", MANY, shard_set={"validate_on": "test"})
    assert _warned(_report(*runs), "The split test also chose the checkpoint of Baseline at 1x")


def test_a_split_that_chose_the_checkpoint_without_classes(tmp_path: Path) -> None:
    """What the validation split lacked is named with what chose; of what chose, being the loss, there is one curve."""
    lacking = {"validation_lacks": ["tumour"], "select_by": "loss", "chosen_by": "loss on val"}
    report = _report(*_seeds(tmp_path, "baseline", MANY, shard_set=lacking))
    assert _warned(
        report,
        "The checkpoint of Baseline at 1x was chosen by the loss on val, which has no sample of tumour",
    )
    charts = [block for section in report.sections for block in section.blocks if isinstance(block, Chart)]
    (chart,) = [chart for chart in charts if chart.name.startswith("curve")]
    lines = {series.label: [point.y for point in series.points] for series in chart.series}
    assert lines["validation"] == [1.5, 0.5]


def test_a_split_that_was_trained_on(tmp_path: Path) -> None:
    """Numbers on the split that was trained on are said to say nothing."""
    runs = _seeds(tmp_path, "baseline", MANY, shard_set={"train_on": ["train", "test"]})
    assert _warned(_report(*runs), "Baseline at 1x was trained on the split test")


def test_unlike_settings_of_methods(tmp_path: Path) -> None:
    """A student of another learning rate than its baseline is named with both; its seed and phase are not."""
    runs = [
        *_seeds(tmp_path, "baseline", MANY),
        *_seeds(tmp_path, "distill", MANY, settings={"lr": 0.01, "train_on": ["aux1"]}),
    ]
    assert _warned(
        _report(*runs), "KD (aux1) at 1x were trained with different settings (lr 0.001 against 0.01)"
    )


@pytest.mark.parametrize(("steps", "warned"), [(80, False), (125, False), (126, True), (79, True)])
def test_unlike_lengths_of_training(tmp_path: Path, steps: int, warned: bool) -> None:
    """What counts is not epochs but samples seen, steps times samples of a step: more than a quarter apart is said."""
    start = {"seconds": 1.0, "device": "cpu", "processes": 1, "threads": 1, "from_step": 0}
    runs = [
        write_run(
            tmp_path / phase,
            phase,
            1,
            MANY,
            settings={"accumulate": 32, "epochs": epochs},
            sessions=[{**start, "to_step": taken}],
        )
        for phase, epochs, taken in (("baseline", 20, 100), ("distill", 10, steps))
    ]
    report = _report(*runs)
    assert _warned(report, f"the baseline saw 3,200 samples, KD at 1x {32 * steps:,} (") is warned
    assert not _warned(report, "epochs 20")


def test_another_teacher(tmp_path: Path) -> None:
    """A student of a teacher that is not in the report is named; one of the teacher that is there is not."""
    teacher = write_run(tmp_path / "t", "teacher", 10, MANY)
    own = {"teacher": {"weights_sha256": sha256_of(teacher / "model.safetensors")}}
    known = write_run(tmp_path / "k", "distill", 1, MANY, shard_set=own)
    stranger = write_run(tmp_path / "s", "distill", 2, MANY)
    assert not _warned(_report(teacher, known), "learned from another teacher")
    assert _warned(_report(teacher, known, stranger), "KD at 2x learned from another teacher than the one")


def test_the_teacher_of_a_lower_magnification(tmp_path: Path) -> None:
    """With two teachers all are held against the higher one, and a student of the lower one is named."""
    write_run(tmp_path / "t10", "teacher", 10, MANY)
    lower = write_run(tmp_path / "t5", "teacher", 5, MANY)
    own = {"teacher": {"weights_sha256": sha256_of(lower / "model.safetensors")}}
    student = write_run(tmp_path / "s", "distill", 1, MANY, shard_set=own)
    report = _report(tmp_path / "t10", lower, student)
    assert _warned(
        report,
        "KD at 1x learned from another teacher than the one of this report that they are held against, "
        "Teacher at 10x",
    )


def test_another_shard_set(tmp_path: Path) -> None:
    """A run that was trained on another set than it was evaluated on is named."""
    runs = _seeds(tmp_path, "baseline", MANY, shard_set={"sha256": SHARD_SET[::-1].replace("a", "c")})
    assert _warned(_report(*runs), "Baseline at 1x was trained on another shard set")


def test_classes_that_are_absent_or_given_up(tmp_path: Path) -> None:
    """A class without samples, and a class that a run never predicts, are named."""
    alone = [one for one in MANY if one.label == 0]
    assert _warned(_report(*_seeds(tmp_path / "a", "baseline", alone)), "test has no sample of tumour")
    given_up = predictions([one.label == 0 for one in MANY])
    report = _report(*_seeds(tmp_path / "b", "baseline", given_up))
    assert _warned(report, "never predicts, so that their precision counts as 0: Baseline at 1x: tumour")


def test_samples_of_a_patient_drawn_one_by_one(tmp_path: Path) -> None:
    """Drawing samples where patients have several makes intervals too narrow, and is said to."""
    said = predictions(rights(120, 12), per_patient=2)
    assert _warned(_report(*_seeds(tmp_path, "baseline", said), unit="sample"), "Use --unit patient")


def test_equal_seeds_are_not_above() -> None:
    """A difference of rounding alone is no gain, and an undefined one neither."""
    difference = Estimate(value=0.01, low=None, high=None, by_seed=(1e-17, 0.02, -0.01, float("nan")))
    assert seeds_above(difference) == 1


def test_answer_names_gain_interval_and_cost(tmp_path: Path) -> None:
    """The first sentence has accuracy, the gain with its interval, the seeds it holds in, and the share of the cost."""
    runs = [
        write_run(tmp_path / "t", "teacher", 10, predictions(rights(60, 0))),
        *_seeds(tmp_path, "baseline", predictions(rights(60, 30))),
        *_seeds(tmp_path, "distill", predictions(rights(60, 6))),
    ]
    first, second = _report(*runs).answer
    assert first.startswith(
        "At 1x the student (KD) reaches 90.0 % accuracy (balanced accuracy 90.0 %, mean of 2 seeds): 40.0 points above "
        "the baseline (95 % interval +"
    )
    assert first.endswith("), above it in 2 of 2 seeds, at 1/100 of the teacher's computation.")
    assert second.startswith(
        "At 10x the teacher reaches 100.0 % accuracy (balanced accuracy 100.0 %); the student is"
    )
    assert "10.0 points below it" in second


def test_answer_is_about_the_cheapest_student(tmp_path: Path) -> None:
    """The first sentence is about the lowest magnification, though a higher one gains more; then all count."""
    runs = [
        write_run(tmp_path / "b1", "baseline", 1, predictions(rights(60, 6))),
        write_run(tmp_path / "s1", "distill", 1, predictions(rights(60, 30))),
        write_run(tmp_path / "b2", "baseline", 2, predictions(rights(60, 30))),
        write_run(tmp_path / "s2", "distill", 2, predictions(rights(60, 6))),
    ]
    first, tally = _report(*runs).answer
    assert "At 1x the student (KD)" in first
    assert "40.0 points below the baseline" in first
    assert tally == (
        "Of 2 comparisons of a student with the baseline of its magnification, the student is better in 1 and worse in "
        "1, by an interval that leaves out 0; undecided: 0."
    )


def test_answer_has_no_brackets_in_brackets(tmp_path: Path) -> None:
    """A student's label stands in brackets, unless it has some itself."""
    run = write_run(tmp_path / "s", "distill", 1, MANY, settings={"train_on": ["aux1"]})
    (said,) = _report(run).answer
    assert said.startswith("At 1x the student KD (aux1) reaches 80.0 %")


def test_answer_without_a_student(tmp_path: Path) -> None:
    """A teacher alone has a sentence of its own."""
    (said,) = _report(write_run(tmp_path / "t", "teacher", 10, MANY)).answer
    assert said == "At 10x the teacher reaches 80.0 % accuracy (balanced accuracy 80.0 %)."


@pytest.mark.parametrize(
    ("value", "low", "high", "text"),
    [
        (0.013, 0.002, 0.025, "1.3 points above the baseline (95 % interval +0.2 to +2.5)"),
        (-0.013, -0.025, -0.002, "1.3 points below the baseline (95 % interval -2.5 to -0.2)"),
        (
            0.013,
            -0.002,
            0.025,
            "1.3 points above the baseline (95 % interval -0.2 to +2.5: it holds 0, so these patients do not tell the "
            "two apart)",
        ),
        (0.0, None, None, "level with the baseline (no interval: too few patients)"),
        (None, None, None, "not comparable with the baseline"),
    ],
)
def test_a_difference_in_words(value: float | None, low: float | None, high: float | None, text: str) -> None:
    """A difference is above, below or level, and an interval that holds 0 is said to settle nothing."""
    found = Estimate(value=value, low=low, high=high, by_seed=())
    assert against(found, "the baseline", "patient") == text


def test_probabilities_of_before_calibrating_or_of_the_split_itself_are_said(tmp_path: Path) -> None:
    """Calibrated after the evaluation, or on the split that is reported; once it is measured anew, nothing is said."""
    run = write_run(tmp_path / "run", "baseline", 1, MANY)
    metrics = run / "evaluation-test" / "metrics.json"
    content = json.loads(metrics.read_text())
    measures = Fitted(log_loss=1.0, ece=0.0, brier=0.0)
    calibration = Calibration(
        temperature=2.0,
        split="test",
        samples=60,
        patients=60,
        class_counts={"benign": 30, "tumour": 30},
        before=measures,
        after=measures,
        weights_sha256=content["weights_sha256"],
        shard_set_sha256=SHARD_SET,
        trained_on_sha256=SHARD_SET,
    )
    write_calibration(run, calibration)
    assert _warned(_report(run), "Baseline at 1x: calibrated after the evaluation on test, so the")
    measured = write_run(tmp_path / "measured", "baseline", 1, MANY, temperature=2.0)
    assert not _warned(_report(measured), "calibrated after")
    metrics = measured / "evaluation-test" / "metrics.json"
    content = json.loads(metrics.read_text()) | {"calibration": {"fitted_on_this_split": True}}
    metrics.write_text(json.dumps(content))
    assert _warned(
        _report(measured), "temperature of Baseline at 1x was fitted on the split test that is reported"
    )


def test_students_of_two_strides_are_no_mean(tmp_path: Path) -> None:
    """Settings left the stride to a rule that came later: one network has 32, the other 8."""
    runs = [
        write_run(tmp_path / f"kd{seed}", "distill", 1, MANY, seed=seed, network={"output_stride": stride})
        for seed, stride in ((0, 32), (1, 8))
    ]
    with pytest.raises(UsageError, match="output_stride 32 against 8"):
        _report(*runs)
