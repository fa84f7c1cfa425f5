"""Bars in groups, with intervals: one group per label of the points, one bar per series.

A bar is read by its length, so bars start at 0. Where all values lie far from 0, bars of nearly the same length would
show nothing, and an axis that starts elsewhere would lie: then each value is a marker with its interval.
"""

from __future__ import annotations

from math import isfinite

from kdtrain.pages import element, line, text, text_width
from kdtrain.report.figures.axes import Axis, linear_axis
from kdtrain.report.figures.frame import Area, Size, bottom_margin, left_margin, level_title, upright
from kdtrain.report.figures.marks import Style, interval, legend, marker, styles
from kdtrain.report.model import Chart, Point

_FAR = 0.5
"""Values are far from 0 if the least is above this part of the greatest."""


def bar_chart(chart: Chart, size: Size) -> str:
    """The marks, axes and legend of a chart with at least one point."""
    keys, top = legend(chart.series, right=size.width - 4, font_px=size.font_px, lines=False)
    top, bottom = top + 16 + size.font_px, size.height - bottom_margin(chart.x_title, size)
    from_zero, y_axis = _y_axis(chart, bottom, top)
    area = Area(
        left=left_margin(y_axis.tick_texts, size.font_px), top=top, right=size.width - 8, bottom=bottom
    )
    labels = _labels(chart)
    slot = (area.right - area.left) / len(labels)
    drawn = [keys, upright(y_axis, area, size, chart.y_title), _group_labels(labels, area, slot, size)]
    width = slot * 0.76 / len(chart.series)
    for place, (series, style) in enumerate(zip(chart.series, styles(chart.series), strict=True)):
        for point in series.points:
            x = area.left + slot * (labels.index(point.label) + 0.12) + width * (place + 0.5)
            drawn.append(_mark(point, x, width, style, y_axis, size, from_zero))
    return "".join(drawn) + level_title(area, size, chart.x_title)


def _labels(chart: Chart) -> list[str]:
    """Labels of the groups of bars, by x; a series may lack some of them."""
    points = sorted((point for series in chart.series for point in series.points), key=lambda point: point.x)
    return list(dict.fromkeys(point.label for point in points))


def _y_axis(chart: Chart, bottom: float, top: float) -> tuple[bool, Axis]:
    ends = [(p.low, p.y, p.high) for series in chart.series for p in series.points]
    values = [v for end in ends for v in end if v is not None and isfinite(v)]
    low, high = min(values), max(values)
    from_zero = not low > _FAR * high
    if from_zero:
        low, high = min(low, 0.0), max(high, 0.0)
    return from_zero, linear_axis(low, high, bottom, top, most=max(2, int((bottom - top) / 45)))


def _group_labels(labels: list[str], area: Area, slot: float, size: Size) -> str:
    drawn = [line(area.left, area.bottom, area.right, area.bottom, "soft")]
    for place, label in enumerate(labels):
        x = area.left + slot * (place + 0.5)
        drawn.append(text(label, x, area.bottom + 8 + size.font_px, anchor="middle", bold=True))
        if place:
            edge = area.left + slot * place
            drawn.append(line(edge, area.bottom, edge, area.bottom + 6, "soft"))
    return "".join(drawn)


def _mark(
    point: Point, x: float, width: float, style: Style, y_axis: Axis, size: Size, from_zero: bool
) -> str:
    y, drawn = y_axis.px(point.y), []
    if from_zero:
        zero, gap = y_axis.px(0.0), min(3.0, width * 0.15)
        top, height = min(y, zero), max(abs(zero - y), 0.5)
        drawn.append(
            element(
                "rect", x=x - width / 2 + gap / 2, y=top, width=width - gap, height=height, fill=style.colour
            )
        )
    top_end = y
    if point.low is not None and point.high is not None:
        top_end = y_axis.px(point.high)
        drawn.append(interval(x, y_axis.px(point.low), top_end, "ink" if from_zero else style.colour))
    if not from_zero:
        drawn.append(marker(style, x, y, size.radius))
    words = f"{point.y:.3g}"
    if text_width(words, size.font_px) <= width:
        drawn.append(text(words, x, min(top_end, y) - size.radius - 2, anchor="middle", colour="soft"))
    return "".join(drawn)
