"""What every page made here shares: SVG elements as text, the colours, and what the page may do in a browser.

Why not a plotting library: matplotlib's SVG carries style attributes, which the page's Content-Security-Policy
forbids, and ids that collide when several figures stand on one page, and its layout is made for one size and one font.
No element made here has an id or a style attribute; each is escaped, its numbers are short, its colours have names.

The colours stand here once, each with its light and its dark value. A figure carries the light values as attributes, so
that it is right in a document; on the page, rules made here override them by class, so that the same drawing follows
the reader's theme. The colours of series are those of Okabe and Ito, which stay apart in the common forms of colour
blindness, darkened on white and lightened on black until each has a contrast of at least 3 to 1 with its ground
(WCAG 2.2, 1.4.11); texts have 4.5 to 1. No meaning rests on colour alone.
"""

from __future__ import annotations

import unicodedata
from base64 import b64encode
from hashlib import sha256
from html import escape
from typing import Any

from kdtrain.text import visible

FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, Helvetica, Arial, sans-serif"
"""Names only: no font is loaded."""

COLOURS: dict[str, tuple[str, str]] = {
    "paper": ("#ffffff", "#14171a"),
    "ink": ("#1a1d21", "#e4e7ea"),
    "soft": ("#56606a", "#a3acb5"),
    "rule": ("#d3d9de", "#384048"),
    "fill": ("#f3f5f6", "#1e2328"),
    "accent": ("#0b5a94", "#7cbcea"),
    "warning": ("#7a4b00", "#f0bd5a"),
    "warning-fill": ("#fdf5e3", "#2a2314"),
    "s1": ("#c24e00", "#ff9a57"),
    "s2": ("#0072b2", "#56b4e9"),
    "s3": ("#00805d", "#2fc79a"),
    "s4": ("#a94a86", "#e8a0cb"),
    "s5": ("#8a6a00", "#e5c447"),
    "s6": ("#59626c", "#b4bdc6"),
}
"""Name to (light, dark), as #rrggbb."""

SERIES = ("s1", "s2", "s3", "s4", "s5", "s6")
"""Names of the colours of a figure's series, in order of use."""

SHADES = 10
"""Steps of the shade of a confusion matrix; step 0 is no shade."""

# The strongest shade leaves the ink of either theme a contrast above 4.5, so no text has to change its colour.
_STRONGEST_SHADE = (0.62, 0.45)


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


def light(name: str) -> str:
    """The colour on white, as #rrggbb."""
    return COLOURS[name][0]


def theme_css() -> str:
    """The colours as variables of the page, and the classes that figures and shaded cells refer to.

    Light, unless the reader's system is dark; the box with the id ``theme`` turns either into the other, without
    script. On paper always light.
    """
    dark = f"{{color-scheme:dark;{_variables(1)}}}"
    screen = "@media screen and (prefers-color-scheme:"
    return (
        f":root{{color-scheme:light;{_variables(0)}}}\n"
        f"{screen}dark){{:root:not(:has(#theme:checked)){dark}}}\n"
        f"{screen}light){{:root:has(#theme:checked){dark}}}\n"
        + "".join(f".f-{name}{{fill:var(--{name})}}.l-{name}{{stroke:var(--{name})}}\n" for name in COLOURS)
        + "".join(f".q{step}{{background:var(--q{step})}}\n" for step in range(SHADES + 1))
    )


def _variables(theme: int) -> str:
    named = "".join(f"--{name}:{pair[theme]};" for name, pair in COLOURS.items())
    return named + "".join(f"--q{step}:{shade(step, theme)};" for step in range(SHADES + 1))


def shade(step: int, theme: int) -> str:
    """The ground of a cell: the second series' colour over the paper, as #rrggbb.

    Args:
        step: From 0 (the paper) to :data:`SHADES`.
        theme: 0 light, 1 dark.
    """
    part = _STRONGEST_SHADE[theme] * step / SHADES
    pairs = zip(_rgb(COLOURS["paper"][theme]), _rgb(COLOURS["s2"][theme]), strict=True)
    return "#" + "".join(f"{round(ground + (top - ground) * part):02x}" for ground, top in pairs)


def contrast(first: str, second: str) -> float:
    """The contrast ratio of two colours, from 1 to 21 (WCAG 2.2, relative luminance)."""
    low, high = sorted((_luminance(first), _luminance(second)))
    return (high + 0.05) / (low + 0.05)


def _luminance(colour: str) -> float:
    linear = [
        c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in (v / 255 for v in _rgb(colour))
    ]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def _rgb(colour: str) -> tuple[int, int, int]:
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)


def content_policy(style: str, script: str, *, images: bool = False) -> str:
    """A Content-Security-Policy under which nothing is loaded, and nothing runs but what is named by its hash.

    Args:
        style: Text of the page's style element.
        script: Text of its script element.
        images: Whether it has images, which its own text holds.
    """
    own_images = " img-src data:;" * images
    return (
        f"default-src 'none';{own_images} style-src '{_hash(style)}'; script-src '{_hash(script)}'; "
        "base-uri 'none'; form-action 'none'"
    )


def _hash(source: str) -> str:
    return "sha256-" + b64encode(sha256(source.encode("utf-8")).digest()).decode("ascii")
