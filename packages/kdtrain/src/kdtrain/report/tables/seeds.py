"""Every seed by itself, and how far the seeds lie apart: what training's chance adds, which no interval holds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from kdtrain.report.model import Cell, Row, Table
from kdtrain.report.runs.results import Results
from kdtrain.report.runs.scoring import GroupScores, spread
from kdtrain.report.tables.cells import ABSENT, digits_for, percent, times100

BY_SEED: Mapping[str, str] = {"accuracy": "Accuracy", "f1": "F1-score", "recall": "Balanced accuracy"}


def seed_tables(results: Results) -> tuple[Table, ...]:
    """Every seed by itself, a table per metric; none where no method has two."""
    if all(len(group.runs) < 2 for group in results.groups):
        return ()
    return tuple(_seed_table(results, metric, title) for metric, title in BY_SEED.items())


def _seed_table(results: Results, metric: str, title: str) -> Table:
    digits = digits_for(results.scores(results.groups[0]).n)
    seeds = sorted({seed for group in results.groups for seed in group.seeds})
    rows = tuple(
        Row(
            heading=group.title,
            cells=(
                *_seed_cells(results.scores(group), metric, seeds, digits),
                *_summary_cells(results.scores(group), metric, digits),
            ),
        )
        for group in results.groups
    )
    return Table(
        name=f"seeds-{metric.replace('_', '-')}",
        title=f"{title} of every seed",
        caption="Percent. SD is the standard deviation over the seeds: what training's chance adds, which no interval "
        "of the other tables holds. The download has every seed's own 95 % interval."
        + " All students learned from one teacher: what another one would give is in no SD."
        * _one_teacher(results),
        corner="Method",
        columns=(*(f"seed {seed}" for seed in seeds), "mean", "SD", "min", "max"),
        rows=rows,
    )


def _one_teacher(results: Results) -> bool:
    taught = [run for group in results.groups for run in group.runs if run.teacher_sha256]
    return len(taught) > 1 and len({run.teacher_sha256 for run in taught}) == 1


def _seed_cells(scores: GroupScores, metric: str, seeds: Sequence[int], digits: int) -> Iterator[Cell]:
    for seed in seeds:
        if seed not in scores.seeds:
            yield ABSENT
            continue
        number = scores.seeds.index(seed)
        value, bounds = float(scores.values[metric][number]), scores.intervals[metric][number]
        yield Cell(
            text=percent(value, digits),
            value=times100(value),
            low=times100(bounds.low),
            high=times100(bounds.high),
            seeds=1,
        )


def _summary_cells(scores: GroupScores, metric: str, digits: int) -> Iterator[Cell]:
    values = scores.values[metric].tolist()
    mean = float(scores.values[metric].mean())
    for value in (mean, spread(values), min(values), max(values)):
        yield Cell(text=percent(value, digits), value=times100(value), seeds=len(values))
