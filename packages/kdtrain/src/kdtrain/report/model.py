"""What a report consists of: sections of tables, figures and sentences, all of them plain values.

Between reading runs and drawing pages: whoever fills these knows nothing of HTML, and whoever draws them knows nothing
of runs. Numbers stand beside their text, so that a figure's or a table's download holds more digits than the page.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One cell of a table's body.

    Attributes:
        text: As shown: "82.70 (81.23-84.14)".
        value: The number behind it, in the unit of the text; None where there is none.
        low: Lower end of its interval, if any.
        high: Upper end of its interval.
        best: Shown in bold: the best of what it is compared with; in a table of differences, an interval without 0.
        note: What a reader may ask about it: "±1.2 over 5 seeds".
        paper: The paper's number for this cell, as printed there; "" where there is none.
        seeds: Runs that the number is the mean of; None where it is no measurement of runs.
    """

    text: str
    value: float | None = None
    low: float | None = None
    high: float | None = None
    best: bool = False
    note: str = ""
    paper: str = ""
    seeds: int | None = None


@dataclass(frozen=True, kw_only=True)
class Row:
    """One row: its heading, then a cell per column.

    Attributes:
        heading: First column.
        cells: The rest; none for a row that only titles those below it ("1.25x").
    """

    heading: str
    cells: tuple[Cell, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table.

    Attributes:
        name: Name of its files and its anchor: "all-methods".
        title: "Baseline and KD".
        caption: What is in it and how it was measured.
        corner: Heading of the first column.
        columns: Headings of the others.
        groups: Headings over them: (title, number of columns), adding up to all columns; empty for none.
        rows: The body.
        in_paper: What it is in the paper, "Table 4"; "" where the paper has no such table.
    """

    name: str
    title: str
    caption: str
    corner: str
    columns: tuple[str, ...]
    groups: tuple[tuple[str, int], ...] = ()
    rows: tuple[Row, ...]
    in_paper: str = ""


@dataclass(frozen=True, kw_only=True)
class Point:
    """One point of a series.

    Attributes:
        x: In the figure's unit.
        y: Likewise.
        low: Lower end of y's interval, if any.
        high: Upper end.
        label: Written beside it: "1.25x".
        short: Written in its place where that is too long: "3", which the caption explains.
        quiet: Whether the label is left out of the drawing, which has no room for all.
    """

    x: float
    y: float
    low: float | None = None
    high: float | None = None
    label: str = ""
    short: str = ""
    quiet: bool = False


@dataclass(frozen=True, kw_only=True)
class Series:
    """A line, or a set of bars, of one colour.

    Attributes:
        label: In the legend.
        points: By x.
        paper: Whether the numbers are the paper's: drawn thin, for comparison.
        reference: Whether the others are measured against it, as students against their teacher: drawn as stars, with a
            dashed line across the figure at their height.
        band: Whether its interval is drawn as a band across the figure, too.
        joined: Whether a line runs through its points.
        steps: Whether it is drawn as steps without markers: the best that is to be had up to each x.
        looks_as: Label of an earlier series whose colour and markers it has; "" for its own.
        guide: Whether it is no measurement but a line to hold the others against: drawn thin.
        listed: Whether it stands in the legend; not, where ``looks_as`` names one that speaks for it.
    """

    label: str
    points: tuple[Point, ...]
    paper: bool = False
    reference: bool = False
    band: bool = False
    joined: bool = True
    steps: bool = False
    looks_as: str = ""
    guide: bool = False
    listed: bool = True


@dataclass(frozen=True, kw_only=True)
class Chart:
    """A figure of series.

    Attributes:
        name: Name of its files and its anchor: "accuracy-against-cost".
        title: "Accuracy against cost".
        caption: What is in it.
        kind: Lines through points, or bars in groups (one group per distinct label of the points).
        x_title: Title of the axis, with its unit.
        y_title: Likewise.
        x_log: Whether the x axis is logarithmic.
        y_holds: Values that the upright axis holds, whatever the points are.
        series: In the order of the legend.
        in_paper: What it is in the paper, "Figure 3"; "" where the paper has no such figure.
    """

    name: str
    title: str
    caption: str
    kind: Literal["lines", "bars"]
    x_title: str
    y_title: str
    x_log: bool = False
    y_holds: tuple[float, ...] = ()
    series: tuple[Series, ...]
    in_paper: str = ""


@dataclass(frozen=True, kw_only=True)
class Confusion:
    """A confusion matrix, drawn as a shaded table.

    Attributes:
        name: Name of its anchor.
        title: Whose it is.
        caption: What is counted.
        classes: In the order of rows and columns.
        counts: True class in the rows, predicted in the columns.
    """

    name: str
    title: str
    caption: str
    classes: tuple[str, ...]
    counts: tuple[tuple[int, ...], ...]


@dataclass(frozen=True, kw_only=True)
class Picture:
    """One tissue sample of a gallery.

    Attributes:
        key: Its key in the shards.
        slide: Name of its slide.
        truth: Its class.
        answered: The class that the network gave it.
        probability: Of that class, from 0 to 1.
        beside: What another network says of it: "Teacher at 10x: normal, 91 %".
        jpeg: The thumbnail; empty where there is none.
        size_px: (width, height) of the thumbnail.
        why_none: Why there is no thumbnail, where others have one.
        card: Path of a page that shows its slide, from the report's page; "" where none is known.
        card_id: Id of the slide's card on that page.
    """

    key: str
    slide: str
    truth: str
    answered: str
    probability: float
    beside: str = ""
    jpeg: bytes = b""
    size_px: tuple[int, int] = (0, 0)
    why_none: str = ""
    card: str = ""
    card_id: str = ""


@dataclass(frozen=True, kw_only=True)
class PictureRow:
    """Pictures under a heading of their own, and a line about them."""

    title: str
    note: str
    pictures: tuple[Picture, ...]


@dataclass(frozen=True, kw_only=True)
class Gallery:
    """Tissue samples to look at.

    Attributes:
        name: Name of its file and its anchor.
        title: Whose they are.
        caption: Which they are, and how they were chosen.
        rows: In order.
    """

    name: str
    title: str
    caption: str
    rows: tuple[PictureRow, ...]


@dataclass(frozen=True, kw_only=True)
class Paragraph:
    """A sentence or several; a warning is set off from the rest."""

    text: str
    warning: bool = False


Block = Table | Chart | Confusion | Gallery | Paragraph


@dataclass(frozen=True, kw_only=True)
class Section:
    """A part of the report with its heading; blocks that belong together in small (many curves) are folded away.

    Attributes:
        name: Anchor.
        title: Heading.
        blocks: In order.
        folded: Whether it is closed at first.
        per_row: Figures that stand side by side, 2 or 3; 0 for large ones, which are drawn small where they are many.
    """

    name: str
    title: str
    blocks: tuple[Block, ...]
    folded: bool = False
    per_row: int = 0


@dataclass(frozen=True, kw_only=True)
class Report:
    """All of it.

    Attributes:
        title: Heading of the page.
        subtitle: What was compared, on what, in a line.
        synthetic: Whether the slides were made by a program, which the page then says at its top.
        warnings: What a reader must know before any number: too few patients, runs that are missing.
        answer: The result in one to four plain sentences, above all tables.
        sections: In order.
    """

    title: str
    subtitle: str
    synthetic: bool
    warnings: tuple[str, ...]
    answer: tuple[str, ...]
    sections: tuple[Section, ...]

    def tables(self) -> tuple[Table, ...]:
        """Every table, in order."""
        return tuple(b for section in self.sections for b in section.blocks if isinstance(b, Table))
