"""Every class by itself: the numbers of evaluate, what a class without them shows, and what many networks become."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from fixtures.report_runs import predictions, rights, write_run
from kdtrain.evaluation.predictions import Prediction
from kdtrain.report.build import build_report
from kdtrain.report.model import Chart, Report, Row, Section, Table

DRAWS = 200
THREE = ("benign", "tumour", "other")


def _report(*runs: Path) -> Report:
    return build_report([str(run) for run in runs], iterations=DRAWS)


def _table(report: Report, name: str = "classes-metrics") -> Table:
    return next(table for table in report.tables() if table.name == name)


def _rows(table: Table, network: str) -> dict[str, Row]:
    """Rows of a network, by class."""
    start = next(k for k, row in enumerate(table.rows) if row.heading == network)
    found: dict[str, Row] = {}
    for row in table.rows[start + 1 :]:
        if not row.cells:
            break
        found[row.heading] = row
    return found


def _section(report: Report, name: str) -> Section:
    return next(section for section in report.sections if section.name == name)


def _said(rows: list[tuple[int, int]], classes: int = 3) -> list[Prediction]:
    """A patient for each (class, answer), surer of the answer the later it comes."""
    found = []
    for number, (label, answer) in enumerate(rows):
        share = 0.6 + 0.01 * number
        rest = (1 - share) / (classes - 1)
        shares = tuple(share if k == answer else rest for k in range(classes))
        found.append(
            Prediction(
                key=f"k{number:03}",
                slide=f"s{number}",
                patient=f"p{number}",
                label=label,
                probabilities=shares,
            )
        )
    return found


def test_a_class_is_what_evaluate_measured(tmp_path: Path) -> None:
    """Precision, recall, F1 and area of each class have the values and intervals of metrics.json, and its samples."""
    run = write_run(tmp_path / "b", "baseline", 2.5, predictions(rights(40, 9), per_patient=2))
    level = json.loads((run / "evaluation-test/metrics.json").read_text())["levels"]["sample"]
    table = _table(_report(run))
    assert table.columns == ("Precision", "Recall", "F1-score", "ROC AUC", "AP", "Samples")
    rows = _rows(table, "Baseline at 2.5x")
    for label in ("benign", "tumour"):
        measured = level["per_class"][label]
        for cell, name in zip(rows[label].cells, ("precision", "recall", "f1", "auc"), strict=False):
            wanted = [100 * measured[name][end] for end in ("value", "low", "high")]
            assert [cell.value, cell.low, cell.high] == pytest.approx(wanted)
        assert (rows[label].cells[-1].text, rows[label].cells[-1].note) == ("20", "10 patients")
    mean = rows["mean of the classes"].cells
    assert mean[1].value == pytest.approx(100 * level["balanced_accuracy"]["value"])
    assert mean[-1].text == "40"


def test_what_a_class_has_not_is_a_dash(tmp_path: Path) -> None:
    """A class without samples has no numbers; one that is never answered says so; one of a patient has no interval."""
    rows = [(0, 0), (0, 0), (0, 1), (1, 0)]
    run = write_run(tmp_path / "b", "baseline", 1, _said(rows), classes=THREE)
    table = _table(_report(run))
    found = _rows(table, "Baseline at 1x")
    assert [cell.text for cell in found["other"].cells] == ["–"] * 5 + ["0"]
    tumour = found["tumour"].cells
    assert [cell.low for cell in tumour] == [None] * 6
    assert "No interval where a class is of one patient alone: tumour." in table.caption
    never = write_run(tmp_path / "n", "baseline", 1, _said([(0, 0), (0, 0), (1, 0), (1, 0)]), classes=THREE)
    cell = _rows(_table(_report(never)), "Baseline at 1x")["tumour"].cells[0]
    assert (cell.value, cell.note) == (0, "never answered")


def test_of_many_networks_one_and_those_beside_it_come_first(tmp_path: Path) -> None:
    """Of 9 networks of 3 classes the student stands with teacher and baseline, and all in a folded section."""
    said = _said([(k % 3, k % 2) for k in range(6)])
    more: dict[str, Any] = {"classes": THREE, "iterations": 2}
    runs = [write_run(tmp_path / "t", "teacher", 10, said, **more)]
    runs += [
        write_run(tmp_path / f"{phase}{m}", phase, m, said, **more)
        for phase in ("baseline", "distill")
        for m in (1, 2, 3, 4)
    ]
    report = build_report([str(run) for run in runs], iterations=2)
    titles = [row.heading for row in _table(report).rows if not row.cells]
    assert titles == ["Teacher at 10x", "Baseline at 1x", "KD at 1x"]
    every = _table(report, "classes-metrics-all")
    assert len([row for row in every.rows if not row.cells]) == 9
    assert _section(report, "classes-all").folded
    assert all(not section.folded for section in report.sections if section.name in ("classes", "confusion"))
    assert len(_section(report, "confusion").blocks) == 9


def test_curves_of_one_network_are_open_and_name_their_areas(tmp_path: Path) -> None:
    """The student's two figures come first, with areas in the legend; those of its teacher are folded away."""
    said = predictions(rights(40, 4), per_patient=2)
    teacher = write_run(tmp_path / "t", "teacher", 10, predictions(rights(40, 0), per_patient=2))
    report = _report(teacher, write_run(tmp_path / "s", "distill", 2.5, said))
    roc, recall = _section(report, "roc").blocks
    assert isinstance(roc, Chart)
    assert isinstance(recall, Chart)
    assert (roc.title, recall.title) == ("KD at 2.5x: ROC", "KD at 2.5x: precision and recall")
    area = _rows(_table(report), "KD at 2.5x")["benign"].cells[3].text
    precision = _rows(_table(report), "KD at 2.5x")["benign"].cells[4].text
    assert (roc.series[0].label, recall.series[0].label) == (f"benign, AUC {area}", f"benign, AP {precision}")
    assert roc.series[-1].guide
    assert (roc.series[0].points[0].x, roc.series[0].points[-1].y) == (0, 100)
    assert "benign 50 %, tumour 50 %" in recall.caption
    others = _section(report, "roc-others")
    assert others.folded
    assert [chart.title for chart in others.blocks if isinstance(chart, Chart)] == [
        "Teacher at 10x: ROC",
        "Teacher at 10x: precision and recall",
    ]


def test_curves_of_many_classes_are_drawn_in_parts(tmp_path: Path) -> None:
    """Thirteen classes make three pairs of four or five lines; a fourteenth without samples is named, not drawn."""
    names = tuple(f"class {number}" for number in range(14))
    rows = [(number % 13, number % 13) for number in range(26)]
    report = _report(write_run(tmp_path / "b", "baseline", 1, _said(rows, 14), classes=names))
    charts = [chart for chart in _section(report, "roc").blocks if isinstance(chart, Chart)]
    lines = [len([one for one in chart.series if not one.guide]) for chart in charts]
    assert lines == [4, 4, 4, 4, 5, 5]
    assert charts[0].title == "Baseline at 1x: ROC (1 of 3)"
    assert len({chart.name for chart in charts}) == 6
    assert "Not drawn, since no sample has it, or all have: class 13." in charts[0].caption
