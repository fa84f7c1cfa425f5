"""What a report says of probabilities: measures before and after, said and seen, accuracy of the surest answers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from fixtures.report_runs import predictions, rights, write_run
from kdtrain.evaluation.predictions import Prediction, items_at
from kdtrain.evaluation.record import evaluate_predictions, outcomes_of
from kdtrain.report.build import build_report
from kdtrain.report.model import Chart, Report, Row
from kdtrain.report.runs.collect import collect
from kdtrain.report.runs.probabilities import SHARES
from kdtrain.report.runs.results import Results, results_of

DRAWS = 100


def _report(*runs: Path) -> Report:
    return build_report([str(run) for run in runs], iterations=DRAWS)


def _results(*runs: Path) -> Results:
    collection = collect([str(run) for run in runs], split=None, shards=None)
    return results_of(collection, unit="patient", iterations=DRAWS, seed=0)


def _rows(report: Report, name: str) -> tuple[tuple[str, ...], dict[str, Row]]:
    table = next(table for table in report.tables() if table.name == name)
    return table.columns, {row.heading: row for row in table.rows}


def _chart(report: Report, name: str) -> Chart:
    blocks = [block for section in report.sections for block in section.blocks]
    return next(block for block in blocks if isinstance(block, Chart) and block.name == name)


def _sure(shares: list[tuple[float, bool]]) -> list[Prediction]:
    """A patient for each: said with a probability, and right or not; the classes in turn."""
    return [
        Prediction(
            key=f"k{number:03}",
            slide=f"s{number:03}",
            patient=f"p{number:03}",
            label=(label := number % 2),
            probabilities=(share, 1 - share) if (label == 0) == right else (1 - share, share),
        )
        for number, (share, right) in enumerate(shares)
    ]


TEN = _sure([(0.95, True)] * 4 + [(0.8, True), (0.8, False)] + [(0.6, True)] * 2 + [(0.6, False)] * 2)
"""Surest first, 4 of 4 are right; then 1 of 2; then 2 of 4: 7 of 10 in all."""


def test_the_surest_are_right_more_often(tmp_path: Path) -> None:
    """Of 10 samples 70 %; of the surest 5, 4 and a half of a tie of which half is right, 90 %; of the surest 4 all."""
    run = write_run(tmp_path / "run", "baseline", 2.5, TEN)
    found = _results(run)
    group = found.groups[0]
    answered = dict(zip(SHARES, found.probabilities[group.method, group.magnification].answered, strict=True))
    assert answered[1.0].value == pytest.approx(0.7)
    assert answered[0.5].value == pytest.approx(0.9)
    assert answered[0.4].value == pytest.approx(1.0)
    assert answered[1.0].low is not None
    columns, rows = _rows(_report(run), "answered")
    cell = rows["Baseline at 2.5x"].cells[columns.index("50 %")]
    assert cell.text.startswith("90.0 (")
    (series,) = _chart(_report(run), "abstention-2-5x").series
    assert (series.points[-1].x, series.points[-1].y) == pytest.approx((100, 70))


def test_said_and_seen_are_bins_of_as_many_samples(tmp_path: Path) -> None:
    """Of 60 samples said 60, 80 and 95 %, 10, 15 and 19 of 20 are right; intervals, and the diagonal beside them."""
    said = _sure(
        [
            (share, number < right)
            for share, right in ((0.95, 19), (0.6, 10), (0.8, 15))
            for number in range(20)
        ]
    )
    chart = _chart(
        _report(write_run(tmp_path / "run", "baseline", 2.5, said)), "reliability-baseline-at-2-5x"
    )
    seen, guide = chart.series
    points = [(point.x, point.y) for point in seen.points]
    assert points == [pytest.approx(pair) for pair in ((60, 50), (80, 75), (95, 95))]
    assert all(point.low is not None and point.low < point.y for point in seen.points)
    assert guide.guide
    assert [(point.x, point.y) for point in guide.points] == [(50, 50), (100, 100)]
    assert chart.caption == "Each point is of about 20 tissue samples; the whiskers are 95 % intervals."


def test_a_tie_is_one_point(tmp_path: Path) -> None:
    """Sixty samples of one probability are no three bins of it."""
    said = _sure([(0.75, number % 4 > 0) for number in range(60)])
    chart = _chart(
        _report(write_run(tmp_path / "run", "baseline", 2.5, said)), "reliability-baseline-at-2-5x"
    )
    assert [(point.x, point.y) for point in chart.series[0].points] == [pytest.approx((75, 75))]


def test_measures_are_those_of_evaluate(tmp_path: Path) -> None:
    """Of a single run, value and interval are metrics.json's, before and after, and chance beside them."""
    said = predictions(rights(40, 12), per_patient=2)
    run = write_run(tmp_path / "run", "baseline", 2.5, said, temperature=2.0, iterations=DRAWS)
    level = evaluate_predictions(said, ("benign", "tumour"), iterations=DRAWS, temperature=2.0)["levels"][
        "sample"
    ]
    report = _report(run)
    columns, rows = _rows(report, "calibration-error")
    errors = rows["Baseline at 2.5x"].cells
    assert columns == ("T", "before", "after", "by chance")
    assert errors[0].text == "2.00"
    columns, rows = _rows(report, "probability-scores")
    scores = rows["Baseline at 2.5x"].cells
    assert columns == ("before", "after", "before", "after")
    before = level["before_calibration"]
    assert before is not None
    for cell, record, name, scale in (
        (errors[1], before, "ece", 100),
        (errors[2], level["probabilities"], "ece", 100),
        (scores[1], level["probabilities"], "brier", 1),
        (scores[2], before, "log_loss", 1),
    ):
        one = record[name]  # type: ignore[literal-required]
        expected = tuple(scale * one[end] for end in ("value", "low", "high"))
        assert (cell.value, cell.low, cell.high) == pytest.approx(expected)
    by_chance = level["probabilities"]["ece_by_chance"]
    assert by_chance is not None
    assert errors[3].value == pytest.approx(100 * by_chance["mean"])


def test_calibrated_and_uncalibrated_methods_stand_side_by_side(tmp_path: Path) -> None:
    """A dash where there is nothing after; without any calibration one column each, and the command to run."""
    said = predictions(rights(40, 12))
    plain = write_run(tmp_path / "a", "baseline", 2.5, said)
    warm = write_run(tmp_path / "b", "distill", 2.5, said, temperature=2.0)
    _, rows = _rows(_report(plain, warm), "calibration-error")
    baseline, student = rows["Baseline at 2.5x"].cells, rows["KD at 2.5x"].cells
    assert [baseline[k].text for k in (0, 2)] == ["–", "–"]
    assert baseline[1].value == pytest.approx(student[1].value)
    report = _report(plain)
    assert _rows(report, "calibration-error")[0] == ("ECE", "by chance")
    assert _rows(report, "probability-scores")[0] == ("Brier score", "Log-loss")
    assert "'kdtrain calibrate RUN' may make it less" in str(report.tables())


def test_a_temperature_moves_no_number_by_sample_and_patients_are_as_answered(tmp_path: Path) -> None:
    """The paper's tables are the same to the last digit; by patient the means are of calibrated probabilities."""
    shares = [(0.99, True), (0.6, False), (0.6, False)] * 20
    said = [
        Prediction(
            key=f"k{number:03}",
            slide=f"s{number // 3:03}",
            patient=f"p{number // 3:03}",
            label=(label := number // 3 % 2),
            probabilities=(share, 1 - share) if (label == 0) == right else (1 - share, share),
        )
        for number, (share, right) in enumerate(shares)
    ]
    plain, cool = (
        _results(write_run(tmp_path / name, "baseline", 2.5, said, temperature=temperature))
        for name, temperature in (("a", None), ("b", 0.05))
    )
    key = ("Baseline", 2.5)
    assert plain.samples[key].values == cool.samples[key].values
    assert float(plain.patients[key].values["plain_accuracy"][0]) == 1
    assert float(cool.patients[key].values["plain_accuracy"][0]) == 0
    outcomes = outcomes_of(items_at("patient", said, 0.05), "patient")
    assert (outcomes.predicted != outcomes.labels).all()


def test_seeds_are_averaged_and_one_patient_has_no_interval(tmp_path: Path) -> None:
    """Two seeds that are right in 7 and 9 of 10: 80 %; of a single patient nothing is said of others."""
    better = _sure([(0.95, True)] * 9 + [(0.6, False)])
    runs = [
        write_run(tmp_path / f"{seed}", "baseline", 2.5, said, seed=seed)
        for seed, said in enumerate((TEN, better))
    ]
    columns, rows = _rows(_report(*runs), "answered")
    cell = rows["Baseline at 2.5x"].cells[columns.index("100 %")]
    assert cell.value == pytest.approx(80)
    assert cell.seeds == 2
    alone = [Prediction(**{**vars(one), "patient": "p"}) for one in TEN]
    _, rows = _rows(_report(write_run(tmp_path / "alone", "baseline", 2.5, alone)), "calibration-error")
    assert all(cell.low is None for cell in rows["Baseline at 2.5x"].cells)


def test_a_temperature_of_the_reported_samples_is_said_once(tmp_path: Path) -> None:
    """What was made for them looks better on them; the page says so among its warnings, and in no other place."""
    run = write_run(tmp_path / "run", "baseline", 2.5, TEN, temperature=2.0)
    assert "was fitted on" not in str(_report(run))
    path = run / "evaluation-test" / "metrics.json"
    path.write_text(
        json.dumps(json.loads(path.read_text()) | {"calibration": {"fitted_on_this_split": True}})
    )
    report = _report(run)
    assert str(report).count("fitted on") == 1
    (warning,) = [text for text in report.warnings if "fitted on" in text]
    assert warning.startswith(
        "The temperature of Baseline at 2.5x was fitted on the split test that is reported"
    )
