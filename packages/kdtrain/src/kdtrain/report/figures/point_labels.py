"""Labels of points: once above a column that several series share, or beside each point where they do not.

Students and baselines of one magnification cost the same, so their points stand above each other: one label at the top
of the column, points and intervals set a few pixels apart, instead of a heap of labels.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import log10
from statistics import fmean

from kdtrain.pages import text, text_width
from kdtrain.report.figures.axes import Axis
from kdtrain.report.figures.frame import Area, Size
from kdtrain.report.model import Chart

_NEAR = 0.03
"""Points of one label share a column if they lie within this part of the axis."""


@dataclass(frozen=True, kw_only=True)
class Columns:
    """Shared columns.

    Attributes:
        shared: (label, x in the figure's unit), by x; empty if labels go beside points.
        members: For each label, the places of the series that have a point in its column.
    """

    shared: tuple[tuple[str, float], ...] = ()
    members: Mapping[str, Sequence[int]] = field(default_factory=dict)

    def spaced(self, x_axis: Axis, font_px: float) -> Columns:
        """These columns with labels that do not touch: one that would is left out, as ticks are."""
        kept: list[tuple[str, float]] = []
        free_from = float("-inf")
        for label, x in self.shared:
            half = text_width(label, font_px) / 2
            if x_axis.px(x) - half >= free_from:
                kept.append((label, x))
                free_from = x_axis.px(x) + half + 4
        return replace(self, shared=tuple(kept))

    def shift(self, place: int, label: str, radius: float) -> float:
        """How far to the right of its column a point of a series stands, in pixels."""
        members = self.members.get(label, (place,))
        if place not in members:
            return 0.0
        return (members.index(place) - (len(members) - 1) / 2) * 1.7 * radius


def columns_of(chart: Chart) -> Columns:
    """The columns that the labelled points of a chart share; none if any label is in two places."""
    found: dict[str, list[float]] = defaultdict(list)
    members: dict[str, list[int]] = defaultdict(list)
    for place, series in enumerate(chart.series):
        for point in series.points:
            if point.label:
                found[point.label].append(log10(point.x) if chart.x_log else point.x)
                members[point.label].append(place)
    if any(point.quiet for series in chart.series for point in series.points):
        # One label each, beside the points; what stands in one place is moved apart all the same.
        steps = {place for place, series in enumerate(chart.series) if series.steps}
        return Columns(members={k: [p for p in places if p not in steps] for k, places in members.items()})
    values = [x for xs in found.values() for x in xs]
    if not values or len(found) == len(values):
        return Columns()
    near = _NEAR * ((max(values) - min(values)) or 1.0)
    if any(max(xs) - min(xs) > near for xs in found.values()):
        return Columns()
    means = sorted((fmean(xs), label) for label, xs in found.items())
    return Columns(shared=tuple((label, 10**x if chart.x_log else x) for x, label in means), members=members)


_Box = tuple[float, float, float, float]


@dataclass(frozen=True, kw_only=True)
class Mark:
    """A drawn point, in pixels: its place, the ends of its interval (``y`` where it has none), its label.

    Attributes:
        x: Of its middle.
        y: Likewise.
        top: Upper end of its interval.
        bottom: Lower end.
        label: Written beside it.
        over: Whether the label had best stand over the interval, as on a front, over which there is nothing.
    """

    x: float
    y: float
    top: float
    bottom: float
    label: str
    over: bool = False


def place_labels(marks: Sequence[Mark], area: Area, size: Size) -> list[str]:
    """A label beside each point, at the first place around it that is free of points and intervals; if none is, none.

    Args:
        marks: The points.
        area: Within which labels stay.
        size: Size of the figure.
    """
    reach = size.radius + 2
    taken: list[_Box] = [(m.x - reach, m.y - reach, m.x + reach, m.y + reach) for m in marks]
    taken += [(m.x - 4, m.top, m.x + 4, m.bottom) for m in marks]
    drawn = []
    for mark in marks:
        if not mark.label:
            continue
        width = text_width(mark.label, size.font_px)
        over = _over(mark, width, size) if mark.over else ()
        for box in (*over, *_places(mark.x, mark.y, width, size)):
            if _within(box, area) and not any(_overlap(box, other) for other in taken):
                taken.append(box)
                drawn.append(text(mark.label, box[0], box[3] - size.font_px * 0.2))
                break
    return drawn


def _over(mark: Mark, width: float, size: Size) -> Iterator[_Box]:
    """Over the interval, and a line or two higher where another's label is there already."""
    for lines in range(3):
        bottom = mark.top - 3 - lines * size.font_px
        yield mark.x - width / 2, bottom - size.font_px, mark.x + width / 2, bottom


def _places(x: float, y: float, width: float, size: Size) -> Iterator[_Box]:
    """Above and below, then the corners, where no line to a neighbour runs, then beside."""
    gap, height = size.radius + 3, size.font_px
    right, left, above, below = x + gap, x - gap - width, y - gap - height, y + gap
    tops = ((x - width / 2, above), (x - width / 2, below), (right, above), (right, below), (left, above))
    for start, top in (*tops, (left, below), (right + 2, y - height / 2), (left - 2, y - height / 2)):
        yield start, top, start + width, top + height


def _within(box: _Box, area: Area) -> bool:
    return box[0] >= area.left and box[2] <= area.right and box[1] >= area.top and box[3] <= area.bottom


def _overlap(one: _Box, other: _Box) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]
