"""ROC curves, a reliability diagram and confusion matrices of an external validation."""

from __future__ import annotations

import numpy as np

from kdtrain.evaluation.metrics import FloatArray
from kdtrain.evaluation.predictions import LEVELS, items_at, ranked_items_at
from kdtrain.evaluation.record import outcomes_of
from kdtrain.evaluation.reliability import bin_items
from kdtrain.evaluation.roc import RocCurve, roc_curve
from kdtrain.report.model import Chart, Confusion, Point, Series
from kdtrain.report.tables.cells import digits_for, percent
from kdtrain.report.validation.read import Validation

MOST_CLASSES = 6
"""Lines of a figure: as many as there are colours; the file roc.csv has all."""
MOST_POINTS = 60
LEAST_IN_BIN = 5


def roc_chart(found: Validation) -> Chart | None:
    """Each class against the rest, at the level that the answer is about; None where no class has others beside it."""
    items = ranked_items_at(found.level, found.predictions, found.temperature)
    curves = [
        (name, curve)
        for number, name in enumerate(found.classes)
        if (curve := roc_curve(items.labels == number, items.probabilities[:, number])) is not None
    ]
    if not curves:
        return None
    shown = curves[:MOST_CLASSES]
    left_out = f" The first {MOST_CLASSES} classes; roc.csv has all." if len(curves) > len(shown) else ""
    per_class, digits = found.here["per_class"], digits_for(found.here["n"])
    return Chart(
        name="roc",
        title="ROC curves",
        caption=f"Of each class by {found.level}, at every probability that may be asked for: how many of those that "
        f"have it are found, against how many of the others are taken for it. AUC: the area below, in per cent."
        f"{left_out}",
        kind="lines",
        x_title="Others taken for it, %",
        y_title="Found, %",
        series=(
            *(
                Series(
                    label=f"{name}, AUC {percent(per_class[name]['auc']['value'], digits)}",
                    points=_points(curve),
                )
                for name, curve in shown
            ),
            Series(label="by chance", points=(Point(x=0, y=0), Point(x=100, y=100)), guide=True),
        ),
    )


def _points(curve: RocCurve) -> tuple[Point, ...]:
    """The curve's corners, of many as many as a drawing shows, the ends among them."""
    x_P, y_P = curve.false_positive_rates, curve.true_positive_rates
    corner = np.ones(len(x_P), dtype=bool)
    corner[1:-1] = ~(_level(x_P) | _level(y_P))
    places = np.flatnonzero(corner)
    if len(places) > MOST_POINTS:
        places = places[np.linspace(0, len(places) - 1, MOST_POINTS).round().astype(int)]
    return tuple(Point(x=round(100 * float(x_P[i]), 2), y=round(100 * float(y_P[i]), 2)) for i in places)


def _level(values_P: FloatArray) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """Which inner points have the value of both of their neighbours."""
    same = np.diff(values_P) == 0
    return np.asarray(same[:-1] & same[1:])


def reliability_chart(found: Validation) -> Chart | None:
    """How often samples are right, against how often the network says so; None where too few are alike."""
    items = items_at("sample", found.predictions, found.temperature)
    bins = bin_items(outcomes_of(items, "sample"))
    points = tuple(
        Point(x=100 * float(said), y=100 * float(right))
        for count, said, right in zip(bins.count, bins.confidence, bins.right, strict=True)
        if count >= LEAST_IN_BIN
    )
    if not points:
        return None
    least = 100 / len(found.classes)
    guide = (Point(x=least, y=least), Point(x=100, y=100))
    return Chart(
        name="reliability",
        title="Said and seen",
        caption="Samples to whose class the network gives about one probability: how many are right? On the line it is "
        "right as often as it says; below it, it is too sure, above it, not sure enough. A point is of "
        f"{LEAST_IN_BIN} samples or more.",
        kind="lines",
        x_title="Probability of the answer, %",
        y_title="Right, %",
        series=(
            Series(label="here", points=points),
            Series(label="right as often as it says", points=guide, guide=True),
        ),
    )


def confusions(found: Validation) -> tuple[Confusion, ...]:
    """A matrix for every level that has items."""
    return tuple(
        Confusion(
            name=f"confusion-{level}",
            title=f"By {level}",
            caption=f"{record['n']:,} {level}s: true class in the rows, answered class in the columns.",
            classes=found.classes,
            counts=tuple(tuple(row) for row in record["confusion"]),
        )
        for level in LEVELS
        if (record := found.metrics["levels"][level])["n"]
    )
