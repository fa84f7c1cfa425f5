"""Every class by itself: precision, recall, F1 and areas with their intervals, and how many samples that rests on.

In: Results. Out: a table, the rows of each network under its name.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from kdtrain.report.model import Cell, Row, Table
from kdtrain.report.runs.groups import RunGroup
from kdtrain.report.runs.results import Results
from kdtrain.report.runs.scoring import OF_CLASS, Estimate, estimate
from kdtrain.report.tables.cells import ABSENT, count_cell, digits_for, estimate_cell, percent, times100
from kdtrain.text import plural

MOST_ROWS = 24
"""Classes times networks that can be looked through."""
_MEAN = "mean of the classes"


def classes_tables(results: Results, first: RunGroup) -> tuple[Table, ...]:
    """Every network's classes; of many rows, those of one network, its teacher and its baseline stand before all.

    Args:
        results: All of them.
        first: The network that is looked at.
    """
    groups = results.groups
    beside = [results.teacher, results.baseline(first), first]
    some = [group for group in groups if any(group is one for one in beside)]
    if len(some) == len(groups) or len(groups) * len(results.classes) <= MOST_ROWS:
        return (_table(results, groups, "classes-metrics", "Every class by itself"),)
    return (
        _table(results, some, "classes-metrics", "Every class by itself"),
        _table(results, groups, "classes-metrics-all", "Every class by itself, all networks"),
    )


def _table(results: Results, groups: Sequence[RunGroup], name: str, title: str) -> Table:
    rows = tuple(row for group in groups for row in _rows(results, group))
    intervals = any(cell.low is not None for row in rows for cell in row.cells)
    seeds = any(len(group.runs) > 1 for group in groups)
    return Table(
        name=name,
        title=title,
        caption="Percent, by tissue sample, the class against the rest. Precision: how many of those given this class "
        "have it; recall: how many of those that have it were given it; average precision (AP): precision over all "
        "recalls, by chance the class's share of the samples."
        + f" 95 % intervals in brackets, by {results.iterations:,} draws of {results.unit}s; AP has none."
        * intervals
        + " Of several seeds, the mean." * seeds
        + _lone(results),
        corner="Class",
        columns=(*OF_CLASS.values(), "AP", "Samples"),
        rows=rows,
    )


def _rows(results: Results, group: RunGroup) -> Iterator[Row]:
    scores = results.scores(group)
    digits = digits_for(scores.n)
    counts = scores.counts.class_counts
    yield Row(heading=group.title)
    for number, label in enumerate(results.classes):
        cells = [_cell(results, group, name, number, digits) for name in OF_CLASS]
        support = count_cell(counts[label], _patients(results, number))
        yield Row(heading=label, cells=(*cells, _average_precision(results, group, number, digits), support))
    means = [estimate_cell(estimate(scores, name), digits) for name in OF_CLASS]
    yield Row(heading=_MEAN, cells=(*means, ABSENT, count_cell(scores.n)))


def _cell(results: Results, group: RunGroup, name: str, number: int, digits: int) -> Cell:
    found: Estimate = results.scores(group).of_class[name][number]
    cell = estimate_cell(found, digits)
    if name != "precision" or found.value is None or any(found.by_seed):
        return cell
    never = not any(one.predicted == number for run in group.runs for one in run.predictions)
    return Cell(text=cell.text, value=cell.value, seeds=cell.seeds, note="never answered") if never else cell


def _average_precision(results: Results, group: RunGroup, number: int, digits: int) -> Cell:
    curve = results.curves[group.method, group.magnification][number]
    if curve is None:
        return ABSENT
    value = curve.average_precision
    return Cell(text=percent(value, digits), value=times100(value), seeds=len(group.runs))


def _patients(results: Results, number: int) -> str:
    there = {one.patient for one in results.collection.runs[0].predictions if one.label == number}
    return plural(len(there), "patient") if there else ""


def _lone(results: Results) -> str:
    """A class of a single bootstrap unit has numbers without intervals, which nobody could tell from the table."""
    lone = results.scores(results.groups[0]).counts.single_unit_classes
    named = ", ".join(lone)
    return f" No interval where a class is of one {results.unit} alone: {named}." if lone else ""
