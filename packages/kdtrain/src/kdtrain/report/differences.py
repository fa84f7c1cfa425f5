"""What each method gains on the baseline of its magnification, and what it loses against the teacher."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from kdtrain.report.cells import difference_cell, digits_for
from kdtrain.report.groups import Group
from kdtrain.report.model import Cell, Row, Table
from kdtrain.report.results import Results, title_row
from kdtrain.shards.models import magnification_name

DIFFERENCES: Mapping[str, str] = {
    "accuracy": "Accuracy",
    "f1": "F1-score",
    "recall": "Balanced accuracy",
    "auc": "ROC AUC",
}


def baseline_table(results: Results) -> Table | None:
    """What every other method gains on the baseline of its magnification; None without a baseline or another method."""
    pairs = [
        (group, baseline)
        for group in results.compared
        if (baseline := results.baseline(group.magnification)) is not None and baseline is not group
    ]
    if not pairs:
        return None
    return _table(results, pairs, name="differences-baseline", title="Differences to the baseline")


def against_teacher_table(results: Results) -> Table | None:
    """What every method loses against the teacher; None without a teacher or another method."""
    teacher = results.teacher
    if teacher is None or not results.compared:
        return None
    title = f"Differences to the teacher at {magnification_name(teacher.magnification)}"
    pairs = [(group, teacher) for group in results.compared]
    return _table(results, pairs, name="differences-teacher", title=title)


def _table(results: Results, pairs: Sequence[tuple[Group, Group]], *, name: str, title: str) -> Table:
    rows = []
    for magnification in results.magnifications:
        there = [(group, other) for group, other in pairs if group.magnification == magnification]
        if there:
            rows.append(Row(heading=title_row(magnification)))
        rows += [Row(heading=group.method, cells=_cells(results, group, other)) for group, other in there]
    means = any(len(group.runs) > 1 for pair in pairs for group in pair)
    return Table(
        name=name,
        title=title,
        caption="Percentage points, with the 95 % interval of the paired difference: both are scored on the same "
        f"{results.iterations:,} draws of {results.unit}s. Bold: the interval leaves out 0. Where it holds 0, these "
        f"{results.unit}s do not tell the two apart."
        + " Of several seeds, the difference of the means, and after ± the standard deviation of the differences."
        * means,
        corner="Method",
        columns=tuple(DIFFERENCES.values()),
        rows=tuple(rows),
    )


def _cells(results: Results, group: Group, reference: Group) -> tuple[Cell, ...]:
    digits = digits_for(results.scores(group).n)
    return tuple(
        difference_cell(results.difference(group, reference, metric), digits) for metric in DIFFERENCES
    )
