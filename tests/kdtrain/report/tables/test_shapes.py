"""Reports of several shapes: the front in figure 3, every shape by its price, and who reaches the teacher."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from fixtures.report_runs import predictions, rights, write_run, write_sweep
from kdtrain.report.build import build_report
from kdtrain.report.model import Chart, Paragraph, Report, Table
from kdtrain.report.runs.collect import collect
from kdtrain.report.runs.groups import group_runs
from kdtrain.report.runs.shapes import families

S32: dict[str, Any] = {}
S8 = {"output_stride": 8}
S8_HALF = {"output_stride": 8, "width": 0.5}

TEACHER = ("Teacher", "teacher", 10.0, S32, 16.0, 2)
BASELINE = ("Baseline s32", "baseline", 2.5, S32, 1.0, 20)
STUDENT = ("KD s32", "distill", 2.5, S32, 1.0, 16)
FINE = ("KD s8", "distill", 2.5, S8, 4.0, 3)
NARROW = ("KD s8 w0.5", "distill", 2.5, S8_HALF, 1.0, 2)
"""Label, phase, magnification, network, GFLOPs, and how many of 40 patients' samples are wrong: the first of them."""


def swept(folder: Path, *rows: tuple[str, str, float, dict[str, Any], float, int], **more: Any) -> Path:
    """A sweep of these runs."""
    runs = []
    for number, (method, phase, magnification, network, gflops, wrong) in enumerate(rows):
        write_run(
            folder / f"run{number}",
            phase,
            magnification,
            predictions(rights(40, wrong)),
            network=network,
            settings=network,
            gflops=gflops,
            **more,
        )
        runs.append(
            {
                "name": f"run{number}",
                "folder": f"run{number}",
                "method": method,
                "magnification": magnification,
            }
            | {"seed": 0}
        )
    return write_sweep(folder, runs)


def report_of(folder: Path, *rows: tuple[str, str, float, dict[str, Any], float, int], **more: Any) -> Report:
    """Its report."""
    return build_report([str(swept(folder, *rows, **more))], iterations=200)


def against_cost(report: Report) -> tuple[list[Chart], Table | None, str]:
    """Figures, table and sentence of the section."""
    blocks = next(one.blocks for one in report.sections if one.name == "accuracy-cost")
    charts = [block for block in blocks if isinstance(block, Chart)]
    table = next((block for block in blocks if isinstance(block, Table)), None)
    return charts, table, " ".join(block.text for block in blocks if isinstance(block, Paragraph))


def table_rows(table: Table) -> dict[str, list[str]]:
    """Texts by heading, intervals left out."""
    return {row.heading: [cell.text.partition(" (")[0] for cell in row.cells] for row in table.rows}


def test_one_shape_has_the_papers_figure_alone(tmp_path):
    """Whatever the teacher's shape is: there is nothing to choose."""
    charts, table, said = against_cost(report_of(tmp_path, TEACHER, FINE))
    assert [chart.name for chart in charts] == ["accuracy-against-cost"]
    assert (table, said) == (None, "")
    assert not any(series.steps or series.band for chart in charts for series in chart.series)


def test_every_shape_stands_in_the_table_by_its_price(tmp_path):
    """Beside stride 32 at its magnification and the teacher; who is on the front is bold."""
    _, table, _ = against_cost(report_of(tmp_path, TEACHER, BASELINE, STUDENT, FINE, NARROW))
    assert table is not None
    assert table_rows(table) == {
        "Baseline s32 at 2.5x": ["1", "1", "1/16", "50.0", "50.0", "50.0", "no"],
        "KD s32 at 2.5x": ["1", "1", "1/16", "60.0", "60.0", "60.0", "no"],
        "KD s8 w0.5 at 2.5x": ["1", "1", "1/16", "95.0", "95.0", "95.0", "yes"],
        "KD s8 at 2.5x": ["4", "4", "1/4", "92.5", "92.5", "92.5", "yes"],
        "Teacher at 10x": ["16", "–", "1", "95.0", "95.0", "95.0", "–"],
    }
    assert [row.heading for row in table.rows if row.cells[3].best] == ["KD s8 w0.5 at 2.5x"]


def test_where_labels_do_not_say_the_shape_a_column_does(tmp_path):
    """And the teacher's beside it."""
    own = ("Mine", "distill", 2.5, S8_HALF, 1.0, 2)
    _, table, _ = against_cost(report_of(tmp_path, TEACHER, own, FINE))
    assert table is not None
    assert [(row.heading, row.cells[0].text) for row in table.rows] == [
        ("Mine at 2.5x", "s8 w0.5"),
        ("KD s8 at 2.5x", "s8"),
        ("Teacher at 10x", "s32"),
    ]
    assert [title for title, width in table.groups for _ in range(width)][:2] == ["", "GFLOPs"]


def test_the_cheapest_student_that_reaches_the_teacher_is_named(tmp_path):
    """A quarter of the price of the other that does, and what reaching means beside it."""
    report = report_of(tmp_path, TEACHER, BASELINE, STUDENT, FINE, NARROW)
    _, _, said = against_cost(report)
    who = "KD s8 w0.5 at 2.5x (1 GFLOPs, 1/16 of the teacher's)"
    named = f"the cheapest of 3 students that reaches the teacher is {who}"
    assert said.startswith(
        f"By accuracy, {named}. By balanced accuracy, {named}. A student reaches the teacher where"
    )
    assert "holds 0 or lies above it" in said
    confirm = "chosen on these patients, so others have to confirm it"
    assert report.answer[-1] == f"By accuracy, {named}; {confirm}."


def test_where_none_reaches_the_teacher_it_is_said(tmp_path):
    """And a baseline that does is no student."""
    other = ("Baseline s8", "baseline", 2.5, S8, 1.0, 2)
    report = report_of(tmp_path, TEACHER, other, STUDENT)
    _, _, said = against_cost(report)
    assert said.startswith("By accuracy, the student does not reach the teacher. By balanced accuracy, the")
    assert report.answer[-1] == "By accuracy, the student does not reach the teacher."


def test_without_a_teacher_nobody_is_held_against_one(tmp_path):
    """Shapes stand by their prices all the same."""
    _, table, said = against_cost(report_of(tmp_path, STUDENT, FINE))
    assert table is not None
    assert "reached" not in table.columns
    assert said == ""


def test_figure_3_is_a_front(tmp_path):
    """Stride 32 is the line, other shapes are points in its colour, the teacher a band; the front is numbered."""
    low = ("KD s32", "distill", 1.25, S32, 0.25, 18)
    charts, _, _ = against_cost(report_of(tmp_path, TEACHER, BASELINE, STUDENT, FINE, NARROW, low))
    assert [chart.title for chart in charts] == [
        "Accuracy against cost",
        "Balanced accuracy against cost",
    ]
    by_label = {series.label: series for series in charts[0].series}
    assert list(by_label) == ["Teacher", "Baseline, stride 32", "KD, stride 32", "KD, other shapes", "Front"]
    assert by_label["Teacher"].band
    assert [(p.x, p.label) for p in by_label["KD, stride 32"].points] == [
        (0.25, "1.25x s32"),
        (1, "2.5x s32"),
    ]
    assert by_label["KD, other shapes"].looks_as == "KD, stride 32"
    assert not by_label["KD, other shapes"].joined
    front = by_label["Front"]
    assert [(p.x, p.label, p.short) for p in front.points] == [
        (0.25, "1.25x s32", "1"),
        (1, "2.5x s8 w0.5", "2"),
    ]
    assert "1 KD s32 at 1.25x; 2 KD s8 w0.5 at 2.5x." in charts[0].caption


def test_a_student_is_held_against_the_baseline_of_its_shape(tmp_path):
    """KD s8 with 3 wrong is 12.5 points above a baseline of stride 8 with 8, not 42.5 above that of stride 32."""
    own = ("Baseline s8", "baseline", 2.5, S8, 4.0, 8)
    report = report_of(tmp_path, BASELINE, own, FINE, NARROW)
    table = next(table for table in report.tables() if table.name == "differences-baseline")
    found = {row.heading: row.cells[0].value for row in table.rows if row.cells}
    # No baseline is half as wide: the first one has to do.
    assert found == {"KD s8": pytest.approx(12.5), "KD s8 w0.5": pytest.approx(45)}
    assert "width 1.0 against 0.5" in " ".join(report.warnings)


def test_labels_of_any_kind_make_families(tmp_path):
    """Runs that differ in shape and magnification alone share a colour, whatever they are called."""
    rows = (
        ("B 32", "baseline", 2.5, S32, 1.0, 9),
        ("B 8w50", "baseline", 2.5, S8_HALF, 1.0, 9),
        ("KD s8", "distill", 2.5, S8, 4.0, 3),
        ("KD s8 w0.5", "distill", 1.25, S8_HALF, 0.3, 3),
    )
    folder = swept(tmp_path, *rows)
    groups = group_runs(collect([str(folder)], split=None, shards=None).runs)
    found = {name: [group.method for group in members] for name, members in families(groups).items()}
    assert found == {"Baseline": ["B 32", "B 8w50"], "KD": ["KD s8", "KD s8 w0.5"]}


def test_shape_and_choice_stand_with_the_costs_and_the_settings(tmp_path):
    """A column where one is not the paper's; of "auto", what it chose by, also where anyone wrote the record."""
    reason = {"stride": 8, "cells": 10, "median_shorter_side_px": 80}
    report = report_of(tmp_path / "auto", STUDENT, FINE, more={"output_stride_chosen": reason})
    cost, settings = (next(t for t in report.tables() if t.name == name) for name in ("cost", "settings"))
    assert cost.columns[0] == "Shape"
    assert [row.cells[0].text for row in cost.rows] == ["s32", "s8"]
    strides = [row.cells[settings.columns.index("output_stride")].text for row in settings.rows]
    assert strides[1] == "8 (auto: 10 cells on the 80 px of the median training image's shorter side)"
    plain = report_of(tmp_path / "plain", BASELINE, STUDENT, more={"output_stride_chosen": "mine"})
    assert "Shape" not in next(t for t in plain.tables() if t.name == "cost").columns


def test_a_width_is_a_setting_of_all(tmp_path):
    """Where one run is narrow, the others are said to be as wide as ever."""
    report = report_of(tmp_path, FINE, NARROW)
    settings = next(t for t in report.tables() if t.name == "settings")
    widths = [row.cells[settings.columns.index("width")].text for row in settings.rows]
    assert widths == ["1", "0.5"]
