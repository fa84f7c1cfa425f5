"""Words and numbers of `preview.html`: values in, the text in which its templates show them out; they escape it."""

from __future__ import annotations

import unicodedata
from base64 import b64encode
from collections.abc import Iterable, Sequence
from math import floor, isfinite, log10

from slideprep.preview.model import QUALITY, PreviewQuality, PreviewRegion, PreviewSlide

FRAME_PX = (280, 210)
"""Nominal size of a card's image frame; the scale bar's lettering is sized for it."""

_SPACE = "\u202f"  # narrow no-break space: the SI's thousands separator


def visible(value: str) -> str:
    """Spell out control, bidirectional-override and undecodable characters; line breaks stay.

    A slide's name is the name of a file, which may hold any byte: a name must neither break the page nor, through
    writing-direction marks, be displayed as another one.
    """
    return value if value.isprintable() else "".join(map(_visible, value))


def _visible(character: str) -> str:
    unsafe = unicodedata.category(character) in ("Cc", "Cf", "Cs", "Co", "Zl", "Zp") and character != "\n"
    return f"\\u{ord(character):04x}" if unsafe else character


def base64(content: bytes) -> str:
    """Bytes as they stand in a data URI."""
    return b64encode(content).decode("ascii")


def number(value: float) -> str:
    """A count (an int), or a measure (a float) with three significant digits: 46 000, 12.0, 0.499."""
    if isinstance(value, int) or abs(value) >= 100:
        return f"{round(value):,}".replace(",", _SPACE)
    return f"{value:#.3g}".removesuffix(".")


def counted(count: int, thing: str) -> str:
    """A count with its noun: 1 region, 2 regions."""
    return f"{number(count)} {thing}{'' if count == 1 else 's'}"


def size_px(width: int, height: int) -> str:
    """Width × height in pixels."""
    return f"{number(width)} × {number(height)} px"


def times(magnification: float) -> str:
    """A magnification as the paper writes it: 2.5×."""
    return f"{magnification:g}×"


def magnifications(regions: Iterable[PreviewRegion]) -> list[float]:
    """Magnifications of the regions' images, highest first."""
    return sorted({size[0] for region in regions for size in region.sizes}, reverse=True)


def facts(slide: PreviewSlide) -> tuple[tuple[str, Sequence[str]], ...]:
    """What a person checks of a slide: a name and, between commas, what there is to say."""
    measured = slide.quality
    return (
        ("Size", _size(slide) or ["unknown"]),
        ("Scan", _scan(slide)),
        ("Written", _written(slide) or ["nothing"]),
        *([("Worst", [f"{name} {value}" for name, value in quality(measured)])] if measured else []),
        ("Reader", [part for part in (slide.reader, slide.vendor) if part] or ["none"]),
    )


def quality(measured: PreviewQuality | None) -> list[tuple[str, str]]:
    """Names and values of what was measured, as the build's limits take them: focus 0.61, ink 0.03, folds 0."""
    return [] if measured is None else [(name, _measure(getattr(measured, name))) for name in QUALITY]


def _measure(value: float | None) -> str:
    return "unknown" if value is None else "0" if value == 0 else "<0.01" if value < 0.005 else f"{value:.2f}"


def _size(slide: PreviewSlide) -> list[str]:
    if slide.width_l0 is None or slide.height_l0 is None:
        return []
    parts = [size_px(slide.width_l0, slide.height_l0)]
    if slide.mpp:
        mm = slide.mpp / 1000
        parts.append(f"{number(slide.width_l0 * mm)} × {number(slide.height_l0 * mm)} mm")
    return parts


def _scan(slide: PreviewSlide) -> list[str]:
    objective = "objective unknown" if slide.objective is None else times(slide.objective)
    mpp = "mpp unknown" if slide.mpp is None else f"{slide.mpp:.4g} µm/px"
    sources = ((objective, slide.objective_source), (mpp, slide.mpp_source))
    return [f"{value} ({source})" if source else value for value, source in sources]


def _written(slide: PreviewSlide) -> list[str]:
    if not slide.written:
        return []
    parts = [counted(len(slide.written), "region")]
    if slide.covered_fraction is not None:
        parts.append(f"{100 * slide.covered_fraction:.0f}{_SPACE}% of the slide")
    if at := magnifications(slide.written):
        parts.append(f"at {', '.join(f'{m:g}' for m in at)}×")
    return parts


def scale_bar(slide: PreviewSlide) -> dict[str, str] | None:
    """A slide's scale bar in level-0 pixels, None without a usable mpp: where it starts, its path and its name.

    ``unit`` is the level-0 pixels in a pixel of the card's frame, by which the lettering is scaled.
    """
    width_l0, height_l0, mpp = slide.width_l0, slide.height_l0, slide.mpp
    if not width_l0 or not height_l0 or mpp is None or not isfinite(mpp) or mpp <= 0:
        return None
    length_um = scale_bar_um(width_l0 * mpp * 0.4)
    unit = max(width_l0 / FRAME_PX[0], height_l0 / FRAME_PX[1])
    x, y = f"{8 * unit:.1f}", f"{height_l0 - 9 * unit:.1f}"
    name = f"{length_um / 1000:g} mm" if length_um >= 1000 else f"{length_um:g} µm"
    return {"x": x, "y": y, "path": f"M{x} {y}h{length_um / mpp:.1f}", "unit": f"{unit:.4f}", "name": name}


def scale_bar_um(longest_um: float) -> float:
    """The longest of 1, 2 or 5 times a power of ten that is at most ``longest_um``, in µm."""
    power: float = 10.0 ** floor(log10(longest_um))
    return max(step * power for step in (1, 2, 5) if step * power <= longest_um)
