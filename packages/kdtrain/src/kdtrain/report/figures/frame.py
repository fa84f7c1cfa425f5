"""The frame of a figure: its size, its plot area, its axes and their titles. Marks are drawn into it by others."""

from __future__ import annotations

from dataclasses import dataclass

from kdtrain.pages import FONT, element, line, text, text_width
from kdtrain.report.figures.axes import Axis


@dataclass(frozen=True, kw_only=True)
class Size:
    """A figure's user space, in pixels.

    Attributes:
        width: Width of the whole figure.
        height: Likewise, legend included.
        font_px: Size of all its text.
        radius: Radius of a marker.
    """

    width: int
    height: int
    font_px: float
    radius: float


WIDE = Size(width=760, height=440, font_px=13.5, radius=4.6)
"""For a page and a file."""

NARROW = Size(width=360, height=320, font_px=12.0, radius=3.8)
"""For a phone, and for many figures side by side: at 358 pixels its text is 12 pixels high."""


@dataclass(frozen=True, kw_only=True)
class Area:
    """Where marks go: pixels from the top left."""

    left: float
    top: float
    right: float
    bottom: float


def left_margin(tick_texts: tuple[str, ...], font_px: float) -> float:
    """Room for the tick texts of the upright axis."""
    return max((text_width(words, font_px) for words in tick_texts), default=0.0) + 12


def upright(axis: Axis, area: Area, size: Size, title: str) -> str:
    """The upright axis: a faint line per tick, its number, and the title level above them, where it reads best."""
    drawn = [text(title, 2, area.top - 10, colour="soft")]
    for tick, words in zip(axis.ticks, axis.tick_texts, strict=True):
        y = axis.px(tick)
        drawn.append(line(area.left, y, area.right, y, "rule"))
        drawn.append(text(words, area.left - 7, y + size.font_px * 0.35, anchor="end", colour="soft"))
    return "".join(drawn)


def level(axis: Axis, area: Area, size: Size, title: str) -> str:
    """The level axis: line, ticks with numbers as far as they do not touch, and the title below."""
    drawn = [line(area.left, area.bottom, area.right, area.bottom, "soft")]
    free_from = 0.0
    for tick, words in zip(axis.ticks, axis.tick_texts, strict=True):
        x, half = axis.px(tick), text_width(words, size.font_px) / 2
        drawn.append(line(x, area.bottom, x, area.bottom + 5, "soft"))
        if x - half >= free_from and x + half <= size.width:
            drawn.append(text(words, x, area.bottom + 8 + size.font_px, anchor="middle", colour="soft"))
            free_from = x + half + 6
    return "".join(drawn) + level_title(area, size, title)


def level_title(area: Area, size: Size, title: str) -> str:
    """The title of the level axis, in two lines where one is too long."""
    words, room = title.split(" "), size.width - 8
    lines = [""]
    for word in words:
        longer = f"{lines[-1]} {word}".strip()
        if text_width(longer, size.font_px) <= room or not lines[-1]:
            lines[-1] = longer
        else:
            lines.append(word)
    middle = (
        (area.left + area.right) / 2
        if text_width(lines[0], size.font_px) < area.right - area.left
        else room / 2 + 4
    )
    return "".join(
        text(
            words,
            middle,
            area.bottom + 12 + size.font_px * (2.35 + 1.25 * row),
            anchor="middle",
            colour="soft",
        )
        for row, words in enumerate(lines)
    )


def bottom_margin(title: str, size: Size) -> float:
    """Room for tick texts and title below the plot."""
    rows = 1 + (text_width(title, size.font_px) > size.width - 8)
    return 18 + size.font_px * (1.35 + 1.25 * rows)


def whole(size: Size, spoken: str, *content: str) -> str:
    """The SVG document: white ground, one font, a name for those who hear it."""
    ground = element("rect", width=size.width, height=size.height, fill="paper")
    return element(
        "svg",
        ground,
        *content,
        xmlns="http://www.w3.org/2000/svg",
        viewBox=f"0 0 {size.width} {size.height}",
        width=size.width,
        height=size.height,
        role="img",
        aria_label=spoken,
        font_family=FONT,
        font_size=float(size.font_px),
    )
