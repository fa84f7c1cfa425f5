"""Every fold by itself beside all patients together: where one fold carries a result, it shows here."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from kdtrain.evaluation.bootstrap import score
from kdtrain.evaluation.predictions import items_at
from kdtrain.evaluation.record import outcomes_of
from kdtrain.report.model import Cell, Row, Table
from kdtrain.report.runs.folds import PooledRun
from kdtrain.report.runs.groups import RunGroup
from kdtrain.report.runs.results import Results
from kdtrain.report.runs.run import Run
from kdtrain.report.runs.scoring import estimate
from kdtrain.report.tables.cells import ABSENT, NONE, count_cell, digits_for, estimate_cell, percent, times100

BY_FOLD: Mapping[str, str] = {"recall": "Balanced accuracy", "auc": "ROC AUC"}
_CAPTIONS: Mapping[str, str] = {
    "recall": "Last column: of all patients together, as in the other tables. A fold has few patients, so that single "
    "folds differ by chance alone; no interval holds how far.",
    "auc": "Each fold has a network of its own, and scores of two networks have no common scale: the area over all "
    "patients (last column) counts pairs of samples of one fold only, and so is the mean of the folds' areas weighted "
    "by their pairs; before it stands the plain mean over the folds.",
}


def fold_tables(results: Results) -> tuple[Table, ...]:
    """Every fold by itself, a table per metric; none where the runs are of none."""
    groups = [group for group in results.groups if any(isinstance(run, PooledRun) for run in group.runs)]
    if not groups:
        return ()
    count = max(len(run.folds) for run in _pooled(groups))
    return tuple(_table(results, groups, metric, count) for metric in BY_FOLD)


def _pooled(groups: Sequence[RunGroup]) -> list[PooledRun]:
    return [run for group in groups for run in group.runs if isinstance(run, PooledRun)]


def _table(results: Results, groups: Sequence[RunGroup], metric: str, count: int) -> Table:
    digits = digits_for(results.scores(groups[0]).n)
    means = " Of several seeds, the mean." * any(len(group.runs) > 1 for group in groups)
    patients = [len({one.patient for one in fold.predictions}) for fold in _pooled(groups)[0].folds]
    total = count_cell(sum(patients))
    counts = [count_cell(n) for n in patients] + [ABSENT] * (count - len(patients))
    return Table(
        name=f"folds-{metric.replace('recall', 'balanced-accuracy')}",
        title=f"{BY_FOLD[metric]} of every fold",
        caption=f"Percent, of tissue samples. {_CAPTIONS[metric]}{means}",
        corner="Method",
        columns=(*(f"fold {number}" for number in range(1, count + 1)), "mean of folds", "all patients"),
        rows=(
            Row(heading="Patients tested", cells=(*counts, ABSENT, total)),
            *(_row(results, group, metric, count, digits) for group in groups),
        ),
    )


def _row(results: Results, group: RunGroup, metric: str, count: int, digits: int) -> Row:
    by_run = [[fold_value(fold, metric) for fold in run.folds] for run in _pooled([group])]
    lengths = {len(values) for values in by_run}
    values = np.array(by_run).mean(axis=0).tolist() if len(lengths) == 1 else []
    known = [value for value in values if not math.isnan(value)]
    mean = math.fsum(known) / len(known) if known else None
    cells = [_cell(value, digits, len(by_run)) for value in values] + [ABSENT] * (count - len(values))
    together = estimate_cell(estimate(results.scores(group), metric), digits)
    return Row(heading=group.title, cells=(*cells, _cell(mean, digits, len(by_run)), together))


def fold_value(run: Run, metric: str) -> float:
    """A metric of the samples of one fold, macro over the classes that it has; NaN where undefined."""
    outcomes = outcomes_of(items_at("sample", run.predictions), "sample")
    return float(score(outcomes).macro[metric])


def _cell(value: float | None, digits: int, seeds: int) -> Cell:
    if value is None or math.isnan(value):
        return Cell(text=NONE, note="no sample of a class, or none of another")
    return Cell(text=percent(value, digits), value=times100(value), seeds=seeds)
