"""ROC and precision-recall curves of a network, a line per class."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from kdtrain.report.model import Chart, Point, Series
from kdtrain.report.runs.class_curves import MOST_POINTS, ClassCurve, Line
from kdtrain.report.runs.folds import networks_of
from kdtrain.report.runs.groups import RunGroup
from kdtrain.report.runs.results import Results
from kdtrain.report.tables.cells import digits_for, estimate_cell, percent

MOST_CLASSES = 6
"""Of one figure: as many as there are colours."""
_Drawn = tuple[int, ClassCurve]
"""A class with its curves."""


def class_charts(results: Results, group: RunGroup, name: str) -> tuple[Chart, ...]:
    """The two figures of a network; of many classes, several pairs, so that lines can be told apart.

    Args:
        results: All of them.
        group: The network.
        name: Of it, for files and anchors.
    """
    curves = results.curves[group.method, group.magnification]
    drawn = [(number, curve) for number, curve in enumerate(curves) if curve is not None]
    parts = list(_parts(drawn))
    missing = [results.classes[number] for number, curve in enumerate(curves) if curve is None]
    charts = []
    for number, part in enumerate(parts, start=1):
        which = f" ({number} of {len(parts)})" if len(parts) > 1 else ""
        suffix = f"-{number}" if len(parts) > 1 else ""
        charts.append(_roc(results, group, part, f"roc-{name}{suffix}", which, missing))
        charts.append(_precision_recall(results, group, part, f"pr-{name}{suffix}", which, missing))
    return tuple(charts)


def _parts(drawn: Sequence[_Drawn]) -> Iterator[Sequence[_Drawn]]:
    """Parts of about as many classes each: none is left alone in a figure without a legend."""
    count = -(-len(drawn) // MOST_CLASSES)
    for part in range(count):
        yield drawn[len(drawn) * part // count : len(drawn) * (part + 1) // count]


def _roc(
    results: Results, group: RunGroup, part: Sequence[_Drawn], name: str, which: str, missing: Sequence[str]
) -> Chart:
    scores = results.scores(group)
    areas = scores.of_class["auc"]
    digits = digits_for(scores.n)
    lines = [
        _series(f"{results.classes[n]}, AUC {estimate_cell(areas[n], digits).text}", curve.roc)
        for n, curve in part
    ]
    chance = Series(label="by chance", points=(Point(x=0, y=0), Point(x=100, y=100)), guide=True)
    brackets = ", with its 95 % interval" * any(areas[n].low is not None for n, _ in part)
    return Chart(
        name=name,
        title=f"{group.title}: ROC{which}",
        caption="How many samples of a class are found (recall), against how many of the others are taken for it, at "
        f"every probability that may be asked for. AUC: the area below, in per cent{brackets}.{_mean(group)}"
        + _notes(part, missing),
        kind="lines",
        x_title="False-positive rate, %",
        y_title="Recall, %",
        y_holds=(0.0, 100.0),
        series=(*lines, chance),
    )


def _precision_recall(
    results: Results, group: RunGroup, part: Sequence[_Drawn], name: str, which: str, missing: Sequence[str]
) -> Chart:
    digits = digits_for(results.scores(group).n)
    lines = [
        _series(
            f"{results.classes[n]}, AP {percent(curve.average_precision, digits)}", curve.precision_recall
        )
        for n, curve in part
    ]
    shares = ", ".join(f"{results.classes[n]} {percent(curve.share, 0)} %" for n, curve in part)
    return Chart(
        name=name,
        title=f"{group.title}: precision and recall{which}",
        caption="How many of the samples taken for a class have it (precision), against how many of it are found. AP: "
        f"the average precision, which is the area below; by chance it is the class's share ({shares}).{_mean(group)}"
        + _notes(part, missing),
        kind="lines",
        x_title="Recall, %",
        y_title="Precision, %",
        y_holds=(0.0, 100.0),
        series=tuple(lines),
    )


def _series(label: str, line: Line) -> Series:
    return Series(label=label, points=tuple(Point(x=round(100 * x, 2), y=round(100 * y, 2)) for x, y in line))


def _mean(group: RunGroup) -> str:
    seeds, networks = len(group.runs), sum(len(networks_of(run)) for run in group.runs)
    of = f"{seeds} seeds" if networks == seeds else f"{networks} networks, each of its own fold's samples"
    return f" Mean of the curves of {of}." if networks > 1 else ""


def _notes(part: Sequence[_Drawn], missing: Sequence[str]) -> str:
    longest = max(len(line) for _, curve in part for line in (curve.roc, curve.precision_recall))
    return f" Drawn through at most {MOST_POINTS} points." * (longest >= MOST_POINTS) + (
        f" Not drawn, since no sample has it, or all have: {', '.join(missing)}." if missing else ""
    )
