"""The colours of page and figures, each with its light and its dark value, stated once.

A figure carries the light values as attributes, so that it is right in a document; on the page, rules made here
override them by class, so that the same drawing follows the reader's theme. The colours of series are those of Okabe
and Ito, which stay apart in the common forms of colour blindness, darkened on white and lightened on black until each
has a contrast of at least 3 to 1 with its ground (WCAG 2.2, 1.4.11); texts have 4.5 to 1. No meaning rests on colour
alone.
"""

from __future__ import annotations

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
