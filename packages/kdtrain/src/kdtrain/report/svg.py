"""SVG elements as text: escaped, short numbers, colours by name.

Why not a plotting library: matplotlib's SVG carries style attributes, which the page's Content-Security-Policy
forbids, and ids that collide when several figures stand on one page, and its layout is made for one size and one font.
No element made here has an id or a style attribute.
"""

from __future__ import annotations

import unicodedata
from html import escape
from typing import Any

from kdtrain.report.palette import light

FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, Helvetica, Arial, sans-serif"
"""Names only: no font is loaded."""


def visible(text: str) -> str:
    """Spell out what cannot be seen: control characters, marks of writing direction, lone surrogates.

    Class and run names come from files and may hold any character; such a one would break an SVG file or show a name
    as another.
    """
    return "".join(
        f"\\u{ord(c):04x}" if unicodedata.category(c) in ("Cc", "Cf", "Cs", "Co", "Zl", "Zp") else c
        for c in text
    )


def number(value: float) -> str:
    """A coordinate to a tenth of a pixel, as short as it goes: 12.3, 7, -0.4."""
    return f"{round(value, 1) + 0.0:.1f}".removesuffix(".0")


def element(
    tag: str, *content: str, fill: str | None = None, stroke: str | None = None, **attributes: object
) -> str:
    """An element.

    Args:
        tag: Its name.
        content: Elements or escaped text inside it.
        fill: Name of a colour, "none", or None to inherit.
        stroke: Likewise.
        attributes: Others; ``_`` in a name stands for ``-``, numbers are rounded to a tenth.
    """
    given = {key.replace("_", "-"): value for key, value in attributes.items()}
    classes = []
    for key, name, prefix in (("fill", fill, "f-"), ("stroke", stroke, "l-")):
        if name is not None:
            given[key] = name if name == "none" else light(name)
            classes += [] if name == "none" else [prefix + name]
    if classes:
        given["class"] = " ".join(classes)
    written = "".join(f' {key}="{_attribute(value)}"' for key, value in given.items())
    return f"<{tag}{written}>{''.join(content)}</{tag}>" if content else f"<{tag}{written}/>"


def _attribute(value: object) -> str:
    return number(value) if isinstance(value, float) else escape(visible(str(value)))


def text(
    words: str, x: float, y: float, *, anchor: str = "start", colour: str = "ink", bold: bool = False
) -> str:
    """A line of text whose base line starts, is centred (anchor "middle") or ends at (x, y)."""
    more: dict[str, Any] = {} if anchor == "start" else {"text_anchor": anchor}
    if bold:
        more["font_weight"] = 600
    return element("text", escape(visible(words)), x=float(x), y=float(y), fill=colour, **more)


def line(
    x1: float, y1: float, x2: float, y2: float, colour: str, width: float = 1.0, *, dash: str = ""
) -> str:
    """A straight line."""
    return stroked(f"M{number(x1)} {number(y1)}L{number(x2)} {number(y2)}", colour, width, dash=dash)


def stroked(path: str, colour: str, width: float, *, dash: str = "") -> str:
    """A line along a path, in dashes if a pattern is given."""
    more: dict[str, Any] = {"stroke_dasharray": dash} if dash else {}
    return element("path", d=path, stroke=colour, fill="none", stroke_width=float(width), **more)


def text_width(words: str, font_px: float) -> float:
    """About how wide a text is, in pixels: within a tenth for Latin letters in common sans-serif fonts."""
    return font_px * sum(_advance(character) for character in words)


def _advance(character: str) -> float:
    """Width in ems, by kind of letter, after the metrics of Helvetica."""
    if character in "il.,:;|!'()[] fjtI-":
        return 0.32
    if character in "mwMW%@":
        return 0.88
    if unicodedata.east_asian_width(character) in "WF":
        return 1.0
    return 0.68 if character.isupper() else 0.56
