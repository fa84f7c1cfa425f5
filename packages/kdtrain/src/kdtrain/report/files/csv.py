"""Tables and figures as CSV: long, one row per cell with its numbers, and wide, as the page shows it.

In: values of :mod:`~kdtrain.report.model`. Out: text, UTF-8 when written, lines ended by a line feed. Numbers are
written so that they read back exactly, and an empty field is a number that there is not.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from kdtrain.report.model import Chart, Confusion, Gallery, Row, Table
from kdtrain.text import csv_text

LONG_COLUMNS = (
    "part",
    "row",
    "group",
    "column",
    "value",
    "low",
    "high",
    "seeds",
    "best",
    "paper",
    "text",
    "note",
)
"""Columns of a table in long form; ``part`` is the title row that the row stands under."""
CHART_COLUMNS = ("series", "label", "x", "y", "low", "high", "paper")
"""Columns of a figure's points."""
GALLERY_COLUMNS = ("key", "slide", "true class", "answered class", "probability", "beside")
"""Columns of a gallery's samples."""


def table_csv(table: Table) -> str:
    """A table in long form: a row per cell, with the columns LONG_COLUMNS."""
    return csv_text([LONG_COLUMNS, *_long_rows(table)])


def wide_table_csv(table: Table) -> str:
    """A table as it is shown; the paper's numbers are in columns of their own, where the table has any."""
    paper = any(cell.paper for row in table.rows for cell in row.cells)
    groups = group_of_column(table)
    titles = [": ".join(filter(None, pair)) for pair in zip(groups, table.columns, strict=True)]
    head = [
        table.corner,
        *(name for title in titles for name in _with_paper(title, f"{title}, paper", paper)),
    ]
    return csv_text([head, *(_wide_row(row, len(table.columns), paper) for row in table.rows)])


def chart_csv(chart: Chart) -> str:
    """The points of a figure, a row each, with the columns CHART_COLUMNS; its axes' titles head x and y."""
    head = [{"x": chart.x_title, "y": chart.y_title}.get(name, name) for name in CHART_COLUMNS]
    rows = (
        (series.label, point.label, point.x, point.y, point.low, point.high, _yes(series.paper))
        for series in chart.series
        for point in series.points
    )
    return csv_text([head, *rows])


def confusion_csv(confusion: Confusion) -> str:
    """A confusion matrix: the true class in the first column, then the count of every predicted class."""
    rows = zip(confusion.classes, confusion.counts, strict=True)
    return csv_text([("true class", *confusion.classes), *((name, *counts) for name, counts in rows)])


def gallery_csv(gallery: Gallery) -> str:
    """The samples of a gallery, a row each, with the columns GALLERY_COLUMNS; it has no image."""
    pictures = (picture for row in gallery.rows for picture in row.pictures)
    rows = ((p.key, p.slide, p.truth, p.answered, p.probability, p.beside) for p in pictures)
    return csv_text([GALLERY_COLUMNS, *rows])


def group_of_column(table: Table) -> tuple[str, ...]:
    """The heading over each column, "" where the table has none."""
    spread = tuple(title for title, width in table.groups for _ in range(width))
    return spread or ("",) * len(table.columns)


def _long_rows(table: Table) -> Iterator[Sequence[object]]:
    part = ""
    groups = group_of_column(table)
    for row in table.rows:
        if not row.cells:
            part = row.heading
        for group, column, cell in zip(groups, table.columns, row.cells, strict=False):
            numbers = (cell.value, cell.low, cell.high, cell.seeds)
            yield (
                part,
                row.heading,
                group,
                column,
                *numbers,
                _yes(cell.best),
                cell.paper,
                cell.text,
                cell.note,
            )


def _wide_row(row: Row, columns: int, paper: bool) -> list[object]:
    shown = [name for cell in row.cells for name in _with_paper(cell.text, cell.paper, paper)]
    return [row.heading, *(shown or [""] * columns * (1 + paper))]


def _with_paper(text: str, paper_text: str, paper: bool) -> tuple[str, ...]:
    return (text, paper_text) if paper else (text,)


def _yes(flag: bool) -> str:
    return "yes" if flag else ""
