"""The pieces of `preview.html`: a slide's card, its overlay, the tables; strings in, escaped HTML out.

The overlay's SVG user space is the slide's level-0 pixels ((x, y) top left), so a region's coordinates appear in the
page as they are in the index; the browser fits overlay and thumbnail into the same frame. No style attributes are
used: the page's Content-Security-Policy forbids them.
"""

from __future__ import annotations

import unicodedata
from base64 import b64encode
from collections.abc import Iterable
from html import escape
from math import floor, log10

from slideprep.preview_model import PreviewRegion, PreviewSet, PreviewSlide, PreviewTable, image_sizes

FRAME_PX = (280, 210)
"""Nominal size of a card's image frame; the scale bar's lettering is sized for it."""

_SPACE = "\u202f"  # narrow no-break space: the SI's thousands separator
_CSS_NAME = {"written": "written", "left out": "left-out", "failed": "failed"}
_MARK = {"failed": "Failed", "warning": "Warning", "ok": ""}


def text(value: str) -> str:
    """Escape for HTML text and attributes; control, bidirectional-override and undecodable characters are spelt out.

    A slide's name is the name of a file, which may hold any byte: a name must neither break the page nor, through
    writing-direction marks, be displayed as another one.
    """
    return escape("".join(c if _is_safe(c) else f"\\u{ord(c):04x}" for c in value), quote=True)


def _is_safe(character: str) -> bool:
    return character == "\n" or unicodedata.category(character) not in ("Cc", "Cf", "Cs", "Co", "Zl", "Zp")


def number(value: float) -> str:
    """A count, or a measure with three significant digits: 46 000, 12.3, 0.499."""
    if value == int(value) or abs(value) >= 100:
        return f"{round(value):,}".replace(",", _SPACE)
    return f"{value:.3g}"


def size_px(width: int, height: int) -> str:
    """Width × height in pixels."""
    return f"{number(width)} × {number(height)} px"


def times(magnification: float) -> str:
    """A magnification as the paper writes it: 2.5×."""
    return f"{magnification:g}×"


def card(index: int, slide: PreviewSlide, *, synthetic: bool) -> str:
    """One slide as an article with the id ``slide-<index>``; all of its data is in the markup, for use without script.

    Args:
        index: Position of the slide in the set, from 0.
        slide: The slide.
        synthetic: Whether to mark the slide as generated.
    """
    mark = f'<p class="mark {slide.status}">{_MARK[slide.status]}</p>' if _MARK[slide.status] else ""
    generated = '<p class="generated">Synthetic</p>' if synthetic else ""
    return (
        f'<article class="card {slide.status}" id="slide-{index}"{_data(index, slide)}>\n'
        f'<a class="frame" href="#slide-{index}" aria-label="Enlarge {text(slide.name)}">{_picture(slide)}</a>\n'
        f'<header><div class="marks">{mark}{generated}</div><h3 translate="no"><bdi>{text(slide.name)}</bdi></h3>'
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
        "left": str(sum(region.status == "left out" for region in slide.regions)),
        "megapixels": None if slide.megapixels is None else f"{slide.megapixels:.6g}",
        "covered": None if slide.covered_fraction is None else f"{slide.covered_fraction:.6f}",
    }
    return "".join(f' data-{key}="{text(value)}"' for key, value in values.items() if value is not None)


def _picture(slide: PreviewSlide) -> str:
    if slide.thumbnail_jpeg is None:
        reason = next((message for _, message in slide.messages), "no thumbnail was made")
        return f'<span class="no-image"><b>No image</b> <span>{text(reason)}</span></span>'
    outlined = f"{len(slide.regions)} region{'' if len(slide.regions) == 1 else 's'} outlined"
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
        f"M{r.box.x} {r.box.y}h{r.box.width}v{r.box.height}h{-r.box.width}z" + _cross(r) for r in slide.regions
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
    lines.append(f"level 0: {size_px(region.box.width, region.box.height)} at ({region.box.x}, {region.box.y})")
    lines += [f"{times(magnification)}: {size_px(width, height)}" for magnification, width, height in region.sizes]
    return "\n".join(lines)


def _scale_bar(width_l0: int, height_l0: int, mpp: float | None) -> str:
    if not mpp or mpp <= 0:
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
    facts = [("Size", _size(slide)), ("Scan", _scan(slide)), ("Written", _written(slide))]
    facts.append(("Reader", ", ".join(part for part in (slide.reader, slide.vendor) if part) or "none"))
    cells = "".join(
        f'<div class="{name.lower()}"><dt>{name}</dt><dd>{text(value)}</dd></div>' for name, value in facts
    )
    return f'<dl class="facts">{cells}</dl>\n'


def _size(slide: PreviewSlide) -> str:
    if slide.width_l0 is None or slide.height_l0 is None:
        return "unknown"
    return size_px(slide.width_l0, slide.height_l0) + _physical(slide.width_l0, slide.height_l0, slide.mpp)


def _physical(width_l0: int, height_l0: int, mpp: float | None) -> str:
    if not mpp:
        return ""
    return f" ({number(width_l0 * mpp / 1000)} × {number(height_l0 * mpp / 1000)} mm)"


def _scan(slide: PreviewSlide) -> str:
    objective = "objective unknown" if slide.objective is None else times(slide.objective)
    mpp = "mpp unknown" if slide.mpp is None else f"{slide.mpp:.4g} µm/px"
    sources = ((objective, slide.objective_source), (mpp, slide.mpp_source))
    return ", ".join(f"{value} ({source})" if source else value for value, source in sources)


def _written(slide: PreviewSlide) -> str:
    count = len(slide.written)
    if not count:
        return "nothing"
    covered = slide.covered_fraction
    share = "" if covered is None else f", {100 * covered:.0f}{_SPACE}% of the slide"
    magnifications = sorted({size[0] for region in slide.written for size in region.sizes}, reverse=True)
    at = f", at {', '.join(f'{m:g}' for m in magnifications)}×" if magnifications else ""
    return f"{count} region{'' if count == 1 else 's'}{share}{at}"


def _messages(slide: PreviewSlide) -> str:
    if not slide.messages:
        return ""
    items = "".join(f'<li class="{kind}">{text(message)}</li>' for kind, message in slide.messages)
    return f'<ul class="messages">{items}</ul>\n'


def _region_details(slide: PreviewSlide) -> str:
    if not slide.regions:
        return ""
    magnifications = sorted({size[0] for region in slide.regions for size in region.sizes}, reverse=True)
    columns = ["Region", "Class", "Status", "x", "y", "Level 0, px"] + [f"{times(m)}, px" for m in magnifications]
    head = "".join(f'<th scope="col">{column}</th>' for column in columns)
    rows = "".join(_region_row(region, magnifications) for region in slide.regions)
    return (
        '<details class="regions"><summary>Regions in numbers</summary><div class="scroll"><table>'
        f"<thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div></details>\n"
    )


def _region_row(region: PreviewRegion, magnifications: list[float]) -> str:
    sizes = {magnification: f"{width} × {height}" for magnification, width, height in region.sizes}
    box = region.box
    numbers = [str(box.x), str(box.y), f"{box.width} × {box.height}"] + [sizes.get(m, "–") for m in magnifications]
    return (
        f'<tr class="{_CSS_NAME[region.status]}" data-region="{text(region.name)}">'
        f'<th scope="row">{text(region.name)}</th><td>{text(region.class_name or "–")}</td>'
        f'<td><span class="key {_CSS_NAME[region.status]}"></span>{region.status}</td>'
        + "".join(f"<td>{value}</td>" for value in numbers)
        + "</tr>"
    )


def counts(preview: PreviewSet) -> str:
    """The counts that matter, each with the state it filters by where there is one."""
    slides, regions = preview.slides, [region for slide in preview.slides for region in slide.regions]
    states = [slide.status for slide in slides]
    sizes = image_sizes(slides)
    shown = [
        ("slides", len(slides), ""),
        ("patients", len({slide.patient for slide in slides} - {None}), ""),
        ("regions written", sum(region.status == "written" for region in regions), ""),
        ("regions left out", sum(region.status == "left out" for region in regions), "left"),
        ("slides with failures", states.count("failed"), "failed"),
        ("slides with warnings", states.count("warning"), "warning"),
    ]
    if sizes:
        shown.append((f"megapixels at {times(sizes[0].magnification)}", sizes[0].megapixels, ""))
    return "".join(_count(name, value, state) for name, value, state in shown)


def _count(name: str, value: float, state: str) -> str:
    zero = " zero" if value == 0 else ""
    filters = f' data-filter="{state}"' if state and value else ""
    return f'<div class="count {state}{zero}"{filters}><dt>{name}</dt><dd>{number(value)}</dd></div>'


def split_check(preview: PreviewSet) -> str:
    """One sentence on whether any patient is in two splits; empty where there are no splits or patients."""
    if not any(slide.patient is not None and slide.split is not None for slide in preview.slides):
        return ""
    shared = preview.shared_patients
    if not shared:
        return '<p class="check">No patient is in two splits.</p>'
    named = "; ".join(f"{text(patient)} ({text(', '.join(splits))})" for patient, splits in shared.items())
    return f'<p class="check failed">Patients in more than one split: {named}.</p>'


def table(content: PreviewTable) -> str:
    """A table whose first column names the rows; it scrolls sideways in its own frame."""
    head = "".join(f'<th scope="col">{text(column)}</th>' for column in content.header)
    rows = "".join(
        f'<tr><th scope="row">{text(row[0])}</th>' + "".join(f"<td>{text(cell)}</td>" for cell in row[1:]) + "</tr>"
        for row in content.rows
    )
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{text(content.caption)}">'
        f"<table><caption>{text(content.caption)}</caption><thead><tr>{head}</tr></thead>"
        f"<tbody>{rows}</tbody></table></div>"
    )


def size_table(preview: PreviewSet) -> str:
    """Images, megapixels and the largest image by magnification; empty where nothing was written."""
    sizes = image_sizes(preview.slides)
    if not sizes:
        return ""
    rows = tuple(
        (
            times(size.magnification),
            number(size.images),
            number(size.megapixels),
            number(size.median_megapixels),
            size_px(*size.largest_px),
            size.largest_slide,
        )
        for size in sizes
    )
    return table(
        PreviewTable(
            caption="Images written, by magnification; the largest one bounds the memory that training needs.",
            header=("Magnification", "Images", "Megapixels", "Median, MP", "Largest", "Slide of the largest"),
            rows=rows,
        )
    )


def options(values: Iterable[tuple[str | None, int]], *, everything: str) -> str:
    """Options of a filter with their counts; the value of the option for "none" is "none", others start with "=".

    Args:
        values: (value or None, number of slides), in display order.
        everything: Name of the option that filters nothing.
    """
    items = "".join(
        f'<option value="{"none" if value is None else "=" + text(value)}">'
        f"{'none' if value is None else text(value)} ({number(count)})</option>"
        for value, count in values
    )
    return f'<option value="">{everything}</option>{items}'


def definitions(pairs: Iterable[tuple[str, str]]) -> str:
    """A list of names and values."""
    return "".join(f"<div><dt>{text(name)}</dt><dd>{text(value)}</dd></div>" for name, value in pairs)
