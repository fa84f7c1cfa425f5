"""What ``slideprep inspect`` says about one slide."""

from __future__ import annotations

from typing import Any

from slideprep.building.config import BuildConfig
from slideprep.cli.foreign import about_options
from slideprep.errors import MagnificationError
from slideprep.slides.discover import find_slide
from slideprep.slides.fetch import fetched_for_once
from slideprep.slides.reader import Slide
from slideprep.slides.readers.choose import open_reader
from slideprep.storage.access import Access
from slideprep.storage.places import Place
from slideprep.text import for_terminal
from slideprep.units import Scale, resolve_scale


def inspect_slide(
    path: Place, *, objective: float | None, mpp: float | None, access: Access | None = None
) -> dict[str, Any]:
    """Open a slide and list what is known, JSON-able.

    Args:
        path: The slide or its address, or the folder of a DICOM series.
        objective: ``--objective``, used where the slide carries none.
        mpp: ``--mpp``, used where the slide carries none.
        access: How a slide in an object store is reached.

    Raises:
        UsageError: There is no such slide.
        InputError: It cannot be opened.
    """
    found = find_slide(path)
    with fetched_for_once(found, access or Access()) as file, open_reader(file) as slide:
        facts = _facts(slide) | {"files": len(found.files)}
        try:
            scale = resolve_scale(
                name=slide.name,
                mode="objective",
                slide_objective=slide.objective,
                slide_mpp=slide.mpp,
                run_objective=objective,
                run_mpp=mpp,
                slide_doubts=slide.scale_doubts,
            )
        except MagnificationError as error:
            told = [
                *map(for_terminal, _others(slide)),
                *filter(None, (str(error), about_options(str(error)))),
            ]
            return facts | {"magnifications": None, "warnings": told}
        return facts | {
            "objective": scale.objective,
            "objective_source": scale.objective_source,
            "mpp": scale.mpp,
            "magnifications": _magnifications(scale, facts["width"], facts["height"]),
            "warnings": [*map(for_terminal, slide.warnings), *([scale.warning] if scale.warning else [])],
        }


def _others(slide: Slide) -> list[str]:
    """The slide's warnings but those that the error repeats."""
    return [warning for warning in slide.warnings if warning not in slide.scale_doubts]


def _facts(slide: Slide) -> dict[str, Any]:
    """What the file itself says."""
    return {
        "slide": slide.name,
        "vendor": for_terminal(slide.vendor),
        "reader": slide.reader,
        "width": slide.levels[0].width,
        "height": slide.levels[0].height,
        "levels": [
            {"width": level.width, "height": level.height, "downsample": round(level.downsample_x, 4)}
            for level in slide.levels
        ],
        "mpp": slide.mpp,
        "objective": slide.objective,
        "background": list(slide.background),
    }


def _magnifications(scale: Scale, width: int, height: int) -> list[dict[str, Any]]:
    rows = []
    default: tuple[float, ...] = BuildConfig.model_fields["magnifications"].default
    for magnification in default:
        try:
            factor = float(scale.factor(magnification))
        except MagnificationError:
            continue
        rows.append(
            {
                "magnification": magnification,
                "factor": factor,
                "width": int(width / factor),
                "height": int(height / factor),
                "mpp": None if scale.mpp is None else round(scale.mpp * factor, 4),
            }
        )
    return rows


def as_text(facts: dict[str, Any]) -> str:
    """The facts as lines for a person."""
    mpp = "unknown" if facts["mpp"] is None else f"{facts['mpp']:g} µm/px"
    objective = "unknown" if facts["objective"] is None else f"{facts['objective']:g}x"
    if facts.get("objective_source") not in (None, "slide"):
        objective += f" ({facts['objective_source']})"
    lines = [
        f"{facts['slide']}: {facts['vendor']}, read by {facts['reader']}",
        f"  level 0     {facts['width']:,} x {facts['height']:,} px, {facts['width'] * facts['height'] / 1e6:,.1f} MP",
        f"  levels      {len(facts['levels'])}: downsamples "
        + ", ".join(f"{level['downsample']:g}" for level in facts["levels"]),
        f"  mpp         {mpp}",
        f"  objective   {objective}",
    ]
    for row in facts["magnifications"] or ():
        size = f"{row['width']:,} x {row['height']:,} px"
        lines.append(f"  {row['magnification']:>5g}x      {size}, {row['factor']:g} level-0 pixels per pixel")
    lines += [f"  warning: {warning}" for warning in facts["warnings"]]
    return "\n".join(lines)
