"""The tables of every metric, which are 3 and 4 of the paper, and the same by patient.

In: Results. Out: Tables; None where the runs have nothing to fill one with.

And the differences: what each method gains on the baseline of its magnification, and loses against the teacher.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from kdtrain.report.model import Cell, Row, Table
from kdtrain.report.runs.groups import RunGroup
from kdtrain.report.runs.results import Results
from kdtrain.report.runs.scoring import METRICS, estimate
from kdtrain.report.tables.cells import ABSENT, difference_cell, digits_for, estimate_cell, with_best
from kdtrain.shards.models import magnification_name
from kdtrain.text import plural

PATIENT_METRICS: Mapping[str, str] = {
    "accuracy": "Accuracy",
    "plain_accuracy": "Plain accuracy",
    "recall": "Balanced accuracy",
}

DIFFERENCES: Mapping[str, str] = {
    "accuracy": "Accuracy",
    "f1": "F1-score",
    "recall": "Balanced accuracy",
    "auc": "ROC AUC",
}


def teacher_table(results: Results) -> Table | None:
    """Every metric of the teacher."""
    teachers = [group for group in results.groups if group.phase == "teacher"]
    if not teachers:
        return None
    digits = digits_for(results.scores(teachers[0]).n)
    return Table(
        name="teacher-metrics",
        title="Every metric of the teacher",
        caption=_caption(results),
        corner="Metric",
        columns=tuple(f"{group.method} {magnification_name(group.magnification)}" for group in teachers),
        rows=tuple(
            Row(
                heading=title,
                cells=with_best([_measured(results, group, metric, digits) for group in teachers], digits),
            )
            for metric, title in METRICS.items()
        ),
        in_paper="Table 3",
    )


def methods_table(results: Results) -> Table | None:
    """Every metric of every method at every magnification, the best of each row in bold."""
    if not results.compared:
        return None
    digits = digits_for(results.scores(results.compared[0]).n)
    rows = []
    for magnification in results.magnifications:
        rows.append(Row(heading=magnification_name(magnification)))
        groups = [results.group(method, magnification) for method in results.methods]
        for metric, title in METRICS.items():
            cells = [_measured(results, group, metric, digits) for group in groups]
            rows.append(Row(heading=title, cells=with_best(cells, digits)))
    best = " Bold: the best of a row, which need not be certain: see the differences." * (
        len(results.methods) > 1
    )
    return Table(
        name="all-methods",
        title="Every metric of every method",
        caption=_caption(results) + best,
        corner="Metric",
        columns=results.methods,
        rows=tuple(rows),
        in_paper="Table 4",
    )


def patients_table(results: Results) -> Table | None:
    """Every method by patient: a patient's probabilities are the mean over all of the patient's tissue samples."""
    groups = results.groups
    first = next(iter(results.patients.values()))
    if not first.n:
        return None
    digits = digits_for(first.n)
    rows = tuple(
        Row(
            heading=group.title,
            cells=tuple(
                estimate_cell(estimate(results.patients[group.method, group.magnification], metric), digits)
                for metric in PATIENT_METRICS
            ),
        )
        for group in groups
    )
    certain = any(cell.low is not None and cell.low == cell.high for row in rows for cell in row.cells)
    return Table(
        name="patients",
        title="By patient",
        caption=f"Percent, of {plural(first.n, 'patient')}: a patient's probabilities are the mean over the tissue "
        "samples. Patients whose samples have several labels are left out."
        + " 95 % intervals in brackets." * any(cell.low is not None for row in rows for cell in row.cells)
        + " One of no width comes of no patient being wrong, or all; it does not say that none ever is."
        * certain,
        corner="Method",
        columns=tuple(PATIENT_METRICS.values()),
        rows=rows,
    )


def _measured(results: Results, group: RunGroup | None, metric: str, digits: int) -> Cell:
    if group is None:
        return ABSENT
    found = estimate(results.scores(group), metric)
    return estimate_cell(found, digits, paper=results.paper(group, metric))


def _caption(results: Results) -> str:
    scores = results.scores(results.groups[0])
    unit = "" if results.unit == "sample" else f" of {plural(scores.units, 'patient')}"
    source = results.collection.paper_source
    intervals = results.has_intervals(METRICS)
    brackets = (
        f" In brackets the 95 % interval, by {results.iterations:,} bootstrap draws of {results.unit}s."
        * intervals
    )
    means = (
        f" Of several seeds, the mean,{' its interval,' * intervals} and after ± the standard deviation over the seeds."
        * any(len(g.runs) > 1 for g in results.groups)
    )
    return (
        f"Percent, on {plural(scores.n, 'tissue sample')}{unit} of {results.tested_on}: each class "
        "against the rest, then the mean over the classes, as in the paper; plain accuracy is the share of samples "
        f"that are right.{brackets}{means}" + (f" Small: the paper's numbers ({source})." if source else "")
    )


def baseline_table(results: Results) -> Table | None:
    """What every other method gains on the baseline of its magnification; None without a baseline or another method."""
    pairs = [
        (group, baseline)
        for group in results.compared
        if (baseline := results.baseline(group)) is not None and baseline is not group
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


def _table(results: Results, pairs: Sequence[tuple[RunGroup, RunGroup]], *, name: str, title: str) -> Table:
    rows = []
    for magnification in results.magnifications:
        there = [(group, other) for group, other in pairs if group.magnification == magnification]
        if there:
            rows.append(Row(heading=magnification_name(magnification)))
        rows += [Row(heading=group.method, cells=_cells(results, group, other)) for group, other in there]
    means = any(len(group.runs) > 1 for pair in pairs for group in pair)
    return Table(
        name=name,
        title=title,
        caption="Percentage points"
        + (
            f", with the 95 % interval of the paired difference: both are scored on the same {results.iterations:,} "
            f"draws of {results.unit}s. Bold: the interval leaves out 0. Where it holds 0, these {results.unit}s do "
            "not tell the two apart."
            if results.has_intervals(DIFFERENCES)
            else f", without intervals: there are too few {results.unit}s."
        )
        + " Of several seeds, the difference of the means, and after ± the standard deviation of the differences."
        * means,
        corner="Method",
        columns=tuple(DIFFERENCES.values()),
        rows=tuple(rows),
    )


def _cells(results: Results, group: RunGroup, reference: RunGroup) -> tuple[Cell, ...]:
    digits = digits_for(results.scores(group).n)
    return tuple(
        difference_cell(results.difference(group, reference, metric), digits) for metric in DIFFERENCES
    )
