"""How a series looks: its colour, the shape of its markers, the pattern of its line, and its place in the legend.

Colour, shape and pattern all differ, so that series stay apart in print without colour and for any eye.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import cos, pi, sin

from kdtrain.pages import SERIES, element, line, number, stroked, text, text_width
from kdtrain.report.model import Series

_DASHES = ("", "7 3", "2 2.5", "9 3 2 3")
_SHAPES = ("circle", "square", "triangle", "diamond", "point down", "pentagon")
_CORNERS = {
    "triangle": (3, -90),
    "point down": (3, 90),
    "square": (4, 45),
    "diamond": (4, 0),
    "pentagon": (5, -90),
}
_LEFT_PX, _SAMPLE_PX, _GAP_PX = 2.0, 30, 6
_MOST_LETTERS = 200
"""More stand in no legend, however small its letters."""


@dataclass(frozen=True, kw_only=True)
class Style:
    """The look of one series.

    Attributes:
        colour: Name of a colour.
        shape: Shape of the markers.
        dash: Pattern of the line, as SVG writes it; "" for a solid one.
        hollow: Markers are drawn as outlines.
        width: Width of the line, in pixels.
    """

    colour: str
    shape: str
    dash: str = ""
    hollow: bool = False
    width: float = 2.0


def styles(series: Sequence[Series]) -> tuple[Style, ...]:
    """A style per series, in order; the first is always the same, whatever the others are."""
    found: list[Style] = []
    ours, papers = 0, 0
    labels = [one.label for one in series]
    for place, one in enumerate(series):
        if one.looks_as and one.looks_as in labels[:place]:
            found.append(found[labels.index(one.looks_as)])
        elif one.steps:
            found.append(Style(colour="ink", shape="circle", width=1.4))
        elif one.reference:
            found.append(Style(colour="ink", shape="star", dash="5 4", width=1.2))
        elif one.paper or one.guide:
            found.append(_style("soft", papers, hollow=True, width=1.1))
            papers += 1
        else:
            found.append(
                _style(SERIES[ours % len(SERIES)], ours + ours // len(SERIES), hollow=ours >= len(SERIES))
            )
            ours += 1
    return tuple(found)


def _style(colour: str, place: int, *, hollow: bool, width: float = 2.0) -> Style:
    shape, dash = _SHAPES[place % len(_SHAPES)], _DASHES[place % len(_DASHES)]
    return Style(colour=colour, shape=shape, dash=dash, hollow=hollow, width=width)


def marker(style: Style, x: float, y: float, radius: float, title: str = "") -> str:
    """A marker centred at (x, y), about ``radius`` pixels in half its width; a title is shown by a resting pointer."""
    content = (element("title", title),) if title else ()
    fill, stroke = ("paper", style.colour) if style.hollow else (style.colour, "paper")
    return element(
        "path", *content, d=_outline(style.shape, x, y, radius), fill=fill, stroke=stroke, stroke_width=1.4
    )


def _outline(shape: str, x: float, y: float, r: float) -> str:
    if shape == "circle":
        across = number(2 * r)
        arc = f"a{number(r)} {number(r)} 0 1 0 "
        return f"M{number(x - r)} {number(y)}{arc}{across} 0{arc}-{across} 0z"
    if shape == "star":
        return _polygon([(x, y, 1.75 * r if k % 2 == 0 else 0.75 * r, -90 + 36 * k) for k in range(10)])
    corners, turn = _CORNERS[shape]
    return _polygon(
        [(x, y, (1.5 if corners == 3 else 1.3) * r, turn + 360 / corners * k) for k in range(corners)]
    )


def _polygon(corners: list[tuple[float, float, float, float]]) -> str:
    """Corners as (x, y) of the centre, distance from it, direction in degrees clockwise from the right."""
    points = (
        f"{number(x + r * cos(angle * pi / 180))} {number(y + r * sin(angle * pi / 180))}"
        for x, y, r, angle in corners
    )
    return f"M{'L'.join(points)}z"


def legend(
    series: Sequence[Series], *, right: float, font_px: float, lines: bool, marks: bool = True
) -> tuple[str, float]:
    """The legend above a figure, in as many rows as it takes.

    Args:
        series: In the order of the figure; with fewer than two to list, there is no legend.
        right: Where rows end at most, in pixels.
        font_px: Size of its text.
        lines: Show a piece of each line.
        marks: Show the markers of lines; points by themselves have theirs in any case.

    Returns:
        The drawing, and its height in pixels.
    """
    listed = [pair for pair in zip(series, styles(series), strict=True) if pair[0].listed]
    if len(listed) < 2:
        return "", 0.0
    row_px, x, y, drawn = font_px + _GAP_PX, _LEFT_PX, font_px, []
    for one, style in listed:
        # Widths are right within a tenth.
        label = cut(one.label, 0.9 * (right - _LEFT_PX - _SAMPLE_PX - 6), font_px)
        width = _SAMPLE_PX + 6 + text_width(label, font_px)
        if x > _LEFT_PX and x + width > right:
            x, y = _LEFT_PX, y + row_px
        own_line, own_marks = lines and one.joined, (marks or not one.joined) and not one.steps
        drawn.append(_sample(style, x, y - font_px * 0.35, own_line, own_marks))
        drawn.append(text(label, x + _SAMPLE_PX + 5, y))
        x += width + 16
    return "".join(drawn), y + row_px - font_px


def rows_px(rows: int, font_px: float) -> float:
    """Height of a legend of so many rows, in pixels."""
    return rows * (font_px + _GAP_PX)


def cut(words: str, room_px: float, font_px: float) -> str:
    """A text that fits, with what does not fit taken out of its middle: its end may be a number."""
    shown, kept = words, min(len(words), _MOST_LETTERS)
    while text_width(shown[: _MOST_LETTERS + 1], font_px) > room_px and kept > 2:
        kept -= 1
        shown = f"{words[: (kept + 1) // 2]}…{words[len(words) - kept // 2 :]}"
    return shown


def _sample(style: Style, x: float, y: float, lines: bool, marks: bool) -> str:
    piece = line(x, y, x + _SAMPLE_PX, y, style.colour, style.width, dash=style.dash) if lines else ""
    return piece + (marker(style, x + _SAMPLE_PX / 2, y, 4) if marks else "")


def interval(x: float, low: float, high: float, colour: str) -> str:
    """An interval as an upright line with caps."""
    cap = f"M{number(x - 3)} {{0}}L{number(x + 3)} {{0}}"
    path = f"M{number(x)} {number(low)}L{number(x)} {number(high)}{cap.format(number(low))}{cap.format(number(high))}"
    return stroked(path, colour, 1.3)
