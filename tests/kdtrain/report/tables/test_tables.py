"""The numbers of a report: those of evaluate and compare, means over seeds, bold, and what stands beside them."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fixtures.report_runs import predictions, rights, write_run, write_sweep
from fixtures.shard_sets import write_set
from kdtrain.errors import UsageError
from kdtrain.evaluation.compare import compare
from kdtrain.report.build import build_report
from kdtrain.report.files.csv import LONG_COLUMNS, table_csv
from kdtrain.report.model import Cell, Chart, Confusion, Paragraph, Report, Row, Table
from kdtrain.report.runs.run import thinned
from kdtrain.report.runs.scoring import Estimate
from kdtrain.report.tables.cells import difference_cell, digits_for, percent, with_best
from kdtrain.report.tables.cost import ratio_text
from kdtrain.shards.index import read_index

DRAWS = 200


def _report(*runs: object, **options: Any) -> Report:
    return build_report([str(run) for run in runs], iterations=DRAWS, **options)


def _table(report: Report, name: str) -> Table:
    return next(table for table in report.tables() if table.name == name)


def _rows(table: Table) -> dict[tuple[str, str], Row]:
    """By (title row, heading)."""
    rows, part = {}, ""
    for row in table.rows:
        part = part if row.cells else row.heading
        rows[part, row.heading] = row
    return rows


def _cell(report: Report, name: str, part: str, heading: str, column: str) -> Cell:
    table = _table(report, name)
    return _rows(table)[part, heading].cells[table.columns.index(column)]


def _blocks(report: Report, section: str) -> Sequence[Any]:
    return next((one.blocks for one in report.sections if one.name == section), ())


def _pair(folder: Path) -> tuple[Path, Path]:
    """A baseline with 8 and a student with 4 of 40 samples wrong, two samples a patient."""
    baseline = write_run(folder / "b", "baseline", 1, predictions(rights(40, 8), per_patient=2))
    student = write_run(folder / "s", "distill", 1, predictions(rights(40, 4)[::-1], per_patient=2))
    return baseline, student


def test_one_seed_is_what_evaluate_measured(tmp_path: Path) -> None:
    """Value and interval of a single run are those of metrics.json, for every metric of the table of all methods."""
    baseline, student = _pair(tmp_path)
    report = _report(baseline, student)
    measured = json.loads((student / "evaluation-test/metrics.json").read_text())["levels"]["sample"]
    expected = {
        "Accuracy": measured["macro"]["accuracy"],
        "F1-score": measured["macro"]["f1"],
        "Precision": measured["macro"]["precision"],
        "Recall (balanced accuracy)": measured["balanced_accuracy"],
        "ROC AUC": measured["macro"]["auc"],
        "Plain accuracy": measured["plain_accuracy"],
    }
    for heading, record in expected.items():
        cell = _cell(report, "all-methods", "1x", heading, "KD")
        assert [cell.value, cell.low, cell.high] == pytest.approx(
            [100 * record[name] for name in ("value", "low", "high")]
        )


def test_patients_are_what_evaluate_measured(tmp_path: Path) -> None:
    """The table by patient holds the patient level of metrics.json."""
    baseline, student = _pair(tmp_path)
    measured = json.loads((baseline / "evaluation-test/metrics.json").read_text())["levels"]["patient"]
    cell = _cell(_report(baseline, student), "patients", "", "Baseline at 1x", "Balanced accuracy")
    assert cell.value == pytest.approx(100 * measured["balanced_accuracy"]["value"])
    assert cell.low == pytest.approx(100 * measured["balanced_accuracy"]["low"])


def test_patients_of_several_labels_have_no_table(tmp_path: Path) -> None:
    """Where every patient has samples of both classes none is left to score by patient, and the rest is reported."""
    said = [replace(one, slide="s", patient="p") for one in predictions(rights(8, 2))]
    report = _report(write_run(tmp_path / "b", "baseline", 1, said))
    assert "patients" not in [table.name for table in report.tables()]
    # One patient is no draw: a number without an interval.
    assert _cell(report, "all-methods", "1x", "Plain accuracy", "Baseline").text == "75.0"


def test_two_seeds_are_averaged(tmp_path: Path) -> None:
    """10 % and 30 % wrong make 80 % accuracy, with a spread of 14.1 points around it."""
    runs = [
        write_run(tmp_path / f"b{seed}", "baseline", 1, predictions(rights(40, wrong)), seed=seed)
        for seed, wrong in enumerate((4, 12))
    ]
    cell = _cell(_report(*runs), "all-methods", "1x", "Plain accuracy", "Baseline")
    assert cell.value == pytest.approx(80)
    assert cell.note == "±14.1 over 2 seeds"
    assert cell.seeds == 2


def test_the_interval_of_a_mean_is_of_means_on_the_same_draws(tmp_path: Path) -> None:
    """Two seeds that are wrong on complementary halves are right on half of every draw: an interval of no width."""
    first = rights(40, 20)
    runs = [
        write_run(tmp_path / "0", "baseline", 1, predictions(first), seed=0),
        write_run(tmp_path / "1", "baseline", 1, predictions([not yes for yes in first]), seed=1),
    ]
    cell = _cell(_report(*runs), "all-methods", "1x", "Plain accuracy", "Baseline")
    assert cell.text == "50.0 (50.0-50.0)"


def test_differences_are_those_of_compare(tmp_path: Path) -> None:
    """The paired difference of two runs and its interval are what 'kdtrain compare' says."""
    baseline, student = _pair(tmp_path)
    found = compare(baseline, student, "test", iterations=DRAWS).levels["sample"].metrics
    report = _report(baseline, student)
    titles = {"macro_accuracy": "Accuracy", "macro_f1": "F1-score", "macro_auc": "ROC AUC"}
    for metric, title in {**titles, "balanced_accuracy": "Balanced accuracy"}.items():
        cell = _cell(report, "differences-baseline", "1x", "KD", title)
        expected = [found[metric].difference, found[metric].low, found[metric].high]
        assert [cell.value, cell.low, cell.high] == pytest.approx([100 * (v or 0) for v in expected])


def test_differences_to_the_teacher(tmp_path: Path) -> None:
    """With a teacher there is a second table; 10 % wrong is 10 points below none wrong, in bold."""
    teacher = write_run(tmp_path / "t", "teacher", 10, predictions(rights(40, 0)))
    student = write_run(tmp_path / "s", "distill", 1, predictions(rights(40, 4)))
    report = _report(teacher, student)
    assert _table(report, "differences-teacher").title == "Differences to the teacher at 10x"
    cell = _cell(report, "differences-teacher", "1x", "KD", "Accuracy")
    assert cell.value == pytest.approx(-10)
    assert cell.best


def test_a_baseline_is_not_compared_with_itself(tmp_path: Path) -> None:
    """The differences to the baseline have a row per other method, and are left out where there is none."""
    baseline, student = _pair(tmp_path)
    table = _table(_report(baseline, student), "differences-baseline")
    assert [row.heading for row in table.rows] == ["1x", "KD"]
    assert all("differences" not in table.name for table in _report(baseline).tables())


@pytest.mark.parametrize(
    ("values", "best"),
    [
        ([80.0, 90.0, 70.0], [False, True, False]),
        ([90.0, 90.004, 70.0], [True, True, False]),
        ([90.0, None, None], [False, False, False]),
        ([None, 80.0, 90.0], [False, False, True]),
    ],
)
def test_the_best_is_bold(values: list[float | None], best: list[bool]) -> None:
    """The highest number shown is bold, all that show it are, and a number alone in its row is not."""
    cells = [Cell(text="", value=value) for value in values]
    assert [cell.best for cell in with_best(cells, digits=2)] == best


@pytest.mark.parametrize(
    ("low", "high", "bold"),
    [(0.01, 0.02, True), (-0.02, -0.01, True), (-0.01, 0.02, False), (None, None, False)],
)
def test_a_difference_is_bold_where_zero_is_out(low: float | None, high: float | None, bold: bool) -> None:
    """A difference is bold where its interval lies on one side of 0, whichever it is."""
    assert difference_cell(Estimate(value=0.01, low=low, high=high, by_seed=(0.01,)), 1).best is bold


def test_digits_and_signs() -> None:
    """Two decimals from 100 items on, one below; a difference that rounds to nothing has no minus."""
    assert (digits_for(99), digits_for(100)) == (1, 2)
    assert percent(0.84034, 2) == "84.03"
    assert percent(-0.00001, 1, "+") == "+0.0"
    assert percent(None, 1) == percent(float("nan"), 1) == "–"


def test_the_papers_numbers_stand_beside(tmp_path: Path) -> None:
    """A sweep's paper numbers are in the cells of their method, magnification and metric, and in no other."""
    write_run(tmp_path / "b", "baseline", 1.25, predictions(rights(8, 2)))
    entry = {"name": "b", "folder": "b", "method": "Baseline", "magnification": 1.25, "seed": 0}
    paper = {"Baseline": {"1.25": {"f1": "65.06 (61.55-68.43)"}, "2.5": {"f1": "68.32"}}}
    report = _report(write_sweep(tmp_path, [entry], paper=paper, paper_source="Table 4"))
    papers = {row.heading: row.cells[0].paper for row in _table(report, "all-methods").rows if row.cells}
    assert papers.pop("F1-score") == "65.06 (61.55-68.43)"
    assert set(papers.values()) == {""}
    assert "the paper's numbers (Table 4)" in _table(report, "all-methods").caption


def test_every_seed_by_itself(tmp_path: Path) -> None:
    """The table of seeds has each seed's number, their mean, spread and range; a seed that was not run is a dash."""
    runs = [
        write_run(tmp_path / f"b{seed}", "baseline", 1, predictions(rights(40, wrong)), seed=seed)
        for seed, wrong in ((0, 4), (2, 12))
    ]
    runs.append(write_run(tmp_path / "s", "distill", 1, predictions(rights(40, 0)), seed=1))
    table = _table(_report(*runs), "seeds-accuracy")
    assert table.columns == ("seed 0", "seed 1", "seed 2", "mean", "SD", "min", "max")
    texts = {row.heading: [cell.text for cell in row.cells] for row in table.rows}
    assert texts["Baseline at 1x"] == ["90.0", "–", "70.0", "80.0", "14.1", "70.0", "90.0"]
    assert texts["KD at 1x"] == ["–", "100.0", "–", "100.0", "–", "100.0", "100.0"]


def test_counts_of_the_data(tmp_path: Path) -> None:
    """The counts are of every class of labelled splits, all samples of unlabelled ones, and sums up the sets."""
    shards = write_set(
        tmp_path / "shards",
        {"train": [3], "test": [2], "aux1": [2], "more": [1]},
        unlabelled=["aux1", "more"],
        sets={"aux2": ["aux1", "more"]},
    )
    sha256, classes = read_index(shards).sha256, read_index(shards).document.classes
    said = predictions(rights(8, 2))
    run = write_run(tmp_path / "b", "baseline", 1, said, evaluated_on=sha256)
    table = _table(_report(run, shards=shards), "counts")
    assert table.columns == ("train", "test", "aux1", "more", "aux2")
    texts = {row.heading: [cell.text for cell in row.cells] for row in table.rows}
    assert texts[classes[0]] == ["2", "1", "–", "–", "–"]
    assert texts["All samples"] == ["3", "2", "2", "1", "3"]
    assert texts["Patients"] == ["3", "2", "2", "1", "3"]


def test_another_shard_set_is_refused(tmp_path: Path) -> None:
    """--shards of another set than the runs were evaluated on is refused; without it the page says it was not found."""
    shards = write_set(tmp_path / "shards", {"train": [2], "test": [2]})
    run = write_run(tmp_path / "b", "baseline", 1, predictions(rights(8, 2)))
    with pytest.raises(UsageError, match="the runs were evaluated on aaaaaaaaaaaa"):
        _report(run, shards=shards)
    with pytest.raises(UsageError, match="is no folder"):
        _report(run, shards=tmp_path / "absent")
    (said,) = _blocks(_report(run), "data")
    assert isinstance(said, Paragraph)
    assert "pass its folder as --shards" in said.text


def test_accuracy_against_cost(tmp_path: Path) -> None:
    """Accuracy against cost has a line per method over the GFLOPs, on a log axis; the teacher is the reference."""
    said = predictions(rights(40, 4))
    runs = [
        write_run(tmp_path / "t", "teacher", 10, predictions(rights(40, 0))),
        write_run(tmp_path / "s2", "distill", 2, said),
        write_run(tmp_path / "s1", "distill", 1, said),
    ]
    (chart,) = _blocks(_report(*runs), "accuracy-cost")
    assert isinstance(chart, Chart)
    assert chart.x_log
    teacher, student = chart.series
    assert (teacher.reference, student.reference) == (True, False)
    assert [(point.x, point.label) for point in student.points] == [(1, "1x"), (4, "2x")]
    assert [point.y for point in student.points] == pytest.approx([90, 90])


def test_resizes_are_drawn_where_they_differ(tmp_path: Path) -> None:
    """The figures by resize are there for students of different resizes, and not for students of one."""
    said = predictions(rights(40, 4))
    both = write_run(tmp_path / "a", "distill", 1, said)
    pool = write_run(tmp_path / "b", "distill", 1, said, settings={"resize": "maxpool"})
    accuracy, f1 = _blocks(_report(both, pool), "ablation")
    assert [series.label for series in accuracy.series] == ["KD", "KD+MP"]
    assert (accuracy.kind, f1.y_title) == ("bars", "F1-score, %")
    assert _blocks(_report(both), "ablation") == ()


def test_both_losses_of_a_phase_are_in_one_figure(tmp_path: Path) -> None:
    """The mean training loss of each epoch, counted from 1, the validation loss after it, and what was kept of them."""
    _, losses, chosen = _blocks(_report(_pair(tmp_path)[0]), "curves")
    lines = {series.label: [(point.x, point.y) for point in series.points] for series in losses.series}
    assert lines == {
        "training": [(1, 2.0), (2, 0.5)],
        "validation": [(1, 1.5), (2, 0.5)],
        "kept": [(2, 0.5)],
    }
    assert losses.title == "Baseline at 1x: training and validation loss"
    assert chosen.title == "Baseline at 1x: validation accuracy"
    assert [(point.x, point.y) for point in chosen.series[0].points] == [(1, 0.5), (2, 0.75)]


def test_seeds_share_the_look_of_their_loss(tmp_path: Path) -> None:
    """Of two seeds there are four lines of two looks, and the legend has each look once."""
    said = predictions(rights(40, 4))
    runs = [write_run(tmp_path / f"{seed}", "baseline", 1, said, seed=seed) for seed in range(2)]
    losses = _blocks(_report(*runs), "curves")[1]
    assert [(one.label, one.looks_as, one.listed) for one in losses.series] == [
        ("training", "", True),
        ("training, seed 1", "training", False),
        ("validation", "", True),
        ("validation, seed 1", "validation", False),
        ("kept", "", True),
    ]


def test_without_validation_there_is_the_training_loss_alone(tmp_path: Path) -> None:
    """A run that validated on nothing has one line, and its title promises no other."""
    run = _pair(tmp_path)[0]
    log = (run / "log.jsonl").read_text().splitlines()
    (run / "log.jsonl").write_text("\n".join(line for line in log if "validation" not in line))
    _, losses = _blocks(_report(run), "curves")
    assert [series.label for series in losses.series] == ["training"]
    assert losses.title == "Baseline at 1x: training loss"


def test_damaged_lines_of_a_log_are_passed_over(tmp_path: Path) -> None:
    """Whatever stands in a log that is no whole entry is left out of the curves, and stops nothing."""
    run = _pair(tmp_path)[0]
    with (run / "log.jsonl").open("ab") as file:
        file.write(
            b'5\nnull\n[]\n{"kind": "step"}\n{"kind": "validation", "epoch": 2, "accuracy": null}\n\xff{\n'
        )
    _, loss, chosen = _blocks(_report(run), "curves")
    assert [len(chart.series[0].points) for chart in (loss, chosen)] == [2, 2]


def test_long_curves_are_thinned() -> None:
    """A curve of more points than asked for is averaged in equal parts: its mean stays."""
    found = thinned([(float(x), 2.0 * x) for x in range(1, 9)], at_most=4)
    assert found == ((1.5, 3.0), (3.5, 7.0), (5.5, 11.0), (7.5, 15.0))


def test_confusion_is_summed_over_seeds(tmp_path: Path) -> None:
    """Two seeds of 8 samples make 16: true classes in the rows, and the caption says that they are summed."""
    runs = [
        write_run(tmp_path / f"b{seed}", "baseline", 1, predictions(rights(8, seed)), seed=seed)
        for seed in range(2)
    ]
    (matrix,) = _blocks(_report(*runs), "confusion")
    assert isinstance(matrix, Confusion)
    assert matrix.counts == ((7, 1), (0, 8))
    assert "8 in all, summed over 2 seeds" in matrix.caption


def test_cost_of_training_and_of_a_pass(tmp_path: Path) -> None:
    """Device-hours are all starts of a run times their processes; none kept is a dash; sums are by device."""
    start = {"device": "cpu", "processes": 2, "threads": 1, "from_step": 0, "to_step": 3}
    said = predictions(rights(8, 2))
    teacher = write_run(
        tmp_path / "t",
        "teacher",
        10,
        said,
        sessions=[{**start, "seconds": 1800.0}, {**start, "seconds": 1800.0}],
    )
    baseline = write_run(tmp_path / "b", "baseline", 1, said)
    table = _table(_report(teacher, baseline), "cost")
    texts = {Path(row.heading).name: dict(zip(table.columns, row.cells, strict=True)) for row in table.rows}
    assert texts["t"]["Device-hours"].value == 2
    assert texts["t"]["Device"].text == "2 × cpu"
    assert texts["b"]["Device-hours"].text == "–"
    assert texts["b"]["of the teacher's"].text == "1/100"
    assert texts["b"]["Parameters"].text == "10"
    assert texts["all runs on cpu"]["Device-hours"].value == 2


@pytest.mark.parametrize(
    ("ratio", "text"),
    [(1 / 256, "1/256"), (0.103, "1/10"), (0.25, "1/4"), (0.4, "1/2.5"), (0.75, "0.75"), (1.0, "1")],
)
def test_shares_of_the_teachers_cost(ratio: float, text: str) -> None:
    """A share is a fraction of one, never further off than a twentieth: two fifths are not called a half."""
    assert ratio_text(ratio) == text


def test_one_teacher_of_all_seeds_is_said(tmp_path: Path) -> None:
    """The spread over seeds of students of one teacher leaves that teacher's chance out, and says so."""
    teachers = {"one": ("c", "c"), "two": ("c", "d")}
    for name, of in teachers.items():
        runs = [
            write_run(
                tmp_path / name / str(seed),
                "distill",
                1,
                predictions(rights(8, 2)),
                seed=seed,
                shard_set={"teacher": {"weights_sha256": of[seed] * 64}},
            )
            for seed in range(2)
        ]
        caption = _table(_report(*runs), "seeds-accuracy").caption
        assert ("All students learned from one teacher" in caption) is (name == "one")


def test_settings_are_told_apart(tmp_path: Path) -> None:
    """What all runs share stands once; what differs stands by run, with the hash of its weights."""
    report = _report(*_pair(tmp_path))
    shared = {row.heading: row.cells[0].text for row in _table(report, "settings-shared").rows}
    own = _table(report, "settings")
    assert (shared["epochs"], shared["lr"]) == ("3", "0.001")
    assert "phase" not in shared
    assert "phase" in own.columns
    assert own.columns[-1] == "weights sha256"
    assert len({row.cells[-1].text for row in own.rows}) == 2


def test_long_csv_has_every_number(tmp_path: Path) -> None:
    """A row per cell: under which title row and column it stands, and its numbers so that they read back exactly."""
    report = _report(*_pair(tmp_path))
    table = _table(report, "all-methods")
    lines = list(csv.DictReader(table_csv(table).splitlines()))
    assert tuple(lines[0]) == LONG_COLUMNS
    assert len(lines) == sum(len(row.cells) for row in table.rows)
    (line,) = (one for one in lines if (one["row"], one["column"]) == ("Accuracy", "KD"))
    cell = _cell(report, "all-methods", "1x", "Accuracy", "KD")
    assert (line["part"], line["text"], line["seeds"]) == ("1x", cell.text, "1")
    assert (float(line["value"]), float(line["low"])) == (cell.value, cell.low)
