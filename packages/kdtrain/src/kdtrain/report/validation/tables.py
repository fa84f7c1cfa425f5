"""Numbers of an external validation as tables: measures here and at home, classes, shift, and the surest errors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from kdtrain.evaluation.predictions import LEVELS, calibrated
from kdtrain.report.model import Cell, Row, Table
from kdtrain.report.runs.scoring import Estimate
from kdtrain.report.tables.cells import ABSENT, NONE, count_cell, digits_for, estimate_cell, percent
from kdtrain.report.validation.read import Validation
from kdtrain.report.validation.verdict import NOTABLE, STAIN

MOST_ERRORS = 20
_MACRO = {"f1": "F1-score", "precision": "Precision", "auc": "ROC AUC"}
_BELIEF = {"ece": "Calibration error", "brier": "Brier score (0 to 2)", "log_loss": "Log-loss (nats)"}
_SIZES = {
    "longer_side_px": "longer side, px",
    "shorter_side_px": "shorter side, px",
    "area_px": "area, px",
    "mpp": "a pixel, µm",
}


def measures_table(found: Validation) -> Table:
    """Every measure by sample, slide and patient; beside it what the bundle says of its own test split."""
    levels: list[tuple[str, Mapping[str, Any]]] = [
        (level, found.metrics["levels"][level]) for level in LEVELS
    ]
    groups: tuple[tuple[str, int], ...] = ()
    if found.home is not None:
        groups = (("here", len(levels)), (f"its own split {found.metrics['at_home']['split']}", 1))
        levels.append((found.level, found.home))
    bootstrap = found.metrics["bootstrap"]
    return Table(
        name="measures",
        title="How often it is right",
        caption="In per cent, with 95 % intervals over "
        f"{bootstrap['iterations']:,} draws of {bootstrap['unit']}s. Means over the classes, each counting the same, "
        "but for accuracy. Of calibration error, Brier score and log-loss less is better.",
        corner="Measure",
        columns=tuple(f"{level}s ({record['n']:,})" for level, record in levels),
        groups=groups,
        rows=(
            _row("Balanced accuracy", [(record["balanced_accuracy"], record["n"]) for _, record in levels]),
            _row("Accuracy", [(record["plain_accuracy"], record["n"]) for _, record in levels]),
            *(
                _row(title, [(record["macro"].get(name), record["n"]) for _, record in levels])
                for name, title in _MACRO.items()
            ),
            *(
                Row(
                    heading=title, cells=tuple(_belief(record["probabilities"], name) for _, record in levels)
                )
                for name, title in _BELIEF.items()
            ),
        ),
    )


def classes_table(found: Validation) -> Table:
    """Each class against the rest, at the level that the answer is about."""
    record = found.here
    digits = digits_for(record["n"])
    names = {"recall": "Found (recall)", "precision": "Right (precision)", "f1": "F1-score", "auc": "ROC AUC"}
    return Table(
        name="classes",
        title="Class by class",
        caption="Found: of those that have the class, how many are given it. Right: of those that are given it, how "
        f"many have it. In per cent, by {found.level}, with 95 % intervals.",
        corner="Class",
        columns=(f"{found.level.capitalize()}s", *names.values()),
        rows=tuple(
            Row(
                heading=name,
                cells=(
                    count_cell(record["class_counts"][name]),
                    *(_cell(record["per_class"][name].get(metric), digits) for metric in names),
                ),
            )
            for name in found.classes
        ),
    )


def stain_table(shift: Mapping[str, Any]) -> Table:
    """The stain here and in training."""
    return Table(
        name="stain",
        title="Stain",
        caption="Means over the images. Shift: by how many standard deviations of the training images the mean lies "
        "beside theirs; from 1 on it is worth a look, from 3 on it is another stain. Beyond: images outside of what 98 "
        "% of the training images have.",
        corner="Of an image",
        columns=("Here", "Training", "Shift", "Beyond, %"),
        rows=tuple(
            Row(
                heading=STAIN.get(name, name),
                cells=(
                    _number(one["mean"], 3),
                    _number(one["training_mean"], 3),
                    ABSENT
                    if one["shift"] is None
                    else Cell(
                        text=f"{one['shift']:+.1f}", value=one["shift"], best=abs(one["shift"]) >= NOTABLE
                    ),
                    Cell(text=percent(one["beyond"], 0), value=100 * one["beyond"]),
                ),
            )
            for name, one in shift["stain"].items()
        ),
    )


def sizes_table(shift: Mapping[str, Any]) -> Table:
    """Sizes of the images and the scans, here and in training."""
    rows = [
        Row(
            heading=words,
            cells=(
                _range(one),
                _range(one["training"]),
                Cell(text=percent(one["beyond"], 0), value=100 * one["beyond"]),
            ),
        )
        for name, words in _SIZES.items()
        if (one := shift[name]) is not None
    ]
    scans = shift["level0_objectives"]
    trained = ", ".join(f"{power:g}x" for power in scans["training"]) or NONE
    here = ", ".join(
        f"{'unknown' if power == 'unknown' else power + 'x'} ({count:,})"
        for power, count in scans["here"].items()
    )
    rows.append(
        Row(heading="objective of the scan (images)", cells=(Cell(text=here), Cell(text=trained), ABSENT))
    )
    return Table(
        name="sizes",
        title="Size and scan",
        caption="Smallest and largest image that the network sees. Beyond: images outside of the range of "
        "training.",
        corner="Of an image",
        columns=("Here", "Training", "Beyond, %"),
        rows=tuple(rows),
    )


def errors_table(found: Validation) -> Table | None:
    """The samples that it is wrong about and surest of; None where it is right about all."""
    said_NK = calibrated(found.predictions, found.temperature)
    answered_N = said_NK.argmax(axis=1)
    labels_N = np.array([one.label for one in found.predictions])
    wrong = np.flatnonzero(answered_N != labels_N)
    if not len(wrong):
        return None
    surest = sorted(wrong.tolist(), key=lambda i: (-said_NK[i].max(), found.predictions[i].key))[:MOST_ERRORS]
    return Table(
        name="errors",
        title="The surest errors",
        caption=f"{len(wrong):,} of {len(found.predictions):,} samples are given another class than their own"
        + f"; the {len(surest):,} surest" * (len(surest) < len(wrong))
        + ". Look at the first of them: a wrong label, a region without "
        "tissue, or what the network was never shown.",
        corner="Sample",
        columns=("Slide", "Patient", "Its class", "Answered", "With, %", "For its own, %"),
        rows=tuple(
            Row(
                heading=one.key,
                cells=(
                    Cell(text=one.slide),
                    Cell(text=one.patient),
                    Cell(text=found.classes[one.label]),
                    Cell(text=found.classes[int(answered_N[i])]),
                    Cell(text=percent(said_NK[i].max(), 1), value=100 * float(said_NK[i].max())),
                    Cell(text=percent(said_NK[i, one.label], 1), value=100 * float(said_NK[i, one.label])),
                ),
            )
            for i in surest
            for one in (found.predictions[i],)
        ),
    )


def _row(title: str, records: list[tuple[Mapping[str, Any] | None, int]]) -> Row:
    return Row(heading=title, cells=tuple(_cell(one, digits_for(n)) for one, n in records))


def _cell(record: Mapping[str, Any] | None, digits: int) -> Cell:
    if record is None or record["value"] is None:
        return ABSENT
    value, low, high = (record[name] for name in ("value", "low", "high"))
    return estimate_cell(Estimate(value=value, low=low, high=high, by_seed=(value,)), digits)


def _belief(record: Mapping[str, Any] | None, name: str) -> Cell:
    """A calibration error in per cent, the others as they are."""
    if record is None or record[name]["value"] is None:
        return ABSENT
    if name == "ece":
        return _cell(record[name], 1)
    value, low, high = (record[name][end] for end in ("value", "low", "high"))
    ends = "" if low is None or high is None else f" ({low:.3f}-{high:.3f})"
    return Cell(text=f"{value:.3f}{ends}", value=value, low=low, high=high)


def _number(value: float, digits: int) -> Cell:
    return Cell(text=f"{value:.{digits}f}", value=value)


def _range(ends: Mapping[str, float]) -> Cell:
    low, high = _short(ends["min"]), _short(ends["max"])
    return Cell(text=low if low == high else f"{low} to {high}")


def _short(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
