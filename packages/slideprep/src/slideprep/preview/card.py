"""A slide's card on `preview.html`: its picture with the regions drawn, its facts, its messages, its numbers.

The overlay's SVG user space is the slide's level-0 pixels ((x, y) top left), so a region's coordinates appear in the
page as they are in the index; the browser fits overlay and thumbnail into the same frame. No style attributes are
used: the page's Content-Security-Policy forbids them.
"""

from __future__ import annotations

from base64 import b64encode
from math import floor, isfinite, log10

from slideprep.preview.html import counted, number, size_px, text, times
from slideprep.preview.model import PreviewRegion, PreviewSlide

FRAME_PX = (280, 210)
"""Nominal size of a card's image frame; the scale bar's lettering is sized for it."""

_CSS_NAME = {"written": "written", "left out": "left-out", "failed": "failed"}


def card(index: int, slide: PreviewSlide, *, synthetic: bool) -> str:
    """One slide as an article with the id ``slide-<index>``; all of its data is in the markup, for use without script.

    Args:
        index: Position of the slide in the set, from 0.
        slide: The slide.
        synthetic: Whether to mark the slide as generated.
    """
    generated = '<p class="generated">Synthetic</p>' if synthetic else ""
    name = text(slide.name)
    return (
        f'<article class="card {slide.status}" id="slide-{index}"{_data(index, slide)}>\n'
        f'<a class="frame" href="#slide-{index}" aria-label="Enlarge {name}">{_picture(slide)}</a>\n'
        f'<header><div class="marks">{_mark(slide)}{generated}</div><h3 translate="no"><bdi>{name}</bdi></h3>'
        f"{_belongs_to(slide)}</header>\n"
        f"{_facts(slide)}{_messages(slide)}{_region_details(slide)}</article>\n"
    )


def _data(index: int, slide: PreviewSlide) -> str:
    values = {
        "index": str(index),
        "status": slide.status,
        "name": slide.name,
        "patient": slide.patient,
        "split": slide.split,
        "classes": "\n".join(slide.classes) or None,
        "regions": str(len(slide.written)),
        "warnings": str(sum(kind == "warning" for kind, _ in slide.messages)),
        "left": str(sum(region.status == "left out" for region in slide.regions)),
        "megapixels": None if slide.megapixels is None else f"{slide.megapixels:.6g}",
        "covered": None if slide.covered_fraction is None else f"{slide.covered_fraction:.6f}",
    }
    return "".join(f' data-{key}="{text(value)}"' for key, value in values.items() if value is not None)


def _mark(slide: PreviewSlide) -> str:
    if slide.status == "ok":
        return ""
    name = "Warning" if slide.status == "warning" else "Partly failed" if slide.written else "Failed"
    return f'<p class="mark {slide.status}">{name}</p>'


def _picture(slide: PreviewSlide) -> str:
    if slide.thumbnail_jpeg is None:
        reason = next((message for _, message in slide.messages), "no thumbnail was made")
        return f'<span class="no-image"><b>No image</b> <span>{text(reason)}</span></span>'
    outlined = f"{counted(len(slide.regions), 'region')} outlined"
    data = b64encode(slide.thumbnail_jpeg).decode("ascii")
    return (
        f'<img src="data:image/jpeg;base64,{data}" loading="lazy" decoding="async" '
        f'alt="Overview of {text(slide.name)}, {outlined}">{_overlay(slide)}'
    )


def _overlay(slide: PreviewSlide) -> str:
    if not slide.width_l0 or not slide.height_l0:
        return ""
    # One casing under all outlines: a white line keeps every colour readable on pink and on violet tissue.
    casing = "".join(
        f"M{r.box.x} {r.box.y}h{r.box.width}v{r.box.height}h{-r.box.width}z" + _cross(r)
        for r in slide.regions
    )
    return (
        f'<svg class="overlay" viewBox="0 0 {slide.width_l0} {slide.height_l0}" aria-hidden="true">'
        + (f'<path class="casing" d="{casing}"/>' if casing else "")
        + "".join(_outline(region) for region in slide.regions)
        + _scale_bar(slide.width_l0, slide.height_l0, slide.mpp)
        + "</svg>"
    )


def _cross(region: PreviewRegion) -> str:
    if region.status != "failed":
        return ""
    box = region.box
    return f"M{box.x} {box.y}l{box.width} {box.height}M{box.right} {box.y}l{-box.width} {box.height}"


def _outline(region: PreviewRegion) -> str:
    box, name = region.box, _CSS_NAME[region.status]
    cross = f'<path class="cross" d="{_cross(region)}"/>' if region.status == "failed" else ""
    return (
        f'<g class="region {name}" data-region="{text(region.name)}">{cross}'
        f'<rect x="{box.x}" y="{box.y}" width="{box.width}" height="{box.height}">'
        f"<title>{text(_spoken(region))}</title></rect></g>"
    )


def _spoken(region: PreviewRegion) -> str:
    lines = [f"{region.name}, {region.class_name}" if region.class_name else region.name]
    if region.status != "written":
        lines.append(f"{region.status}: {region.reason or 'no reason recorded'}")
    lines.append(
        f"level 0: {size_px(region.box.width, region.box.height)} at ({region.box.x}, {region.box.y})"
    )
    lines += [
        f"{times(magnification)}: {size_px(width, height)}" for magnification, width, height in region.sizes
    ]
    return "\n".join(lines)


def _scale_bar(width_l0: int, height_l0: int, mpp: float | None) -> str:
    if mpp is None or not isfinite(mpp) or mpp <= 0:
        return ""
    length_um = scale_bar_um(width_l0 * mpp * 0.4)
    unit = max(width_l0 / FRAME_PX[0], height_l0 / FRAME_PX[1])
    x, y, length = 8 * unit, height_l0 - 9 * unit, length_um / mpp
    name = f"{length_um / 1000:g} mm" if length_um >= 1000 else f"{length_um:g} µm"
    bar = f"M{x:.1f} {y:.1f}h{length:.1f}"
    return (
        f'<g class="scale"><path class="casing" d="{bar}"/><path class="bar" d="{bar}"/>'
        f'<text data-x="{x:.1f}" data-y="{y:.1f}" transform="translate({x:.1f} {y:.1f}) scale({unit:.4f})" '
        f'y="-5">{name}</text></g>'
    )


def scale_bar_um(longest_um: float) -> float:
    """The longest of 1, 2 or 5 times a power of ten that is at most ``longest_um``, in µm."""
    power: float = 10.0 ** floor(log10(longest_um))
    return max(step * power for step in (1, 2, 5) if step * power <= longest_um)


def _belongs_to(slide: PreviewSlide) -> str:
    label = ", ".join(slide.classes) or None
    parts = (("Patient", slide.patient), ("Label", label), ("Split", slide.split))
    cells = "".join(
        f'<div class="{name.lower()}"><dt>{name}</dt>'
        + (f"<dd><bdi>{text(value)}</bdi></dd>" if value is not None else '<dd class="none">none</dd>')
        + "</div>"
        for name, value in parts
    )
    return f'<dl class="belongs">{cells}</dl>'


def _facts(slide: PreviewSlide) -> str:
    reader = [part for part in (slide.reader, slide.vendor) if part]
    facts = (
        ("Size", _size(slide) or ["unknown"]),
        ("Scan", _scan(slide)),
        ("Written", _written(slide) or ["nothing"]),
        ("Reader", reader or ["none"]),
    )
    cells = "".join(
        f'<div class="{name.lower()}"><dt>{name}</dt><dd>{_quantities(parts)}</dd></div>'
        for name, parts in facts
    )
    return f'<dl class="facts">{cells}</dl>\n'


def _quantities(parts: list[str]) -> str:
    last = len(parts) - 1
    return " ".join(f"<span>{text(part)}{',' if i < last else ''}</span>" for i, part in enumerate(parts))


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
        parts.append(f"{100 * slide.covered_fraction:.0f}\u202f% of the slide")
    magnifications = sorted({size[0] for region in slide.written for size in region.sizes}, reverse=True)
    if magnifications:
        parts.append(f"at {', '.join(f'{m:g}' for m in magnifications)}×")
    return parts


def _messages(slide: PreviewSlide) -> str:
    if not slide.messages:
        return ""
    items = "".join(f'<li class="{kind}">{text(message)}</li>' for kind, message in slide.messages)
    return f'<ul class="messages">{items}</ul>\n'


def _region_details(slide: PreviewSlide) -> str:
    if not slide.regions:
        return ""
    magnifications = sorted({size[0] for region in slide.regions for size in region.sizes}, reverse=True)
    columns = ["Region", "Class", "Status", "x", "y", "Level 0, px"] + [
        f"{times(m)}, px" for m in magnifications
    ]
    head = "".join(f'<th scope="col">{column}</th>' for column in columns)
    rows = "".join(_region_row(region, magnifications) for region in slide.regions)
    return (
        '<details class="regions"><summary>Regions in numbers</summary><div class="scroll"><table>'
        f"<thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div></details>\n"
    )


def _region_row(region: PreviewRegion, magnifications: list[float]) -> str:
    sizes = {magnification: f"{width} × {height}" for magnification, width, height in region.sizes}
    box = region.box
    numbers = [str(box.x), str(box.y), f"{box.width} × {box.height}"] + [
        sizes.get(m, "–") for m in magnifications
    ]
    return (
        f'<tr class="{_CSS_NAME[region.status]}" data-region="{text(region.name)}">'
        f'<th scope="row">{text(region.name)}</th><td>{text(region.class_name or "–")}</td>'
        f'<td><span class="key {_CSS_NAME[region.status]}"></span>{region.status}</td>'
        + "".join(f"<td>{value}</td>" for value in numbers)
        + "</tr>"
    )
