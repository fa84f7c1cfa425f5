"""Words, numbers, tables and lists of `preview.html`: values in, escaped HTML out. Cards have their own module."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from html import escape

from slideprep.preview.model import PreviewTable
from slideprep.preview.tally import Tally

_SPACE = "\u202f"  # narrow no-break space: the SI's thousands separator


def text(value: str) -> str:
    """Escape for HTML text and attributes; control, bidirectional-override and undecodable characters are spelt out.

    A slide's name is the name of a file, which may hold any byte: a name must neither break the page nor, through
    writing-direction marks, be displayed as another one.
    """
    return escape("".join(c if _is_safe(c) else f"\\u{ord(c):04x}" for c in value), quote=True)


def _is_safe(character: str) -> bool:
    return character == "\n" or unicodedata.category(character) not in ("Cc", "Cf", "Cs", "Co", "Zl", "Zp")


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


def counts(found: Tally) -> str:
    """The counts that matter, each with the state it filters by where there is one."""
    regions = found.regions
    shown = [
        ("slide", "", len(found.states), ""),
        ("patient", "", found.patients, ""),
        ("region", " written", regions.get("written", 0), ""),
        ("region", " left out", regions.get("left out", 0), "left"),
        ("region", " failed", regions.get("failed", 0), "failed"),
        ("slide", " with failures", found.failed, "failed"),
        ("slide", " with warnings", found.warned, "warning"),
    ]
    items = "".join(
        _count(f"{one}{'' if n == 1 else 's'}{which}", n, state) for one, which, n, state in shown
    )
    if not found.sizes:
        return items
    largest = found.sizes[0]
    return items + _count(f"megapixels at {times(largest.magnification)}", largest.megapixels, "")


def _count(name: str, value: float, state: str) -> str:
    zero = " zero" if value == 0 else ""
    filters = f' data-filter="{state}"' if state and value else ""
    return f'<div class="count {state}{zero}"{filters}><dt>{name}</dt><dd>{number(value)}</dd></div>'


def split_check(found: Tally) -> str:
    """One sentence on whether any patient is in two splits; empty where there are no splits or patients."""
    if not found.has_splits:
        return ""
    shared = found.shared_patients
    if not shared:
        return '<p class="check">No patient is in two splits.</p>'
    named = "; ".join(f"{text(patient)} ({text(', '.join(splits))})" for patient, splits in shared.items())
    return f'<p class="check failed">Patients in more than one split: {named}.</p>'


def table(content: PreviewTable) -> str:
    """A table whose first column names the rows; it scrolls sideways in its own frame."""
    head = "".join(f'<th scope="col">{text(column)}</th>' for column in content.header)
    rows = "".join(
        f'<tr><th scope="row">{text(row[0])}</th>'
        + "".join(f"<td>{text(cell)}</td>" for cell in row[1:])
        + "</tr>"
        for row in content.rows
    )
    return (
        f'<figure><figcaption>{text(content.caption)}</figcaption><div class="scroll" tabindex="0">'
        f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div></figure>\n"
    )


def size_table(found: Tally) -> str:
    """Images, megapixels and the largest image by magnification; empty where nothing was written."""
    if not found.sizes:
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
        for size in found.sizes
    )
    return table(
        PreviewTable(
            caption="Images written, by magnification. The largest bounds the memory that training needs.",
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
