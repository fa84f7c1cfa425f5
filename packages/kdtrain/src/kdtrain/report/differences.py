"""What each method gains on the baseline of its magnification, and what it loses against the teacher."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from kdtrain.report.cells import ABSENT, difference_cell, digits_for
from kdtrain.report.groups import Group
from kdtrain.report.model import Cell, Row, Table
from kdtrain.report.results import Results, title_row
from kdtrain.shard_index import magnification_name

DIFFERENCES: Mapping[str, str] = {
    "accuracy": "Accuracy",
    "f1": "F1-score",
    "recall": "Balanced accuracy",
    "auc": "ROC AUC",
}
_Reference = Callable[[Group], Group | None]


def differences_table(results: Results) -> Table | None:
    """Paired differences of every method to its baseline and to the teacher; None where there is neither."""
    references = _references(results)
    if not references or not results.compared:
        return None
    rows = []
    for magnification in results.magnifications:
        rows.append(Row(heading=title_row(magnification)))
        for group in (g for g in results.compared if g.magnification == magnification):
            cells = [cell for find in references.values() for cell in _cells(results, group, find(group))]
            rows.append(Row(heading=group.method, cells=tuple(cells)))
    return Table(
        name="differences",
        title="Differences to the baseline and to the teacher",
        caption="Percentage points, with the 95 % interval of the paired difference: both are scored on the same "
        f"{results.iterations:,} draws of {results.unit}s. Bold: the interval leaves out 0. Where it holds 0, these "
        f"{results.unit}s do not tell the two apart. Of several seeds it is the difference of the means.",
        corner="Method",
        columns=tuple(DIFFERENCES.values()) * len(references),
        groups=tuple((title, len(DIFFERENCES)) for title in references),
        rows=tuple(rows),
    )


def _references(results: Results) -> dict[str, _Reference]:
    references: dict[str, _Reference] = {}
    baselines = {group.method for group in results.groups if group.phase == "baseline"}
    if baselines and len(results.methods) > 1:
        references["Against the baseline"] = lambda group: results.baseline(group.magnification)
    teacher = results.teacher
    if teacher is not None:
        title = f"Against the teacher at {magnification_name(teacher.magnification)}"
        references[title] = lambda group: teacher
    return references


def _cells(results: Results, group: Group, reference: Group | None) -> Sequence[Cell]:
    if reference is None or reference is group:
        return [ABSENT] * len(DIFFERENCES)
    digits = digits_for(results.scores(group).n)
    return [difference_cell(results.difference(group, reference, metric), digits) for metric in DIFFERENCES]
