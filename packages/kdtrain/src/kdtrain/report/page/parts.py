"""What the page's template is given: the report's blocks with their anchors, drawings, downloads and layout.

Between the report, which knows nothing of HTML, and the template, which decides nothing.
"""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby, pairwise
from urllib.parse import quote

from markupsafe import Markup

from kdtrain.pages import SHADES
from kdtrain.report.figures.draw import chart_svg, drawing_notes
from kdtrain.report.figures.frame import NARROW
from kdtrain.report.model import (
    Block,
    Cell,
    Chart,
    Confusion,
    Gallery,
    Paragraph,
    Picture,
    Report,
    Row,
    Section,
    Table,
)
from kdtrain.report.page.downloads import Download, downloads

_FEW = 2
"""Figures that follow each other are drawn large up to this number, small and side by side beyond it."""

_MOST_CLASSES = 5
"""Confusion matrices of more classes take the width of the page each."""

_MOST_NUMBERS = 60
"""Points of a figure whose table has a row per point; a longer one has a row per line, and the download has all."""

_LINE_COLUMNS = ("Line", "Points", "First", "Last", "Least", "Greatest")


@dataclass(frozen=True, kw_only=True)
class Part:
    """A block as the template draws it.

    Attributes:
        kind: "paragraph", "table", "chart", "confusion" or "gallery".
        block: The block itself.
        anchor: Its id, unique on the page; "" for a paragraph.
        links: What can be downloaded of it.
        wide: Its drawing for a wide window, if it has one.
        narrow: Its drawing for a narrow one, or beside others.
        numbers: What its drawing shows, for those who do not see it.
        note: What a reader must know of its drawing.
    """

    kind: str
    block: Block
    anchor: str = ""
    links: tuple[Download, ...] = ()
    wide: Markup | None = None
    narrow: Markup | None = None
    numbers: Numbers | None = None
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class Numbers:
    """A plain table of a figure's numbers: headings, then rows of text."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, kw_only=True)
class PartGroup:
    """Parts that follow each other: alone, or side by side ("multiples"), in twos or as many as fit."""

    parts: tuple[Part, ...]
    side_by_side: bool
    pair: bool = False


@dataclass(frozen=True, kw_only=True)
class SectionPart:
    """A section with its anchor and its parts."""

    section: Section
    anchor: str
    groups: tuple[PartGroup, ...]


@dataclass
class Anchors:
    """Hands out ids: the wished name, made fit for an id, with a number if it is taken."""

    taken: set[str] = field(default_factory=set)

    def new(self, wish: str) -> str:
        """An id that no other element of the page has."""
        base = re.sub(r"[^A-Za-z0-9_.-]+", "-", wish).strip("-") or "part"
        found, count = base, 1
        while found in self.taken:
            count += 1
            found = f"{base}-{count}"
        self.taken.add(found)
        return found


def section_parts(report: Report, anchors: Anchors) -> tuple[SectionPart, ...]:
    """Every section, in order; ids of sections come before those of what is in them, so that links to them stay."""
    names = [anchors.new(section.name) for section in report.sections]
    return tuple(
        SectionPart(section=section, anchor=name, groups=tuple(_groups(section, anchors)))
        for section, name in zip(report.sections, names, strict=True)
    )


def _groups(section: Section, anchors: Anchors) -> Iterator[PartGroup]:
    for kind, run in groupby(section.blocks, key=type):
        blocks = tuple(run)
        small = kind is Chart and (len(blocks) > _FEW or section.folded or section.per_row > 0)
        parts = tuple(_part(block, anchors, small) for block in blocks)
        if small or all(isinstance(one, Confusion) and len(one.classes) <= _MOST_CLASSES for one in blocks):
            yield PartGroup(parts=parts, side_by_side=True, pair=small and section.per_row == 2)
        else:
            yield from (PartGroup(parts=(part,), side_by_side=False) for part in parts)


def _part(block: Block, anchors: Anchors, small: bool) -> Part:
    if isinstance(block, Paragraph):
        return Part(kind="paragraph", block=block)
    anchor = anchors.new(block.name)
    if not isinstance(block, Chart):
        kind = {Table: "table", Confusion: "confusion", Gallery: "gallery"}[type(block)]
        return Part(kind=kind, block=block, anchor=anchor, links=downloads(block, anchor))
    return Part(
        kind="chart",
        block=block,
        anchor=anchor,
        links=downloads(block, anchor),
        wide=None if small else _markup(chart_svg(block)),
        narrow=_markup(chart_svg(block, NARROW)),
        numbers=chart_numbers(block),
        note=drawing_notes(block),
    )


def picture_address(picture: Picture) -> str:
    """The thumbnail as an address that holds it; "" without one."""
    return f"data:image/jpeg;base64,{b64encode(picture.jpeg).decode('ascii')}" if picture.jpeg else ""


def card_address(picture: Picture) -> str:
    """Where the picture's slide is shown; "" where that is not known. Whatever the path is called, it is a path."""
    if not picture.card:
        return ""
    return f"./{quote(picture.card, safe='/')}#{quote(picture.card_id, safe='')}"


def of_hundred(probability: float) -> str:
    """A probability as "97 %"; what is not certain is never "100 %"."""
    return "over 99 %" if 0.995 <= probability < 1 else f"{100 * probability:.0f} %"


def _markup(drawing: str) -> Markup:
    # Safe: chart_svg escapes every text that it draws.
    return Markup(drawing)


def chart_numbers(chart: Chart) -> Numbers:
    """The numbers of a figure: a row per point, or per line where there are very many points."""
    if sum(len(series.points) for series in chart.series) > _MOST_NUMBERS:
        return Numbers(columns=_LINE_COLUMNS, rows=tuple(_line_rows(chart)))
    columns = ("Series", "Label", chart.x_title, chart.y_title, "Interval")
    rows = tuple(
        (
            series.label,
            point.label,
            f"{point.x:.4g}",
            f"{point.y:.4g}",
            "" if point.low is None or point.high is None else f"{point.low:.4g} to {point.high:.4g}",
        )
        for series in chart.series
        for point in series.points
    )
    kept = [k for k in range(len(columns)) if k not in (1, 4) or any(row[k] for row in rows)]
    return Numbers(
        columns=tuple(columns[k] for k in kept), rows=tuple(tuple(row[k] for k in kept) for row in rows)
    )


def _line_rows(chart: Chart) -> Iterator[tuple[str, ...]]:
    for series in chart.series:
        values = [point.y for point in series.points]
        shown = (values[0], values[-1], min(values), max(values)) if values else ()
        yield (series.label, str(len(values)), *(f"{value:.4g}" for value in shown))


def bodies(rows: Sequence[Row]) -> tuple[tuple[Row | None, tuple[Row, ...]], ...]:
    """Rows in groups under the row that titles them: (title row or None, its rows)."""
    starts = [place for place, row in enumerate(rows) if not row.cells]
    cuts = sorted({0, *starts, len(rows)})
    found: list[tuple[Row | None, tuple[Row, ...]]] = []
    for start, end in pairwise(cuts):
        title = None if rows[start].cells else rows[start]
        found.append((title, tuple(rows[start + (title is not None) : end])))
    return tuple(found)


def of_numbers(table: Table) -> tuple[bool, ...]:
    """For each column whether it holds numbers, which are set flush right."""
    cells = [[row.cells[k] for row in table.rows if row.cells] for k in range(len(table.columns))]
    return tuple(any(cell.value is not None for cell in column) for column in cells)


def main_and_interval(cell: Cell) -> tuple[str, str]:
    """A cell's text in two: "82.70" and "(81.23-84.14)"; the second is empty where there is no interval."""
    main, space, interval = cell.text.partition(" (")
    return (main, f"({interval}") if space and cell.low is not None else (cell.text, "")


def shaded(confusion: Confusion) -> tuple[tuple[tuple[int, int, str], ...], ...]:
    """Cells of a confusion matrix: (count, step of the shade, part of the row's sum in words)."""

    def cell(count: int, total: int) -> tuple[int, int, str]:
        if not total:
            return count, 0, ""
        share = 100 * count / total
        return count, round(SHADES * share / 100), "<1 %" if 0 < share < 1 else f"{share:.0f} %"

    return tuple(tuple(cell(count, sum(row)) for count in row) for row in confusion.counts)
