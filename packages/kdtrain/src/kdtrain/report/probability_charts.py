"""Reliability diagrams, a method each, and abstention curves, a magnification each."""

from __future__ import annotations

from collections.abc import Sequence

from kdtrain.report.model import Chart, Paragraph, Point, Series
from kdtrain.report.plots import group_names
from kdtrain.report.runs.groups import RunGroup
from kdtrain.report.runs.probabilities import SHARES, Bin
from kdtrain.report.runs.results import Results
from kdtrain.report.tables.cells import times100
from kdtrain.report.tables.probabilities import probabilities_at
from kdtrain.shards.models import magnification_name
from kdtrain.text import plural

_HOW_TO_READ = (
    "Of the tissue samples to whose class a network gives about one probability, how many are right? On the diagonal "
    "it is right as often as it says; below it, it is too sure, above it, not sure enough."
)
MOST_LINES = 6
"""Of one abstention figure: as many as there are colours; the table has all methods."""


def abstention_charts(results: Results) -> tuple[Chart, ...]:
    """Accuracy against the share answered: the methods of a magnification, beside their teacher."""
    magnifications = results.magnifications or (results.groups[0].magnification,)
    return tuple(_abstention(results, magnification) for magnification in magnifications)


def reliability_charts(results: Results) -> tuple[Paragraph | Chart, ...]:
    """How often each method is right, against how often it says it is; what to look for comes first."""
    names = group_names(results.groups)
    charts = [_reliability(results, *pair) for pair in zip(results.groups, names, strict=True)]
    return (Paragraph(text=_HOW_TO_READ), *charts)


def _abstention(results: Results, magnification: float) -> Chart:
    methods = [group for group in results.compared if group.magnification == magnification]
    teacher = [] if results.teacher is None else [results.teacher]
    shown = (methods or list(results.groups))[: MOST_LINES - len(teacher)]
    groups = [*shown, *(one for one in teacher if one not in shown)]
    left_out = len(methods) - len(shown) if methods else 0
    at = magnification_name(magnification)
    return Chart(
        name=f"abstention-{at.replace('.', '-')}",
        title=f"Accuracy of the surest answers, {at}",
        caption="How often a network is right where it answers only for the tissue samples that it is surest of. "
        "A curve that rises to the left says that its doubts are in the right places; a flat one, that they mean "
        "nothing. The intervals are in the table."
        + f" {plural(left_out, 'more method')} {'is' if left_out == 1 else 'are'} in the table alone."
        * (left_out > 0),
        kind="lines",
        x_title="Share of the samples answered, %",
        y_title="Right, %",
        series=tuple(
            _answered(results, group, group.method if group in shown else group.title) for group in groups
        ),
    )


def _answered(results: Results, group: RunGroup, label: str) -> Series:
    found = probabilities_at(results, group).answered
    points = [
        Point(x=100 * share, y=100 * one.value)
        for share, one in zip(SHARES, found, strict=True)
        if one.value is not None
    ]
    return Series(label=label, points=tuple(sorted(points, key=lambda point: point.x)))


def _reliability(results: Results, group: RunGroup, name: str) -> Chart:
    found = probabilities_at(results, group)
    seeds = len(group.runs)
    least = 100 / len(results.classes)
    guide = Series(
        label="right as often as it says",
        points=(Point(x=least, y=least), Point(x=100, y=100)),
        guide=True,
    )
    said = [Series(label="calibrated" if found.before else "the network", points=_points(found.bins))]
    if found.before is not None:
        said.append(Series(label="before", points=_points(found.bins_before, whiskers=False)))
    samples = round(sum(one.count for one in found.bins) / len(found.bins)) if found.bins else 0
    return Chart(
        name=f"reliability-{name}",
        title=f"{group.title}: said and seen",
        caption=f"Each point is of about {plural(samples, 'tissue sample')}"
        + f", counted once for each of {seeds} seeds" * (seeds > 1)
        + ("; the whiskers are 95 % intervals." if any(one.low is not None for one in found.bins) else "."),
        kind="lines",
        x_title="Probability of the predicted class, %",
        y_title="Right, %",
        series=(*said, guide),
    )


def _points(bins: Sequence[Bin], *, whiskers: bool = True) -> tuple[Point, ...]:
    return tuple(
        Point(
            x=100 * one.said,
            y=100 * one.right,
            low=times100(one.low) if whiskers else None,
            high=times100(one.high) if whiskers else None,
        )
        for one in bins
    )
