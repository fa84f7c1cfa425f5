"""The scale that a file states, and whether it can be believed. Nothing is read here, and nothing guessed.

In: OpenSlide's properties of a slide, or the same names for a plain TIFF. Out: :class:`StatedScale`. Which statement
counts, from the first that is there:

- microns per pixel: OME-XML's ``PhysicalSizeX`` and ``Y``; the format's own (``openslide.mpp-x`` and ``-y``: Aperio's
  ``MPP``, DICOM's PixelSpacing, other vendors' tags; of a plain TIFF its resolution tags);
- objective power: the format's own (``openslide.objective-power``: Aperio's ``AppMag``, DICOM's ObjectiveLensPower);
  OME-XML's ``NominalMagnification``.

A statement that cannot be true is taken as absent, with a warning that names what counts in its place. A description
that speaks of another size than the image has was kept by a program that made the image anew: nothing in it counts.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from math import isfinite

from slideprep.slides.readers.ome_scale import OmeScale, is_ome_xml, ome_scale, stale
from slideprep.units import STANDARD_OBJECTIVES, magnification_from_mpp, standard_objective_from_mpp

PLAUSIBLE_MPP = (0.05, 20.0)
"""µm per pixel outside of which a tag is a mistake: a TIFF without a unit, or with 72 dpi, says 352.8."""

PLAUSIBLE_OBJECTIVE = (0.5, 160.0)
"""Powers outside of which a tag is a mistake: 400x is what an eyepiece of 10x makes of an objective of 40x."""

USUAL_MPP = (0.08, 10.5)
"""µm per pixel of the objectives from 1x to 125x: beyond, an mpp that the objective contradicts is the wrong one."""

MPP_ANISOTROPY = 0.02
"""Relative difference of mpp-x and mpp-y beyond which a warning says that the pixels are not square."""

MOST_ANISOTROPY = 0.10
"""Relative difference from which on one of the two is wrong: no scanner's pixels are so oblong."""

CONTRADICTION = 2.5
"""Objective and 10 / mpp may differ by less: a 20x objective gives 0.23 to 0.55 µm, and 40x may be read at half."""

_SAME_SIZE = 0.01
"""Sides that differ by less are the same, cut or filled up: the scale is."""

_APERIO_SIZE = re.compile(r"(\d+)x(\d+)(?:\s*\[\s*\d+\s*,\s*\d+[\s,]+(\d+)x(\d+)\s*\])?")
"""``46000x32914 [42673,5576 2220x2967]``: the scan's size, then place and size of what was cut out of it."""

_TO_MICRONS = (("mm", 1e3), ("cm", 1e4), ("nm", 1e-3))


@dataclass(frozen=True, kw_only=True)
class StatedScale:
    """What a file says of its scale, as far as it can be believed.

    Attributes:
        mpp: Microns per level-0 pixel, mean of x and y, or None.
        objective: Objective power, or None.
        doubts: Plain sentences: what is not believed, or contradicts itself.
    """

    mpp: float | None
    objective: float | None
    doubts: tuple[str, ...]


def stated_scale(properties: Mapping[str, str]) -> StatedScale:
    """Take the scale of level 0 from a file's properties.

    Args:
        properties: By OpenSlide's names; the size of level 0 and the TIFF description among them, where there are any.
    """
    text = properties.get("tiff.ImageDescription") or properties.get("openslide.comment") or ""
    size = _size_l0(properties)
    if (
        size is not None
        and properties.get("openslide.vendor") == "aperio"
        and (told := _aperio_size(text, size))
    ):
        return StatedScale(mpp=None, objective=None, doubts=(stale(told, size, "description"),))
    ome = ome_scale(text, size) if size is not None and is_ome_xml(text) else OmeScale()
    doubts = [ome.doubt] if ome.doubt else []
    objective, absurd = _objective(properties.get("openslide.objective-power") or ome.objective)
    tags = (properties.get("openslide.mpp-x"), properties.get("openslide.mpp-y"))
    of_tags, tag_doubts = _mpp(*tags, objective)
    mpp, ome_doubts = _mpp(ome.mpp_x, ome.mpp_y or ome.mpp_x, objective)
    doubts += ome_doubts
    if mpp is None:
        mpp, doubts = of_tags, doubts + tag_doubts
    elif of_tags is not None and abs(of_tags / mpp - 1) > MOST_ANISOTROPY:
        doubts.append(
            f"The resolution tags say {of_tags:g} µm per pixel and OME-XML {mpp:g}; OME-XML's counts."
        )
    if absurd is not None:
        doubts.append(
            f"The file's objective power of {absurd} is outside {PLAUSIBLE_OBJECTIVE[0]:g}-{PLAUSIBLE_OBJECTIVE[1]:g} "
            f"and is taken as absent{_counts_mpp(mpp)}."
        )
    if mpp is not None and objective is not None:
        mpp, objective, contradiction = _reconciled(mpp, objective)
        doubts += contradiction
    return StatedScale(mpp=mpp, objective=objective, doubts=tuple(doubts))


def plausible_mpp(mpp: float) -> bool:
    """Whether a pixel size in µm can be that of a microscope image."""
    return PLAUSIBLE_MPP[0] <= mpp <= PLAUSIBLE_MPP[1]


def _size_l0(properties: Mapping[str, str]) -> tuple[int, int] | None:
    width, height = (properties.get(f"openslide.level[0].{side}", "") for side in ("width", "height"))
    return (int(width), int(height)) if width.isdecimal() and height.isdecimal() else None


def _aperio_size(description: str, size_l0: tuple[int, int]) -> str | None:
    """The size that an Aperio description speaks of, where level 0 has another one; None where it fits or is silent.

    A scan that was turned by a quarter keeps its scale. What stands after a semicolon is history.
    """
    found = _APERIO_SIZE.search(re.split(r"[|;]", description, maxsplit=1)[0])
    if found is None:
        return None
    whole, part = found.group(1, 2), found.group(3, 4)
    stated = [(int(width), int(height)) for width, height in (part, whole) if width]
    if any(_same_size(size, turned) for size in stated for turned in (size_l0, size_l0[::-1])):
        return None
    return f"{stated[0][0]} x {stated[0][1]}"


def _same_size(stated: tuple[int, int], size: tuple[int, int]) -> bool:
    return all(abs(a - b) <= max(1, _SAME_SIZE * b) for a, b in zip(stated, size, strict=True))


def _number(text: str | None) -> float | None:
    """A number as some programs write it, with a comma for its point; None for what is none."""
    try:
        value = float((text or "").strip().replace(",", "."))
    except ValueError:
        return None
    return value if isfinite(value) else None


def _objective(text: str | None) -> tuple[float | None, str | None]:
    """An objective power that can be, and one that cannot as it stands in the file."""
    value = _number(text)
    if value is not None and PLAUSIBLE_OBJECTIVE[0] <= value <= PLAUSIBLE_OBJECTIVE[1]:
        return value, None
    return None, (text or "").strip()[:20] or None


def _mpp(text_x: str | None, text_y: str | None, objective: float | None) -> tuple[float | None, list[str]]:
    """Mean of x and y where it can be, and what is odd."""
    if text_x is None or text_y is None:
        return None, []
    mpp_x, mpp_y = _number(text_x), _number(text_y)
    wrong = [
        text for text, mpp in ((text_x, mpp_x), (text_y, mpp_y)) if mpp is None or not plausible_mpp(mpp)
    ]
    if wrong or mpp_x is None or mpp_y is None:
        value = _number(wrong[0])
        shown = wrong[0].strip()[:20] if value is None else f"{value:g}"
        return None, [
            f"The file's mpp of {shown} is outside {PLAUSIBLE_MPP[0]:g}-{PLAUSIBLE_MPP[1]:g} µm and is taken as "
            f"absent{_counts_objective(objective)}{_other_unit(value, objective)}."
        ]
    difference = abs(mpp_x - mpp_y) / max(mpp_x, mpp_y)
    if difference > MOST_ANISOTROPY:
        return None, [
            f"The file's mpp is {mpp_x:g} in x and {mpp_y:g} in y, and no scanner's pixels are so oblong: it is taken "
            f"as absent{_counts_objective(objective)}."
        ]
    odd = f"The pixels are not square: mpp {mpp_x:g} in x, {mpp_y:g} in y; their mean is used."
    return (mpp_x + mpp_y) / 2, [odd] if difference > MPP_ANISOTROPY else []


def _counts_mpp(mpp: float | None) -> str:
    if mpp is None:
        return ""
    objective = standard_objective_from_mpp(mpp)
    return f"; the mpp of {mpp:g} counts" + (
        "" if objective is None else f", which is that of {objective:g}x"
    )


def _counts_objective(objective: float | None) -> str:
    return "" if objective is None else f"; the objective power of {objective:g}x counts"


def _other_unit(value: float | None, objective: float | None) -> str:
    """The number that would fit the objective, were it in another unit than µm; it is not used."""
    if value is None or objective is None:
        return ""
    fitting = [
        (unit, value * factor)
        for unit, factor in _TO_MICRONS
        if value > 0 and 1 / CONTRADICTION < objective / magnification_from_mpp(value * factor) < 1.5
    ]
    return (
        f" (in {fitting[0][0]} it would be {fitting[0][1]:g} µm: if so, pass --mpp {fitting[0][1]:g})"
        if fitting
        else ""
    )


def _reconciled(mpp: float, objective: float) -> tuple[float | None, float | None, list[str]]:
    """Both, less the one that is unusual where they contradict each other."""
    physical = magnification_from_mpp(mpp)
    factor = max(objective / physical, physical / objective)
    if factor < CONTRADICTION:
        return mpp, objective, []
    said = f"The file's objective power of {objective:g}x and mpp of {mpp:g} ({physical:.3g}x) contradict each other"
    if not USUAL_MPP[0] <= mpp <= USUAL_MPP[1]:
        return None, objective, [f"{said}: no usual scan has such an mpp, and it is taken as absent."]
    if not any(abs(objective / usual - 1) < 0.01 for usual in STANDARD_OBJECTIVES):
        return mpp, None, [f"{said}: no usual objective has such a power, and it is taken as absent."]
    return (
        mpp,
        objective,
        [f"{said} by a factor of {factor:.1f}: one of them is wrong; give the right ones in labels.csv."],
    )
