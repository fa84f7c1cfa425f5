"""The page of a bundle on others' labels: what its tables hold, what stands first, and that names are text."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fixtures.validations import CLASSES, shifted, validation
from kdtrain.errors import UsageError
from kdtrain.evaluation.record import write_evaluation
from kdtrain.report.model import Chart, Confusion, Report, Table
from kdtrain.report.validation.page import validation_report, write_validation_page
from kdtrain.report.validation.read import Validation, read_validation

HOSTILE = "<img src=x onerror=alert(1)>"


def written(found: Validation, folder: Path) -> Path:
    """The folder that a command would have written."""
    provenance = {"split": "slides", "bundle_sha256": "0" * 64}
    write_evaluation(
        folder, found.predictions, found.classes, metrics=dict(found.metrics), provenance=provenance
    )
    return folder


def blocks(report: Report, kind: type) -> dict[str, Any]:
    """The tables, charts or matrices of a page, by name."""
    return {one.name: one for section in report.sections for one in section.blocks if isinstance(one, kind)}


def test_the_tables_hold_what_was_measured() -> None:
    """Both places side by side, each class, the stain's shift, and the errors, the surest first."""
    report = validation_report(validation(4, 1, shift=shifted(0.6)))
    tables = blocks(report, Table)
    assert tables["measures"].groups == (("here", 3), ("its own split test", 1))
    assert tables["measures"].rows[0].cells[1].value == pytest.approx(80)
    assert tables["measures"].rows[0].cells[3].text == "90.0 (85.0-95.0)"
    assert [row.heading for row in tables["classes"].rows] == list(CLASSES)
    assert tables["stain"].rows[1].cells[2].best
    assert tables["sizes"].rows[0].cells[1].text == "100"
    assert [row.heading for row in tables["errors"].rows] == ["k008", "k009"]
    assert [cell.text for cell in tables["errors"].rows[0].cells] == [
        "slide 008",
        "p008",
        "gland",
        "stroma",
        "90.0",
        "10.0",
    ]
    assert blocks(report, Confusion)["confusion-slide"].counts == ((4, 1), (1, 4))
    assert blocks(report, Chart)["roc"].series[0].label == "gland, AUC 80.0"


def test_a_page_without_errors_shift_and_home() -> None:
    """What is not known has no section, and a network that is always right has no errors."""
    report = validation_report(validation(3, 0, shift=None, at_home=None))
    assert [section.name for section in report.sections] == ["measured", "confusion", "curves", "errors"]
    assert not blocks(report, Table)["measures"].groups
    assert "errors" not in blocks(report, Table)


def test_the_page_lies_beside_what_was_measured(tmp_path: Path) -> None:
    """One HTML file that names the errors, says what decides trust before any table, and takes names for text."""
    found = validation(4, 1, slides={"labelled_but_failed": 2}, shift=shifted(0.4, objective=40))
    named = [replace(one, slide=f"{HOSTILE} {one.key}") for one in found.predictions]
    metrics = {**found.metrics, "bundle": {**found.metrics["bundle"], "name": HOSTILE, "synthetic": True}}
    folder = written(replace(found, predictions=named, metrics=metrics), tmp_path)
    page = write_validation_page(folder)
    assert page == tmp_path / "validation.html"
    text = page.read_text(encoding="utf-8")
    assert HOSTILE not in text
    assert "k008" in text
    assert re.search(r"scanned at 40x.*2 labelled slides could not be predicted.*<table", text, re.DOTALL)
    assert "trained on synthetic slides" in text


def test_a_folder_of_something_else_is_refused(tmp_path: Path) -> None:
    """An empty folder, and the evaluation of a run, which is of no bundle."""
    with pytest.raises(UsageError, match="cannot be read"):
        read_validation(tmp_path)
    (tmp_path / "metrics.json").write_text(json.dumps({"classes": [], "levels": {}}))
    with pytest.raises(UsageError, match="is of no bundle"):
        read_validation(tmp_path)
