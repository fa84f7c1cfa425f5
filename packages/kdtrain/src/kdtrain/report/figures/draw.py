"""A chart becomes an SVG drawing: lines through points with their intervals, or bars in groups.

In: a :class:`~kdtrain.report.model.Chart`. Out: SVG text that is right by itself in a document (light) and follows the
page's theme when it stands in one. The same chart gives the same text. Points that have no place (a value that is no
number, or not above 0 on a logarithmic axis) are left out of the drawing; :func:`drawing_notes` counts them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from html import escape
from math import isfinite

from kdtrain.pages import element, line, number, stroked, text
from kdtrain.report.figures.axes import Axis, linear_axis, log_axis
from kdtrain.report.figures.bars import bar_chart
from kdtrain.report.figures.frame import WIDE, Area, Size, bottom_margin, left_margin, level, upright, whole
from kdtrain.report.figures.marks import Style, interval, legend, marker, rows_px, styles
from kdtrain.report.figures.point_labels import Columns, Mark, columns_of, place_labels
from kdtrain.report.model import Chart, Point, Series
from kdtrain.text import visible

_MOST_MARKERS = 25
"""If any line of a chart has more points, lines are drawn without markers, which would hide them."""
_LEGEND_ROWS = 2
"""Of a legend, that a drawing of its usual height has room for."""


def chart_svg(chart: Chart, size: Size = WIDE) -> str:
    """The chart as an SVG document.

    Args:
        chart: What to draw.
        size: Size of the drawing, which a long legend makes higher; its text is as large in any.
    """
    shown = _drawable(chart)
    if not any(series.points for series in shown.series):
        note = text("No points to show.", size.width / 2, size.height / 2, anchor="middle", colour="soft")
        return whole(size, spoken(chart), note)
    size = _grown(shown, size)
    drawn = bar_chart(shown, size) if chart.kind == "bars" else _line_chart(shown, size)
    return whole(size, spoken(chart), drawn)


def _grown(chart: Chart, size: Size) -> Size:
    """Higher by what the legend takes beyond a few rows: the plot keeps its height."""
    _, legend_px = legend(chart.series, right=size.width - 4, font_px=size.font_px, lines=True)
    more = max(0.0, legend_px - rows_px(_LEGEND_ROWS, size.font_px))
    return replace(size, height=size.height + round(more))


def spoken(chart: Chart) -> str:
    """What a screen reader says instead of the drawing; the numbers are in the table beside it."""
    names = ", ".join(series.label for series in chart.series if series.listed)
    paper = f" ({chart.in_paper} of the paper)" * bool(chart.in_paper)
    return f"{chart.title}{paper}. {chart.y_title} against {chart.x_title}: {names}. The numbers follow as a table."


def drawing_notes(chart: Chart) -> str:
    """What a reader must know of the drawing: what it sets aside and what it leaves out; "" if nothing."""
    shown, notes = _drawable(chart), []
    columns = columns_of(shown) if chart.kind == "lines" else Columns()
    if any(len(places) > 1 for places in columns.members.values()):
        of_one = "dotted line" if columns.shared else "shape and magnification"
        notes.append(
            f"Points of one {of_one} are set side by side, so that their intervals can be told apart."
        )
    lost = _points(chart) - _points(shown)
    if lost:
        notes.append(
            f"Not drawn, because the axis has no place for them: {lost} points; the numbers have them."
        )
    return " ".join(notes)


def _points(chart: Chart) -> int:
    return sum(len(series.points) for series in chart.series)


def _drawable(chart: Chart) -> Chart:
    def has_place(point: Point) -> bool:
        return isfinite(point.x) and isfinite(point.y) and (point.x > 0 or not chart.x_log)

    series = tuple(replace(s, points=tuple(filter(has_place, s.points))) for s in chart.series)
    return replace(chart, series=series)


def _line_chart(chart: Chart, size: Size) -> str:
    keys, top = legend(
        chart.series, right=size.width - 4, font_px=size.font_px, lines=True, marks=_few(chart)
    )
    columns = columns_of(chart)
    top += 16 + size.font_px + (size.font_px + 6 if columns.shared else 0)
    bottom = size.height - bottom_margin(chart.x_title, size)
    y_axis = _y_axis(chart, bottom, top)
    area = Area(
        left=left_margin(y_axis.tick_texts, size.font_px), top=top, right=size.width - 14, bottom=bottom
    )
    x_axis = _x_axis(chart, area)
    columns = columns.spaced(x_axis, size.font_px)
    drawn = [keys, upright(y_axis, _below_columns(area, columns, size), size, chart.y_title)]
    drawn += [level(x_axis, area, size, chart.x_title), _guides(columns, x_axis, area, size)]
    drawn += _all_series(chart, size, x_axis, y_axis, area, columns)
    return "".join(drawn)


def _few(chart: Chart) -> bool:
    return max((len(series.points) for series in chart.series if series.joined), default=0) <= _MOST_MARKERS


def _below_columns(area: Area, columns: Columns, size: Size) -> Area:
    """Where the upright axis' title goes: above the row of column labels."""
    return replace(area, top=area.top - (size.font_px + 6)) if columns.shared else area


def _y_axis(chart: Chart, bottom: float, top: float) -> Axis:
    values = [
        v
        for s in chart.series
        for p in s.points
        for v in (p.y, p.low, p.high)
        if v is not None and isfinite(v)
    ]
    values += chart.y_holds
    return linear_axis(min(values), max(values), bottom, top, most=max(2, int((bottom - top) / 45)))


def _x_axis(chart: Chart, area: Area) -> Axis:
    values = [p.x for s in chart.series for p in s.points]
    most = max(2, int((area.right - area.left) / 55))
    if chart.x_log:
        return log_axis(min(values), max(values), area.left, area.right, most=most)
    counts = all(value.is_integer() for value in map(float, values))
    return linear_axis(
        min(values), max(values), area.left + 8, area.right - 8, most=most, whole=counts, fit=False
    )


def _guides(columns: Columns, x_axis: Axis, area: Area, size: Size) -> str:
    return "".join(
        line(x_axis.px(x), area.top, x_axis.px(x), area.bottom, "rule", dash="1 3")
        + text(label, x_axis.px(x), area.top - 7, anchor="middle", bold=True)
        for label, x in columns.shared
    )


def _all_series(
    chart: Chart, size: Size, x_axis: Axis, y_axis: Axis, area: Area, columns: Columns
) -> list[str]:
    looks = styles(chart.series)
    # What is compared with lies below what is compared.
    order = sorted(
        range(len(looks)), key=lambda i: (not chart.series[i].reference, not chart.series[i].paper)
    )
    drawn = [_bands(chart, y_axis, area)]
    marks: list[Mark] = []
    for place in order:
        series = chart.series[place]
        spots = [
            (x_axis.px(p.x) + columns.shift(place, p.label, size.radius), y_axis.px(p.y))
            for p in series.points
        ]
        found = [_mark(*spot, p, y_axis) for spot, p in zip(spots, series.points, strict=True)]
        # First come, first served: where there is no room for all, the labels of the steps are there.
        marks = [replace(mark, over=True) for mark in found] + marks if series.steps else marks + found
        drawn += [
            _series_line(series, looks[place], spots, area),
            "" if series.steps else _intervals(series, looks[place], spots, y_axis),
        ]
        if (_few(chart) or not series.joined) and not series.steps:
            drawn.append(_series_markers(series, looks[place], spots, size))
    if not columns.shared:
        drawn += place_labels(marks, area, size)
    return drawn


def _mark(x: float, y: float, point: Point, y_axis: Axis) -> Mark:
    top, bottom = (y if end is None else y_axis.px(end) for end in (point.high, point.low))
    return Mark(x=x, y=y, top=top, bottom=bottom, label="" if point.quiet else point.short or point.label)


def _bands(chart: Chart, y_axis: Axis, area: Area) -> str:
    """Intervals of references across the figure, below everything."""
    ends = [(p.low, p.high) for series in chart.series if series.band for p in series.points]
    return "".join(
        element(
            "rect",
            x=area.left,
            y=y_axis.px(high),
            width=area.right - area.left,
            height=y_axis.px(low) - y_axis.px(high),
            fill="fill",
        )
        for low, high in ends
        if low is not None and high is not None
    )


def _series_line(series: Series, style: Style, spots: Sequence[tuple[float, float]], area: Area) -> str:
    if series.reference:
        return "".join(
            line(area.left, y, area.right, y, style.colour, style.width, dash=style.dash) for _, y in spots
        )
    if len(spots) < 2 or not series.joined:
        return ""
    if series.steps:
        corners = [f"M{number(spots[0][0])} {number(spots[0][1])}"]
        corners += [f"H{number(x)}V{number(y)}" for x, y in spots[1:]]
        return stroked("".join(corners), style.colour, style.width)
    path = "M" + "L".join(f"{number(x)} {number(y)}" for x, y in spots)
    width = style.width if len(spots) <= _MOST_MARKERS else 0.7 * style.width
    return stroked(path, style.colour, width, dash=style.dash)


def _intervals(series: Series, style: Style, spots: Sequence[tuple[float, float]], y_axis: Axis) -> str:
    return "".join(
        interval(x, y_axis.px(point.low), y_axis.px(point.high), style.colour)
        for (x, _), point in zip(spots, series.points, strict=True)
        if point.low is not None and point.high is not None
    )


def _series_markers(series: Series, style: Style, spots: Sequence[tuple[float, float]], size: Size) -> str:
    return "".join(
        marker(style, x, y, size.radius, escape(visible(point_words(series, point))))
        for (x, y), point in zip(spots, series.points, strict=True)
    )


def point_words(series: Series, point: Point) -> str:
    """A point in words: series, label, value, interval."""
    name = " ".join(filter(None, (series.label, point.label)))
    ends = "" if point.low is None or point.high is None else f" ({point.low:.4g} to {point.high:.4g})"
    return f"{name}: {point.y:.4g}{ends}"
