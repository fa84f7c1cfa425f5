"""The paper's Tables 1 and 2: tissues, slides and patients of each class in each set.

Comes in: the split and the number of regions per slide. Goes out: counts, and their renderings. Columns are
named sets, so nested auxiliary sets are shown as unions (``aux2`` contains ``aux1``, as ADv2 contains ADv1).
Class counts of auxiliary sets are for reference only: their samples carry no label.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich.table import Table

from slideprep.labels.split_plan import LABELLED_SPLITS, PlannedSlide, SplitPlan
from slideprep.text import csv_text, screen_line

MEASURES = ("tissues", "slides", "patients")
TOTAL = "total"
UNLABELLED = "unlabelled"

RegionCounts = Mapping[str, Mapping[str | None, int]]
"""Number of regions by slide and class; the class is None where no annotation names one."""


@dataclass(frozen=True, kw_only=True)
class TableRow:
    """Counts of one class, of what has no class, or of everything.

    Attributes:
        measure: "tissues" (regions), "slides" or "patients".
        name: The class, "unlabelled" or "total".
        counts: One number per set.
    """

    measure: str
    name: str
    counts: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class SplitTable:
    """Class × set counts.

    Attributes:
        sets: Named sets, left to right.
        reference_only: Those of them whose samples carry no label.
        rows: Per measure, the classes in order, then "unlabelled" where there is any, then "total".
    """

    sets: tuple[str, ...]
    reference_only: tuple[str, ...]
    rows: tuple[TableRow, ...]

    def as_dict(self) -> dict[str, Any]:
        """JSON-able: ``header``, ``rows`` (lists in the header's order) and ``reference_only``."""
        return {
            "header": ["measure", "class", *self.sets],
            "rows": [[row.measure, row.name, *row.counts] for row in self.rows],
            "reference_only": list(self.reference_only),
        }

    def as_csv(self) -> str:
        """CSV text: one line per measure and class, one column per set."""
        content = self.as_dict()
        return csv_text([content["header"], *content["rows"]])

    def as_rich(self) -> Table:
        """For the terminal: at most 100 columns wide with up to six sets and seven-digit counts."""
        note = "class counts of " + ", ".join(self.reference_only) + " are for reference only"
        table = Table(title="Splits", caption=note if self.reference_only else None, title_justify="left")
        table.add_column("", max_width=26, overflow="fold")
        for name in self.sets:
            table.add_column(name, justify="right", no_wrap=True)
        for measure in MEASURES:
            table.add_row(measure.capitalize(), style="bold")
            for row in (row for row in self.rows if row.measure == measure):
                table.add_row(screen_line(f"  {row.name}"), *(f"{count:,}" for count in row.counts))
            table.add_section()
        return table


def split_table(plan: SplitPlan, region_counts: RegionCounts) -> SplitTable:
    """Count regions, slides and patients by class and named set.

    A region without a class of its own has its slide's label. A slide, or a patient, with regions of several
    classes counts once in each of them and once in the total, so there the classes can sum to more than the
    total.

    Args:
        plan: The split; slides that it leaves out are not counted.
        region_counts: Regions by slide and class; an absent slide has no region.
    """
    by_split = _tallies(plan, region_counts)
    rows = [
        TableRow(measure=measure, name=name, counts=counts)
        for measure in MEASURES
        for name, counts in _measure_rows(plan, by_split, measure)
    ]
    return SplitTable(
        sets=tuple(plan.sets),
        reference_only=tuple(name for name in plan.sets if name not in LABELLED_SPLITS),
        rows=tuple(rows),
    )


class _Tally:
    """What one stored split holds, by class; None is everything without a class."""

    def __init__(self) -> None:
        self.tissues: defaultdict[str | None, int] = defaultdict(int)
        self.slides: defaultdict[str | None, set[str]] = defaultdict(set)
        self.patients: defaultdict[str | None, set[str]] = defaultdict(set)

    def add(self, slide: PlannedSlide, regions: Mapping[str | None, int]) -> None:
        """Count one slide and its regions."""
        for name, number in regions.items():
            assert number > 0, f"a count of nothing for '{slide.name}'"
            self.tissues[name or slide.label] += number
        for shown in {name or slide.label for name in regions} or {slide.label}:
            self.slides[shown].add(slide.name)
            self.patients[shown].add(slide.patient)

    def number(self, measure: str, names: Sequence[str | None]) -> int:
        """How many there are of some classes together, each thing once."""
        if measure == "tissues":
            return sum(self.tissues[name] for name in names)
        found = self.slides if measure == "slides" else self.patients
        return len(set().union(*(found[name] for name in names)))


def _tallies(plan: SplitPlan, region_counts: RegionCounts) -> dict[str, _Tally]:
    tallies: defaultdict[str, _Tally] = defaultdict(_Tally)
    for name, slide in plan.slides.items():
        if slide.split is not None:
            tallies[slide.split].add(slide, region_counts.get(name, {}))
    return tallies


def _measure_rows(
    plan: SplitPlan, by_split: Mapping[str, _Tally], measure: str
) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Rows of one measure. Stored splits are disjoint in slides and patients, so unions are sums."""

    def counts(names: Sequence[str | None]) -> tuple[int, ...]:
        return tuple(
            sum(by_split[part].number(measure, names) for part in parts) for parts in plan.sets.values()
        )

    for name in plan.classes:
        yield name, counts([name])
    if any(counts([None])):
        yield UNLABELLED, counts([None])
    yield TOTAL, counts([*plan.classes, None])
